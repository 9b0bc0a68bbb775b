"""Fields without lenses, scored as a scan scores, and lenses planted in them: what a square degree
of simulated sky makes an ensemble believe, and what becomes of the lenses in it.

A field is one task and one folder of results, whose ``facts.json`` comes last: a survey that was
stopped continues with the fields that lack it.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.candidates import build_candidates
from lensweep.catalogs.crossmatch import nearest
from lensweep.deploy.config import SCORE
from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.ensemble import FieldFacts, Scoring
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.worth import FieldScores, settings_of
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, plan_mosaic, read_windows
from lensweep.scanner.run.score_store import read_seen
from lensweep.scanner.sky.grid import grid_to_sky, read_grid_region
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.scanner.work.dispatch import spread
from lensweep.scanner.work.stores import prepare_stores
from lensweep.scanner.work.tasks import cut_shard, load_ensemble, score_shard
from lensweep.training.data import labelled_set
from lensweep.training.evaluation.planting import (
    Scanned,
    find_again,
    number_lenses,
    plant,
    random_places,
)
from lensweep.training.evaluation.population import collett_weights
from lensweep.training.evaluation.survey_request import CENTRES, SurveyConfig
from lensweep.training.simulation.field import make_known_field
from lensweep.training.simulation.field_population import SKY
from lensweep.training.simulation.painting import Depth
from lensweep.training.simulation.simulate import VERSION, psf_bank

# Of each field, for the contact sheet of the worst.
KEPT_CUTOUTS = 12
# A false candidate is of a confuser's kind if it lies this near to its centre.
CONFUSER_WITHIN_ARCSEC = 2.5
OTHER_KIND = "field_galaxy_or_star"
# Of the planted lenses every third of a field is looked for among sources too: two of four.
SOURCES_SHARE = 3
# Seeds of the lenses' light, apart from those of the fields.
_PSF_SEED = 2018
FACTS, CANDIDATES, PLANTED, UNSEEN, WORST = (
    "facts.json", "candidates", "planted", "unseen.parquet", "worst.npy",
)  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """What came of the fields of a survey, by how its windows were centred: `CENTRES`.

    Attributes
    ----------
    candidates : dict of str to DataFrame
        Merged, best first: ``seed``, ``logit_mean``, ``kind`` (of what is near), ``window``.
    planted : dict of str to DataFrame
        As of `lensweep.training.evaluation.planting.find_again`, with ``seed``.
    unseen : DataFrame
        Lenses that were drawn and would not have been seen.
    facts : DataFrame
        A row per field: ``seed``, ``area_deg2``, and for each of `CENTRES` how many windows were
        planned, scored, screened and masked.
    """

    candidates: dict[str, pd.DataFrame]
    planted: dict[str, pd.DataFrame]
    unseen: pd.DataFrame
    facts: pd.DataFrame


def open_survey(config: SurveyConfig, out: Path) -> Bundle:
    """Check a request, and begin or continue its folder.

    Raises
    ------
    InputError
        If the ensemble cannot be used, or the folder holds another survey.
    """
    bundle = check_bundle(config.ensemble)
    asked = dataclasses.asdict(config) | {
        "kind": "survey", "ensemble": bundle.sha256, "simulation": VERSION,
    }  # fmt: skip
    # More fields are the same survey, continued.
    asked.pop("fields")
    labelled_set.claim(out, asked)
    return bundle


def run_survey(
    config: SurveyConfig, bundle: Bundle, out: Path, client: Client, progress: Progress
) -> Survey:
    """Scan simulated fields without lenses and plant lenses in them; a stopped survey continues.

    Parameters
    ----------
    config : SurveyConfig
    bundle : Bundle
        As `open_survey` gave it.
    out : Path
        Receives a folder for each field.
    client : distributed.Client
    progress : Progress
    """
    seeds = range(config.seed, config.seed + config.fields)
    missing = [seed for seed in seeds if not (field_folder(out, seed) / FACTS).is_file()]
    stage = progress.stage("fields", len(seeds), len(seeds) - len(missing), unit="fields")
    done = spread(
        client, survey_field, missing, resource=SCORE, out=out, config=config, bundle=bundle
    )
    for _ in done:
        progress.advance(stage, 1)
    return read_survey(out, seeds, config.centres)


def field_folder(out: Path, seed: int) -> Path:
    """Where a field's results are."""
    return out / "fields" / f"{seed:09d}"


