"""A simulated ACS field, from FITS to ranked Parquet: ours, a notebook's way, Cutana and a network.

    python benchmarks/field.py [SIDE_PX] [BUNDLE] [SHARE]

A field of SIDE_PX (5,700) a side. The notebook's way and Cutana's are run on one in SHARE (1) of
the windows, and their cutting and scoring scaled up where that is more than one. Cutana is skipped
where it is not installed. Every way counts from its start, TensorFlow's import and the loading of
networks among it, to a ranked table on disk. The rate when warm leaves that out: for ours it is
that between the first and the last shard.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from contest import machine
from cut import cutana_config
from numpy.typing import NDArray
from resident import Ran, run
from score import keras_chains

from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import grid_windows
from lensweep.training.simulation.field import make_field

STRIDE, PREDICT_BATCH = 50, 32


def main(side_px: int, name: str, share: int) -> None:
    """Make the field, scan it in every way, print time by stage."""
    print(f"\n{machine()}\n")
    print("| way | start | cutting | scoring | ranking | all, s | × naive | warm, windows/s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image = folder / "field_f814w_drz.fits"
        make_field(image, 2018, side_px)
        corners = grid_windows((side_px, side_px), STRIDE)
        slow = {"notebook, every fold": naive(image, corners[::share], name, share, folder)}
        try:
            slow["Cutana and one network"] = cutana(image, corners[::share], name, share, folder)
        except ImportError as error:
            print(f"| Cutana and one network | skipped: no {error.name} here | | | | | | |")
        base = sum(slow["notebook, every fold"])
        for way, stages in slow.items():
            row(way, stages, base, len(corners) / sum(stages[1:3]))
        screens = {"lensweep, every window": ("off", "full"),
                   "lensweep, every window, reduced precision": ("off", "auto"),
                   "lensweep as it comes, with its screen": ("auto", "auto")}  # fmt: skip
        for number, (way, (screen, precision)) in enumerate(screens.items()):
            out = folder / f"run-{number}"
            begin = time.time()
            ran = run([sys.executable, "-m", "lensweep", "scan", str(image), "--out", str(out),
                       "--ensemble", str(Path(name).absolute() if Path(name).is_dir() else name),
                       "--screen", screen, "--precision", precision])  # fmt: skip
            row(way, stages_of(out, begin, ran), base, warm_rate(out))


def row(way: str, stages: tuple[float, ...], base: float, warm: float) -> None:
    """Print seconds of each stage."""
    total = sum(stages)
    cells = " | ".join(f"{seconds:,.1f}" for seconds in (*stages, total))
    print(f"| {way} | {cells} | {base / total:.1f} | {warm:,.0f} |", flush=True)


def warm_rate(out: Path) -> float:
    """Windows per second from the end of the first shard to that of the last."""
    markers = sorted(out.glob("done/*/*.score.json"), key=lambda path: path.stat().st_mtime)
    counts = [sum(json.loads(path.read_text())[state] for state in ("scored", "screened", "masked"))
              for path in markers[1:]]  # fmt: skip
    return float(sum(counts) / (markers[-1].stat().st_mtime - markers[0].stat().st_mtime))


def stages_of(out: Path, begin: float, ran: Ran) -> tuple[float, ...]:
    """Seconds of planning, cutting, scoring and ranking, told by when files were written.

    Cutting and scoring overlap: cutting ends with its last shard, scoring takes what follows.
    """
    if ran.status:
        sys.exit(f"lensweep scan ended with status {ran.status}")
    paths = RunPaths(out)
    plans = [path.stat().st_mtime for path in paths.plans.glob("*.json")]
    cuts = [path.stat().st_mtime for path in out.glob("done/*/*.cut.json")]
    scores = [path.stat().st_mtime for path in out.glob("done/*/*.score.json")]
    times = (begin, max(plans), max(cuts), max(scores), begin + ran.seconds)
    return tuple(float(seconds) for seconds in np.diff(times))


def naive(
    image: Path, corners: NDArray[np.int32], name: str, share: int, folder: Path
) -> tuple[float, ...]:
    """`Cutout2D` and `predict` once for every fold, as in a notebook."""
    begin = time.perf_counter()
    stretch, chains = keras_chains(check_bundle(name).folder)
    with fits.open(image) as file:
        weight = file["WHT"].data
        pixels = np.where(weight > 0, file["SCI"].data, np.nan).astype(np.float32)
        sky = WCS(file["SCI"].header)
    read = time.perf_counter()
    cut = np.stack(
        [Cutout2D(pixels, (x, y), CUTOUT_SIZE, sky, mode="partial").data
         for x, y in (corners + (CUTOUT_SIZE - 1) / 2.0).tolist()]
    )  # fmt: skip
    valid = np.isfinite(cut).mean(axis=(1, 2)) >= 0.5
    made = time.perf_counter()
    scores = predict(chains, stretch, cut[valid])
    scored = time.perf_counter()
    table = pd.DataFrame(corners[valid], columns=["x0", "y0"]).assign(logit_mean=scores)
    table.sort_values("logit_mean", ascending=False).to_parquet(folder / "naive.parquet")
    ended = time.perf_counter()
    return read - begin, share * (made - read), share * (scored - made), ended - scored


def cutana(
    image: Path, corners: NDArray[np.int32], name: str, share: int, folder: Path
) -> tuple[float, ...]:
    """Cutana's direct way, and one pass of one network."""
    from cutana import create_cutouts_direct

    begin = time.perf_counter()
    stretch, chains = keras_chains(check_bundle(name).folder)
    with fits.open(image) as file:
        plain = folder / "plain.fits"
        fits.PrimaryHDU(file["SCI"].data, file["SCI"].header).writeto(plain, overwrite=True)
        ra, dec = WCS(file["SCI"].header).all_pix2world(*(corners + (CUTOUT_SIZE - 1) / 2.0).T, 0)
    catalogue = pd.DataFrame(
        {"SourceID": [f"s{n}" for n in range(len(ra))], "RA": ra, "Dec": dec,
         "diameter_pixel": CUTOUT_SIZE, "fits_file_paths": f"['{plain}']"}
    )  # fmt: skip
    read = time.perf_counter()
    batches = create_cutouts_direct(catalogue, cutana_config(str(folder)))
    cut = np.concatenate([batch["cutouts"][..., 0] for batch in batches]).astype(np.float32)
    made = time.perf_counter()
    scores = predict(chains[:1], stretch, cut[(cut != 0).mean(axis=(1, 2)) >= 0.5])
    scored = time.perf_counter()
    table = pd.DataFrame({"logit": scores})
    table.sort_values("logit", ascending=False).to_parquet(folder / "cutana.parquet")
    ended = time.perf_counter()
    return read - begin, share * (made - read), share * (scored - made), ended - scored


def predict(
    chains: list[Any], stretch: Any, cutouts: NDArray[np.float32], block: int = 512
) -> NDArray[np.float32]:
    """Mean logit of some Keras models, a block in memory at a time."""
    parts = []
    for first in range(0, len(cutouts), block):
        scaled = stretch(cutouts[first : first + block])
        columns = [chain.predict(scaled, PREDICT_BATCH, verbose=0) for chain in chains]
        parts.append(np.concatenate(columns, axis=1).mean(axis=1))
    return np.concatenate(parts)


if __name__ == "__main__":
    words = (*sys.argv[1:], *("5700", "xception-7fold", "1")[len(sys.argv) - 1 :])
    main(int(words[0]), words[1], int(words[2]))
