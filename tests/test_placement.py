"""Which workers are given what, and how much of it."""

import asyncio
import math
from collections import defaultdict

import pytest
from conftest import scan_here
from distributed import Client, Scheduler, SpecCluster, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

from lensweep.deploy.cluster import open_client
from lensweep.deploy.config import CUT, SCORE
from lensweep.scanner.work.dispatch import IN_FLIGHT_PER_WORKER, Crew, Dispatch
from lensweep.scanner.work.stages import SHARDS_PER_PROCESS

SCHEDULER = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}}


def spec(threads=1, **resources):
    options = {"nthreads": threads, "resources": resources, "host": "127.0.0.1",
               "dashboard_address": "127.0.0.1:0"}  # fmt: skip
    return {"cls": Worker, "options": options}


def cluster_of(*workers):
    return SpecCluster(dict(enumerate(workers)), SCHEDULER, silence_logs="CRITICAL")


class Watch(SchedulerPlugin):
    """Which worker did what."""

    def __init__(self):
        self.doers = defaultdict(set)

    def transition(self, key, start, finish, *args, worker=None, **kwargs):
        if (start, finish) == ("processing", "memory"):
            self.doers[str(key).split("-")[0]].add(worker)


@pytest.mark.parametrize(
    ("workers", "cutters", "scorers"),
    [
        ([spec(CUT=1), spec(SCORE=1)], {0}, {1}),  # two kinds of machines
        ([spec(CUT=1, SCORE=1)], {0}, {0}),  # machines that do both
        ([spec(GPU=1)], {0}, {0}),  # somebody else's resources
        ([spec()], {0}, {0}),  # no resources
    ],
)
def test_every_worker_does_its_part(tiny_bundle, field, tmp_path, workers, cutters, scorers):
    watch = Watch()
    with cluster_of(*workers) as cluster, Client(cluster) as client:
        cluster.scheduler.add_plugin(watch, name="watch")
        assert scan_here(client, tiny_bundle, [field], tmp_path / "run").exit_status == 0
        addresses = {name: worker.address for name, worker in cluster.workers.items()}
    assert watch.doers["plan_unless_lost"] <= {addresses[name] for name in cutters}
    assert watch.doers["cut_unless_done"] == {addresses[name] for name in cutters}
    assert watch.doers["score_unless_done"] == {addresses[name] for name in scorers}


def test_a_scan_starts_no_more_processes_than_its_shards_are_worth(tiny_bundle, field, tmp_path):
    with open_client("local", 8, begin_with=1) as client:
        outcome = scan_here(client, tiny_bundle, [field], tmp_path / "run")
        assert outcome.exit_status == 0
        # 112 windows in shards of 16.
        assert len(client.cluster.workers) == math.ceil(7 / SHARDS_PER_PROCESS)


def test_a_crew_is_what_its_workers_say():
    with cluster_of(spec(CUT=1), spec(threads=3, SCORE=1)) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        crew = Crew(client)
        crew.look()
        assert crew.places == IN_FLIGHT_PER_WORKER * 4
        assert crew.needs(CUT) == {"CUT": 1}
        assert crew.needs(SCORE) == {"SCORE": 1}
        assert crew.able(SCORE) == [cluster.workers[1].address]


def test_work_waits_for_the_first_worker_and_follows_the_later_ones(monkeypatch):
    """Nothing that is under way when workers come or go is lost, or more than they can hold."""
    monkeypatch.setattr("lensweep.scanner.work.dispatch.REFRESH_S", 0.0)
    with cluster_of() as cluster, Client(cluster) as client:
        crew, under_way, most = Crew(client), set(), {}

        def submit(piece):
            under_way.add(piece)
            most[crew.places] = max(most.get(crew.places, 0), len(under_way))
            return [client.submit(asyncio.sleep, 0.01, pure=False)]

        done, work = [], Dispatch(client, crew, iter(range(1, 61)), submit)
        assert crew.places == 0
        cluster.worker_spec[0] = spec()
        cluster.scale(1)
        for piece, future, last in work:
            assert last
            under_way.remove(piece)
            if future.status == "lost":  # its worker was the only one to know
                work.again(piece)
                continue
            assert future.status == "finished"
            done.append(piece)
            if len(done) == 20:
                cluster.worker_spec |= {1: spec(), 2: spec()}
                cluster.scale(3)
                client.wait_for_workers(3)
            if len(done) == 40:
                cluster.scale(1)
    assert sorted(done) == list(range(1, 61))
    assert most[3 * IN_FLIGHT_PER_WORKER] == 3 * IN_FLIGHT_PER_WORKER
    assert all(seen <= places for places, seen in most.items() if places > IN_FLIGHT_PER_WORKER)


def test_pieces_are_never_listed():
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    with cluster_of(spec()) as cluster, Client(cluster) as client:
        work = Dispatch(
            client, Crew(client), endless(), lambda _: [client.submit(asyncio.sleep, 0, pure=False)]
        )
        for piece, _, _ in work:
            # One more is drawn, to know whether there is one.
            assert drawn - piece <= IN_FLIGHT_PER_WORKER
            if piece == 30:
                break
