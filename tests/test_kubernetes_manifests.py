"""Manifests against the published schemas of three Kubernetes versions, and Dask's operator's."""

import copy
import dataclasses
import os
import subprocess
from importlib.metadata import entry_points, files
from itertools import pairwise
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from lensweep.__main__ import app
from lensweep.deploy.job_record import SubmissionError
from lensweep.deploy.kubernetes.manifests import (
    TEMPLATES,
    as_yaml,
    dask_cluster,
    driver_job,
    driver_log,
)
from lensweep.deploy.kubernetes.options import KubernetesOptions, refuse_unmounted

VERSIONS = ("1.35", "1.36", "1.37")
CPU = KubernetesOptions(
    image="registry.example.org/lensweep:0.1.0-cpu", cores=8, memory="32Gi",
    claims=("survey:/survey", "archive:/archive:ro"),
)  # fmt: skip
# Every shape of submission.
OPTIONS = {
    "one pod": CPU,
    "one pod with GPUs": dataclasses.replace(CPU, gpus=2),
    "workers": dataclasses.replace(CPU, nodes=4),
    "workers, some with GPUs": dataclasses.replace(CPU, nodes=4, gpus=2, gpu_nodes=3),
}
JOB = Path("/survey/run/job")


def submitted(options):
    return [driver_job("lensweep-x", JOB, options, None), *dask_cluster("lensweep-x", "u", options)]


def shipped(name):
    return list(yaml.safe_load_all((TEMPLATES / f"{name}.yaml").read_text()))


def opened():
    """What `scan --cluster kubernetes` has the operator make."""
    made = dask_cluster("lensweep-x", None, OPTIONS["workers, some with GPUs"])
    assert [one["kind"] for one in made] == ["DaskCluster", "DaskWorkerGroup"]
    return made


# What is applied by hand, what `submit` makes, and what `scan` does.
OBJECTS = [
    *(one for name in ("storage", "access", "login") for one in shipped(name)),
    *submitted(OPTIONS["one pod with GPUs"]),
    *submitted(OPTIONS["workers, some with GPUs"]),
    *opened(),
]


