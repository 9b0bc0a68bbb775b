"""What goes wrong on a cluster: the same catalogue, or a ledger that names what is missing."""

import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from dask_nodes import Machines, wait_until
from hanging import hang

from deploy.cluster import open_client
from scanner import score_store
from scanner.config import ScanConfig
from scanner.ensemble import EnsembleError
from scanner.opening import open_run
from scanner.paths import RunPaths
from scanner.progress import PlainProgress
from scanner.run import run_scan

NAME = "field_f814w_drz"
SHARDS = 28
RNG = np.random.default_rng(2018)


class Fault(PlainProgress):
    """Does something to the cluster once, when a drawn number of shards is scored."""

    def __init__(self, paths, inject):
        self.log = io.StringIO()
        super().__init__(self.log, time.monotonic)
        self.paths, self.inject = paths, inject
        self.moment = int(RNG.integers(1, SHARDS - 6))

    def advance(self, stage, n):
        super().advance(stage, n)
        if self.inject and len(self.paths.score_markers(NAME)) >= self.moment:
            inject, self.inject = self.inject, None
            inject()


@pytest.fixture(scope="module")
def field_there(tmp_path_factory):
    return write_field(tmp_path_factory.mktemp("fields") / f"{NAME}.fits", seed=3)


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A scheduler and a node; whoever takes something away puts something else in its place."""
    with (tmp_path_factory.mktemp("log") / "dask").open("w") as log:
        cluster = Machines(log)
        cluster.add_node()
        cluster.wait_for(1)
        yield cluster
        cluster.close()


def scan_with(address, bundle, field, out, inject=None, **options):
    """A scan in 28 shards, during which something happens; what came of it, and its log."""
    few = {"windows_per_shard": 4, "merge_radius_arcsec": 10.0, "screen": "off"}
    options = few | {"cluster": address} | options
    config = ScanConfig((str(field),), str(out), str(bundle), **options)
    opened, paths = open_run(config)
    progress = Fault(paths, inject)
    with open_client(address, timeout_s=300.0) as client:
        outcome = run_scan(config, opened, paths, client, progress)
    assert progress.inject is None, "the fault did not happen"
    return outcome, progress.log.getvalue()


@pytest.fixture(scope="module")
def undisturbed(machines, tiny_bundle, field_there, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed") / "run"
    outcome, _ = scan_with(machines.address, tiny_bundle, field_there, root)
    assert outcome.exit_status == 0
    return root


def assert_same(root, expected):
    for name in ("candidates.parquet", "ledger.parquet"):
        found, wanted = pq.read_table(root / name), pq.read_table(expected / name)
        assert found.replace_schema_metadata().equals(wanted.replace_schema_metadata())
    found, wanted = (score_store.read(RunPaths(r).scores(NAME)) for r in (root, expected))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
    assert not list(root.rglob("*.partial"))
    assert not (root / "attempts").exists()


def test_a_node_is_lost(machines, undisturbed, tiny_bundle, field_there, tmp_path):
    """Nanny and worker at once; another node comes."""

    def lose():
        machines.lose(machines.nodes[0])
        machines.add_node()

    scan_with(machines.address, tiny_bundle, field_there, tmp_path / "run", lose)
    assert_same(tmp_path / "run", undisturbed)


# As text: a scheduler and its workers know no functions of a test.
FILL_MEMORY = "held = []\nwhile True: held.append(b'x' * 2**27)"


def test_a_worker_runs_out_of_memory(machines, undisturbed, tiny_bundle, field_there, tmp_path):
    """It is ended by its nanny, as any process that takes more than its share."""
    with open_client(machines.address, timeout_s=300.0) as other:

        def fill():
            (pid,) = other.run(os.getpid).values()
            filler = other.submit(exec, FILL_MEMORY, pure=False)
            wait_until(lambda: not psutil.pid_exists(pid))
            filler.cancel(force=True)

        scan_with(machines.address, tiny_bundle, field_there, tmp_path / "run", fill)
    assert_same(tmp_path / "run", undisturbed)


def held_records(root, stage):
    """Records of attempts whose process is alive, with its number."""
    found = []
    for path in (root / "attempts" / NAME).glob(f"*.{stage}.*.json"):
        try:
            pid = json.loads(path.read_text())["pid"]
        except (OSError, ValueError):  # gone, or being written
            continue
        if psutil.pid_exists(pid):
            found.append((path, pid))
    return found


def test_a_worker_hangs(machines, undisturbed, tiny_bundle, field_there, tmp_path):
    """The mosaic's file system stops answering: an open that never returns."""
    root, aside = tmp_path / "run", field_there.with_suffix(".aside")

    def hang():
        field_there.rename(aside)
        os.mkfifo(field_there)
        threading.Thread(target=recover).start()

    def recover():
        seen = set()

        def is_ended():
            seen.update(held_records(root, "cut"))
            return any(not psutil.pid_exists(pid) for _, pid in seen)

        wait_until(is_ended)
        field_there.unlink()
        aside.rename(field_there)

    scan_with(machines.address, tiny_bundle, field_there, root, hang, shard_timeout_s=2.0)
    assert_same(root, undisturbed)


