"""How busy a GPU is kept: the network alone, first looks, judging, a whole scan, training.

    python benchmarks/gpu.py [BUNDLE] [SIDE_PX]

Of BUNDLE (xception-7fold), in float32 and in half precision; the scan is of a mosaic of SIDE_PX
(6,000) a side, every window scored. Without a GPU the processor's rates are printed, and the scan
is done with a stand-in: a device that takes a stated time per batch and uses no core
(`stand_in.py`), at rising rates, until the cores that cut, read and write are the limit.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
from contest import machine
from distributed import Client, Nanny, Scheduler, SpecCluster
from field import warm_rate
from numpy.typing import NDArray
from resident import run
from stand_in import RATE
from stub import save_stub, write_noise

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.deploy.config import CUT, SCORE, SHARDS_AT_ONCE
from lensweep.deploy.environment import DASK_SETTINGS, worker_environment
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import FULL, Ensemble
from lensweep.scanner.network.known_devices import FOLDER_VARIABLE
from lensweep.scanner.network.looks import first_looks
from lensweep.scanner.network.networks import device_name, on_gpu, reduced_precision
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.work.scan import run_scan
from lensweep.training.simulation.simulate import plan_kinds, simulate

DISTINCT = 16  # simulated cutouts; repeated, since simulating costs more than scoring
ROUNDS, ROUND_S = 5, 0.5
STAND_IN_RATES = (750.0, 1500.0, 3000.0, 6000.0, 1e9)
STRIDE, SAMPLE_S = 50, 0.1
# Seconds that training may take, with the compiling of its first step.
TRAINING_S = 30.0


def main(name: str, side_px: int) -> None:
    """Print the table of this machine."""
    print(f"\n{machine()}\n{device_name()}\n")
    print("| what | precision | batch | cutouts/s | device busy |\n|---|---|---|---|---|")
    n_cutouts = 4096 if on_gpu() else 64
    drawn = np.stack([one.flux for one in simulate(plan_kinds(DISTINCT, 1), 1)])
    flux = np.resize(drawn, (n_cutouts, *drawn.shape[1:]))
    for precision in filter(None, (FULL, reduced_precision())):
        scores(name, precision, flux)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        mosaic = write_noise(folder / "noise_f814w_drz.fits", side_px)
        if on_gpu():
            for precision in (FULL, "auto"):
                gpu_scan(name, mosaic, folder / precision, precision)
        else:
            stand_ins(mosaic, folder)
    training(256 if on_gpu() else 64)
    if not on_gpu():
        print("\nno GPU here: the rates are this processor's, and the scans' device is a stand-in")


def row(what: str, precision: str, batch: str, rate: float, busy: str = "") -> None:
    """Print a line of the table."""
    print(f"| {what} | {precision} | {batch} | {rate:,.0f} | {busy} |", flush=True)


def best_rate(work: Callable[[], object], n: int) -> float:
    """Cutouts a second of the fastest of some rounds, after one that warms up."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
        if sum(times) > ROUNDS * ROUND_S:
            break
    return n / min(times)


def scores(name: str, precision: str, flux: NDArray[np.float32]) -> None:
    """Rates of one process that has the cutouts in memory."""
    asked = precision.replace(FULL, "full")
    ensemble = Ensemble(check_bundle(name), asked, "off")
    network = ensemble._trunks[0].network
    looks = first_looks(flux, measure_noise(flux))[slice(0, network.size)]
    size = str(network.size)
    row("network alone", precision, size,
        best_rate(lambda: network._network(looks), len(looks)))  # fmt: skip
    row("first look", precision, size, best_rate(lambda: ensemble.first_look(flux), len(flux)))
    noise = measure_noise(flux)
    row("judge, noise known", precision, size,
        best_rate(lambda: ensemble.judge(flux, noise), len(flux)))  # fmt: skip
    if precision != FULL and check_bundle(name).description.screen is not None:
        screened = Ensemble(check_bundle(name), asked, "on")
        row("judge with the screen", precision, size,
            best_rate(lambda: screened.judge(flux, noise), len(flux)))  # fmt: skip


