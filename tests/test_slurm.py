"""Scans handed to a real SLURM of two nodes on this machine: undisturbed, disturbed, cancelled."""

import json
import time

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from forked_programs import Forked
from slurm_on_one_machine import SlurmCannotStartError, slurm_on_one_machine

from lensweep.scanner.run.paths import RunPaths

NAMES = ("a_f814w_drz", "b_f814w_drz")
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    try:
        with slurm_on_one_machine(tmp_path_factory.mktemp("slurm")) as running:
            yield running
    except SlurmCannotStartError as error:
        pytest.skip(f"no SLURM here: {error}")


@pytest.fixture
def at_login(slurm, monkeypatch):
    """As on a node that knows this SLURM."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def lensweep(at_login, command):
    """Run a command on the login node: its exit status and all it said."""
    return command


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    return [write_field(folder / f"{name}.fits", seed=3 + i) for i, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def asked(fields, estimator_bundle):
    """Arguments of a scan of two mosaics in 2 × 28 shards, all but the folder."""
    toml = fields[0].with_name("scan.toml")
    toml.write_text(
        f"mosaics = {json.dumps([str(field) for field in fields])}\n"
        f"ensemble = {str(estimator_bundle)!r}\nwindows_per_shard = 4\nmerge_radius_arcsec = 10.0\n"
        'screen = "off"\n'
    )
    return "--config", toml


@pytest.fixture(scope="module")
def undisturbed(fields, estimator_bundle, client, tmp_path_factory):
    """The same scan within this process."""
    root = tmp_path_factory.mktemp("undisturbed") / "run"
    assert scan_here(client, estimator_bundle, fields, root, windows_per_shard=4).exit_status == 0
    return root


def until(happened, root):
    """Wait for something; tell what the jobs said if it does not happen."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > end:
            logs = (path.read_text()[-2000:] for path in RunPaths(root).job.glob("*.log"))
            pytest.fail("waited in vain\n" + "\n".join(logs))
        time.sleep(0.1)


def shards_done(root):
    return sum(len(RunPaths(root).score_markers(name)) for name in NAMES)


def job_id(root):
    return json.loads((RunPaths(root).job / "job.json").read_text())["driver"]


def driver_log(root):
    return "".join(path.read_text() for path in RunPaths(root).job.glob("driver-*.log"))


def ledger(root):
    return pq.read_table(root / "ledger.parquet").to_pandas()


