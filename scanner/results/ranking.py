"""From the scores of a run to its ranked candidates; needs no pixels and no network."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lensweep.catalogs.candidates import build_candidates
from lensweep.catalogs.lensflow_grades import lensflow_scheme
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.results.contact_sheet import draw_contact_sheet
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.targets import write_targets
from lensweep.scanner.results.worth import (
    as_candidates,
    asked_of,
    describe_fields,
    find_field_scores,
    with_worth,
)
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import ranking_facts, ranking_in, ranking_of, versions
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.scale import CUTOUT_SIZE

CONTACT_SHEET_SIZE = 48


def rank_candidates(
    config: ScanConfig, bundle: Bundle, paths: RunPaths, plans: Sequence[Plan]
) -> pa.Table:
    """Merge the detections of all mosaics, match them with known lenses, and rank them.

    Returns
    -------
    pyarrow.Table
        Schema `lensweep.catalogs.schemas.CANDIDATES`, with the run's provenance.
    """
    description, ranking = bundle.description, ranking_of(config, bundle)
    detections = pd.concat(
        [
            read_detections(
                paths.root, plan, ranking["min_logit"], recentre=config.centres == "grid"
            )
            for plan in plans
        ],
        ignore_index=True,
    )  # fmt: skip
    table = build_candidates(
        detections, config.merge_radius_arcsec, config.match_radius_arcsec, limit=None
    )
    scores = find_field_scores(bundle, paths, config.centres)
    ranked = with_worth(table.to_pandas(), scores, config.centres, config.lens_density)
    provenance = {
        "ensemble": description.name,
        "ensemble_sha256": bundle.sha256,
        "members": str(len(description.members)),
        **ranking_facts(ranking),
        **describe_fields(scores),
        "lensflow_grades": lensflow_scheme(),
        "versions": json.dumps(versions()),
        "run": paths.run.read_text(),
        "origins": json.dumps(
            [dataclasses.asdict(plan.origin) for plan in plans if plan.origin is not None]
        ),
    }
    return with_provenance(as_candidates(ranked), provenance)


def rank_anew(root: Path, bundle: Bundle, lens_density: float | None) -> None:
    """Rewrite what a finished run's catalogue says of scores, by what is known of them now.

    Parameters
    ----------
    root : Path
        The run's folder.
    bundle : Bundle
        Of the run.
    lens_density : float or None
        Per square degree, in the place of the run's.
    """
    paths, facts = RunPaths(root), read_facts(root)
    with paths.candidates.open("rb") as file:
        candidates = pd.read_parquet(file)
    density = ranking_in(facts)["lens_density"] if lens_density is None else lens_density
    centres = asked_of(facts)["centres"]
    scores = find_field_scores(bundle, paths, centres)
    ranked = with_worth(candidates, scores, centres, density)
    facts |= ranking_facts({"lens_density": density}) | describe_fields(scores)
    table = with_provenance(as_candidates(ranked), facts)
    write_parquet(table, paths.candidates)
    if paths.targets.is_file():
        plans = [read_plan(paths.root, name) for name in planned_mosaics(paths.root)]
        write_targets(paths, plans, table, scores)
    draw_candidates(paths, ranked)


def draw_candidates(
    paths: RunPaths, candidates: pd.DataFrame, marks: Sequence[str | None] | None = None
) -> None:
    """Draw the contact sheet of the first candidates."""
    first = candidates.head(CONTACT_SHEET_SIZE)
    flux = [
        cutout_store.read_column(paths.cutouts(row.mosaic), "flux", row.window, row.window + 1)
        for row in first.itertuples()
    ]
    cutouts = np.concatenate([*flux, np.empty((0, CUTOUT_SIZE, CUTOUT_SIZE), np.float32)])
    draw_contact_sheet(paths.contact_sheet, candidates, cutouts, marks, CONTACT_SHEET_SIZE)