def read_survey(out: Path, seeds: Sequence[int], centres: Sequence[str] = CENTRES) -> Survey:
    """Read the results of those of some fields that are finished.

    Raises
    ------
    InputError
        If none is.
    """
    folders = {seed: field_folder(out, seed) for seed in seeds}
    done = {seed: folder for seed, folder in folders.items() if (folder / FACTS).is_file()}
    if not done:
        raise InputError(f"survey {out}: none of {len(seeds)} fields is finished")

    def joined(name: str) -> pd.DataFrame:
        parts = [pd.read_parquet(folder / name).assign(seed=seed) for seed, folder in done.items()]
        return pd.concat(parts, ignore_index=True)

    facts = [json.loads((folder / FACTS).read_text()) for folder in done.values()]
    ranked = {
        way: joined(f"{CANDIDATES}-{way}.parquet").sort_values(
            "logit_mean", ascending=False, kind="stable", ignore_index=True
        )
        for way in centres
    }
    planted = {way: joined(f"{PLANTED}-{way}.parquet") for way in centres}
    return Survey(ranked, planted, joined(UNSEEN), pd.DataFrame(facts))


def field_scores(survey: Survey, config: SurveyConfig) -> FieldScores:
    """What a survey tells of scores, for a bundle: lensed galaxies weighted to Collett's."""
    parts = []
    for centres in survey.candidates:
        false, lenses = survey.candidates[centres], survey.planted[centres]
        parts += [
            false.assign(centres=centres, is_lens=False, weight=1.0),
            lenses.assign(centres=centres, is_lens=True, weight=collett_weights(lenses)),
        ]
    scan = ScanConfig(("any",), "any", config.ensemble)
    facts = FieldFacts(
        float(survey.facts["area_deg2"].sum()),
        len(survey.facts),
        sum(len(lenses) for lenses in survey.planted.values()),
        {
            "fields": "simulated, without lenses: training.simulation.field_population.SKY",
            "first_seed": config.seed, "size_px": config.size_px,
            "lenses": "planted one at a time, lensed galaxies weighted to Collett (2015)",
            "scan": settings_of(scan),
            "windows_per_deg2": {
                centres: float((survey.facts[f"{centres}_planned"].sum()
                                - survey.facts[f"{centres}_masked"].sum())
                               / survey.facts["area_deg2"].sum())
                for centres in survey.candidates
            },
        },
    )  # fmt: skip
    return FieldScores(pd.concat(parts, ignore_index=True), facts)


def survey_field(seed: int, out: Path, config: SurveyConfig, bundle: Bundle) -> None:
    """Make one field, scan it in both ways, plant lenses in it, and keep what came of it."""
    folder, scratch = field_folder(out, seed), out / ".scratch" / f"{seed:09d}"
    shutil.rmtree(scratch, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True)
    mosaic = scratch / f"empty{seed}_f814w_drz.fits"
    known = make_known_field(mosaic, seed, config.size_px, n_lenses=0, population=SKY)
    facts: dict[str, Any] = {"seed": seed}
    for centres in config.centres:
        asked = ScanConfig((str(mosaic),), str(scratch / centres), config.ensemble, centres)
        plan, counts = scan_plainly(asked, bundle)
        facts |= {f"{centres}_{name}": number for name, number in counts.items()}
        detections = _detections(plan, asked)
        candidates = _candidates(detections, plan, known.others, asked)
        _write(candidates, folder / f"{CANDIDATES}-{centres}.parquet")
        planted, unseen = _plant(plan, asked, bundle, detections, config, seed)
        _write(planted, folder / f"{PLANTED}-{centres}.parquet")
        if centres == config.centres[0]:
            facts["area_deg2"] = _area_deg2(plan, asked)
            _write(unseen, folder / UNSEEN)
            np.save(folder / WORST, _cutouts_of(candidates.head(KEPT_CUTOUTS), plan, asked))
    shutil.rmtree(scratch)
    write_json(folder / FACTS, facts)