def processes(*words):
    """The processes on whose command line all the words stand."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if set(words) <= set(process.info["cmdline"] or ())
    ]


def scans_of(root, name="scan.toml"):
    """The processes that conduct the scan of a run."""
    return processes("scan", str(RunPaths(root).job / name))


def test_a_scan_where_it_was_typed(slurm, at_login, asked, undisturbed, tmp_path):
    """Its workers die halfway, and join again; when it ends, so do their jobs."""
    root, site = tmp_path / "run", tmp_path / "site.toml"
    site.write_text('kind = "slurm"\nnodes = 2\ncores = 1\n')
    command = "scan", *asked, "--out", root, "--cluster", site
    scan = Forked("lensweep", *command, log=tmp_path / "log")
    try:
        until(lambda: shards_done(root) or scan.poll() is not None, root)
        for process in processes("worker", str(RunPaths(root).job / "scheduler.json")):
            process.kill()
        assert shards_done(root) < 56
        assert scan.wait(PATIENCE_S) == 0, scan.said()
    finally:
        scan.kill()
    until(lambda: nothing_left(slurm), root)
    pd.testing.assert_frame_equal(ledger(root), ledger(undisturbed))
    logs = "".join(path.read_text() for path in RunPaths(root).job.glob("worker-*.log"))
    assert "tls://" in logs
    assert "tcp://" not in logs


def nothing_left(slurm):
    return not slurm.ask("squeue", "--noheader")


def test_tasks_of_an_array_continue(slurm, lensweep, asked, undisturbed, tmp_path):
    """One has its scan killed, the other comes to its time limit; each has one of the mosaics."""
    root = tmp_path / "survey"
    status, said = lensweep(
        "submit", "--cluster", "slurm", "--array", 2, "--cores", 1, *asked, "--out", root
    )
    assert status == 0, said
    assert f"job {job_id(root)}" in said
    first, second = root / "0000", root / "0001"
    until(lambda: shards_done(first) and shards_done(second), root)
    for process in scans_of(root, "scan-0.toml"):
        process.kill()
    slurm.ask("scancel", "--batch", "--signal=USR1", f"{job_id(root)}_1")
    status, said = lensweep("status", root)
    assert status == 0
    assert f"slurm {job_id(root)}: " in said
    assert "0 of 2 runs finished" in said
    until(lambda: nothing_left(slurm), root)
    killed, late = (
        (RunPaths(root).job / f"driver-{job_id(root)}_{task}.log").read_text() for task in (0, 1)
    )
    assert "ended with status 137: begun again" in killed
    assert "time is nearly up: to be continued" in late
    assert "restart 1" in late
    # SLURM knows the last task by the number of the whole array.
    assert "restart 1" not in killed
    status, said = lensweep("status", root)
    assert "COMPLETED" in said
    assert "2 of 2 runs finished" in said
    found = pd.concat([ledger(first), ledger(second)])
    by = ["mosaic", "window"]
    pd.testing.assert_frame_equal(
        found.sort_values(by, ignore_index=True),
        ledger(undisturbed).sort_values(by, ignore_index=True),
    )


def test_a_lost_node_is_survived(slurm, lensweep, asked, undisturbed, tmp_path):
    """First the scheduler dies, then the driver's node with all that runs there."""
    root = tmp_path / "run"
    submit = ("submit", "--cluster", "slurm", "--nodes", 1, "--cores", 1, *asked, "--out", root)
    status, said = lensweep(*submit)
    assert status == 0, said
    until(lambda: shards_done(root), root)
    for process in processes("scheduler", str(RunPaths(root).job / "scheduler.json")):
        process.kill()
    until(lambda: "begun again" in driver_log(root), root)
    # Two drivers of one run would write the same files.
    status, said = lensweep(*submit)
    assert status == 2
    assert "wait for it, or `lensweep cancel" in said
    before = shards_done(root)
    until(lambda: shards_done(root) > before, root)
    assert shards_done(root) < 56
    node = slurm.ask("squeue", "--noheader", f"--jobs={job_id(root)}", "--format=%N")
    slurm.lose_node(node)
    until(lambda: "restart 1" in driver_log(root), root)
    until(lambda: nothing_left(slurm), root)
    slurm.start_node(node)
    for name in ("candidates.parquet", "ledger.parquet"):
        found, wanted = pq.read_table(root / name), pq.read_table(undisturbed / name)
        assert found.replace_schema_metadata().equals(wanted.replace_schema_metadata())
    status, said = lensweep("status", root)
    assert f"slurm {job_id(root)}: COMPLETED" in said
    assert "finished  the catalogue is written" in said
    workers = "".join(path.read_text() for path in RunPaths(root).job.glob("worker-*.log"))
    assert "Registered to:" in workers
    assert "tcp://" not in workers


def test_a_cancelled_scan_leaves_nothing_running(slurm, lensweep, asked, tmp_path):
    root = tmp_path / "run"
    status, said = lensweep(
        "submit", "--cluster", "slurm", "--nodes", 1, "--cores", 1, *asked, "--out", root
    )
    assert status == 0, said
    until(lambda: scans_of(root), root)
    status, said = lensweep("cancel", root)
    assert status == 0
    assert f"cancelled slurm {job_id(root)}" in said
    until(lambda: nothing_left(slurm), root)
    assert not scans_of(root)
    status, said = lensweep("status", root)
    assert "CANCELLED" in said
    assert "finished" not in said


def test_what_slurm_refuses_leaves_nothing(slurm, lensweep, asked, tmp_path):
    root = tmp_path / "run"
    status, said = lensweep(
        "submit", "--cluster", "slurm", "--partition", "gone", *asked, "--out", root
    )
    assert status == 2
    assert "lensweep: sbatch: " in said
    assert "invalid partition" in said
    assert not root.exists()
