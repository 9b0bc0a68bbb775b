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
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from dask_nodes import Machines, wait_until
from forked_programs import begin_server
from hanging import hang
from slow_storage import SlowStorage

from lensweep.deploy.cluster import open_client
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.run import score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.work.patience import StorageError
from lensweep.scanner.work.scan import run_scan
from lensweep.scanner.work.tasks import WorkerFullError

NAME = "field_f814w_drz"
SHARDS = 28
SEED = 2018


def drawn(fault):
    """Random numbers of one fault: the same whichever others are tested before it."""
    return np.random.default_rng([SEED, zlib.crc32(fault.encode())])


class Fault(PlainProgress):
    """Does something to the cluster once, when a drawn number of shards is scored."""

    def __init__(self, paths, inject):
        self.log = io.StringIO()
        super().__init__(self.log, time.monotonic)
        self.paths, self.inject, self.at_work = paths, inject, False
        if inject:
            self.moment = int(drawn(inject.__qualname__).integers(1, SHARDS - 6))

    def stage(self, name, *args, **kwargs):
        self.at_work |= name == "scoring"
        return super().stage(name, *args, **kwargs)

    def advance(self, stage, n):
        super().advance(stage, n)
        if self.inject and self.at_work and len(self.paths.score_markers(NAME)) >= self.moment:
            inject, self.inject = self.inject, None
            inject()


