"""What scores are worth on a user's own mosaics: lenses planted in them, and what else scores high.

The run's own candidates away from known lenses stand for false ones. Lenses that nobody knows are
among them, so there are fewer false ones than this says, and `p_lens` is not too high for it.
"""

import numpy as np
import pandas as pd
from distributed import Client

from lensweep.catalogs.candidates import merge_overlaps
from lensweep.ground.progress import Progress
from lensweep.scanner.network.ensemble import FieldFacts
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.ranking import rank_anew
from lensweep.scanner.results.worth import (
    SETTINGS,
    FieldScores,
    write_field_scores,
)
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.training.data.places import away_from
from lensweep.training.evaluation.planted_run import Planting, plant_in_run
from lensweep.training.evaluation.population import collett_weights
from lensweep.training.evaluation.searched_sky import searched_deg2


def calibrate_run(
    planting: Planting, client: Client, progress: Progress, lens_density: float | None
) -> FieldScores:
    """Calibrate a finished run on its own mosaics, and rewrite what its catalogue says of scores.

    Parameters
    ----------
    planting : Planting
        Its run's folder receives ``calibration.parquet``.
    client : distributed.Client
    progress : Progress
    lens_density : float or None
        Per square degree, in the place of the run's.

    Raises
    ------
    InputError
        If there are too few lenses or candidates to tell anything; nothing is changed then.
    """
    planted = plant_in_run(planting, client, progress)
    root, facts, asked = planting.root, planting.facts, planting.asked
    false = _own_candidates(planting)
    way = "grid" if asked["centres"] == "grid" else "sources"
    lenses = planted.lenses
    table = pd.concat(
        [
            false.assign(is_lens=False, kind="candidate", weight=1.0),
            lenses.assign(is_lens=True, weight=collett_weights(lenses)),
        ],
        ignore_index=True,
    ).assign(centres=way, seed=0)
    made_from = {
        "fields": "the run's own candidates away from known lenses: an upper limit",
        "lenses": "planted one at a time, lensed galaxies weighted to Collett (2015)",
        "scan": {name: asked[name] for name in SETTINGS if name in asked}
        | {"merge_radius_arcsec": float(facts["merge_radius_arcsec"])},
    }  # fmt: skip
    area = searched_deg2(root, asked, planting.opened)
    scores = FieldScores(
        table, FieldFacts(area, len(planned_mosaics(root)), len(lenses), made_from)
    )
    # Refused before anything is changed.
    scores.calibration(way)
    write_field_scores(scores, RunPaths(root).calibration)
    rank_anew(root, planting.bundle, lens_density)
    return scores


def _own_candidates(planting: Planting) -> pd.DataFrame:
    """All that was scored, merged as the run merges, away from known lenses."""
    root, facts, known = planting.root, planting.facts, planting.known
    recentre = planting.asked["centres"] == "grid"
    parts = [
        read_detections(root, read_plan(root, name), -np.inf, recentre=recentre)
        for name in planned_mosaics(root)
    ]
    detections = pd.concat(parts, ignore_index=True)
    ra, dec, score = (
        detections[name].to_numpy(np.float64) for name in ("ra_deg", "dec_deg", "logit_mean")
    )
    keep, _ = merge_overlaps(ra, dec, score, float(facts["merge_radius_arcsec"]))
    away = away_from(
        ra[keep], dec[keep], known["known_ra_deg"].to_numpy(), known["known_dec_deg"].to_numpy(),
        planting.config.exclusion_radius_arcsec,
    )  # fmt: skip
    return pd.DataFrame({"logit_mean": score[keep][away]})
