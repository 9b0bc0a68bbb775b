"""What one worker does for one shard: plain values in, files out, the marker last."""

import functools
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lensweep.deploy.accelerator import end_at_once
from lensweep.deploy.cluster import this_worker
from lensweep.ground.errors import TryAgainError
from lensweep.ground.files import is_remote, written_at
from lensweep.scanner.archive.addresses import bring, way_to_read
from lensweep.scanner.archive.services import read_services
from lensweep.scanner.network.batch_size import BatchError
from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.ensemble import EnsembleError, Scoring
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.noise import Noise
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.cutout_store import Cutouts, LostCutoutsError
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, Windows, plan_mosaic, read_plan, read_windows
from lensweep.scanner.run.records import DamagedError, read_record, write_record
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import grid_to_mosaic_pixels, grid_to_sky
from lensweep.scanner.sky.names import mosaic_name
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.work.attempts import attempt
from lensweep.scanner.work.dispatch import few_at_a_time

# What a process may take to load TensorFlow and an ensemble, beside the shard that it scores first.
LOADING_S = 300.0
_LOADING = threading.Lock()


class ScoreError(ValueError):
    """Scores that mean nothing."""


class WorkerFullError(TryAgainError):
    """A worker whose device has no room for a single cutout.

    Parameters
    ----------
    worker : str
        Its address.
    reason : str
    """

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(worker, reason)
        self.worker, self.reason = worker, reason

    def __str__(self) -> str:
        return f"worker {self.worker}: {self.reason}"


def plan_unless_lost(
    path: str, config: ScanConfig, band: str, root: str
) -> tuple[Plan, str | None]:
    """Plan a mosaic, unless that has cost too many workers; fetch it if it is elsewhere.

    Returns
    -------
    Plan
    str or None
        How a mosaic at an address is read, and why.
    """
    paths, name = RunPaths.at(root), mosaic_name(path)
    here, why = path, None
    if is_remote(path):
        why = way_to_read(path, config, band, root)
        if why is None:
            # No attempt: a download has limits of its own, and may take hours.
            with few_at_a_time(read_services().connections):
                reading = bring(path, config, root)
            here, why = reading.path, reading.why
    with attempt(paths, name, 0, "plan", config.shard_timeout_s):
        return plan_mosaic(here, config, band, root), why


def cut_unless_done(root: str, mosaic: str, shard: int, limit_s: float) -> None:
    """Cut one shard of a mosaic, unless an earlier run did."""
    paths = RunPaths.at(root)
    if paths.cut_marker(mosaic, shard).is_file():
        return
    with ExitStack() as before:
        if is_remote(_plan(root, mosaic)[0].mosaic.pixels_path):
            before.enter_context(few_at_a_time(read_services().connections))
        with attempt(paths, mosaic, shard, "cut", limit_s):
            cut_shard(root, mosaic, shard)


def score_unless_done(
    _cut: None,
    root: str,
    mosaic: str,
    shard: int,
    scoring: Scoring,
    min_valid: float,
    limit_s: float,
) -> None:
    """Score one shard of a mosaic, unless that is done; follows what `cut_unless_done` returns.

    A worker that dies between its marker and its report has done the shard all the same.

    Raises
    ------
    WorkerFullError
        If something else has filled this worker's device.
    """
    paths = RunPaths.at(root)
    if not paths.score_marker(mosaic, shard).is_file():
        loading_s = 0.0 if ensemble_once.cache_info().currsize else LOADING_S
        try:
            with attempt(paths, mosaic, shard, "score", limit_s + loading_s):
                score_shard(root, mosaic, shard, scoring, min_valid)
        except BatchError as error:
            raise WorkerFullError(this_worker(), str(error)) from error


def cut_shard(root: str, mosaic: str, shard: int) -> int:
    """Cut one shard of a mosaic into its store.

    Returns
    -------
    int
        Number of windows.
    """
    paths = RunPaths.at(root)
    plan, windows = _plan(root, mosaic)
    start, stop = plan.bounds(shard)
    corners = windows.corners[start:stop]
    flux, valid_fraction = cut_windows(plan.mosaic, plan.grid, corners)
    centre_x, centre_y = (corners + (CUTOUT_SIZE - 1) / 2.0).T
    ra_deg, dec_deg = grid_to_sky(plan.grid, centre_x, centre_y)
    x_pix, y_pix = grid_to_mosaic_pixels(plan.mosaic, plan.grid, centre_x, centre_y)
    cutouts = Cutouts(
        flux, valid_fraction, ra_deg, dec_deg, x_pix, y_pix, corners[:, 0], corners[:, 1]
    )
    files = cutout_store.write_shard(paths.cutouts(mosaic), start, cutouts)
    write_record(paths.cut_marker(mosaic, shard), {"windows": stop - start, "files": files})
    return stop - start


