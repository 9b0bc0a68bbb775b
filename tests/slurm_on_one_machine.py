"""A real SLURM on this machine: munged, slurmctld and two slurmd, of this user, in one folder."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
# Debian keeps daemons where the PATH of users does not look.
SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
START_S = 20.0
# ReturnToService=2: a node that was killed may come back. cred_expire: how long a requeued job
# waits (120 s by default).
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 "
    "RealMemory=6000 State=UNKNOWN"
)


class SlurmCannotStartError(RuntimeError):
    """Why there is no SLURM here."""


@dataclass
class Slurm:
    """The running daemons, and how to talk to them.

    Attributes
    ----------
    folder : Path
        Configuration, sockets, states and logs of the daemons.
    daemons : dict of str to Popen
        munged, slurmctld, and one slurmd by the name of its node.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]]

    @property
    def environment(self) -> dict[str, str]:
        """What every command needs to find this SLURM."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": SEARCH}

    def ask(self, *command: str) -> str:
        """Run a command of SLURM; what it says."""
        ran = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=True,
            timeout=30,
        )  # fmt: skip
        return ran.stdout.strip()

    def node_states(self) -> dict[str, str]:
        """The state of every node, such as idle or down."""
        said = self.ask("sinfo", "--noheader", "--Node", "--format=%N %t")
        return dict(line.split() for line in said.splitlines())

    def start_node(self, name: str) -> None:
        """Start one slurmd."""
        self._start(name, "slurmd", "-D", "-N", name)

    def lose_node(self, name: str) -> None:
        """Kill a node as a power cut does, unheard: its daemon and all that runs there.

        The controller would find out by itself after SlurmdTimeout, five minutes; it is told.
        """
        self._kill_steps(name, first=[self.daemons[name].pid])
        self.daemons.pop(name).wait()
        self.ask("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=lost")

    def _kill_steps(self, node: str, first: list[int]) -> None:
        # Those who would tell the controller go first.
        steps = [step for step in psutil.process_iter() if self._is_step_of(step, node)]
        jobs = [process for step in steps for process in step.children(recursive=True)]
        for pid in [*first, *(process.pid for process in [*steps, *jobs])]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_step_of(self, process: psutil.Process, node: str) -> bool:
        log = str(self.folder / f"slurmd.{node}.log")
        try:
            return process.name() == "slurmstepd" and log in {
                file.path for file in process.open_files()
            }
        except psutil.Error:
            return False

    def _start(self, key: str, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=SEARCH)
        assert found is not None
        with (self.folder / f"{key}.out").open("ab") as out:
            self.daemons[key] = subprocess.Popen(
                # Should the tests themselves be killed, it ends too.
                ["setpriv", "--pdeathsig", "TERM", found, *arguments],
                env=os.environ | self.environment, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def _start_all(self) -> None:
        write_configuration(self.folder)
        self._start(
            "munged", "munged", "--foreground", "--force", "--num-threads=2",
            f"--key-file={self.folder}/munge.key", f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        self._await("munged answers", (self.folder / "munge.socket").exists)
        self._start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            self.start_node(name)
        self._await("both nodes are idle", self._all_idle)

    def _all_idle(self) -> bool:
        try:
            return set(self.node_states().values()) == {"idle"}
        except subprocess.CalledProcessError:
            return False

    def _await(self, what: str, happened) -> None:
        until = time.monotonic() + START_S
        while not happened():
            dead = [key for key, daemon in self.daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > until:
                key = dead[0] if dead else list(self.daemons)[-1]
                logs = [*self.folder.glob(f"*{key}*.out"), *self.folder.glob(f"*{key}*.log")]
                said = "; ".join(log.read_text()[-300:] for log in logs).replace("\n", " ")
                raise SlurmCannotStartError(f"waited in vain until {what}: {key} said: {said}")
            time.sleep(0.1)

    def _stop_all(self) -> None:
        for name in NODES:
            self._kill_steps(name, first=[])
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@contextmanager
def slurm_on_one_machine(folder: Path) -> Iterator[Slurm]:
    """Start SLURM in a folder; end its daemons, and what still runs under them, afterwards.

    Raises
    ------
    SlurmCannotStartError
        If the programs are not here, or do not work here.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    if missing:
        raise SlurmCannotStartError(
            f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
        )
    slurm = Slurm(folder, {})
    try:
        slurm._start_all()
        yield slurm
    finally:
        slurm._stop_all()


def write_configuration(folder: Path) -> None:
    """Write slurm.conf and a munge key that nobody else has."""
    folder.chmod(0o755)
    for name in ("state", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    host, ports = socket.gethostname(), free_ports(1 + len(NODES))
    nodes = "\n".join(
        NODE.format(name=name, host=host, port=port)
        for name, port in zip(NODES, ports[1:], strict=True)
    )
    user = pwd.getpwuid(os.getuid()).pw_name
    text = CONF.format(host=host, ports=ports, folder=folder, nodes=nodes, user=user)
    (folder / "slurm.conf").write_text(text)


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
