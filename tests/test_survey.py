"""Fields without lenses, scored as a scan scores, and lenses planted in them."""

import dataclasses
import io
import json
import re
import time

import numpy as np
import pandas as pd
import pytest
from conftest import scan_here

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.results.calibration import Calibration
from lensweep.scanner.results.worth import FieldScores
from lensweep.training.evaluation.shares import weighted_share
from lensweep.training.evaluation.survey import (
    FACTS,
    WORST,
    Survey,
    field_folder,
    field_scores,
    open_survey,
    read_survey,
    run_survey,
)
from lensweep.training.evaluation.survey_report import (
    draw_worst,
    lenses_among,
    poisson_interval,
    survey_lines,
)
from lensweep.training.evaluation.survey_request import CENTRES, SurveyConfig
from lensweep.training.simulation.field import make_known_field
from lensweep.training.simulation.field_population import SKY

SEED, SIZE = 81, 700


def survey_here(bundle, out, client, **changes):
    config = SurveyConfig(str(bundle), **({"fields": 1, "seed": SEED, "size_px": SIZE,
                                           "lenses_per_field": 3} | changes))  # fmt: skip
    progress = PlainProgress(io.StringIO(), time.monotonic)
    return config, run_survey(config, open_survey(config, out), out, client, progress)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("survey") / "out"


@pytest.fixture(scope="module")
def surveyed(second_look_bundle, out, client):
    return survey_here(second_look_bundle, out, client)


def test_a_field_is_scored_as_a_scan_scores_it(surveyed, second_look_bundle, client, tmp_path):
    """The same field made and scanned by the command's own functions: the same candidates."""
    path = tmp_path / f"empty{SEED}_f814w_drz.fits"
    make_known_field(path, SEED, SIZE, 0, SKY)
    run = scan_here(client, second_look_bundle, [path], tmp_path / "run", screen="auto",
                    merge_radius_arcsec=2.5)  # fmt: skip
    scanned = pd.read_parquet(run.paths.candidates)
    found = surveyed[1].candidates["grid"]
    assert len(found) == len(scanned) > 0
    np.testing.assert_allclose(found["logit_mean"], scanned["logit_mean"], rtol=1e-4)
    assert found["window"].tolist() == scanned["window"].tolist()
    tally = run.tally
    counted = surveyed[1].facts.iloc[0]
    assert (counted["grid_scored"], counted["grid_screened"], counted["grid_masked"]) == (
        tally.scored, tally.screened, tally.masked,
    )  # fmt: skip


def test_the_area_is_that_of_the_data(surveyed):
    whole = (SIZE * 0.05 / 3600.0) ** 2
    assert 0.5 * whole < surveyed[1].facts["area_deg2"].iloc[0] < whole


def test_planted_lenses_are_followed(surveyed):
    for centres in CENTRES:
        planted = surveyed[1].planted[centres]
        assert 0 < len(planted) <= 3
        assert planted["kind"].isin(["lensed_galaxy", "lensed_quasar"]).all()
        assert planted["signal_to_noise"].min() >= 20.0
        assert not planted["logit_mean"].isna().any()
    # Among sources a lens has a window of its own.
    assert surveyed[1].planted["sources"]["offset_px"].max() <= 0.5


def test_a_finished_field_is_not_made_again_and_more_can_follow(
    surveyed, second_look_bundle, out, client
):
    facts = field_folder(out, SEED) / FACTS
    before = facts.stat().st_mtime_ns
    _, more = survey_here(second_look_bundle, out, client, fields=2)
    assert facts.stat().st_mtime_ns == before
    assert more.facts["seed"].tolist() == [SEED, SEED + 1]
    assert not (out / ".scratch" / f"{SEED:09d}").exists()
    with pytest.raises(InputError, match="holds another data set"):
        survey_here(second_look_bundle, out, client, size_px=800)


