"""A scan on two nodes during which something goes wrong again and again.

    python benchmarks/faults.py [FAULTS] [SEED]

Runs the same small scan over and over on a cluster of processes of this machine; once in each run,
at a random moment, a random one of the faults below happens. Prints a line per fault: how the run
ended, after how many commands, and whether its catalogue, ledger and scores are those of the
undisturbed run. FAULTS are 30 by default, and take about ten minutes. A poisoned shard has to end
with status 3 and to be all that the ledger calls failed; mended, it is as the others.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from stub import save_stub, write_config, write_noise

from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan

# The tests' cluster of processes that can be lost.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from dask_nodes import Machines
from slow_storage import SlowStorage

NAME, BUNDLE = "noise", "stub"
SIDE_PX = 500
SETTINGS = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"}
MAY_PASS = 75
# As text: the workers know no function of this file.
FILL_MEMORY = "held = []\nwhile True: held.append(b'x' * 2**27)"
# A node sees file systems of its own, so that one can be taken from it.
ALONE = ("unshare", "--mount")


class Scan:
    """One scan that is disturbed, and started again where its command says that it may be."""

    def __init__(self, config: Path, root: Path, machines: Any, rng: np.random.Generator) -> None:
        self.config, self.root, self.machines, self.rng = config, root, machines, rng
        self.commands = 0
        self.start()

    def start(self) -> None:
        """Give the command."""
        command = [sys.executable, "-m", "lensweep", "scan", "--config", str(self.config),
                   "--out", str(self.root)]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.commands += 1

    def scored(self) -> int:
        """Shards done."""
        return len(RunPaths(self.root).score_markers(NAME))

    def finish(self) -> int:
        """Wait, and repeat the command while it says that it may go well."""
        while (status := self.process.wait()) in (MAY_PASS, -signal.SIGKILL):
            self.start()
        return status

    def node(self) -> Any:
        """One of the nodes."""
        return self.machines.nodes[int(self.rng.integers(len(self.machines.nodes)))]

    def worker(self, node: Any = None) -> psutil.Process:
        """The worker process of a node, or of any."""
        node = node or self.node()
        while True:
            for child in psutil.Process(node.pid).children():
                if "spawn_main" in " ".join(child.cmdline()):
                    return child
            time.sleep(0.05)


def kill_worker(scan: Scan) -> None:
    """A worker process is killed."""
    scan.worker().kill()


def stop_worker(scan: Scan) -> None:
    """A worker process stops answering, for good."""
    scan.worker().suspend()


def slow_worker(scan: Scan) -> None:
    """A worker stands still nine tenths of the time."""
    # For five seconds, as one whose storage is slow.
    worker = scan.worker()
    for _ in range(5):
        worker.suspend()
        time.sleep(0.9)
        worker.resume()
        time.sleep(0.1)


def fill_worker(scan: Scan) -> None:
    """A worker takes more memory than it may."""
    from distributed import Client

    with Client(scan.machines.address) as client:
        address, pid = next(iter(client.run(os.getpid).items()))
        hog = client.submit(exec, FILL_MEMORY, workers=[address], pure=False)
        while psutil.pid_exists(pid):
            time.sleep(0.1)
        hog.cancel(force=True)


def lose_node(scan: Scan) -> None:
    """A node is gone, and another one comes."""
    scan.machines.lose(scan.machines.nodes[0])
    scan.machines.add_node(before=ALONE)


def kill_scheduler(scan: Scan) -> None:
    """The scheduler is killed, and started again."""
    scan.machines.lose(scan.machines.scheduler)
    for node in list(scan.machines.nodes):
        scan.machines.lose(node)
    scan.machines.start_scheduler()
    for _ in range(2):
        scan.machines.add_node(before=ALONE)


def kill_command(scan: Scan) -> None:
    """The command is killed, and given again."""
    scan.process.kill()


def mosaic_of(scan: Scan) -> Path:
    """The file that is scanned."""
    return Path(json.loads(RunPaths(scan.root).plan(NAME).read_text())["mosaic"]["path"])


def hang_storage(scan: Scan) -> None:
    """The mosaic cannot be opened for eight seconds."""
    mosaic = mosaic_of(scan)
    aside = mosaic.with_suffix(".aside")
    mosaic.rename(aside)
    os.mkfifo(mosaic)
    # A shard that was given before the command knew is tried a second time within this.
    time.sleep(8.0)
    mosaic.unlink()
    aside.rename(mosaic)


def slow_storage(scan: Scan) -> None:
    """Each opening of the mosaic takes 0.3 s longer."""
    slow = SlowStorage(mosaic_of(scan), 0.3)
    slow.begin()
    scan.process.wait()
    slow.end()


def hide_bundle(scan: Scan) -> None:
    """The bundle is gone from a node, and another comes."""
    node, bundle = scan.node(), scan.config.parent / BUNDLE
    inside = ["nsenter", "--target", str(node.pid), "--mount"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "none", str(bundle)], check=True)
    # The others stand still until its worker has started anew: they would be through before.
    others = [scan.worker(other) for other in scan.machines.nodes if other is not node]
    for other in others:
        other.suspend()
    worker = scan.worker(node)
    worker.kill()
    worker.wait()
    scan.worker(node)  # the next one, by when the scheduler knows of the end of this one
    scan.machines.wait_for(2)
    for other in others:
        other.resume()
    # It is retired when it has been found out.
    while node.poll() is None and scan.process.poll() is None:
        time.sleep(0.1)
    scan.machines.lose(node)
    scan.machines.add_node(before=ALONE)


def poison_shard(scan: Scan) -> None:
    """A shard fails, until it is mended."""
    paths, last = RunPaths(scan.root), read_plan(scan.root, NAME).n_shards - 1
    in_the_way = paths.cutouts(NAME) / "flux" / "c" / str(last)
    in_the_way.touch()
    status = scan.finish()
    ledger = pq.read_table(paths.ledger).to_pandas()
    failed = set(ledger.loc[ledger["state"] == "failed", "shard"])
    assert (status, failed) == (3, {last}), f"status {status}, shards {failed} failed"
    in_the_way.unlink()
    scan.start()


def fill_disk(scan: Scan) -> None:
    """The run's disk is full for three seconds."""
    ballast = scan.root.parent / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
    except OSError:
        time.sleep(3.0)
    ballast.unlink()