def score_shard(
    root: str, mosaic: str, shard: int, scoring: Scoring, min_valid_fraction: float
) -> int:
    """Score one shard of a mosaic whose cutouts are written.

    Windows with less valid area than `min_valid_fraction` are not looked at: they are masked. Of
    the others, those that the ensemble passes over are screened.

    Parameters
    ----------
    root, mosaic, shard
        Which shard of which run.
    scoring : Scoring
    min_valid_fraction : float

    Returns
    -------
    int
        Number of windows.

    Raises
    ------
    ScoreError
        If a score is not a finite number.
    EnsembleError
        If the bundle is another here.
    LostCutoutsError
        If the shard's cutouts are not there any more; they are no longer marked as cut then.
    """
    paths = RunPaths.at(root)
    start, stop = _bounds(root, mosaic, shard)
    cutouts, noise = _cutouts_as_marked(paths, mosaic, shard, (start, stop))
    # Whatever the least fraction, a window without a single valid pixel has nothing to score.
    usable = (cutouts.valid_fraction >= min_valid_fraction) & (cutouts.valid_fraction > 0.0)
    loaded = load_ensemble(scoring)
    if usable.all():  # a copy of a shard is 20 MB
        found = loaded.judge(cutouts.flux, noise)
    else:
        found = loaded.judge(cutouts.flux[usable], noise[usable])
    if not np.isfinite(found.logits[found.scored]).all():
        raise ScoreError(
            f"mosaic {mosaic}: windows {start} to {stop - 1}: the ensemble gave scores that are "
            "no finite numbers; look at these cutouts"
        )
    scored = np.flatnonzero(usable)[found.scored]
    logits = np.full((stop - start, found.logits.shape[1]), np.nan, np.float32)
    peak_dx, peak_dy, peak_sn, screen_logit = np.full((4, stop - start), np.nan, np.float32)
    logits[usable], peak_sn[usable] = found.logits, found.peak_sn
    screen_logit[usable] = found.screen_logit
    peak_dx[scored], peak_dy[scored] = brightest_peak(cutouts.flux[scored], noise.sky[scored])
    files = score_store.write_shard(
        paths.scores(mosaic), start, logits, peak_dx, peak_dy, peak_sn, screen_logit
    )
    outcome = {
        "scored": len(scored),
        "screened": int(usable.sum()) - len(scored),
        "masked": stop - start - int(usable.sum()),
        "screen_threshold": loaded.screen_threshold,
        "precision": loaded.precision,
        "files": files,
    }
    write_record(paths.score_marker(mosaic, shard), outcome)
    return stop - start


def _cutouts_as_marked(
    paths: RunPaths, mosaic: str, shard: int, bounds: tuple[int, int]
) -> tuple[Cutouts, Noise]:
    """The cutouts of a shard, and their noise.

    It is not marked as cut any more if they are not what was cut.
    """
    marker = paths.cut_marker(mosaic, shard)
    try:
        sums = read_record(marker).get("files")
        return cutout_store.read_written(paths.cutouts(mosaic), *bounds, sums)
    except (DamagedError, FileNotFoundError) as error:
        # Gone when this is tried once more, by Dask.
        marker.unlink(missing_ok=True)
        raise LostCutoutsError(f"mosaic {mosaic}: shard {shard} is not marked as cut") from error
    except LostCutoutsError:
        marker.unlink(missing_ok=True)
        raise


def load_ensemble(scoring: Scoring) -> Ensemble:
    """Load a bundle, once per process: one thread does, and the others wait for it.

    Raises
    ------
    EnsembleError
        If the bundle that this machine sees is not the one that the run was started with.
    """
    with _LOADING:
        return ensemble_once(scoring)


def load_ahead(scoring: Scoring) -> None:
    """Load a bundle before anything is there to be scored; what is wrong with it is told then."""
    load_ensemble(scoring)


@functools.lru_cache(maxsize=1)
def ensemble_once(scoring: Scoring) -> Ensemble:
    """What `load_ensemble` keeps."""
    bundle = _same_bundle(scoring.folder, scoring.sha256)
    end_at_once()
    return Ensemble(bundle, scoring.precision, scoring.screen)


def ensemble_problem(folder: str, sha256: str) -> str | None:
    """Why this machine cannot score with a bundle; None if it can."""
    try:
        _same_bundle(folder, sha256)
    except EnsembleError as error:
        return str(error)
    return None


def _same_bundle(folder: str, sha256: str) -> Bundle:
    bundle = check_bundle(folder)
    if bundle.sha256 != sha256:
        raise EnsembleError(
            f"ensemble {folder}: manifest has SHA-256 {bundle.sha256} on {socket.gethostname()}, "
            f"but the run was started with {sha256}; give every worker the same bundle"
        )
    return bundle


def _bounds(root: str, mosaic: str, shard: int) -> tuple[int, int]:
    """First window and end of a shard, of whatever is planned under that name."""
    plan = RunPaths.at(root).plan(mosaic)
    n_windows, windows_per_shard = _sizes(plan, written_at(plan))
    start = shard * windows_per_shard
    return start, min(start + windows_per_shard, n_windows)


@functools.lru_cache(maxsize=4)
def _sizes(plan: Path, _when: tuple[Any, ...]) -> tuple[int, int]:
    values = read_record(plan)
    return values["n_windows"], values["windows_per_shard"]


def _plan(root: str, mosaic: str) -> tuple[Plan, Windows]:
    # A worker may outlive a run's folder, and meet another run of the same name.
    return _plan_written(root, mosaic, written_at(RunPaths.at(root).plan(mosaic)))


@functools.lru_cache(maxsize=4)
def _plan_written(root: str, mosaic: str, _when: tuple[Any, ...]) -> tuple[Plan, Windows]:
    paths = RunPaths.at(root)
    return read_plan(paths.root, mosaic), read_windows(paths.root, mosaic)