def pods(objects):
    """Every pod specification in the objects."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["spec"]
        elif one["kind"] == "Job":
            yield one["spec"]["template"]["spec"]
        elif one["kind"] == "DaskCluster":
            yield from (one["spec"][role]["spec"] for role in ("scheduler", "worker"))
        elif one["kind"] == "DaskWorkerGroup":
            yield one["spec"]["worker"]["spec"]


def ours(objects):
    """Those of Kubernetes itself, and what Dask's operator makes pods of."""
    yield from (one for one in objects if "dask.org" not in one["apiVersion"])
    yield from (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        for pod in pods(objects)
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(version):
    for one in ours(OBJECTS):
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_the_validation_is_strict():
    job = driver_job("lensweep-x", JOB, CPU, None)
    job["spec"]["backofLimit"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def operator_schema(plural):
    """The operator's own schema of one of its kinds, refusing what it does not name."""
    shipped_files = files("dask-kubernetes") or ()
    (crd,) = (file for file in shipped_files if file.match(f"crds/{plural}.yaml"))
    definition = yaml.load(Path(crd.locate()).read_text(), yaml.CSafeLoader)
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"] |= {key: {"type": "string"} for key in ("apiVersion", "kind")}
    schema["properties"]["metadata"] = {"type": "object"}
    return closed(schema)


def closed(schema):
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and "type" in schema and not keeps:
        made["additionalProperties"] = False
    return made


@pytest.mark.parametrize("kind", ["DaskCluster", "DaskWorkerGroup"])
def test_dasks_operator_takes_them(kind):
    validator = jsonschema.Draft202012Validator(operator_schema(kind.lower()))
    of_submit, of_scan = (one for one in OBJECTS if one["kind"] == kind)
    for made in (of_submit, of_scan):
        assert [error.message for error in validator.iter_errors(made)] == []
    made = copy.deepcopy(of_submit)
    made["spec"]["worker"]["replica"] = 1
    assert ["'replica'" in error.message for error in validator.iter_errors(made)] == [True]


@pytest.mark.parametrize("pod", list(pods(OBJECTS)))
def test_pods_may_do_little(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert any(volume == {"name": "tmp", "emptyDir": volume.get("emptyDir")}
               for volume in pod["volumes"])  # fmt: skip
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        may = container["securityContext"]
        assert may["readOnlyRootFilesystem"] is True
        assert may["allowPrivilegeEscalation"] is False
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert ":latest" not in container["image"]


def test_only_who_submits_has_a_token():
    with_token = [pod for pod in pods(OBJECTS) if pod["automountServiceAccountToken"]]
    assert [pod["serviceAccountName"] for pod in with_token] == ["lensweep-submit"]


def containers(objects):
    for pod in pods(objects):
        yield from [*pod["containers"], *pod.get("initContainers", ())]


def commands():
    """What the containers run; of the driver, what it runs with a log."""
    for container in containers([*OBJECTS, *submitted(OPTIONS["workers"])]):
        arguments = container["args"]
        yield arguments[arguments.index("lensweep") :] if "lensweep" in arguments else arguments


def parameters(command, arguments):
    """What a command of click or typer understands; fails where it would."""
    with command.make_context(command.name, list(arguments)) as context:
        return context.params


@pytest.mark.parametrize("command", list(commands()), ids=lambda words: " ".join(words[:3]))
def test_the_image_has_the_commands(command):
    program, *words = command
    if program in ("python", "sleep"):
        return  # of the base image
    assert entry_points(group="console_scripts", name=program)
    if program == "lensweep":
        scan = typer.main.get_command(app).commands[words[0]]
        assert parameters(scan, words[1:])["config"]
        return
    if words[0] == "cuda":
        pytest.importorskip("dask_cuda")
    (found,) = entry_points(group="dask_cli", name=words[0])
    command, arguments = found.load(), words[1:]
    if words[0] == "cuda":
        command, arguments = command.commands[words[1]], words[2:]
    # What `dask worker` does not know it keeps for preloaded modules.
    assert not parameters(command, arguments).get("preload_argv")


def test_workers_of_a_submission_serve_nothing_and_never_pause():
    workers = [one["args"] for one in containers(submitted(OPTIONS["workers, some with GPUs"]))
               if one["name"] == "worker"]  # fmt: skip
    assert [arguments[1] for arguments in workers] == ["worker", "cuda"]
    for arguments in workers:
        stated = dict(pairwise(arguments))
        # `--no-dashboard` alone still listens, everywhere.
        assert stated["--dashboard-address"] == "127.0.0.1:0"
        assert stated["--memory-limit"] == "0"


def test_the_driver_keeps_its_log(tmp_path):
    """Its pod, and what Kubernetes keeps of it, is gone five minutes after the end."""
    job = tmp_path / "job"
    job.mkdir()
    (driver,) = next(pods([driver_job("lensweep-x", job, CPU, None)]))["containers"]
    lensweep_here = tmp_path / "lensweep"
    lensweep_here.write_text('#!/bin/sh\necho "$@"\necho oh no >&2\nexit 3\n')
    lensweep_here.chmod(0o755)
    for _ in range(2):
        ran = subprocess.run(driver["args"], capture_output=True, text=True, check=False,
                             env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"})  # fmt: skip
        assert ran.returncode == 3
    # Of the pods that were replaced, too.
    assert driver_log("lensweep-x", job).read_text() == 2 * ran.stdout
    assert ran.stdout.splitlines()[0].startswith(f"scan --config {job}/scan.toml --cluster local")
    assert ran.stdout.splitlines()[1] == "oh no"


def test_access_is_what_submit_needs():
    (role,) = (one for one in shipped("access") if one["kind"] == "Role")
    granted = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("jobs", "create") in granted
    assert ("daskclusters", "create") in granted
    assert not {resource for resource, _ in granted} & {"secrets", "pods", "*"}
    assert "*" not in {verb for _, verb in granted}


def test_what_works_goes_with_the_job():
    job, *others = submitted(OPTIONS["workers, some with GPUs"])
    assert [one["kind"] for one in others] == ["NetworkPolicy", "DaskCluster", "DaskWorkerGroup"]
    for one in others:
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", "lensweep-x", "u")
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert others[0]["spec"]["podSelector"]["matchLabels"] == labels
    assert all(one["metadata"]["labels"] == labels for one in others)


@pytest.mark.parametrize(
    ("name", "cluster", "workers"),
    [
        # alone, on its cores
        ("one pod", "local", ["8"]),
        # alone, on its GPUs
        ("one pod with GPUs", "cuda", ["8"]),
        # with workers
        ("workers", "tcp://lensweep-x-scheduler:8786", []),
    ],
)
def test_the_driver_scans(name, cluster, workers):
    (driver,) = next(pods(submitted(OPTIONS[name])))["containers"]
    scan = driver["args"][driver["args"].index("lensweep") :]
    assert scan[:4] == ["lensweep", "scan", "--config", "/survey/run/job/scan.toml"]
    assert scan[scan.index("--cluster") + 1] == cluster
    assert scan[scan.index("--workers") + 1 :] == workers if workers else "--workers" not in scan


def test_gpus_are_asked_for_where_they_are_used():
    def limits(name):
        return [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
                for pod in pods(submitted(OPTIONS[name]))]  # fmt: skip

    assert limits("one pod with GPUs") == ["2"]
    assert limits("workers") == [None, None, None]
    assert limits("workers, some with GPUs") == [None, None, None, "2"]


def test_text_for_kubectl_is_the_same():
    made = submitted(OPTIONS["workers"])
    assert list(yaml.safe_load_all(as_yaml(made))) == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "no image; give them"),
        ({"claims": ()}, "no claims"),
        ({"image": "lensweep"}, "image lensweep: name a version"),
        ({"image": "registry:5000/lensweep"}, "name a version"),
        ({"image": "lensweep:latest"}, "name a version"),
        ({"memory": "32 GB"}, "memory = 32 GB: write it as Kubernetes does"),
        ({"claims": ("survey",)}, "claim survey: write NAME:/PATH"),
        ({"gpu_nodes": 2, "gpus": 1}, "workers with GPUs only score"),
        ({"nodes": 2, "gpus": 1}, "say how many pods have GPUs"),
    ],
)
def test_unfit_options_are_refused(changes, message):
    with pytest.raises(SubmissionError, match=message):
        dataclasses.replace(CPU, **changes)


@pytest.mark.parametrize(
    ("read", "write", "message"),
    [
        ("/home/a.fits", "/survey/run", "/home/a.fits: on none of the claims"),
        ("/surveys/a.fits", "/survey/run", "/surveys/a.fits: on none"),
        ("/archive/a.fits", "/archive/run", "/archive/run: its claim is mounted read only"),
    ],
)
def test_paths_that_no_pod_sees_are_refused(read, write, message):
    refuse_unmounted([Path("/archive/a.fits")], CPU, Path("/survey/run"))
    with pytest.raises(SubmissionError, match=message):
        refuse_unmounted([Path(read)], CPU, Path(write))
