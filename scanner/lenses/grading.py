"""Score a graded list of lenses at their positions, and as many windows of random sky."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.cutouts_at import Field
from lensweep.scanner.network.ensemble import Description, sigmoid
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.sky.grid import on_grid, random_corners, sky_to_grid
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import centred_windows

ENSEMBLE = "ensemble"
# As many random windows are tried at most for each that is wanted: fields may be mostly empty.
_TRIES = 20
_BATCH = 256


@dataclass(frozen=True)
class GradedScores:
    """Scores of a graded list and of random windows from the same fields.

    Attributes
    ----------
    lenses : DataFrame
        The list's rows in their order, with ``covered``, ``mosaic``, ``valid_fraction``,
        and the columns ``p_<scorer>``, ``std_<scorer>`` and ``logit_<scorer>`` of every backbone
        and of the ensemble: mean and sample standard deviation of its members' probabilities,
        and their mean logit. Null where not covered.
    control : DataFrame
        ``mosaic``, ``x0``, ``y0``, ``valid_fraction`` and the same scores.
    scorers : tuple of str
        The backbones, and ``ensemble``.
    """

    lenses: pd.DataFrame
    control: pd.DataFrame
    scorers: tuple[str, ...]


def score_graded(
    fields: Sequence[Field],
    ensemble: Ensemble,
    lenses: pd.DataFrame,
    known: pd.DataFrame,
    min_valid_fraction: float,
    n_control: int,
    seed: int,
) -> GradedScores:
    """Cut and score a window centred on every lens that the fields cover, and random ones.

    Of several fields that hold a lens the one with the largest valid fraction is taken.

    Parameters
    ----------
    fields : sequence of Field
    ensemble : Ensemble
    lenses : DataFrame
        Columns of `lensweep.catalogs.lens_schemas.KNOWN`.
    known : DataFrame
        Likewise: more lenses, which are no random sky.
    min_valid_fraction : float
        A window with less data is not covered.
    n_control : int
        Random windows to score; fewer are, where the fields have no room. None of them holds a
        position of either list.
    seed : int

    Raises
    ------
    InputError
        If not one lens is covered.
    """
    ra, dec = _positions(lenses)
    flux, found = _cut_lenses(fields, ra, dec, min_valid_fraction)
    if not found["covered"].any():
        raise InputError(
            f"none of the {len(lenses)} listed lenses lies on valid pixels of "
            f"{', '.join(field.name for field in fields)}"
        )
    rows = np.flatnonzero(found["covered"].to_numpy())
    scores = _scores(ensemble, flux[rows]).set_axis(rows).reindex(np.arange(len(lenses)))
    avoided = _positions(pd.concat([lenses, known], ignore_index=True))
    sky, control = _cut_control(fields, *avoided, min_valid_fraction, n_control, seed)
    return GradedScores(
        pd.concat([lenses.reset_index(drop=True), found, scores], axis=1),
        pd.concat([control, _scores(ensemble, sky)], axis=1),
        scorers(ensemble.description),
    )


def scorers(description: Description) -> tuple[str, ...]:
    """Names of what scores: every backbone, and the ensemble of all members."""
    backbones = (_backbone(trunk.name) for trunk in description.trunks)
    return (*dict.fromkeys(backbones), ENSEMBLE)


def member_logits(
    description: Description, logits: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """The logits of every scorer's members, each of shape (n, members of it)."""
    columns: dict[str, list[NDArray[np.float32]]] = {}
    first = 0
    for trunk in description.trunks:
        of_trunk = logits[:, first : first + len(trunk.members)]
        columns.setdefault(_backbone(trunk.name), []).append(of_trunk)
        first += len(trunk.members)
    return {name: np.concatenate(parts, axis=1) for name, parts in columns.items()} | {
        ENSEMBLE: logits
    }


def _backbone(trunk: str) -> str:
    """The network that a trunk is: ``xception-fold0`` is the Xception that one fold trained."""
    return re.sub(r"-fold\d+$", "", trunk)


