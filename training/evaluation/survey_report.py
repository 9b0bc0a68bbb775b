"""A survey of fields, as Markdown to read: false candidates, by kind, completeness, what to expect.

And the worst false candidates as a picture.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import gamma

from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.scanner.network.bundle_additions import record_fields
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import FieldFacts
from lensweep.scanner.results.calibration import CONFIDENCE, RESAMPLINGS, Calibration
from lensweep.scanner.results.contact_sheet import draw_contact_sheet
from lensweep.scanner.results.worth import FieldScores, as_field_scores
from lensweep.training.evaluation.population import collett_weights, flat_weights, is_clear
from lensweep.training.evaluation.report import table_lines
from lensweep.training.evaluation.shares import completeness_at, scores_at
from lensweep.training.evaluation.survey import WORST, Survey, field_folder, field_scores
from lensweep.training.evaluation.survey_request import SurveyConfig
from lensweep.training.simulation.seen import MIN_CLEAR_PIXELS

# Candidates per square degree without lenses down to which somebody looks.
DEPTHS = (1000.0, 100.0, 10.0, 1.0)
TOPS = (20, 100, 1000)
LENS_DENSITY = 10.0
N_WORST = 100


def report_survey(survey: Survey, config: SurveyConfig, out: Path, record: bool) -> str:
    """Write ``survey.md`` and ``worst.png`` into a survey's folder, and perhaps into its bundle.

    Parameters
    ----------
    survey : Survey
    config : SurveyConfig
    out : Path
    record : bool
        Keep the scores in the bundle: `p_lens` follows them from then on.

    Returns
    -------
    str
        The page.

    Raises
    ------
    InputError
        If there are too few lenses or false candidates to tell anything.
    """
    scores = field_scores(survey, config)
    page = "\n".join([f"# {config.ensemble} on fields", "", *survey_lines(survey, scores)]) + "\n"
    with whole_file(out / "survey.md") as aside:
        aside.write_text(page)
    draw_worst(survey, out, out / "worst.png")
    if record:
        folder = Path(check_bundle(config.ensemble).folder)
        record_fields(folder, as_field_scores(scores.table), scores.facts)
        page += f"\nrecorded in {folder}\n"
    return page


def survey_lines(survey: Survey, scores: FieldScores) -> list[str]:
    """Everything about a survey, way of placing windows by way.

    Parameters
    ----------
    survey : Survey
    scores : FieldScores
        Of that survey.
    """
    facts = survey.facts
    lines = [f"{len(facts):,} fields without lenses, {facts['area_deg2'].sum():.4f} deg²."]
    for centres in survey.candidates:
        counts = {name: int(facts[f"{centres}_{name}"].sum())
                  for name in ("planned", "scored", "screened", "masked")}  # fmt: skip
        windows = counts["scored"] + counts["screened"]
        calibration = scores.calibration(centres)
        resampled = calibration.resamplings()
        lines += [
            "", f"## Centres: {centres}", "",
            f"{windows:,} windows looked at, of which {counts['scored']:,} were scored; "
            f"{len(survey.candidates[centres]):,} merged candidates; "
            f"{len(survey.planted[centres]):,} lenses planted.", "",
            *_rate_lines(calibration, windows), "",
            *_kind_lines(survey.candidates[centres], calibration), "",
            *_completeness_lines(survey.planted[centres], calibration, resampled), "",
            *_top_lines(scores, centres, calibration, resampled), "",
            _reliability_line(scores, centres),
        ]  # fmt: skip
    return lines


def _clear(scores: FieldScores) -> FieldScores:
    """The same scores, of lenses with arcs that are clear to the eye."""
    unclear = scores.table["is_lens"].to_numpy(bool) & ~is_clear(scores.table)
    return FieldScores(
        scores.table.assign(weight=scores.table["weight"].mask(unclear, 0.0)), scores.facts
    )


def poisson_interval(count: int) -> tuple[float, float]:
    """Garwood's (1936) interval of a Poisson mean."""
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = gamma.ppf(tail, count) if count else 0.0
    return float(low), float(gamma.ppf(1.0 - tail, count + 1))


