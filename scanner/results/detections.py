"""Detections: the windows of a run that score above a floor, as a table for ranking."""

from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_windows
from lensweep.scanner.sky.grid import grid_to_mosaic_pixels, grid_to_sky


def read_detections(root: Path, plan: Plan, min_logit: float, recentre: bool) -> pd.DataFrame:
    """Read the detections of one mosaic.

    Parameters
    ----------
    root : Path
    plan : Plan
    min_logit : float
        Least mean logit.
    recentre : bool
        Move each detection to the brightest light near its window's centre (grid scans); else
        it stays where its window was asked for.

    Returns
    -------
    DataFrame
        The columns that `lensweep.catalogs.candidates.build_candidates` takes.
    """
    mosaic = plan.mosaic.name
    logits, peak_dx, peak_dy = score_store.read(RunPaths(root).scores(mosaic))
    # NaN (masked, failed) compares as false.
    with np.errstate(invalid="ignore"):
        chosen = np.flatnonzero(logits.mean(axis=1) >= min_logit)
    p_mean, p_std, logit_mean = summarise(logits[chosen])
    windows = read_windows(root, mosaic)
    x, y = windows.x[chosen], windows.y[chosen]
    if recentre:
        x, y = x + peak_dx[chosen], y + peak_dy[chosen]
    ra_deg, dec_deg = grid_to_sky(plan.grid, x, y)
    x_pix, y_pix = grid_to_mosaic_pixels(plan.mosaic, plan.grid, x, y)
    valid = cutout_store.read_column(RunPaths(root).cutouts(mosaic), "valid_fraction")
    return pd.DataFrame(
        {
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "p_mean": p_mean,
            "p_std": p_std,
            "logit_mean": logit_mean,
            "n_members": np.full(len(chosen), logits.shape[1], np.int16),
            "valid_fraction": valid[chosen],
            "mosaic": pd.Series([mosaic] * len(chosen), dtype="str"),
            "x_pix": x_pix,
            "y_pix": y_pix,
            "window": chosen.astype(np.int64),
        }
    )
