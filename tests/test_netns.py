"""Workers across a network that fails: two namespaces and a pair of virtual interfaces."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from dask_nodes import ENVIRONMENT, wait_until

from lensweep.scanner.run.paths import RunPaths

NAME = "field_f814w_drz"
HEAD, FAR = f"lw-head-{os.getpid()}", f"lw-far-{os.getpid()}"
HEAD_IP, FAR_IP = "10.213.7.1", "10.213.7.2"
# How long a connection of Dask lasts that nothing comes through. It waits 30 s by default, and
# refuses less than 11 s.
TCP_TIMEOUT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespaces():
    """The command and the scheduler live in one, workers in both."""
    try:
        for name in (HEAD, FAR):
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no right to make network namespaces here ({error})")
    try:
        ip("link", "add", "lw-h", "netns", HEAD, "type", "veth", "peer", "lw-f", "netns", FAR)
        for name, link, address in ((HEAD, "lw-h", HEAD_IP), (FAR, "lw-f", FAR_IP)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in (HEAD, FAR):
            ip("netns", "del", name)


@pytest.fixture
def started(tmp_path):
    """``started(namespace, words)``: a command in a namespace, ended with the test.

    What they write goes to ``log0``, ``log1`` and so on.
    """
    processes = []

    def start(namespace, *words):
        with (tmp_path / f"log{len(processes)}").open("w") as log:
            processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", namespace, sys.executable, "-m", *map(str, words)],
                    stdout=log, stderr=log, env=os.environ | ENVIRONMENT | TCP_TIMEOUT,
                )
            )  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def worker(address):
    return ("dask", "worker", f"tcp://{HEAD_IP}:8786", "--host", address, "--nthreads", "1",
            "--nworkers", "1", "--resources", "CUT=1,SCORE=1", "--no-dashboard",
            "--dashboard-address", "127.0.0.1:0")  # fmt: skip


def test_a_link_that_is_cut_for_a_while(namespaces, started, client, estimator_bundle, tmp_path):
    """For longer than connections last: the scheduler gives a worker up."""
    field = write_field(tmp_path / f"{NAME}.fits", seed=3)
    (tmp_path / "scan.toml").write_text(
        f'mosaics = ["{field}"]\nensemble = "{estimator_bundle}"\nwindows_per_shard = 4\n'
        f'cluster = "tcp://{HEAD_IP}:8786"\nscreen = "off"\nmerge_radius_arcsec = 10.0\n'
    )
    root = tmp_path / "expected"
    expected = scan_here(client, estimator_bundle, [field], root, windows_per_shard=4)
    assert expected.exit_status == 0
    scheduler_log = tmp_path / "log0"
    started(HEAD, "dask", "scheduler", "--host", HEAD_IP, "--dashboard-address", "127.0.0.1:0")
    started(HEAD, *worker(HEAD_IP))
    started(FAR, *worker(FAR_IP))
    paths = RunPaths(tmp_path / "run")
    asked = "scan", "--config", tmp_path / "scan.toml", "--out", paths.root
    wait_until(lambda: scheduler_log.read_text().count("Register worker addr") == 2)
    scan = started(HEAD, "lensweep", *asked)
    moment = int(np.random.default_rng(2018).integers(1, 16))
    wait_until(lambda: len(paths.score_markers(NAME)) >= moment)
    assert "Remove worker" not in scheduler_log.read_text()
    ip("-n", FAR, "link", "set", "lw-f", "down")
    wait_until(lambda: f"Remove worker addr: tcp://{FAR_IP}" in scheduler_log.read_text())
    ip("-n", FAR, "link", "set", "lw-f", "up")
    # It has given the scheduler up as well; whoever supervises it starts it again.
    started(FAR, *worker(FAR_IP))
    assert scan.wait(1200) == 0
    for name in ("candidates.parquet", "ledger.parquet"):
        tables = [pq.read_table(tmp_path / run / name) for run in ("run", "expected")]
        assert tables[0].replace_schema_metadata().equals(tables[1].replace_schema_metadata())
