"""A Dask cluster whose machines can be lost: each is a group of processes of its own."""

import os
import signal
import socket
import subprocess
import sys
import time

from forked_programs import Forked

from lensweep.deploy.cluster import open_client

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1",
               "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Machines:
    """A scheduler, and nodes with a worker each; ``log``, a file, takes what they write."""

    def __init__(self, log, settings=None):
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._log, self._settings = log, settings or {}
        self.scheduler, self.nodes = None, []
        self.start_scheduler()

    def start_scheduler(self):
        self.scheduler = self._fork(
            "scheduler", "--host", "127.0.0.1", "--port", self.address.rsplit(":", 1)[1],
            "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip

    def add_node(self, resources="CUT=1,SCORE=1", memory="3GiB", before=(), options=()):
        """With a nanny, as `dask worker` is started."""
        asked = *self._worker(resources), "--memory-limit", memory, *options
        self.nodes.append(self._start(*asked, before=before))
        return self.nodes[-1]

    def fork_node(self, resources="CUT=1,SCORE=1", options=(), environment=None):
        """Without a nanny; it is there at once."""
        asked = *self._worker(resources), "--no-nanny", *options
        self.nodes.append(self._fork(*asked, environment=environment))
        return self.nodes[-1]

    def _worker(self, resources):
        return ("worker", self.address, "--nthreads", "1", "--nworkers", "1", "--host",
                "127.0.0.1", "--resources", resources, "--no-dashboard",
                "--dashboard-address", "127.0.0.1:0")  # fmt: skip

    def wait_for(self, workers):
        """Until so many are there, and no more."""
        with open_client(self.address, timeout_s=300.0) as client:
            wait_until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == workers)

    def lose(self, process):
        """A machine without power: no farewell."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process in self.nodes:
            self.nodes.remove(process)

    def close(self):
        for process in [*self.nodes, self.scheduler]:
            self.lose(process)

    def _fork(self, *arguments, environment=None):
        settings = ENVIRONMENT | self._settings | (environment or {})
        return Forked("dask", *arguments, log=self._log.name, environment=settings)

    def _start(self, *arguments, before=()):
        return subprocess.Popen(
            [*before, sys.executable, "-m", "dask", *arguments], stdout=self._log,
            stderr=self._log, start_new_session=True, env=os.environ | ENVIRONMENT | self._settings,
        )  # fmt: skip


def wait_until(happens, timeout_s=600.0, every_s=0.01):
    """The first true value of a function of nothing."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := happens():
            return found
        time.sleep(every_s)
    raise AssertionError(f"{happens} did not happen within {timeout_s} s")