def test_a_poisoned_shard(machines, undisturbed, tiny_bundle, field_there, tmp_path):
    """It costs three workers, then it is put down in the ledger; the others are done."""
    root = shutil.copytree(undisturbed, tmp_path / "run")
    paths = RunPaths(root)
    poisoned, innocent = (int(shard) for shard in RNG.choice(SHARDS, 2, replace=False))
    for shard in (poisoned, innocent):
        paths.score_marker(NAME, shard).unlink()
    pixels = paths.cutouts(NAME) / "flux" / "c" / str(poisoned) / "0" / "0"
    whole = pixels.read_bytes()
    pixels.unlink()
    os.mkfifo(pixels)
    over = threading.Event()

    def kill_whoever_reads():
        while not over.wait(0.05):
            for record, pid in held_records(root, "score"):
                if record.name.startswith(f"{poisoned:06d}"):
                    with suppress(ProcessLookupError):  # killed a moment ago
                        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_whoever_reads)
    killer.start()
    outcome, log = scan_with(machines.address, tiny_bundle, field_there, root)
    over.set()
    killer.join()
    assert outcome.exit_status == 3
    assert f"shard {poisoned} failed: AttemptsError" in log
    ledger = pd.read_parquet(paths.ledger)
    failed = ledger[ledger["state"] == "failed"]
    assert set(failed["shard"]) == {poisoned}
    assert failed["reason"].str.contains("3 workers ended at its score: died .killed").all()
    # Mended, the same command completes it.
    pixels.unlink()
    pixels.write_bytes(whole)
    scan_with(machines.address, tiny_bundle, field_there, root)
    assert_same(root, undisturbed)


def test_the_scheduler_is_killed(machines, undisturbed, tiny_bundle, field_there, tmp_path):
    """Whoever supervises it starts it again, and its workers; the command waits for them."""

    def lose():
        machines.lose(machines.scheduler)
        for node in list(machines.nodes):
            machines.lose(node)
        machines.start_scheduler()
        machines.add_node()

    scan_with(machines.address, tiny_bundle, field_there, tmp_path / "run", lose)
    assert_same(tmp_path / "run", undisturbed)


def test_the_bundle_is_missing_on_a_worker(
    machines, undisturbed, tiny_bundle, field_there, tmp_path
):
    hides = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {tiny_bundle} && exec "$@"',
             "sh"]  # fmt: skip
    if subprocess.run([*hides, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    blind = machines.add_node(before=hides)
    machines.wait_for(2)
    _, log = scan_with(machines.address, tiny_bundle, field_there, tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)
    assert f"is retired: ensemble {tiny_bundle}: neither a folder with ensemble.json" in log
    wait_until(lambda: blind.poll() is not None)
    machines.nodes.remove(blind)


def test_the_bundle_is_missing_everywhere(machines, tiny_bundle, field_there, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    config = ScanConfig((str(field_there),), str(tmp_path / "run"), str(bundle))
    opened, paths = open_run(config)
    shutil.rmtree(bundle)
    with (
        pytest.raises(EnsembleError, match="neither a folder"),
        open_client(machines.address, timeout_s=300.0) as there,
    ):
        run_scan(config, opened, paths, there, PlainProgress(io.StringIO(), time.monotonic))


def test_the_disk_is_full_for_a_while(client, tiny_bundle, field_there, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    ballast = disk / "ballast"

    class Room(Fault):
        def note(self, text):
            super().note(text)
            if "waiting up to" in text:
                ballast.unlink()

    def fill():
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError) as full:
            while True:
                file.write(b"\0" * 4096)
        assert full.value.errno == errno.ENOSPC

    try:
        config = ScanConfig((str(field_there),), str(disk / "run"), str(tiny_bundle), screen="off",
                            windows_per_shard=4, merge_radius_arcsec=10.0)  # fmt: skip
        opened, paths = open_run(config)
        progress = Room(paths, fill)
        assert run_scan(config, opened, paths, client, progress).exit_status == 0
        assert "No space left on device; waiting up to 10 min for room" in progress.log.getvalue()
        expected = scan_here(client, tiny_bundle, [field_there], tmp_path / "expected",
                             windows_per_shard=4)  # fmt: skip
        assert_same(disk / "run", expected.paths.root)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_hangs_ends_its_process(tmp_path):
    """And says so, for the ledger."""
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(str(tmp_path),))
    process.start()
    process.join(600)
    assert process.exitcode == 124
    (record,) = (tmp_path / "attempts" / "m").iterdir()
    assert json.loads(record.read_text())["how"] == "hung for more than 0.2 s"