def _rate_lines(calibration: Calibration, windows: int) -> list[str]:
    rows = []
    for depth in (30_000.0, 10_000.0, *DEPTHS):
        score = calibration.false.score_at(depth)
        seen = int((calibration.false_scores >= score).sum())
        low, high = poisson_interval(seen)
        rate = depth * calibration.extent / windows
        tail = "tail" if calibration.extrapolated(np.array(score)) else ""
        area = calibration.extent
        rows.append((f"{depth:,.0f}", f"{score:+.2f}", f"{rate:.1e}", f"{seen:,}",
                     f"{low / area:,.0f}-{high / area:,.0f}", tail))  # fmt: skip
    header = ("false candidates per deg²", "logit at least", "share of windows", "seen",
              "per deg², 95 %", "extrapolated")  # fmt: skip
    return table_lines(header, rows)


def _kind_lines(candidates: pd.DataFrame, calibration: Calibration) -> list[str]:
    cuts = [calibration.false.score_at(depth) for depth in (10_000.0, *DEPTHS[:2])]
    rows = []
    for kind, members in candidates.groupby("kind"):
        counts = [int((members["logit_mean"] >= cut).sum()) for cut in cuts]
        rows.append((str(kind), *(f"{count:,}" for count in counts)))
    rows.sort(key=lambda row: -int(row[1].replace(",", "")))
    header = ("lies on", *(f"at {depth:,.0f} per deg²" for depth in (10_000.0, *DEPTHS[:2])))
    return table_lines(header, rows)


def _completeness_lines(
    planted: pd.DataFrame, calibration: Calibration, resampled: list[Calibration]
) -> list[str]:
    collett = collett_weights(planted)
    populations = {
        "lensed galaxies, as Collett (2015)": collett,
        f"of these, {MIN_CLEAR_PIXELS} pixels above 3 sigma": collett * is_clear(planted),
        "lensed galaxies, flat": flat_weights(planted),
        "lensed galaxies, as drawn": (planted["kind"] == "lensed_galaxy").to_numpy(float),
        "lensed quasars, as drawn": (planted["kind"] == "lensed_quasar").to_numpy(float),
    }
    cuts = {depth: scores_at(depth, calibration, resampled) for depth in DEPTHS}
    rows = []
    for name, weights in populations.items():
        cells = []
        for depth in DEPTHS:
            share, low, high = completeness_at(planted, weights, cuts[depth])
            cells.append(f"{share:.2f} ({low:.2f}-{high:.2f})")
        rows.append((name, f"{int((weights > 0.0).sum()):,}", *cells))
    header = ("visible lenses", "n", *(f"at {depth:,.0f} per deg²" for depth in DEPTHS))
    return table_lines(header, rows)


def _top_lines(
    scores: FieldScores, centres: str, calibration: Calibration, resampled: list[Calibration]
) -> list[str]:
    """Of one square degree with the stated lenses: how many are among its first candidates."""
    sort = f"with {MIN_CLEAR_PIXELS} pixels above 3 sigma"
    columns, too_few = {"visible": _expected(calibration, resampled)}, []
    try:
        clear = _clear(scores).calibration(centres)
        columns[sort] = _expected(clear, clear.resamplings())
    except InputError:
        too_few = ["", f"Too few lenses {sort} to tell how many of these to expect."]
    tops = (f"first {top:,}" for top in TOPS)
    header = (f"lenses expected, of {LENS_DENSITY:g} {name}" for name in columns)
    rows = list(zip(tops, *columns.values(), strict=True))
    return [*table_lines(("of a square degree", *header), rows), *too_few]


def _expected(calibration: Calibration, resampled: list[Calibration]) -> list[str]:
    """Lenses among each of `TOPS`, with intervals."""
    cells = []
    for top in TOPS:
        ends = np.quantile([lenses_among(one, top, LENS_DENSITY) for one in resampled],
                           [0.025, 0.975])  # fmt: skip
        expected = lenses_among(calibration, top, LENS_DENSITY)
        cells.append(f"{expected:.1f} ({ends[0]:.1f}-{ends[1]:.1f})")
    return cells