def test_the_worst_are_drawn(surveyed, out, tmp_path):
    draw_worst(surveyed[1], out, tmp_path / "worst.png")
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    kept = np.load(field_folder(out, SEED) / WORST)
    assert kept.shape[1:] == (100, 100)


def test_too_little_is_said_to_be_too_little(surveyed):
    scores = field_scores(surveyed[1], surveyed[0])
    assert scores.table["is_lens"].sum() == sum(map(len, surveyed[1].planted.values()))
    with pytest.raises(InputError, match="but it takes 30 and 50"):
        scores.calibration("grid")


def invented(n_fields=8, area=0.2):
    """A survey of no sky: lenses about logit 4, others falling from -5 with a scale of 1.2."""
    rng, false, lenses = np.random.default_rng(1), [], []
    for seed in range(n_fields):
        n = rng.poisson(20_000 * area / n_fields)
        false.append(pd.DataFrame({"seed": seed, "logit_mean": rng.exponential(1.2, n) - 5.0,
                                   "kind": rng.choice(["merger", "elliptical"], n)}))  # fmt: skip
        lenses.append(pd.DataFrame({
            "seed": seed, "logit_mean": rng.normal(4.0, 2.0, 30), "logit_before": -np.inf,
            "kind": ["lensed_galaxy"] * 24 + ["lensed_quasar"] * 6,
            "theta_e_arcsec": rng.uniform(0.3, 2.5, 30),
            "source_magnitude": rng.uniform(21.5, 26.5, 30),
            "host_magnitude": 20.0, "signal_to_noise": 50.0,
            "n_clear_pixels": rng.integers(0, 200, 30),
        }))  # fmt: skip
    facts = pd.DataFrame({"seed": range(n_fields), "area_deg2": area / n_fields})
    for name, count in (("planned", 2500), ("scored", 150), ("screened", 2000), ("masked", 350)):
        facts[f"grid_{name}"] = count
    candidates, planted = (pd.concat(parts, ignore_index=True) for parts in (false, lenses))
    return Survey({"grid": candidates}, {"grid": planted}, pd.DataFrame(), facts)


def test_a_survey_is_told():
    survey = invented()
    config = SurveyConfig("tiny", 8, 0, centres=("grid",))
    lines = survey_lines(survey, field_scores(survey, config))
    page = "\n".join(lines)
    windows = field_scores(survey, config).facts.made_from["windows_per_deg2"]
    assert windows == {"grid": pytest.approx(17_200 / 0.2)}
    assert "17,200 windows looked at, of which 1,200 were scored" in page
    header = next(number for number, line in enumerate(lines) if "of a square degree" in line)
    assert "of 10 visible | lenses expected, of 10 with 20 pixels above 3 sigma" in lines[header]
    assert lines[header + 2].startswith("| first 20 |")
    shares = {line.split(" | ")[0]: line.split(" | ")[1] for line in lines if "lensed gal" in line
              or "of these" in line}  # fmt: skip
    clear = (survey.planted["grid"]["n_clear_pixels"] >= 20) & (
        survey.planted["grid"]["kind"] == "lensed_galaxy"
    )
    assert shares["| of these, 20 pixels above 3 sigma"] == f"{clear.sum():,}"
    assert "merger" in page
    (told,) = (line for line in lines if line.startswith("Expected / found at 10 per deg²"))
    ratio, low, high = map(float, re.match(r".*: ([\d.]+) \(([\d.]+)-([\d.]+);", told).groups())
    assert 0.6 < ratio < 1.6
    assert low < ratio < high


def test_of_lenses_that_are_clear_to_the_eye_more_are_expected():
    """Where those that are not are never found."""
    survey = invented()
    planted = survey.planted["grid"]
    planted["logit_mean"] = planted["logit_mean"].where(planted["n_clear_pixels"] >= 20, -5.0)
    config = SurveyConfig("tiny", 8, 0, centres=("grid",))
    lines = survey_lines(survey, field_scores(survey, config))
    (first,) = (line for line in lines if line.startswith("| first 1,000 |"))
    visible, clear = map(float, re.findall(r"([\d.]+) \(", first))
    share = (planted["n_clear_pixels"] >= 20).mean()
    assert visible == pytest.approx(share * clear, rel=0.1)


