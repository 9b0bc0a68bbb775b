"""A run in Python: its tables, its pixels, and what the command line makes of them."""

import base64
import html
import io
import tempfile
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.catalogs.vo_tables import astropy_table
from lensweep.ground.errors import InputError
from lensweep.ground.figures import figure_of_user
from lensweep.ground.files import place, reached
from lensweep.ground.settings import within
from lensweep.scanner.exports.export import export
from lensweep.scanner.inspection.contents import read_finished
from lensweep.scanner.inspection.sheet import write_sheet
from lensweep.scanner.inspection.wide_stamps import (
    FROM_MOSAIC,
    GONE,
    Stamp,
    cut_stamps,
    stamp_wcs,
)
from lensweep.scanner.lenses.recall import Recall, measure_recall
from lensweep.scanner.results.contact_sheet import stretch_for_display
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.results.reranking import rerank
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.status import Status, read_status
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.visualization.wcsaxes import WCSAxes
    from astropy.wcs import WCS
    from mocpy import MOC

# What a notebook shows of a run, and how large: enough to see whether it is worth a page.
SHOWN, SHOWN_PX = 12, 120
# Of a stamp: more than the largest lens of a galaxy; an arc minute is 1,200 pixels a side.
STAMP_ARCSEC, LARGEST_ARCSEC = 10.0, 300.0