def lenses_among(calibration: Calibration, top: int, density: float) -> float:
    """Lenses among the first candidates of one unit of sky: where lenses and others make `top`."""

    def excess(score: float) -> float:
        at = np.array(score)
        lenses, false = calibration.lenses.above(at), calibration.false.above(at)
        return float(density * lenses + false) - top

    low, high = float(calibration.false_scores.min()), calibration.false.edge + 100.0
    if excess(low) <= 0.0:
        return float(density * calibration.lenses.above(np.array(low)))
    return float(density * calibration.lenses.above(np.array(brentq(excess, low, high))))


def _reliability_line(scores: FieldScores, centres: str) -> str:
    """Expected against found at the true rarity, with fields resampled for the interval."""
    fields = dict(tuple(scores.table.groupby("seed")))
    area = scores.facts.area_deg2 / len(fields)
    rng, drawn = np.random.default_rng(2018), []
    halves = [[seed for seed in fields if seed % 2 == odd] for odd in (0, 1)]
    too_few = "Too few fields to calibrate one half by the other."
    if not all(halves):
        return too_few
    try:
        expected, found = expected_and_found(halves, fields, area, centres)
        for _ in range(RESAMPLINGS):
            again = [list(rng.choice(half, len(half))) for half in halves]
            drawn.append(np.divide(*expected_and_found(again, fields, area, centres)))
    except InputError:
        return too_few
    low, high = np.quantile(drawn, (0.025, 0.975))
    return (
        f"Expected / found at {LENS_DENSITY:g} per deg², one half of the fields calibrated by the "
        f"other: {expected / found:.2f} ({low:.2f}-{high:.2f}; sum of p_lens {expected:.3f}, "
        f"lenses among the candidates {found:.3f})."
    )


def expected_and_found(
    halves: Sequence[Sequence[int]], fields: dict[int, pd.DataFrame], area_deg2: float, centres: str
) -> tuple[float, float]:
    """The sum of `p_lens` of all candidates, and the lenses among them.

    Parameters
    ----------
    halves : two sequences of int
        Seeds of fields: each half is judged by the calibration of the other.
    fields : dict of int to DataFrame
        Scores on each field.
    area_deg2 : float
        Of one.
    centres : str

    Raises
    ------
    InputError
        If one of them is too little to tell anything from.
    """
    expected = found = 0.0
    for one, other in (halves, halves[::-1]):
        table, rest = (pd.concat([fields[seed] for seed in half]) for half in (one, other))
        facts = FieldFacts(area_deg2 * len(one), 0, 0, {})
        calibration = FieldScores(table, facts).calibration(centres)
        lenses, weights, others = _parts(rest, centres)
        seen = np.isfinite(lenses)
        share = LENS_DENSITY * area_deg2 * len(other) * weights[seen] / weights.sum()
        expected += float((share * calibration.probability(lenses[seen], LENS_DENSITY)).sum())
        expected += float(calibration.probability(others, LENS_DENSITY).sum())
        found += float(share.sum())
    return expected, found


def _parts(
    table: pd.DataFrame, centres: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rows = table[table["centres"] == centres]
    lens = rows["is_lens"].to_numpy(bool)
    score, weight = (rows[name].to_numpy(np.float64) for name in ("logit_mean", "weight"))
    return score[lens], weight[lens], score[~lens]


def draw_worst(survey: Survey, out: Path, path: Path) -> None:
    """Draw the highest false candidates of the first way of placing windows.

    A field keeps the pixels of a dozen.
    """
    first = next(iter(survey.candidates.values()))
    rows, cutouts = [], []
    for seed, members in first.groupby("seed"):
        kept = np.load(field_folder(out, int(seed)) / WORST, allow_pickle=False)
        rows.append(members.head(len(kept)))
        cutouts.append(kept)
    table, flux = pd.concat(rows, ignore_index=True), np.concatenate(cutouts)
    order = np.argsort(-table["logit_mean"].to_numpy(), kind="stable")[:N_WORST]
    worst = table.iloc[order].reset_index(drop=True)
    shown = worst.assign(
        rank=np.arange(1, len(worst) + 1), candidate_id="seed " + worst["seed"].astype(str),
        p_mean=1.0 / (1.0 + np.exp(-worst["logit_mean"])), p_lens=np.nan, castles_name=None,
        lensflow_id=None,
    )  # fmt: skip
    marks = worst["kind"].str.replace("_", " ").tolist()
    draw_contact_sheet(path, shown, flux[order], marks, N_WORST)