FAULTS: list[Callable[[Scan], None]] = [
    kill_worker, stop_worker, slow_worker, fill_worker, lose_node, kill_scheduler, kill_command,
    hang_storage, slow_storage, hide_bundle, poison_shard, fill_disk,
]  # fmt: skip


def main(n_faults: int, seed: int) -> None:
    """Print a line per fault."""
    rng = np.random.default_rng(seed)
    kinds = list(itertools.islice(itertools.cycle(rng.permutation(len(FAULTS))), n_faults))
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("w") as log:
        disk = Path(name) / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)], check=True)
        machines = Machines(log, SETTINGS)
        try:
            for _ in range(2):
                machines.add_node(before=ALONE)
            config = write_config(
                Path(name) / "scan.toml", mosaics=[str(write_noise(disk / "noise.fits", SIDE_PX))],
                ensemble=str(save_stub(Path(name) / BUNDLE)), windows_per_shard=16, stride=20,
                shard_timeout_s=3.0, cluster=machines.address, min_logit=-1e6,
                merge_radius_arcsec=10.0,
            )  # fmt: skip
            disturb(config, disk, machines, kinds, rng)
        finally:
            machines.close()
            subprocess.run(["umount", str(disk)], check=True)


def disturb(
    config: Path, disk: Path, machines: Any, kinds: list[int], rng: np.random.Generator
) -> None:
    """Scan once undisturbed, then once for every fault."""
    expected = Scan(config, disk / "expected", machines, rng)
    assert expected.finish() == 0
    shards = expected.scored()
    print(f" #  {'fault':50}  at shard  commands  status  same")
    for number, kind in enumerate(kinds, 1):
        root, fault = disk / f"run{number}", FAULTS[kind]
        scan, moment = Scan(config, root, machines, rng), int(rng.integers(1, shards - 5))
        while scan.scored() < moment:
            time.sleep(0.005)
        fault(scan)
        status = scan.finish()
        words = str(fault.__doc__).splitlines()[0]
        print(f"{number:2}  {words[:50]:50}  {moment:8}  {scan.commands:8}  {status:6}  "
              f"{same(root, expected.root)}", flush=True)  # fmt: skip
        subprocess.run(["rm", "-r", str(root)], check=True)


def same(root: Path, expected: Path) -> bool:
    """Whether two runs ended alike; a run without a catalogue did not."""
    if not (root / "candidates.parquet").is_file():
        return False
    tables = [
        [pq.read_table(folder / name).replace_schema_metadata() for folder in (root, expected)]
        for name in ("candidates.parquet", "ledger.parquet")
    ]
    return all(one.equals(other) for one, other in tables)


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("30", "1")[len(sys.argv) - 1 :])))
