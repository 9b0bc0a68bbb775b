"""lensweep: find strong gravitational lenses in Hubble I-band (F814W) mosaics.

The verbs of the command line, for scripts and notebooks: `scan`, `open`, `score`,
`read_candidates`, `selection_function`. What takes long to import is imported where it is used.
"""

import dataclasses
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensweep.ground.keywords import keywords_of
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.score_config import ScoreConfig

if TYPE_CHECKING:
    import pandas as pd

    from lensweep.opened_run import OpenedRun
    from lensweep.scanner.results.selection_function import SelectionFunction
    from lensweep.scanner.work.scan import Outcome

__all__ = ["open", "read_candidates", "scan", "score", "selection_function"]
__version__ = version("lensweep")


@keywords_of(ScanConfig)
def scan(mosaics: str | Path | Sequence[str | Path], out: str | Path, **options: Any) -> "Outcome":
    """Scan mosaics from pixels to a ranked catalogue; continues a run that was stopped.

    `centres` may also be positions: an astropy `Table` or `SkyCoord`, or a `DataFrame`; they are
    kept in the run's folder.

    In a script, call it under ``if __name__ == "__main__":``, since worker processes import it.

    Parameters
    ----------
    mosaics : str, Path or sequence of them
        FITS files, addresses of them (http, https, s3), or tables of `lensweep find`.
    out : str or Path
        The run's folder.
    **options

    Returns
    -------
    lensweep.scanner.work.scan.Outcome

    Raises
    ------
    lensweep.ground.errors.InputError
        If nothing can be scanned as asked; the message says why.
    """
    from lensweep.deploy.cluster import open_client
    from lensweep.deploy.config import read_cluster
    from lensweep.ground.files import is_remote
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.archive.addresses import with_addresses
    from lensweep.scanner.run.lock import sole_writer
    from lensweep.scanner.run.opening import open_run
    from lensweep.scanner.run.paths import RunPaths
    from lensweep.scanner.run.target_list import give_targets
    from lensweep.scanner.sky.names import file_names
    from lensweep.scanner.work.scan import run_scan
    from lensweep.scanner.work.stages import BEGIN_WITH, imports_for

    given, centres = file_names(mosaics, "mosaics"), options.get("centres", "grid")
    named = isinstance(centres, str | os.PathLike)
    options["centres"] = os.fsdecode(centres) if named else "sources"
    config = ScanConfig(with_addresses(given), str(out), **options)
    cluster = read_cluster(config.cluster, config.workers, config.tls)
    with open_progress() as progress, sole_writer(RunPaths.at(config.out), progress.note) as hold:
        if not named:
            where = give_targets(RunPaths.at(config.out), centres)
            config = dataclasses.replace(config, centres=where)
        bundle, paths = open_run(config)
        shared = None if is_remote(paths.root) else paths.root
        with open_client(
            cluster, folder=shared,
            begin_with=max(BEGIN_WITH, len(config.mosaics)), tell=progress.note,
            imports=imports_for(bundle),
        ) as client:  # fmt: skip
            return run_scan(config, bundle, paths, client, progress, hold)


def open(run: str | Path) -> "OpenedRun":
    """Open a run, to look at its candidates, pixels, ledger and coverage.

    Parameters
    ----------
    run : str or Path
        The run's folder, or `s3://BUCKET/FOLDER`.

    Returns
    -------
    lensweep.opened_run.OpenedRun

    Raises
    ------
    lensweep.ground.errors.InputError
        If there is no run.
    """
    from lensweep.opened_run import OpenedRun

    return OpenedRun(run)


@keywords_of(ScoreConfig)
def score(
    images: Any,
    ensemble: str = "xception-7fold",
    band: str | None = None,
    pixel_scale_arcsec: float | None = None,
    units: str | None = None,
    *,
    out: str | Path | None = None,
    **options: Any,
) -> "pd.DataFrame":
    """Score stamps: one cutout at the centre of each image.

    Many are scored as a scan scores windows: in batches, by the processes of a cluster. In a
    script, call it under ``if __name__ == "__main__":`` then, since worker processes import it.

    Parameters
    ----------
    images : str, Path, ndarray, zarr.Array, h5py.Dataset, or sequence of paths
        FITS files, folders of them, patterns (``stamps/*.fits``); arrays (n, y, x), in memory or
        in files (``stack.npy``, a Zarr array, ``file.h5::dataset``); folders of Cutana and of
        AnomalyMatch, of which `lensweep.scanner.sky.stamps` says what is assumed. Images larger
        than a window are cut about their centre, smaller ones are filled up with no data.
    ensemble : str
    band, pixel_scale_arcsec, units : optional
        For images whose headers do not say, and for arrays, which have none. An array is taken to
        be of the ensemble's band unless this says otherwise.
    out : str or Path, optional
        Table to write as well. What is done lies beside it until it is whole: the same call
        continues one that was stopped.
    **options

    Returns
    -------
    DataFrame
        A row per stamp, in the order given; columns of `lensweep.catalogs.schemas.SCORES`.

    Raises
    ------
    lensweep.ground.errors.InputError
        If what is given holds no stamps; the message has the shape of an array. Or if the ensemble
        cannot be used.
    """
    from lensweep.scanner.work.scoring import described, run_scores

    paths, array = described(images)
    config = ScoreConfig(
        paths, None if out is None else str(out), ensemble, band=band,
        pixel_scale_arcsec=pixel_scale_arcsec, units=units, **options,
    )  # fmt: skip
    return run_scores(config, array).to_pandas()


def read_candidates(run: str | Path) -> "pd.DataFrame":
    """Read the ranked candidates of a run.

    Parameters
    ----------
    run : str or Path
        The run's folder, or its `candidates.parquet`.

    Returns
    -------
    DataFrame
        Sorted by rank; columns of `lensweep.catalogs.schemas.CANDIDATES`.

    Raises
    ------
    lensweep.ground.errors.InputError
        If there is no catalogue.
    """
    import pandas as pd
    import pyarrow as pa

    from lensweep.ground.errors import InputError
    from lensweep.ground.files import place
    from lensweep.scanner.run.paths import RunPaths

    path = place(run)
    path = RunPaths(path).candidates if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such catalogue; a scan writes it at its end")
    try:
        with path.open("rb") as file:
            return pd.read_parquet(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: no Parquet file, or a damaged one ({error})") from error


def selection_function(run: str | Path, false_per_deg2: float = 10.0) -> "SelectionFunction":
    """The chance that a run finds a lensed galaxy, by what the lens is.

    Measured by `lensweep completeness RUN`. Call what is returned:
    ``selection_function("run")(theta_e, source_mag, host_mag)``.

    Parameters
    ----------
    run : str or Path
        The run's folder, or its selection.json where `completeness --out` put it elsewhere.
    false_per_deg2 : float
        The depth: 1, 10, 100 or 1000 false candidates per square degree.

    Returns
    -------
    lensweep.scanner.results.selection_function.SelectionFunction
        It refuses what lies beyond the lenses that it was fitted to.

    Raises
    ------
    lensweep.ground.errors.InputError
        If it was not measured, or not at that depth.
    """
    from lensweep.ground.files import place
    from lensweep.scanner.results.selection_function import read_selection
    from lensweep.scanner.run.paths import RunPaths

    path = place(run)
    path = RunPaths(path).selection if path.is_dir() else path
    return read_selection(path, false_per_deg2)