def _positions(lenses: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ra, dec = (lenses[name].to_numpy(np.float64) for name in ("known_ra_deg", "known_dec_deg"))
    return ra, dec


def _scores(ensemble: Ensemble, flux: NDArray[np.float32]) -> pd.DataFrame:
    columns = {}
    for name, logits in member_logits(ensemble.description, ensemble.logits(flux)).items():
        values = sigmoid(logits.astype(np.float64))
        columns[f"p_{name}"] = values.mean(axis=1)
        columns[f"std_{name}"] = values.std(axis=1, ddof=min(1, values.shape[1] - 1))
        columns[f"logit_{name}"] = logits.mean(axis=1).astype(np.float64)
    return pd.DataFrame(columns)


def _cut_lenses(
    fields: Sequence[Field],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    min_valid_fraction: float,
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    flux = np.full((len(ra), CUTOUT_SIZE, CUTOUT_SIZE), np.nan, np.float32)
    best = np.zeros(len(ra), np.float32)
    mosaic = np.full(len(ra), None, dtype=object)
    for field in fields:
        x, y = sky_to_grid(field.grid, ra, dec)
        on = np.flatnonzero(on_grid(field.grid, x, y))
        if not len(on):
            continue
        corners, order = centred_windows(x[on], y[on])
        cut, fraction = field.cut(corners)
        for row, pixels, valid in zip(on[order].tolist(), cut, fraction.tolist(), strict=True):
            if valid > best[row]:
                flux[row], best[row], mosaic[row] = pixels, valid, field.name
    covered = (best >= min_valid_fraction) & (best > 0.0)
    found = pd.DataFrame({
        "covered": covered,
        "mosaic": pd.Series(mosaic, dtype="str").where(covered),
        "valid_fraction": np.where(best > 0.0, best, np.nan).astype(np.float32),
    })  # fmt: skip
    return flux, found


def _cut_control(
    fields: Sequence[Field],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    min_valid_fraction: float,
    wanted: int,
    seed: int,
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    rng = np.random.default_rng(seed)
    area = np.array([np.prod(field.grid.shape, dtype=np.float64) for field in fields])
    cut = [np.empty((0, CUTOUT_SIZE, CUTOUT_SIZE), np.float32)]
    kept = [pd.DataFrame({"mosaic": pd.Series(dtype="str"), "x0": np.empty(0, np.int32),
                          "y0": np.empty(0, np.int32),
                          "valid_fraction": np.empty(0, np.float32)})]  # fmt: skip
    count = tried = 0
    while count < wanted and tried < _TRIES * wanted:
        # No more than are wanted: all that can be used are, so that none is chosen by its place.
        n = min(_BATCH, wanted - count)
        chosen = rng.choice(len(fields), n, p=area / area.sum())
        tried += n
        for index, field in enumerate(fields):
            corners = _random_corners(field, int((chosen == index).sum()), rng)
            corners = corners[~_holds_any(field, corners, ra, dec)]
            flux, fraction = field.cut(corners)
            use = (fraction >= min_valid_fraction) & (fraction > 0.0)
            cut.append(flux[use])
            kept.append(pd.DataFrame({
                "mosaic": pd.Series([field.name] * int(use.sum()), dtype="str"),
                "x0": corners[use, 0], "y0": corners[use, 1], "valid_fraction": fraction[use],
            }))  # fmt: skip
            count += int(use.sum())
    return np.concatenate(cut), pd.concat(kept, ignore_index=True)


def _random_corners(field: Field, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    corners = random_corners(field.grid, n, rng)
    # Neighbours in the order are neighbours on the image, so that they are read together.
    return corners[np.lexsort((corners[:, 0], corners[:, 1] // 1000))]


def _holds_any(
    field: Field, corners: NDArray[np.int32], ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which windows hold one of the positions."""
    offset = np.stack(sky_to_grid(field.grid, ra, dec), axis=1)[None] - corners[:, None]
    with np.errstate(invalid="ignore"):
        held = (offset > -0.5) & (offset < CUTOUT_SIZE - 0.5)
    return np.asarray(np.any(np.all(held, axis=2), axis=1))