@pytest.fixture(scope="module")
def field_there(tmp_path_factory):
    return write_field(tmp_path_factory.mktemp("fields") / f"{NAME}.fits", seed=3)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A cluster without a node."""
    with (tmp_path_factory.mktemp("log") / "dask").open("w") as log:
        cluster = Machines(log)
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def full_node(scheduler):
    """A node with a device that something else has filled; it ends when it is retired."""
    full = scheduler.fork_node(options=("--preload", beside("full_device.py")))
    scheduler.wait_for(len(scheduler.nodes))
    return full


@pytest.fixture(scope="module")
def machines(scheduler):
    """A scheduler and a node; whoever takes something away puts something else in its place."""
    scheduler.add_node(options=("--preload-nanny", beside("forking_nanny.py")))
    scheduler.wait_for(len(scheduler.nodes))
    return scheduler


def beside(name):
    return str(Path(__file__).with_name(name))


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


def scan_undisturbed(client, bundle, field, root):
    """The same scan within this process."""
    assert scan_here(client, bundle, [field], root, windows_per_shard=4).exit_status == 0
    return root


@pytest.fixture(scope="module")
def bundle(estimator_bundle):
    """What is scored with where a device is not the claim: nobody waits for TensorFlow."""
    return estimator_bundle


@pytest.fixture(scope="module")
def undisturbed(client, bundle, field_there, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed") / "run"
    return scan_undisturbed(client, bundle, field_there, root)


def assert_same(root, expected):
    for name in ("candidates.parquet", "ledger.parquet"):
        found, wanted = pq.read_table(root / name), pq.read_table(expected / name)
        assert found.replace_schema_metadata().equals(wanted.replace_schema_metadata())
    found, wanted = (score_store.read(RunPaths(r).scores(NAME)) for r in (root, expected))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
    assert not list(root.rglob("*.partial"))
    assert not (root / "attempts").exists()


def forget(machines, node):
    """A node that has been retired ends by itself."""
    wait_until(lambda: node.poll() is not None)
    machines.nodes.remove(node)


def test_every_device_is_full(
    scheduler, full_node, tiny_bundle, field_there, tmp_path, monkeypatch
):
    """That may pass, and costs no shard."""
    monkeypatch.setattr("lensweep.scanner.work.remedies.OTHERS_COME_S", 0.0)
    with pytest.raises(WorkerFullError, match="stop what else uses this device"):
        scan_with(scheduler.address, tiny_bundle, field_there, tmp_path / "run")
    assert not RunPaths(tmp_path / "run").shard_failures(NAME)


def test_a_device_is_full_of_something_else(
    client, full_node, machines, tiny_bundle, field_there, tmp_path
):
    """A worker that cannot score, and fails in no time, is not given every shard in turn."""
    _, log = scan_with(machines.address, tiny_bundle, field_there, tmp_path / "run")
    undisturbed = scan_undisturbed(client, tiny_bundle, field_there, tmp_path / "undisturbed")
    assert_same(tmp_path / "run", undisturbed)
    assert log.count("is retired: out of memory with one cutout at a time") == 1
    forget(machines, full_node)


# As text: a scheduler and its workers know no functions of a test.
FILL_MEMORY = "held = []\nwhile True: held.append(b'x' * 2**27)"


def test_a_worker_runs_out_of_memory(machines, undisturbed, bundle, field_there, tmp_path):
    """It is ended by its nanny, as any process that takes more than its share."""
    with open_client(machines.address, timeout_s=300.0) as other:

        def fill():
            (pid,) = other.run(os.getpid).values()
            filler = other.submit(exec, FILL_MEMORY, pure=False)
            wait_until(lambda: not psutil.pid_exists(pid))
            filler.cancel(force=True)

        scan_with(machines.address, bundle, field_there, tmp_path / "run", fill)
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


def test_a_worker_hangs(machines, undisturbed, bundle, field_there, tmp_path):
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

    scan_with(machines.address, bundle, field_there, root, hang, shard_timeout_s=2.0)
    assert_same(root, undisturbed)


def test_a_poisoned_shard(machines, undisturbed, bundle, field_there, tmp_path):
    """It costs three workers, then it is put down in the ledger; the others are done."""
    root = shutil.copytree(undisturbed, tmp_path / "run")
    paths = RunPaths(root)
    poisoned, innocent = map(int, drawn("poisoned").choice(SHARDS, 2, replace=False))
    for shard in (poisoned, innocent):
        paths.score_marker(NAME, shard).unlink()
    pixels = paths.cutouts(NAME) / "flux" / "c" / str(poisoned) / "0" / "0"
    whole = pixels.read_bytes()
    over = threading.Event()

    def poison():
        """Whoever reads it waits; not before it was found to be as long as it should be."""
        pixels.unlink()
        os.mkfifo(pixels)

    def kill_whoever_reads():
        while not over.wait(0.05):
            for record, pid in held_records(root, "score"):
                if record.name.startswith(f"{poisoned:06d}"):
                    with suppress(ProcessLookupError):  # killed a moment ago
                        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_whoever_reads)
    killer.start()
    outcome, log = scan_with(machines.address, bundle, field_there, root, poison)
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
    scan_with(machines.address, bundle, field_there, root)
    assert_same(root, undisturbed)


def test_a_node_is_lost(machines, undisturbed, bundle, field_there, tmp_path):
    """Nanny and worker at once; another node comes."""

    def lose():
        machines.lose(machines.nodes[0])
        machines.fork_node()

    scan_with(machines.address, bundle, field_there, tmp_path / "run", lose)
    assert_same(tmp_path / "run", undisturbed)


def test_the_scheduler_is_killed(machines, undisturbed, bundle, field_there, tmp_path):
    """Whoever supervises it starts it again, and its workers; the command waits for them."""

    def lose():
        machines.lose(machines.scheduler)
        for node in list(machines.nodes):
            machines.lose(node)
        machines.start_scheduler()
        machines.fork_node()

    scan_with(machines.address, bundle, field_there, tmp_path / "run", lose)
    assert_same(tmp_path / "run", undisturbed)


@pytest.fixture
def hides(bundle):
    """What a node's command begins with if it is not to see the bundle."""
    words = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {bundle} && exec "$@"',
             "sh"]  # fmt: skip
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    return words


def test_the_bundle_is_missing_on_a_worker(
    machines, undisturbed, bundle, field_there, hides, tmp_path
):
    """It comes in the middle of the scan."""
    blind = []

    def join():
        blind.append(machines.add_node(before=hides))
        machines.wait_for(2)

    _, log = scan_with(machines.address, bundle, field_there, tmp_path / "run", join)
    assert_same(tmp_path / "run", undisturbed)
    assert f"is retired: ensemble {bundle}: neither a folder with ensemble.json" in log
    forget(machines, *blind)