def scan_plainly(config: ScanConfig, bundle: Bundle) -> tuple[Plan, dict[str, int]]:
    """Cut and score one mosaic shard by shard, with what a worker of a scan does.

    Returns
    -------
    plan : Plan
    counts : dict of str to int
        Windows that were planned, scored, screened and masked.
    """
    paths = RunPaths.at(config.out)
    paths.root.mkdir(parents=True)
    plan = plan_mosaic(config.mosaics[0], config, bundle.description.band, config.out)
    prepare_stores(paths, plan, bundle)
    scoring = Scoring(bundle.folder, bundle.sha256, config.precision, config.screen)
    name, counts = plan.mosaic.name, {"planned": plan.n_windows, "scored": 0, "screened": 0,
                                      "masked": 0}  # fmt: skip
    for shard in range(plan.n_shards):
        cut_shard(config.out, name, shard)
        score_shard(config.out, name, shard, scoring, config.min_valid_fraction)
        outcome = json.loads(paths.score_marker(name, shard).read_text())
        for state in ("scored", "screened", "masked"):
            counts[state] += outcome[state]
    return plan, counts


def _detections(plan: Plan, config: ScanConfig) -> pd.DataFrame:
    return read_detections(Path(config.out), plan, -np.inf, recentre=config.centres == "grid")


def _candidates(
    detections: pd.DataFrame, plan: Plan, others: pd.DataFrame, config: ScanConfig
) -> pd.DataFrame:
    """Merged as a scan merges, with the kind of the confuser that each lies on."""
    table = build_candidates(
        detections, config.merge_radius_arcsec, config.match_radius_arcsec, limit=None
    ).to_pandas()
    kind = np.full(len(table), OTHER_KIND, dtype=object)
    if len(others) and len(table):
        ra, dec = grid_to_sky(plan.grid, others["x_pix"].to_numpy(), others["y_pix"].to_numpy())
        row, other, _ = nearest(table["ra_deg"], table["dec_deg"], ra, dec, CONFUSER_WITHIN_ARCSEC)
        kind[row] = others["kind"].to_numpy()[other]
    names = ["logit_mean", "p_std", "n_windows", "valid_fraction", "x_pix", "y_pix", "window"]
    return table[names].assign(kind=kind.astype(str))


def _plant(
    plan: Plan, config: ScanConfig, bundle: Bundle, detections: pd.DataFrame,
    survey: SurveyConfig, seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    mosaic = plan.mosaic
    assert mosaic.zero_point_ab is not None and mosaic.exposure_time_s is not None
    scanned = Scanned(mosaic, plan.grid, read_windows(Path(config.out), mosaic.name),
                      config.min_valid_fraction, config.centres == "grid")  # fmt: skip
    places = random_places(
        scanned, mosaic.zero_point_ab, survey.lenses_per_field, np.random.default_rng([seed, 97])
    )
    first = (seed - survey.seed) * survey.lenses_per_field
    depth = Depth(mosaic.zero_point_ab, mosaic.exposure_time_s)
    scoring = Scoring(bundle.folder, bundle.sha256, config.precision, config.screen)
    lenses = number_lenses(places, first)
    if config.centres != "grid":
        lenses = lenses[::SOURCES_SHARE]
    truth, windows, unseen = plant(
        scanned, lenses, depth, psf_bank(_PSF_SEED), survey.seed,
        load_ensemble(scoring),
    )  # fmt: skip
    return find_again(scanned, detections, truth, windows, config.merge_radius_arcsec), unseen


def _area_deg2(plan: Plan, config: ScanConfig) -> float:
    """Valid pixels: on a grid of the windows that were looked at, on sources all of them."""
    root = Path(config.out)
    ny, nx = plan.grid.shape
    valid = np.isfinite(read_grid_region(plan.mosaic, plan.grid, slice(0, ny), slice(0, nx)))
    if config.centres != "grid":
        return float(valid.sum() * (PIXEL_SCALE_ARCSEC / 3600.0) ** 2)
    seen = np.zeros_like(valid)
    looked_at = read_seen(RunPaths(root).scores(plan.mosaic.name))
    for x0, y0 in read_windows(root, plan.mosaic.name).corners[looked_at].tolist():
        seen[y0 : y0 + CUTOUT_SIZE, x0 : x0 + CUTOUT_SIZE] = True
    return float((valid & seen).sum() * (PIXEL_SCALE_ARCSEC / 3600.0) ** 2)


def _cutouts_of(candidates: pd.DataFrame, plan: Plan, config: ScanConfig) -> NDArray[np.float32]:
    store = RunPaths(Path(config.out)).cutouts(plan.mosaic.name)
    return cutout_store.read_rows(store, "flux", candidates["window"].to_numpy())


def _write(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as aside:
        table.to_parquet(aside)
