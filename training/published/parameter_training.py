"""Train a network of lens parameters on a simulated set, and measure one on another set."""

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.outputs import begun_folder
from lensweep.ground.progress import Progress
from lensweep.ground.settings import at_least, check_seed
from lensweep.scanner.network.lens_parameters import (
    MANIFEST,
    PARAMETERS,
    Estimates,
    load_parameter_network,
)
from lensweep.training.data.examples import Examples, open_examples, read_flux
from lensweep.training.published.lens_parameters import (
    LensParameterRegressor,
    coverage_of,
    parameters_of,
)

# The Einstein radius from which arcs are apart from the lens at Hubble's resolution.
LARGE_ARCSEC = 0.6
_NEEDED = ("theta_e_arcsec", "axis_ratio", "angle_rad", "x_px", "y_px")
_BINS_ARCSEC = (0.3, 0.6, 0.9, 1.2, 1.6, 2.5)


def train_parameters(
    data: Sequence[Path],
    out: Path,
    regressor: LensParameterRegressor,
    progress: Progress,
    n_lenses: int | None = None,
) -> Path:
    """Train on the lenses of simulated sets; a training that was stopped continues.

    Parameters
    ----------
    data : sequence of Path
        Folders of `lensweep simulate`.
    out : Path
        Folder of the network; there is none in it yet.
    regressor : LensParameterRegressor
    progress : Progress
    n_lenses : int, optional
        As many of the first lenses, through all sets; all by default.

    Raises
    ------
    InputError
        If a number cannot be used, a set has no lenses with known parameters, there are too few,
        or the folder cannot be used.
    """
    at_least("epochs", regressor.epochs, 1)
    check_seed(regressor.seed)
    if n_lenses is not None:
        at_least("n", n_lenses, 1)
    with begun_folder(out):
        if (out / MANIFEST).is_file():
            raise InputError(f"output folder {out}: holds a network already; name another")
        sets = [open_lenses(one) for one in data]
    flux = np.concatenate([read_flux(examples.store, rows) for examples, rows in sets])[:n_lenses]
    truth = pd.concat([examples.truth.iloc[rows] for examples, rows in sets])[:n_lenses]
    if n_lenses is not None and len(flux) < n_lenses:
        raise InputError(f"{len(flux)} lenses, but {n_lenses} are asked for; simulate more")
    made_of = {"cutouts_sha256": [examples.fingerprint for examples, _ in sets]}
    asked = made_of | {"n_lenses": len(flux)} | regressor.get_params()
    # Of another training nothing is continued: its held-out lenses may be among these.
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    checkpoint = out / f"checkpoint-{digest[:16]}.npz"
    regressor.fit(flux, parameters_of(truth), checkpoint, progress)
    regressor.describe(training=regressor.network_.facts.training | made_of)
    regressor.save(out)
    for one in out.glob("checkpoint-*.npz"):
        one.unlink()
    return out


def check_parameters(network: str, data: Path) -> pd.DataFrame:
    """What a network makes of the lenses of a simulated set, by Einstein radius.

    Parameters
    ----------
    network : str
        A shipped one, or a folder.
    data : Path
        That it was not trained on.

    Returns
    -------
    DataFrame
        As of `measure_parameters`.
    """
    loaded = load_parameter_network(network)
    examples, rows = open_lenses(data)
    truth = examples.truth.iloc[rows]
    return measure_parameters(loaded.estimate(read_flux(examples.store, rows)), truth)


def open_lenses(data: Path) -> tuple[Examples, NDArray[np.int64]]:
    """A simulated set, and which of its cutouts are lenses.

    Raises
    ------
    InputError
        If it has none, or does not know their parameters.
    """
    examples = open_examples(data, both_classes=False)
    missing = [name for name in _NEEDED if name not in examples.truth]
    rows = np.flatnonzero(examples.labels)
    if missing or not len(rows):
        why = f"its truth has no {', '.join(missing)}" if missing else "it holds no lens"
        raise InputError(f"data set {data}: {why}; make one with lensweep simulate")
    return examples, rows


def measure_parameters(estimates: Estimates, truth: pd.DataFrame) -> pd.DataFrame:
    """Errors and coverage of estimates, by true Einstein radius.

    Parameters
    ----------
    estimates : Estimates
    truth : DataFrame
        Of a simulated set.

    Returns
    -------
    DataFrame
        A row per range of Einstein radii, the last two of all above `LARGE_ARCSEC` and of all:
        ``lenses``, then of every parameter the median absolute error and the share that lies within
        one standard deviation (``..._error``, ``..._coverage``).
    """
    y, theta_e = parameters_of(truth), truth["theta_e_arcsec"].to_numpy()
    ranges = [*pairwise(_BINS_ARCSEC), (LARGE_ARCSEC, np.inf), (0.0, np.inf)]
    rows = []
    for low, high in ranges:
        here = (theta_e >= low) & (theta_e < high)
        few = Estimates(estimates.mean[here], estimates.error[here])
        row: dict[str, float] = {"from_arcsec": low, "to_arcsec": high, "lenses": int(here.sum())}
        error = np.median(np.abs(few.mean - y[here]), axis=0) if here.any() else [np.nan] * 5
        covered = coverage_of(few, y[here]) if here.any() else [np.nan] * 5
        for name, one, share in zip(PARAMETERS, error, covered, strict=True):
            row |= {f"{name}_error": float(one), f"{name}_coverage": float(share)}
        rows.append(row)
    return pd.DataFrame(rows)
