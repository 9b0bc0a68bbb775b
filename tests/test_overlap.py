"""A process reads and writes while its device computes, and no device waits for another."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import scan_here
from dask_nodes import Machines, wait_until
from distributed import Client
from test_placement import cluster_of, spec

from lensweep.scanner.network import inference
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.work.tasks import ensemble_once

NAME = "field_f814w_drz"
# Well below what is there to be read: seven shards.
THREADS = 3


class Watched:
    """A device whose batches wait for what must happen meanwhile; it counts reads and writes."""

    def __init__(self, load):
        self.load, self.shards, self.read, self.written = load, [], 0, 0
        self.most_at_once = 0
        self.changed = threading.Condition()

    def counting(self, function, name):
        def counted(*arguments):
            result = function(*arguments)
            with self.changed:
                setattr(self, name, getattr(self, name) + 1)
                self.most_at_once = max(self.most_at_once, self.read - self.written)
                self.changed.notify_all()
            return result

        return counted

    def load_frozen(self, *arguments):
        network, batches = self.load(*arguments), iter(range(1000))

        def run(looks):
            with self.changed:
                number = next(batches)
                # While the first batch is computed the second shard is read; while the second is,
                # what came of the first is written.
                self.shards.append(
                    self.changed.wait_for(
                        lambda: self.read >= 2 and self.written >= min(number, 1), timeout=60.0
                    )
                )
            return network(looks)

        return run


@pytest.fixture
def watched(monkeypatch):
    watch = Watched(inference.load_frozen)
    monkeypatch.setattr(inference, "load_frozen", watch.load_frozen)
    for module, function, name in (
        (cutout_store, "read_written", "read"), (score_store, "write_shard", "written"),
    ):  # fmt: skip
        counted = watch.counting(getattr(module, function), name)
        monkeypatch.setattr(module, function, counted)
    ensemble_once.cache_clear()
    yield watch
    ensemble_once.cache_clear()


def test_shards_are_read_and_written_while_the_device_computes(
    watched, scan, client, tiny_bundle, field, tmp_path
):
    expected = None
    workers = spec(CUT=1), spec(threads=THREADS, SCORE=THREADS)
    with cluster_of(*workers) as cluster, Client(cluster) as here:
        here.wait_for_workers(2)
        outcome = scan_here(here, tiny_bundle, [field], tmp_path / "run")
    assert outcome.exit_status == 0
    # The run says in which precision it was scored.
    begun = json.loads(outcome.paths.run.read_text())
    assert begun["scored_in"] == {"float32": outcome.tally.scored}
    assert watched.shards
    assert all(watched.shards), "a batch waited in vain"
    # And no more shards are in memory than there are threads.
    assert watched.most_at_once <= THREADS
    expected = scan([field], tmp_path / "expected").paths
    for a, b in zip(*(score_store.read(p.scores(NAME)) for p in (outcome.paths, expected)),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_a_device_that_stands_still_holds_only_what_it_has_begun(tiny_bundle, field, tmp_path):
    """Of two devices one computes nothing until all other shards are scored."""
    hold, preload = tmp_path / "hold", Path(__file__).with_name("held_device.py")
    hold.touch()
    paths = RunPaths(tmp_path / "run")
    options = ("--preload", str(preload), "--nthreads", "2")
    with (tmp_path / "log").open("w") as log:
        machines = Machines(log)
        try:
            machines.fork_node("CUT=1")
            for file in (hold, tmp_path / "nothing"):
                machines.fork_node("SCORE=2", options, {"HELD_DEVICE": str(file)})
            machines.wait_for(3)
            done = []

            def let_go():
                try:
                    done.extend(wait_until(lambda: enough(paths), timeout_s=400.0))
                finally:
                    hold.unlink()

            waiting = threading.Thread(target=let_go, daemon=True)
            waiting.start()
            with Client(machines.address) as client:
                outcome = scan_here(client, tiny_bundle, [field], paths.root)
            waiting.join()
        finally:
            machines.close()
    assert outcome.exit_status == 0
    # Two threads hold a shard each.
    assert len(done) >= 7 - 2


def enough(paths):
    markers = paths.score_markers(NAME)
    return markers if len(markers) >= 7 - 2 else []
