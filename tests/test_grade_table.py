import numpy as np
import pandas as pd
import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.grade_page import GradeReport, draw_grades, markdown
from lensweep.scanner.lenses.grade_table import (
    CONTROL,
    THESIS,
    bootstrap_mean,
    grade_order,
    rank_correlations,
    summarise_grades,
)
from lensweep.scanner.lenses.grading import GradedScores


def scores(seed=3, n=30):
    """Invented scores that fall from A to C for xception and do not for vgg16."""
    rng = np.random.default_rng(seed)
    grade = np.repeat(["A", "B", "C"], n)
    falling = np.clip(np.repeat([0.95, 0.6, 0.4], n) + rng.normal(0, 0.1, 3 * n), 0, 1)
    level = rng.uniform(0, 1, 3 * n)
    covered = np.arange(3 * n) % 10 != 0
    lenses = pd.DataFrame({
        "known_name": [f"L{i}" for i in range(3 * n)], "known_ra_deg": 150.0, "known_dec_deg": 2.0,
        "grade": grade, "covered": covered, "valid_fraction": np.where(covered, 1.0, np.nan),
    })  # fmt: skip
    control = pd.DataFrame(index=np.arange(200))
    for name, values in (("xception", falling), ("vgg16", level), ("ensemble", falling)):
        lenses[f"p_{name}"] = np.where(covered, values, np.nan)
        lenses[f"logit_{name}"] = 5.0 * lenses[f"p_{name}"]
        control[f"p_{name}"] = rng.beta(1, 8, 200)
    return GradedScores(lenses, control, ("xception", "vgg16", "ensemble"))


def test_thesis_numbers_stand_beside_their_trunk_and_no_other():
    table = summarise_grades(scores(), lensflow_letters=True, seed=1).set_index(["scorer", "grade"])
    assert table.loc[("xception", "A"), ["thesis_mean", "thesis_std"]].tolist() == [0.982, 0.041]
    assert table.loc[("xception", "C"), ["thesis_mean", "thesis_std"]].tolist() == [0.553, 0.336]
    assert table.loc[["vgg16", "ensemble"], "thesis_mean"].isna().all()
    other = summarise_grades(scores(), lensflow_letters=False, seed=1)
    assert other["thesis_mean"].isna().all()


def test_thesis_table_is_transcribed_whole():
    assert {trunk: sorted(rows) for trunk, rows in THESIS.items()} == {
        "xception": ["A", "B", "C"], "inception": ["A", "B", "C"], "resnet": ["A", "B", "C"],
    }  # fmt: skip
    assert THESIS["inception"] == {"A": (0.872, 0.314), "B": (0.852, 0.290), "C": (0.639, 0.354)}
    assert THESIS["resnet"] == {"A": (0.767, 0.385), "B": (0.775, 0.356), "C": (0.657, 0.447)}


def test_counts_and_share_of_the_random_field():
    made = scores()
    table = summarise_grades(made, lensflow_letters=True, seed=1).set_index(["scorer", "grade"])
    row = table.loc[("xception", "B")]
    values = made.lenses.query("grade == 'B' and covered")["p_xception"]
    assert (row["n_listed"], row["n_scored"], row["n_found"]) == (30, 27, (values >= 0.5).sum())
    share = (made.control["p_xception"] >= values.median()).mean()
    assert row["control_above"] == pytest.approx(share)
    assert np.isnan(table.loc[("xception", CONTROL), "control_above"])


def test_correlation_is_positive_when_better_grades_score_higher():
    found = rank_correlations(scores()).set_index("scorer")
    assert found.loc["xception", "spearman"] > 0.8
    assert found.loc["xception", "p_value"] < 1e-10
    assert abs(found.loc["vgg16", "spearman"]) < 0.3
    assert (found["n"] == 81).all()


def test_bootstrap_interval_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, 400)
    low, high = bootstrap_mean(values, np.random.default_rng(1))
    assert low < values.mean() < high
    # 2 x 1.96 x 0.1 / sqrt(400)
    assert high - low == pytest.approx(0.0196, rel=0.15)
    assert all(np.isnan(bootstrap_mean(values[:1], rng)))


def test_markdown_and_picture(tmp_path):
    made = scores()
    report = GradeReport(made, summarise_grades(made, True, 1), rank_correlations(made),
                         "invented", {"list": "a test"})  # fmt: skip
    text = markdown(report)
    assert "grades: invented" in text
    assert "0.982 ± 0.041" in text
    assert "Not covered: 9" in text
    draw_grades(report, tmp_path / "grades.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["grades.png"]


def test_a_list_without_grades_is_refused():
    with pytest.raises(InputError, match="no grades"):
        grade_order([])