class OpenedRun:
    """A run, to look at from Python.

    What is read is read once: open the run again after a command has changed it.

    Parameters
    ----------
    where : str or Path
        The run's folder, or `s3://BUCKET/FOLDER`.

    Attributes
    ----------
    where : str
        The same.
    paths : RunPaths

    Raises
    ------
    InputError
        If there is no run. One that is not finished can be opened, and has no candidates yet.
    """

    def __init__(self, where: str | Path) -> None:
        self.where, self.paths = str(where), RunPaths.at(where)
        with reached(where):
            if not self.paths.run.is_file():
                raise InputError(f"{where}: no run in this folder (no {self.paths.run.name})")

    @property
    def root(self) -> Path:
        """The run's folder."""
        return self.paths.root

    @property
    def status(self) -> Status:
        """Where the run stands now."""
        return read_status(self.root)

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """The ranked candidates; columns of `lensweep.catalogs.schemas.CANDIDATES`.

        Raises
        ------
        InputError
            If the run is not finished.
        """
        return read_finished(self.root)[0]

    @cached_property
    def facts(self) -> dict[str, str]:
        """How the candidates were made: ensemble, versions, what was asked."""
        return read_facts(self.root)

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """What became of every window; columns of `lensweep.catalogs.schemas.LEDGER`."""
        self._refuse_unfinished()
        with self.paths.ledger.open("rb") as file:
            return pd.read_parquet(file)

    @cached_property
    def targets(self) -> pd.DataFrame:
        """What became of every position that was given; columns of `catalogs.schemas.TARGETS`.

        Raises
        ------
        InputError
            If the run is not finished, or no positions were given.
        """
        self._refuse_unfinished()
        if not self.paths.targets.is_file():
            raise InputError(f"run {self.where}: was not given positions (--centres TABLE)")
        with self.paths.targets.open("rb") as file:
            return pd.read_parquet(file)

    @property
    def coverage(self) -> "MOC":
        """The sky that was searched, as a MOC of `mocpy`."""
        return run_footprint(self.root)

    def table(self) -> "Table":
        """The candidates as a table of astropy, with units, meanings and provenance."""
        self._refuse_unfinished()
        with self.paths.candidates.open("rb") as file:
            return astropy_table(pq.read_table(file))

    def cutout(
        self, rank: int, size_arcsec: float = STAMP_ARCSEC
    ) -> tuple[NDArray[np.float32], "WCS"]:
        """The sky about a candidate: cut from its mosaic, or put together from stored windows.

        A warning tells where the mosaic is not there, or not what was scanned, any more: then
        pixels that no window holds are NaN.

        Parameters
        ----------
        rank : int
            Of the candidate.
        size_arcsec : float
            Side of the cutout.

        Returns
        -------
        data : ndarray, shape (side, side), float32, e-/s
            North up, east left, the candidate in the middle to half a pixel; NaN without data.
        wcs : astropy.wcs.WCS
            Of `data`.

        Raises
        ------
        InputError
            If there is no such candidate, or neither its mosaic nor stored windows are there.
        """
        within("size_arcsec", size_arcsec, PIXEL_SCALE_ARCSEC, LARGEST_ARCSEC)
        side_px = round(size_arcsec / PIXEL_SCALE_ARCSEC)
        row = self._row(rank)
        (stamp,) = self._stamps(row.to_frame().T.infer_objects(), side_px)
        if stamp.source == GONE:
            raise InputError(
                f"run {self.root}: neither mosaic {row['mosaic']} nor its stored windows are "
                "there; put the mosaic back"
            )
        if stamp.source != FROM_MOSAIC:
            warnings.warn(
                f"mosaic {row['mosaic']} is not there as it was scanned; this cutout is put "
                "together from stored windows",
                stacklevel=2,
            )
        plan = read_plan(self.root, str(row["mosaic"]))
        return stamp.flux, stamp_wcs(plan, float(row["ra_deg"]), float(row["dec_deg"]), side_px)

    def plot(self, rank: int, size_arcsec: float = STAMP_ARCSEC) -> "WCSAxes":
        """Draw a candidate with its sky coordinates, by matplotlib's pyplot.

        Parameters
        ----------
        rank, size_arcsec
            As of `cutout`.

        Returns
        -------
        astropy.visualization.wcsaxes.WCSAxes
        """
        data, wcs = self.cutout(rank, size_arcsec)
        axes = figure_of_user().add_subplot(projection=wcs)
        axes.imshow(stretch_for_display(data[None])[0], origin="lower")
        row = self._row(rank)
        worth = "" if pd.isna(row["p_lens"]) else f", p_lens {row['p_lens']:.2g}"
        axes.set_title(f"{rank}: {row['candidate_id']}{worth}", parse_math=False)
        axes.set_xlabel("RA")
        axes.set_ylabel("Dec")
        return axes

    def sheet(self, top: int = 100, out: str | Path | None = None) -> "Picture":
        """Draw the first candidates onto one picture, on stamps of 10 arcsec.

        Parameters
        ----------
        top : int
            Candidates to show.
        out : str or Path, optional
            PNG file to write, too.

        Returns
        -------
        Picture
            Which a notebook shows.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = write_sheet(self.root, top, Path(folder) / "sheet.png" if out is None
                               else place(out))  # fmt: skip
            return Picture(path.read_bytes())

    def rank(
        self, aggregate: str = "mean", ensemble: str | None = None, **ranking: float | None
    ) -> pd.DataFrame:
        """Rank the run in another way, into a file beside its catalogue.

        Parameters
        ----------
        aggregate, ensemble, **ranking
            As of `lensweep.scanner.results.reranking.rerank`.

        Returns
        -------
        DataFrame
            The candidates so ranked; ``attrs["path"]`` says in which file.
        """
        path = rerank(self.root, aggregate, ensemble, **ranking)
        with path.open("rb") as file:
            ranked = pd.read_parquet(file)
        ranked.attrs["path"] = str(path)
        return ranked

    def recall(
        self,
        known: Sequence[str] = (),
        radius_arcsec: float | None = None,
        top: int | None = None,
        false_per_deg2: float | None = None,
    ) -> Recall:
        """What the run made of the known lenses in its footprint.

        Parameters
        ----------
        known : sequence of str
            Tables of more lenses, besides the shipped lists.
        radius_arcsec, top, false_per_deg2
            As of `lensweep.scanner.lenses.recall.measure_recall`.

        Returns
        -------
        lensweep.scanner.lenses.recall.Recall
            ``summary`` and ``lenses`` are DataFrames.
        """
        return measure_recall(self.root, known_lenses(known), radius_arcsec, top, false_per_deg2)

    def export(
        self,
        kind: str,
        top: int | None = None,
        where: str | None = None,
        out: str | Path | None = None,
    ) -> Path:
        """Write the candidates in another tool's format, as `lensweep export` does.

        Returns
        -------
        Path
            What was written.
        """
        return export(self.root, kind, top, where, None if out is None else place(out))

    def __repr__(self) -> str:
        status = self.status
        state = f"{len(self.candidates):,} candidates" if status.finished else "not finished"
        tally, n = status.tally, status.mosaics_planned
        mosaics = f"{n:,} mosaic{'' if n == 1 else 's'}"
        return (
            f"<run {self.where}: {mosaics}, {tally.planned:,} windows, "
            f"{tally.scored:,} scored; {state}>"
        )

    def _repr_html_(self) -> str:
        """The first candidates with their pictures, in a notebook."""
        said = f"<p>{html.escape(repr(self)[1:-1])}</p>"
        if not self.status.finished:
            return said
        first = self.candidates.head(SHOWN)
        pictures = {stamp.row: _img(stamp.flux) for stamp in self._stamps(first)}
        cells = [
            f"<figure style='display:inline-block;margin:4px;width:{SHOWN_PX}px'>{pictures[row]}"
            f"<figcaption style='font-size:80%'>{html.escape(_caption(one))}</figcaption></figure>"
            for row, (_, one) in enumerate(first.iterrows())
        ]
        return f"{said}<div>{''.join(cells)}</div>"

    def _row(self, rank: int) -> pd.Series:
        found = self.candidates[self.candidates["rank"] == rank]
        if not len(found):
            raise InputError(
                f"rank {rank}: run {self.root} has no such candidate; its ranks are 1 to "
                f"{len(self.candidates):,}"
            )
        return found.iloc[0]

    def _stamps(self, rows: pd.DataFrame, side_px: int | None = None) -> list[Stamp]:
        more = {} if side_px is None else {"side_px": side_px}
        # Compressed mosaics are unpacked here, and nowhere in the run.
        with tempfile.TemporaryDirectory() as scratch:
            return list(cut_stamps(self.root, rows, Path(scratch), **more))

    def _refuse_unfinished(self) -> None:
        read_facts(self.root)


class Picture:
    """A PNG picture, which a notebook shows.

    Attributes
    ----------
    png : bytes
    """

    def __init__(self, png: bytes) -> None:
        self.png = png

    def save(self, path: str | Path) -> None:
        """Write it into a file."""
        Path(path).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png


def _img(flux: NDArray[np.float32]) -> str:
    grey = (255.0 * stretch_for_display(flux[None])[0][::-1]).round().astype(np.uint8)
    filled = io.BytesIO()
    Image.fromarray(grey).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC).save(
        filled, "JPEG", quality=85
    )
    encoded = base64.b64encode(filled.getvalue()).decode()
    return f"<img alt='' width='{SHOWN_PX}' src='data:image/jpeg;base64,{encoded}'>"


def _caption(row: "pd.Series[Any]") -> str:
    worth = "" if pd.isna(row["p_lens"]) else f" p {row['p_lens']:.2g}"
    return f"{row['rank']}{worth} {row['candidate_id']}"