def gpu_scan(name: str, mosaic: Path, out: Path, precision: str) -> None:
    """A whole scan as it is commanded, and how busy the GPU was while it scored."""
    with sampled_gpu() as busy:
        begin = time.time()
        ran = run([sys.executable, "-m", "lensweep", "scan", str(mosaic), "--out", str(out),
                   "--ensemble", name, "--screen", "off", "--stride", str(STRIDE),
                   "--cluster", "cuda",
                   "--precision", precision.replace(FULL, "full")])  # fmt: skip
    if ran.status:
        sys.exit(f"lensweep scan ended with status {ran.status}")
    at_work = [share for share in busy if share > 0] or [0]
    scored = [path.stat().st_mtime - begin for path in out.glob("done/*/*.score.json")]
    span = f"its first shard scored at {min(scored):.1f} s, its last at {max(scored):.1f} s"
    row(f"whole scan, {ran.seconds:.1f} s: {span}", precision, "", warm_rate(out),
        f"{np.median(at_work):.0f} %")  # fmt: skip


@contextmanager
def sampled_gpu() -> Iterator[list[int]]:
    """Sample the share of time in which the first GPU computes, in percent (NVML)."""
    import pynvml

    pynvml.nvmlInit()
    handle, shares, over = pynvml.nvmlDeviceGetHandleByIndex(0), list[int](), threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            shares.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield shares
    finally:
        over.set()
        sampling.join()


def stand_ins(mosaic: Path, folder: Path) -> None:
    """Scans with devices of several speeds; the last takes no time, so that cores are the limit."""
    bundle = str(save_stub(folder / "stub"))
    for number, rate in enumerate(STAND_IN_RATES):
        found = stand_in_scan(mosaic, bundle, folder / f"run-{number}", rate)
        what = f"scan, stand-in of {rate:,.0f}/s" if rate < 1e9 else "scan, the cores' limit"
        row(what, "", "256", found, f"{found / rate:.0%}" if rate < 1e9 else "")


def stand_in_scan(mosaic: Path, bundle: str, out: Path, rate: float) -> float:
    """Windows a second of a scan whose scoring process has a stand-in, when warm."""
    common = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    quiet = {**common, "silence_logs": "CRITICAL"}
    environment = {**worker_environment(), RATE: str(rate), FOLDER_VARIABLE: str(out.parent)}
    scoring = {**quiet, "nthreads": SHARDS_AT_ONCE, "resources": {SCORE: SHARDS_AT_ONCE},
               "env": environment, "preload": [str(Path(__file__).with_name("stand_in.py"))],
               "preload_argv": [[]]}  # fmt: skip
    cutting = {**quiet, "nthreads": 1, "resources": {CUT: 1}, "env": worker_environment()}
    cutters = max(1, len(os.sched_getaffinity(0)) - 1)
    workers = [{"cls": Nanny, "options": scoring},
               *[{"cls": Nanny, "options": cutting}] * cutters]  # fmt: skip
    config = ScanConfig((str(mosaic),), str(out), bundle, stride=STRIDE, screen="off")
    with (
        dask.config.set(DASK_SETTINGS),
        SpecCluster(
            dict(enumerate(workers)),
            {"cls": Scheduler, "options": common},
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
        Path(os.devnull).open("w") as nowhere,
    ):
        client.wait_for_workers(len(workers))
        opened, paths = open_run(config)
        run_scan(config, opened, paths, client, PlainProgress(nowhere, time.monotonic))
    return warm_rate(out)


def training(batch: int) -> None:
    """Steps of training the whole of Xception at 100 px."""
    import_tensorflow()
    import keras

    from lensweep.training.fit.classifier import add_head
    from lensweep.training.fit.loop import Course, compile_classifier

    begin = time.perf_counter()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    trunk = keras.applications.Xception(
        weights=None, include_top=False, pooling="avg", input_shape=(100, 100, 3)
    )
    classifier = add_head(trunk, 0.2)
    compile_classifier(classifier, Course("benchmark", 1, 1e-4), 1000)
    rng = np.random.default_rng(1)
    images = rng.uniform(-1.0, 1.0, (batch, 100, 100, 3)).astype(np.float32)
    labels = rng.integers(0, 2, (batch, 1)).astype(np.float32)
    classifier.train_on_batch(images, labels)
    times: list[float] = []
    while len(times) < 20 and (not times or time.perf_counter() - begin < TRAINING_S):
        start = time.perf_counter()
        classifier.train_on_batch(images, labels)
        times.append(time.perf_counter() - start)
    keras.mixed_precision.set_global_policy("float32")
    row("training, all of Xception", "bfloat16", str(batch), batch / min(times))


if __name__ == "__main__":
    words = (*sys.argv[1:], *("xception-7fold", "6000")[len(sys.argv) - 1 :])
    main(words[0], int(words[1]))
