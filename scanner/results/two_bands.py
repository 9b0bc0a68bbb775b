"""A second look in colour: the first candidates of a run ranked by an ensemble of two bands.

The run's own cutouts are the first band. The second is cut where those are, from mosaics of the
same sky in another filter, onto the very pixels of the run's grid.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensweep.catalogs.schemas import CANDIDATES, Column, with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote
from lensweep.ground.progress import Progress
from lensweep.ground.settings import at_least
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.two_bands import TwoBandEnsemble
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.worth import asked_of
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.opening import no_file_at
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, scan_grid, sky_to_grid
from lensweep.scanner.sky.mosaics import Mosaic, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE

LABEL = "two-bands"
# What becomes of a candidate.
SCORED, INCOMPLETE, ELSEWHERE = "scored", "too little data", "not covered"
# Cutouts in memory together: 40 MB of pixels.
_BLOCK = 256
# fmt: off
_NEW = (
    Column("second_band", pa.string(), "", "meta.code",
           "scored; or too little data, or not covered, by the mosaics of the second band."),
    Column("logit_two_bands", pa.float64(), "", "stat.value",
           "Mean log-odds by the ensemble of two bands, which the ranking follows.", True),
    Column("second_mosaic", pa.string(), "", "meta.id;meta.file",
           "Name of the second band's mosaic.", True),
    Column("second_valid_fraction", pa.float32(), "", "stat.filling",
           "Fraction of the window's pixels that hold data in the second band, 0 to 1."),
    Column("one_band_rank", pa.int32(), "", "stat.rank", "The candidate's rank in the run."),
)
# fmt: on
_RANK = Column(
    "rank",
    pa.int32(),
    "",
    "stat.rank",
    "1 for the highest logit_two_bands; what has none follows, as the run ranked it.",
)  # fmt: skip
LOOKED_AT = pa.schema([
    _RANK.field(), *list(CANDIDATES)[1:], *[column.field() for column in _NEW],
])  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """A mosaic of the second band, and its own grid."""

    mosaic: Mosaic
    grid: ScanGrid


def look_in_two_bands(
    root: Path, mosaics: Sequence[str], ensemble: str, top: int, overrides: HeaderOverrides,
    progress: Progress,
) -> pd.DataFrame:  # fmt: skip
    """Rank a run's first candidates by an ensemble of two bands, into a new catalogue.

    Parameters
    ----------
    root : Path
        The run's folder.
    mosaics : sequence of str
        Of the second band; where several show a window, the one with most valid pixels counts.
    ensemble : str
        Folder of a bundle of two bands.
    top : int
        As many of the first candidates.
    overrides : HeaderOverrides
        Of the second band's mosaics.
    progress : Progress

    Returns
    -------
    DataFrame
        The columns of `LOOKED_AT`, which ``candidates-two-bands.parquet`` has.

    Raises
    ------
    InputError
        If the run is not finished or of another band than the ensemble's, or a mosaic cannot be
        used, is of another band, or shows none of the candidates.
    lensweep.scanner.run.lock.HeldError
        If another command is at work in the run.
    """
    at_least("top", top, 1)
    facts, paths = read_facts(root), RunPaths(root)
    bundle = check_bundle(ensemble, two_bands=True)
    with paths.candidates.open("rb") as file:
        rows = pq.read_table(file).sort_by("rank").slice(0, top).to_pandas()
    _refuse_another_band(root, rows, bundle)
    least = asked_of(facts)["min_valid_fraction"]
    with sole_writer(paths), tempfile.TemporaryDirectory() as scratch:
        opened = _open(mosaics, bundle, overrides, Path(scratch))
        _refuse_elsewhere(rows, opened)
        loaded, parts = TwoBandEnsemble(bundle), []
        stage = progress.stage("two bands", len(rows), unit="candidates")
        for first in range(0, len(rows), _BLOCK):
            few = rows.iloc[first : first + _BLOCK]
            parts.append(_looked_at(root, few, opened, loaded, least))
            progress.advance(stage, len(few))
        table = _ranked(pd.concat(parts))
        said = {"two_bands_ensemble": bundle.description.name, "second_mosaics": " ".join(mosaics),
                "two_bands_ensemble_sha256": bundle.sha256}  # fmt: skip
        written = pa.Table.from_pandas(table, schema=LOOKED_AT, preserve_index=False)
        written = with_provenance(written.replace_schema_metadata(), facts | said)
        write_parquet(written, paths.reranked(LABEL))
    return table


def _refuse_another_band(root: Path, rows: pd.DataFrame, bundle: Bundle) -> None:
    if not len(rows):
        raise InputError(f"run {root}: no candidates to look at")
    for name in rows["mosaic"].unique():
        band = read_plan(root, name).mosaic.band
        if band != bundle.description.band:
            raise InputError(
                f"run {root}: mosaic {name} is {band}, but ensemble {bundle.description.name} was "
                f"trained on {bundle.description.band}"
            )


def _open(
    mosaics: Sequence[str], bundle: Bundle, overrides: HeaderOverrides, scratch: Path
) -> list[_Opened]:
    opened, said = [], bundle.description
    for path in mosaics:
        if not is_remote(path) and not is_file(path):
            raise InputError(no_file_at(path))
        mosaic = inspect_mosaic(
            path, overrides, str(said.second_band), f"{said.name} (its second band)", scratch,
            given=mosaics,
        )  # fmt: skip
        opened.append(_Opened(mosaic, scan_grid(mosaic)))
    return opened


def _refuse_elsewhere(rows: pd.DataFrame, opened: Sequence[_Opened]) -> None:
    if not any(_near(rows, one.grid).any() for one in opened):
        names = ", ".join(one.mosaic.file_name for one in opened)
        raise InputError(
            f"mosaic {names}: shows none of the run's first {len(rows):,} candidates; give mosaics "
            "of the same sky"
        )


def _near(rows: pd.DataFrame, grid: ScanGrid) -> NDArray[np.bool_]:
    """Candidates whose windows may reach onto a grid."""
    x, y = sky_to_grid(grid, rows["ra_deg"], rows["dec_deg"])
    ny, nx = grid.shape
    # NaN, of the far side of the sky, compares as false.
    inside = (x > -CUTOUT_SIZE) & (y > -CUTOUT_SIZE) & (x < nx + CUTOUT_SIZE)
    return np.asarray(inside & (y < ny + CUTOUT_SIZE))


def _looked_at(
    root: Path, rows: pd.DataFrame, opened: Sequence[_Opened], loaded: TwoBandEnsemble, least: float
) -> pd.DataFrame:
    """Candidates with what the second band says of them."""
    both = np.full((len(rows), CUTOUT_SIZE, CUTOUT_SIZE, 2), np.nan, np.float32)
    valid, shown_by = np.zeros(len(rows), np.float32), np.full(len(rows), None)
    near = [_near(rows, one.grid) for one in opened]
    for index, row in enumerate(rows.itertuples()):
        grid, corner, both[index, ..., 0] = _of_run(root, str(row.mosaic), int(row.window))
        for number in [number for number, here in enumerate(near) if here[index]]:
            one = opened[number]
            pixels, share = cut_windows(one.mosaic, _on_pixels_of(grid, one.grid), corner)
            if share[0] > valid[index]:
                both[index, ..., 1], valid[index] = pixels[0], share[0]
                shown_by[index] = one.mosaic.name
    usable, logits = valid >= max(least, 1 / CUTOUT_SIZE**2), np.full(len(rows), np.nan)
    logits[usable] = loaded.logits(both[usable]).mean(axis=1)
    outcome = np.where(usable, SCORED, np.where(valid > 0.0, INCOMPLETE, ELSEWHERE))
    return rows.assign(
        second_band=outcome, logit_two_bands=logits, second_mosaic=shown_by,
        second_valid_fraction=valid, one_band_rank=rows["rank"],
    )  # fmt: skip


def _of_run(
    root: Path, mosaic: str, window: int
) -> tuple[ScanGrid, NDArray[np.int32], NDArray[np.float32]]:
    """A window of the run: its grid, its corner, shape (1, 2), and its pixels."""
    arrays = cutout_store.open_arrays(RunPaths(root).cutouts(mosaic), "r")
    corner = np.array([[arrays["x0"][window], arrays["y0"][window]]], np.int32)
    return read_plan(root, mosaic).grid, corner, np.asarray(arrays["flux"][window], np.float32)


def _on_pixels_of(grid: ScanGrid, own: ScanGrid) -> ScanGrid:
    """The run's grid, to be read from a mosaic whose own is `own`: resampled, unless it is that."""
    same = not own.resampled and (own.shape, own.wcs_header) == (grid.shape, grid.wcs_header)
    return own if same else replace(grid, resampled=True)


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """By the ensemble of two bands; what it has not scored follows in the run's own order."""
    table = table.sort_values(
        ["logit_two_bands", "one_band_rank"], ascending=[False, True], na_position="last"
    )
    return table.assign(rank=np.arange(1, len(table) + 1))[LOOKED_AT.names].reset_index(drop=True)
