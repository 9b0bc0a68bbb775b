"""Parameters of a run's candidates, as if each were a lens: a table beside the catalogue."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensweep.catalogs.schemas import CANDIDATES, MODELS, read_provenance, with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.ground.settings import at_least
from lensweep.scanner.network.lens_parameters import (
    Estimates,
    ParameterNetwork,
    load_parameter_network,
)
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import StoreAttributes
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.grid import grid_to_sky
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

TOP = 500
# Looks are in memory together: 40 MB of pixels.
_BLOCK = 256
_KEY = ["candidate_id", "mosaic", "window"]
# What the catalogue has already.
_MODELLED = [name for name in MODELS.names if name not in CANDIDATES.names]


def model_candidates(root: Path, network: str, top: int, progress: Progress) -> pd.DataFrame:
    """Estimate the parameters of a run's first candidates, and write them beside the catalogue.

    A candidate's stored cutout is looked at, by rank; what was written before is replaced.

    Parameters
    ----------
    root : Path
        The run's folder.
    network : str
        A shipped network of lens parameters, or the folder of one.
    top : int
        As many of the first candidates.
    progress : Progress

    Returns
    -------
    DataFrame
        The columns of `lensweep.catalogs.schemas.MODELS`.

    Raises
    ------
    InputError
        If the run is not finished, its cutouts are of another band, or the network cannot be used.
    lensweep.scanner.run.lock.HeldError
        If another command is at work in the run.
    """
    at_least("top", top, 1)
    facts, paths = read_facts(root), RunPaths(root)
    loaded = load_parameter_network(network)
    with paths.candidates.open("rb") as file:
        candidates = pq.read_table(file).sort_by("rank").slice(0, top).to_pandas()
    with sole_writer(paths):
        parts = [_empty()]
        stage = progress.stage("lens parameters", len(candidates), unit="candidates")
        for mosaic, rows in candidates.groupby("mosaic", sort=False):
            _refuse_another_band(paths.cutouts(str(mosaic)), loaded)
            for first in range(0, len(rows), _BLOCK):
                few = rows.iloc[first : first + _BLOCK]
                parts.append(_modelled(root, str(mosaic), few, loaded))
                progress.advance(stage, len(few))
        table = pd.concat(parts).sort_values("rank", ignore_index=True)
        rows = pa.Table.from_pandas(table, schema=MODELS, preserve_index=False)
        said = {"network": loaded.facts.name, "network_sha256": loaded.sha256,
                "ensemble_sha256": facts["ensemble_sha256"]}  # fmt: skip
        write_parquet(with_provenance(rows.replace_schema_metadata(), said), paths.models)
    return table


def with_models(root: Path, candidates: pa.Table) -> pa.Table:
    """Candidates with what `lensweep model` has said of them, where it was asked.

    Parameters
    ----------
    root : Path
        The run's folder.
    candidates : pyarrow.Table
        Of its catalogue.

    Returns
    -------
    pyarrow.Table
        The same rows; more columns if there are models, null for candidates without one.
    """
    path = RunPaths(root).models
    if not path.is_file():
        return candidates
    with path.open("rb") as file:
        models = pq.read_table(file).to_pandas()
    own = models.set_index(_KEY)[_MODELLED]
    keys = candidates.select(_KEY).to_pandas()
    found = own.reindex(pd.MultiIndex.from_frame(keys))
    for name in _MODELLED:
        field = MODELS.field(name).with_nullable(True)
        column = pa.array(found[name].to_numpy(), field.type, from_pandas=True)
        candidates = candidates.append_column(field, column)
    return with_provenance(candidates, {"models_network_sha256": _network_of(path)})


def _network_of(path: Path) -> str:
    return read_provenance(path)["network_sha256"]


def _empty() -> pd.DataFrame:
    return MODELS.empty_table().to_pandas()


def _refuse_another_band(store: Path, loaded: ParameterNetwork) -> None:
    attributes: StoreAttributes = cutout_store.read_attributes(store)[0]
    if attributes.band != loaded.facts.band:
        raise InputError(
            f"cutout store {store}: band {attributes.band}, but the parameter network "
            f"{loaded.facts.name} was trained on {loaded.facts.band}"
        )


def _modelled(
    root: Path, mosaic: str, rows: pd.DataFrame, loaded: ParameterNetwork
) -> pd.DataFrame:
    store, windows = RunPaths(root).cutouts(mosaic), rows["window"].to_numpy()
    arrays = cutout_store.open_arrays(store, "r")
    flux, x0, y0 = (
        np.stack([arrays[name][int(window)] for window in windows]) for name in ("flux", "x0", "y0")
    )
    estimates = loaded.estimate(np.asarray(flux, np.float32))
    x, y = (
        corner + (CUTOUT_SIZE - 1) / 2.0 + estimates.mean[:, column] / PIXEL_SCALE_ARCSEC
        for corner, column in ((x0, 3), (y0, 4))
    )
    ra_deg, dec_deg = grid_to_sky(read_plan(root, mosaic).grid, x, y)
    described = describe_estimates(estimates).assign(lens_ra_deg=ra_deg, lens_dec_deg=dec_deg)
    own = rows[["candidate_id", "rank", "mosaic", "window"]].reset_index(drop=True)
    return own.join(described)[MODELS.names]


def describe_estimates(estimates: Estimates) -> pd.DataFrame:
    """Estimates in the words of `lensweep.catalogs.schemas.MODELS`, less names and positions."""
    theta_e, first, second, _, _ = estimates.mean.T
    theta_e_err, first_err, second_err, x_err, y_err = estimates.error.T
    return pd.DataFrame({
        "theta_e_arcsec": theta_e, "theta_e_err_arcsec": theta_e_err,
        "ellipticity": np.hypot(first, second),
        "ellipticity_1": first, "ellipticity_1_err": first_err,
        "ellipticity_2": second, "ellipticity_2_err": second_err,
        "position_angle_deg": _position_angle_deg(0.5 * np.arctan2(second, first)),
        "lens_position_err_arcsec": np.sqrt(0.5 * (x_err**2 + y_err**2)),
    })  # fmt: skip


def _position_angle_deg(angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """From north to east, of an axis whose angle counts from west (x) to north (y)."""
    return np.asarray((np.rad2deg(angle_rad) - 90.0) % 180.0)