def test_the_bundle_is_missing_on_the_first_worker(
    machines, undisturbed, bundle, field_there, hides, tmp_path
):
    """Another one comes when it has been found out."""
    for node in list(machines.nodes):
        machines.lose(node)
    machines.wait_for(0)
    blind = machines.add_node(before=hides)
    machines.wait_for(1)
    config = ScanConfig((str(field_there),), str(tmp_path / "run"), str(bundle),
                        windows_per_shard=4, merge_radius_arcsec=10.0, screen="off",
                        cluster=machines.address)  # fmt: skip
    opened, paths = open_run(config)

    class Helps(PlainProgress):
        def note(self, text):
            super().note(text)
            if "waiting up to 2 min for others" in text:
                machines.fork_node()

    progress = Helps(io.StringIO(), time.monotonic)
    with open_client(machines.address, timeout_s=300.0) as client:
        run_scan(config, opened, paths, client, progress)
    forget(machines, blind)
    assert_same(tmp_path / "run", undisturbed)


def test_the_bundle_is_missing_everywhere(machines, bundle, field_there, tmp_path, monkeypatch):
    monkeypatch.setattr("lensweep.scanner.work.remedies.OTHERS_COME_S", 0.0)
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    config = ScanConfig((str(field_there),), str(tmp_path / "run"), str(copied))
    opened, paths = open_run(config)
    shutil.rmtree(copied)
    with (
        pytest.raises(EnsembleError, match="neither a folder"),
        open_client(machines.address, timeout_s=300.0) as there,
    ):
        run_scan(config, opened, paths, there, PlainProgress(io.StringIO(), time.monotonic))


def test_the_storage_is_slow(machines, undisturbed, bundle, field_there, tmp_path):
    """From some moment on every opening of the mosaic takes a third of a second longer."""
    slow = SlowStorage(field_there, 0.3)

    def begin():
        slow.begin()

    try:
        scan_with(machines.address, bundle, field_there, tmp_path / "run", begin)
    finally:
        slow.end()
    assert slow.opened >= 4
    assert_same(tmp_path / "run", undisturbed)


@contextmanager
def small_disk(path, size):
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill_disk(ballast):
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError) as full:
        while True:
            file.write(b"\0" * 4096)
    assert full.value.errno == errno.ENOSPC


def test_the_disk_is_full_for_a_while(client, undisturbed, bundle, field_there, tmp_path):
    ballast = tmp_path / "disk" / "ballast"

    class Room(Fault):
        def note(self, text):
            super().note(text)
            if "waiting up to" in text:
                ballast.unlink()

    def fill():
        fill_disk(ballast)

    with small_disk(tmp_path / "disk", "20m") as disk:
        config = ScanConfig((str(field_there),), str(disk / "run"), str(bundle), screen="off",
                            windows_per_shard=4, merge_radius_arcsec=10.0)  # fmt: skip
        opened, paths = open_run(config)
        progress = Room(paths, fill)
        assert run_scan(config, opened, paths, client, progress).exit_status == 0
        assert "No space left on device; waiting up to 10 min for room" in progress.log.getvalue()
        assert_same(disk / "run", undisturbed)


def test_the_disk_stays_full(client, scan, field_there, tiny_bundle, tmp_path):
    """What an earlier command has cut is no sign of room for the scores."""
    with small_disk(tmp_path / "disk", "20m") as disk:
        paths = scan([field_there], disk / "run").paths
        for marker in paths.score_markers(NAME):
            marker.unlink()

        class Fills(PlainProgress):
            waits = 0

            def stage(self, name, total, done=0, unit="windows"):
                if name == "cutting":
                    fill_disk(disk / "ballast")
                return super().stage(name, total, done, unit)

            def note(self, text):
                self.waits += "waiting up to" in text
                assert self.waits <= 1, "the wait began anew"

        config = ScanConfig((str(field_there),), str(paths.root), str(tiny_bundle), screen="off",
                            windows_per_shard=16, merge_radius_arcsec=10.0,
                            storage_wait_s=3.0)  # fmt: skip
        opened, paths = open_run(config)
        progress = Fills(io.StringIO(), time.monotonic)
        with pytest.raises(StorageError, match="No space left on device"):
            run_scan(config, opened, paths, client, progress)
        assert progress.waits == 1


def test_what_hangs_ends_its_process(tmp_path):
    """And says so, for the ledger."""
    begin_server()
    process = multiprocessing.get_context("forkserver").Process(target=hang, args=(str(tmp_path),))
    process.start()
    process.join(600)
    assert process.exitcode == 124
    (record,) = (tmp_path / "attempts" / "m").iterdir()
    assert json.loads(record.read_text())["how"] == "hung for more than 0.2 s"