def test_a_survey_with_too_few_clear_lenses_is_told_all_the_same():
    survey = invented()
    planted = survey.planted["grid"]
    planted["n_clear_pixels"] = np.where(np.arange(len(planted)) < 25, 50, 5)
    config = SurveyConfig("tiny", 8, 0, centres=("grid",))
    lines = survey_lines(survey, field_scores(survey, config))
    assert "| of a square degree | lenses expected, of 10 visible |" in lines
    too_few = "Too few lenses with 20 pixels above 3 sigma to tell how many of these to expect."
    assert too_few in lines


def test_one_field_has_no_other_half():
    config = SurveyConfig("tiny", 1, 0, centres=("grid",))
    survey = invented(n_fields=1)
    lenses = survey.planted["grid"]
    many = dataclasses.replace(survey, planted={"grid": pd.concat([lenses, lenses])})
    assert "Too few fields" in "\n".join(survey_lines(many, field_scores(many, config)))


def test_what_is_expected_of_a_square_degree_is_what_is_counted():
    """Lenses and others drawn together, and the first hundred of them looked at."""
    rng = np.random.default_rng(2)
    false, lenses = rng.exponential(1.2, 20_000) - 5.0, rng.normal(4.0, 2.0, 4_000)
    calibration = Calibration(lenses, np.ones(4_000), false, 1.0)
    scores = np.concatenate([false, lenses[:100]])
    first = np.argsort(-scores)[:100]
    assert lenses_among(calibration, 100, 100.0) == pytest.approx((first >= 20_000).sum(), abs=8)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (0, 0.0, 3.689),  # Gehrels (1986), tables 1 and 2, 97.5 %
        (10, 4.795, 18.39),
    ],
)
def test_poisson_interval(count, low, high):
    assert poisson_interval(count) == pytest.approx((low, high), abs=0.01)


def test_a_weighted_share_and_its_interval():
    found, weights = np.array([True, False] * 50), np.array([3.0, 1.0] * 50)
    share, low, high = weighted_share(found, weights)
    assert share == pytest.approx(0.75)
    assert 0.6 < low < 0.7 < 0.8 < high < 0.9
    # Wilson: n / (n + z²).
    everything = weighted_share(np.ones(30, bool), np.ones(30))
    assert everything == pytest.approx((1.0, 30 / (30 + 1.96**2), 1.0), abs=1e-4)
    # Of such weights 100 tell as much as 80.
    assert weighted_share(np.ones(100, bool), weights)[1] == pytest.approx(80 / 83.84, abs=1e-4)
    assert np.isnan(weighted_share(found, np.zeros(100))).all()


def test_what_cannot_be_surveyed_is_refused(tiny_bundle):
    with pytest.raises(InputError, match="fields = 0"):
        SurveyConfig(str(tiny_bundle), 0, 1)
    with pytest.raises(InputError, match=r"centres = \('stars',\)"):
        SurveyConfig(str(tiny_bundle), 1, 1, centres=("stars",))


def test_the_command_keeps_scores_in_the_bundle(measured_bundle):
    """Through the same functions; the fixture's bundle was made so."""
    bundle = check_bundle(str(measured_bundle))
    table = pd.read_parquet(f"{bundle.folder}/fields.parquet")
    scores = FieldScores(table, bundle.description.fields)
    assert json.dumps(bundle.description.fields.made_from) == "{}"
    assert 0.0 < scores.calibration("sources").probability(np.array([3.0]), 10.0)[0] < 1.0


def test_an_unfinished_survey_has_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="none of 3 fields is finished"):
        read_survey(tmp_path, [1, 2, 3])
