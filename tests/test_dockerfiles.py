"""The images: what hadolint says, and that they are pinned, small and run as nobody."""

import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
LOCKS = sorted(DOCKER.glob("*.txt"))
# What both images have.
EXTRAS = ("kubernetes", "s3")
# What packages ask for, by their metadata, that are in an image and may not be installed here.
BOUNDS = {
    "rapids-dask-dependency==26.10.0": [
        "dask>=2026.7.1,<2026.7.2", "distributed>=2026.7.1,<2026.7.2",
    ],
    "dask-cuda==26.10.0": ["rapids-dask-dependency==26.10.*", "cuda-core>=0.5.1,<2"],
    "distributed==2026.7.1": ["dask>=2026.7.1,<2026.7.2"],
    "aiobotocore==3.10.0": ["botocore>=1.43.115,<1.43.118", "python-dateutil>=2.1,<3"],
    "s3fs==2026.9.0": ["fsspec>=2026.9.0,<2026.9.1", "aiobotocore>=2.19,<4"],
}  # fmt: skip


def locked(kind):
    """Versions by name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (DOCKER / f"{kind}.txt").read_text(), re.M))


def instructions(word):
    """What follows a word at the beginning of a line, continued lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{word} (.*)$", text, flags=re.MULTILINE)


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([hadolint, "--failure-threshold", "style", DOCKERFILE], check=False,
                         capture_output=True, text=True)  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN pip install numpy\n")
    ran = subprocess.run([Path(sys.executable).with_name("hadolint"), bad], check=False,
                         capture_output=True, text=True)  # fmt: skip
    assert ran.returncode != 0
    assert "DL3007" in ran.stdout


def test_the_base_is_one_exact_version():
    stages = [line.split() for line in instructions("FROM")]
    names = {words[2] for words in stages}
    bases = {words[0] for words in stages} - names
    assert len(bases) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", bases.pop())


def test_both_images_run_as_nobody():
    # Both are made from the stage `run`, and nothing after it changes the user.
    parents = {words[2]: words[0] for words in map(str.split, instructions("FROM"))}
    assert parents["cpu"] == parents["cuda"] == "run"
    assert instructions("USER") == ["1000:1000"]


def test_what_builds_stays_behind():
    copied = [line for line in instructions("COPY") if line.startswith("--from")]
    wanted = "--from=build-{} /opt/lensweep /opt/lensweep"
    assert copied == [wanted.format(kind) for kind in ("cpu", "cuda")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_packages_are_pinned_by_hash(lock):
    assert f"--require-hashes --requirement {lock.name}" in DOCKERFILE.read_text()
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for pin in pins:
        assert re.fullmatch(r"[a-z0-9-]+==\S+ +--hash=sha256:[0-9a-f]{64}", pin), pin


def test_every_requirement_is_locked():
    from configparser import ConfigParser

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    for kind, extras in (("cpu", EXTRAS), ("cuda", (*EXTRAS, "gpu"))):
        asked = [config["options"]["install_requires"]]
        asked += [config["options.extras_require"][extra] for extra in extras]
        for requirement in map(Requirement, "\n".join(asked).split()):
            version = locked(kind)[requirement.name]
            assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_what_is_locked_agrees(kind):
    """As `pip check` says when the image is built, so far as what is installed here knows it."""
    versions = locked(kind)
    asked = dict(BOUNDS)
    for name, version in versions.items():
        with suppress(PackageNotFoundError):
            if distribution(name).version == version:
                asked[f"{name}=={version}"] = distribution(name).requires or []
    for pin, requirements in asked.items():
        # The table has to follow the locks.
        name, version = pin.split("==")
        assert versions.get(name, version) == version
        for requirement in map(Requirement, requirements if name in versions else ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                version = versions[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version, prereleases=True), (pin, requirement)


def test_images_share_their_versions():
    """A driver and its workers may run on one each."""
    cpu, cuda = locked("cpu"), locked("cuda")
    assert {name: cuda[name] for name in cpu} == cpu


def test_only_what_is_installed_is_sent_to_the_builder():
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "**"
    kept = {line.removeprefix("!") for line in rules if line.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert kept == packages | {"LICENSE", "NOTICE", "README.md", "pyproject.toml",
                               "setup.cfg"}  # fmt: skip
