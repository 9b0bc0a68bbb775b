"""Programs in processes of their own, forked off one that has imported what they need.

Started by itself each would import it anew, for four seconds; and so would its workers.
"""

import os
import runpy
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

import psutil

from lensweep.deploy.local import begin_fork_server
from lensweep.scanner.work.stages import IMPORTS

# Of a scan, before and after its workers' part; with what draws a cluster's dashboard.
PRELOAD = ("lensweep.commands.app", "lensweep.commands.show", "lensweep.scanner.work.scan",
           "distributed.dashboard.scheduler")  # fmt: skip


def begin_server():
    """Let this process have its server now, unless it has one: whoever is first says with what."""
    begin_fork_server((*PRELOAD, *IMPORTS))


class Forked:
    """``python -m PROGRAM ...`` in a session of its own; `log` takes what it writes."""

    def __init__(self, program, *arguments, log, environment: Mapping[str, str] | None = None):
        begin_server()
        self._log = Path(log)
        given = (program, list(map(str, arguments)), str(Path.cwd()),
                 os.environ | (environment or {}), str(log))  # fmt: skip
        self._process = get_context("forkserver").Process(target=_run, args=given)
        self._process.start()
        self.pid = self._process.pid
        while not self._leads():
            time.sleep(0.005)

    def _leads(self):
        """Whether its session is its own, so that all of it can be killed; or it has ended."""
        try:
            return os.getpgid(self.pid) == self.pid
        except ProcessLookupError:
            return True

    def poll(self):
        """The exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s=600.0):
        """The exit status, when it has ended; None if it has not by then."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def said(self):
        return self._log.read_text()

    def kill(self):
        """It alone: whatever it has started sees to itself."""
        self._process.kill()
        self.wait()

    def kill_session(self):
        """With all that it has started, at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def family(self):
        """All that it has started, and they."""
        return psutil.Process(self.pid).children(recursive=True)

    def worker(self):
        """One that works for it, if there is one: such are forked off a server of its own."""
        for server in psutil.Process(self.pid).children():
            if "forkserver" in " ".join(server.cmdline()):
                return next(iter(server.children()), None)
        return None


def _run(program, arguments, folder, environment, log):
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
