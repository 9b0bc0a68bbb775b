"""Score stamps: each is a window, stored and scored as those of a mosaic are, by the same workers.

What is done lies beside the table until that is whole: a command that was stopped continues.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.io import fits
from distributed import CancelledError, Client
from distributed.client import ClosedClientError
from numpy.typing import NDArray

from lensweep.catalogs.schemas import SCORES, with_provenance
from lensweep.ground.asked import first_change
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.results.worth import FieldScores, describe_fields, find_field_scores
from lensweep.scanner.run import score_store
from lensweep.scanner.run.cutout_store import StoreAttributes, read_column
from lensweep.scanner.run.damage import unmark_damaged
from lensweep.scanner.run.ledger import LostScoresError
from lensweep.scanner.run.opening import versions
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import DamagedError, read_record, sum_of_parts, write_record
from lensweep.scanner.run.score_config import STAMPS_PER_DEG2, ScoreConfig
from lensweep.scanner.run.stamp_plan import StampPlan, write_stamp_plan
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.scanner.sky.stamp_arrays import FITS, ZARR, StampSet, names_of, scales_of
from lensweep.scanner.sky.units import read_units
from lensweep.scanner.work.scan import ClusterLostError
from lensweep.scanner.work.stages import Stages
from lensweep.scanner.work.stamp_tasks import MESSAGES, store_unless_done
from lensweep.scanner.work.stores import make_stores

UNFINISHED = ".unfinished"
# What does not decide a score: where and how the work is done, and what is made of scores at last.
_FREE = ("images", "out", "lens_density", "prior", "cluster", "workers", "tls", "shard_timeout_s",
         "storage_wait_s")  # fmt: skip
GIVEN = "given.npy"


def unfinished_at(out: Path) -> RunPaths:
    """Where what is done of a table lies until it is whole."""
    return RunPaths.at(out.with_name(out.name + UNFINISHED))


def keep_array(paths: RunPaths, array: NDArray[Any]) -> str:
    """Keep an array in the folder that its scores are made in, where workers see it.

    Returns
    -------
    str
        Its file.

    Raises
    ------
    InputError
        If the folder holds what was done of another one.
    """
    array = np.ascontiguousarray(array)
    length, crc = sum_of_parts([array.reshape(-1).view(np.uint8).data])
    mine = {"sum": [length, crc], "shape": list(array.shape), "dtype": str(array.dtype)}
    target, record = paths.root / GIVEN, paths.root / "given.json"
    if record.is_file() and target.is_file() and read_record(record) == mine:
        return str(target)
    if paths.run.is_file():
        raise _another(paths, "the array", "another", "this one")
    with whole_file(target) as aside, aside.open("wb") as file:
        np.save(file, array)
    write_record(record, mine)
    return str(target)


def plan_stamps(config: ScoreConfig, sets: Sequence[StampSet], bundle: Bundle) -> list[StampPlan]:
    """Plan sets of stamps: how each is read, and what its stores are called.

    Raises
    ------
    InputError
        If an array's scale or units are not known, or it is of another band.
    """
    overrides = HeaderOverrides(config.band, config.pixel_scale_arcsec, config.units)
    plans = []
    for number, stamps in enumerate(sets):
        scale = 1.0 if stamps.kind == FITS else _check_array(stamps, config, bundle)
        name = "files" if stamps.kind == FITS else mosaic_name(stamps.paths[0])
        plans.append(
            StampPlan(
                f"{number:03d}-{name}", stamps, len(stamps), config.stamps_per_shard, overrides,
                bundle.description.band, config.ensemble, scale,
            )
        )  # fmt: skip
    return plans


def _check_array(stamps: StampSet, config: ScoreConfig, bundle: Bundle) -> float:
    """What makes its values e-/s."""
    band = bundle.description.band
    if config.band is not None and config.band.upper() != band.upper():
        raise InputError(
            f"{stamps.label}: band {config.band}, but ensemble {bundle.description.name} was "
            f"trained on {band}"
        )
    scales_of(stamps, config.pixel_scale_arcsec)
    if config.units is None:
        raise InputError(
            f"{stamps.label}: an array states no units; state them with units=... (--units), such "
            "as electrons/s"
        )
    return read_units([fits.Header()], config.units, None, stamps.label)[1]


def open_scores(
    paths: RunPaths, config: ScoreConfig, plans: Sequence[StampPlan], bundle: Bundle
) -> None:
    """Begin scores in their folder, or find that what is there may be continued.

    Raises
    ------
    InputError
        If it holds what was done of something else.
    """
    asked = _what_decides(config, plans) | {"ensemble_sha256": bundle.sha256}
    if paths.run.is_file():
        change = first_change(read_record(paths.run)["asked"], asked)
        if change is not None:
            raise _another(paths, *change)
    names = [plan.name for plan in plans]
    write_record(paths.run, {"asked": asked, "versions": versions(), "mosaics": names})
    for plan in plans:
        write_stamp_plan(paths, plan)
        attributes = StoreAttributes(
            plan.name, "", plan.band, PIXEL_SCALE_ARCSEC, "", plan.windows_per_shard
        )
        make_stores(paths, plan, attributes, bundle)
        unmark_damaged(paths, plan)


def _another(paths: RunPaths, key: str, was: Any, now: Any) -> InputError:
    return InputError(
        f"folder {paths.root}: holds what was done of other scores ({key} was {was}, now {now}); "
        "repeat the first command to continue it, remove the folder, or name another --out"
    )


def _what_decides(config: ScoreConfig, plans: Sequence[StampPlan]) -> dict[str, Any]:
    values = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config) if field.name not in _FREE
    }  # fmt: skip
    values["mosaics"] = [plan.name for plan in plans]
    for plan in plans:
        stamps = plan.stamps
        text = json.dumps(dataclasses.asdict(stamps))
        values[f"stamps of {plan.name}"] = [
            len(stamps), hashlib.sha256(text.encode()).hexdigest(), _state_of(stamps)
        ]  # fmt: skip
    return values


def _state_of(stamps: StampSet) -> list[int]:
    """What changes when an array is written again; single files are read when they are."""
    path = Path(stamps.paths[0])
    if stamps.kind == FITS or is_remote(stamps.paths[0]):
        return []
    if stamps.kind == ZARR:
        path = next(path.rglob("zarr.json"), path)
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def score_stamps(
    config: ScoreConfig,
    shown: Sequence[StampSet],
    plans: Sequence[StampPlan],
    bundle: Bundle,
    paths: RunPaths,
    client: Client,
    progress: Progress,
    hold: Callable[[], None] = lambda: None,
) -> pa.Table:
    """Score stamps on a cluster; what an earlier command did stays as it is.

    Parameters
    ----------
    config : ScoreConfig
    shown : sequence of StampSet
        As the table calls them.
    plans : sequence of StampPlan
        Of these; as `open_scores` took them.
    bundle : Bundle
    paths : RunPaths
    client : distributed.Client
    progress : Progress
    hold : callable
        Of `lensweep.scanner.run.lock.sole_writer`.

    Returns
    -------
    pyarrow.Table
        Schema `lensweep.catalogs.schemas.SCORES`: a row per stamp, in the order given; one that
        cannot be scored has the reason in `message`, and nulls.

    Raises
    ------
    InputError
        If the disk is full, a worker sees another ensemble, or the cluster is lost.
    """
    stages = Stages(config, bundle, client, paths, progress, hold, store_unless_done)
    try:
        stages.load_ahead()
        stages.work_through(plans, "stamps")
        hold()
        try:
            parts = [_rows(paths, *one) for one in zip(plans, shown, strict=True)]
        except LostScoresError as error:
            # They are not marked as done any more.
            progress.note(str(error))
            stages.work_through(plans, "stamps")
            parts = [_rows(paths, *one) for one in zip(plans, shown, strict=True)]
    except (CancelledError, ClosedClientError) as error:
        raise ClusterLostError(
            f"cluster {config.cluster}: lost ({error}); what is done stays done: repeat the "
            "command to continue"
        ) from error
    scores, way = _field_scores(bundle, paths)
    density = config.lenses_per_deg2(_others_per_deg2(scores, way))
    rows = _with_worth(pd.concat(parts, ignore_index=True), scores, way, density)
    columns = [pa.array(rows[f.name], f.type, from_pandas=True) for f in SCORES]
    facts = {
        "ensemble": bundle.description.name,
        "ensemble_sha256": bundle.sha256,
        "lens_density_per_deg2": repr(density),
        **({} if config.prior is None else {"prior": repr(config.prior)}),
        "calibrated_on_centres": way,
        **describe_fields(scores),
        "versions": json.dumps(versions()),
    }
    return with_provenance(pa.Table.from_arrays(columns, schema=SCORES), facts)


def _others_per_deg2(scores: FieldScores | None, way: str) -> float:
    """Of how many windows a square degree n is: on sources as counted, else tiles of the sky."""
    counted = {} if scores is None else scores.facts.made_from.get("windows_per_deg2", {})
    return float(counted.get(way, STAMPS_PER_DEG2)) if way == "sources" else STAMPS_PER_DEG2


def _rows(paths: RunPaths, plan: StampPlan, shown: StampSet) -> pd.DataFrame:
    """The rows of one set of stamps."""
    n = plan.n_windows
    rows = pd.DataFrame(None, index=range(n), columns=SCORES.names, dtype=object)
    if shown.kind == FITS:
        rows["file"] = [printable(path) for path in shown.paths]
    else:
        rows["file"], rows["index"] = shown.place, np.arange(n)
        names = names_of(plan.stamps)
        rows["name"] = None if names is None else names
    for shard, (start, stop) in enumerate(plan.shards):
        if not paths.score_marker(plan.name, shard).is_file():
            why = read_record(paths.failure(plan.name, shard))["reason"]
            rows.loc[start : stop - 1, "message"] = why
            continue
        found = _scores_of(paths, plan, shard)
        for name, values in found.items():
            rows.loc[start : stop - 1, name] = values
        said = read_record(paths.cut_marker(plan.name, shard)).get(MESSAGES, {})
        for window, text in said.items():
            rows.loc[int(window), "message"] = text
    return rows


def _scores_of(paths: RunPaths, plan: StampPlan, shard: int) -> dict[str, NDArray[Any]]:
    """What the stores hold of one shard; unmarked, if that is lost."""
    start, stop = plan.bounds(shard)
    marker = paths.score_marker(plan.name, shard)
    try:
        sums = read_record(marker).get("files")
        found = score_store.read_written(paths.scores(plan.name), start, stop, sums)
    except (ValueError, DamagedError) as error:
        marker.unlink(missing_ok=True)
        raise LostScoresError(
            f"{plan.stamps.label}: numbers {start} to {stop - 1} were scored, but that is lost "
            f"({error}); they are scored again"
        ) from error
    logits = found["member_logits"]
    scored = np.isfinite(logits).all(axis=1)
    columns: dict[str, NDArray[Any]] = {"screen_logit": found["screen_logit"]}
    for name, values in zip(("p_mean", "p_std", "logit_mean"), summarise(logits), strict=True):
        columns[name] = np.where(scored, values, np.nan)
    columns["n_members"] = np.where(scored, logits.shape[1], np.nan)
    valid = read_column(paths.cutouts(plan.name), "valid_fraction", start, stop)
    columns["valid_fraction"] = np.where(scored, valid, np.nan)
    return columns


def _field_scores(bundle: Bundle, paths: RunPaths) -> tuple[FieldScores | None, str]:
    """What tells the worth of a score, and of windows placed in which way.

    Stamps are of sources; where an ensemble was measured on grids only, these are what is known.
    """
    for way in ("sources", "grid"):
        scores = find_field_scores(bundle, paths, way)
        if scores is not None:
            return scores, way
    return None, "none"


def _with_worth(
    rows: pd.DataFrame, scores: FieldScores | None, way: str, lens_density: float
) -> pd.DataFrame:
    scored = rows["logit_mean"].notna().to_numpy()
    if scores is None or not scored.any():
        return rows
    calibration = scores.calibration(way)
    score = rows["logit_mean"].to_numpy(np.float64)[scored]
    rows.loc[scored, "p_lens"] = calibration.probability(score, lens_density)
    rows.loc[scored, "false_per_deg2"] = calibration.false.above(score)
    rows.loc[scored, "extrapolated"] = calibration.extrapolated(score)
    return rows
