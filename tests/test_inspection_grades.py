"""Grades of several people: files, blind pages, agreement, and one list in the end."""

import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field

from lensweep.__main__ import main
from lensweep.ground.errors import InputError
from lensweep.scanner.inspection.agreement import STEPS, cohen_kappa, compare, fleiss_kappa
from lensweep.scanner.inspection.blind import (
    CANDIDATE,
    DUD,
    LENS,
    REPEAT,
    Planted,
    read_keys,
    write_blind,
)
from lensweep.scanner.inspection.contents import read_finished, run_id
from lensweep.scanner.inspection.grade_files import COLUMNS, read_grades, write_grades
from lensweep.scanner.inspection.merged_grades import merge_grades
from lensweep.scanner.run.paths import RunPaths


@pytest.fixture(scope="module")
def run(client, tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graded")
    mosaic = write_field(folder / "one_f814w_drz.fits", 4)
    out = folder / "run"
    return scan_here(client, tiny_bundle, [mosaic], out, merge_radius_arcsec=2.5).paths.root


@pytest.fixture(scope="module")
def candidates(run):
    return read_finished(run)[0]


@pytest.fixture(scope="module")
def identity(run):
    return run_id(read_finished(run)[1])


def grades_of(path, grader, names, grades, identity="", **more):
    rows = pd.DataFrame({
        "candidate_id": list(names), "grade": list(grades), "grader": grader, "run_id": identity,
        "graded_at": "2026-01-01T00:00:00Z", "flag": 0, "comment": "",
    } | more).reindex(columns=list(COLUMNS))  # fmt: skip
    write_grades(path, rows, [])
    return path


# --- files ---


def test_files_are_read_as_they_were_written(tmp_path):
    comments = ["#not a remark", 'a "quote", a comma', " é "]
    path = grades_of(tmp_path / "a.csv", "Ada", "abc", "AX ", comment=comments)
    found = read_grades(path)
    assert found.grader == "Ada"
    assert found.rows["grade"].tolist() == ["A", "X", ""]
    assert found.rows["comment"].tolist() == comments


@pytest.mark.parametrize(
    ("text", "grader", "grades"),
    [
        ("candidate_id,grade\none,a\n", "mine", ["A"]),  # the least, in small letters
        ("# x\n# y\ncandidate_id,grade,more\none,B,2\n", "mine", ["B"]),
        ("\ufeffgrade,candidate_id,grader\r\nX,one,Ben\r\n", "Ben", ["X"]),  # of a spreadsheet
        ("candidate_id,grade\n", "mine", []),
    ],
)
def test_files_of_other_tools(tmp_path, text, grader, grades):
    path = tmp_path / "mine.csv"
    path.write_bytes(text.encode())
    found = read_grades(path)
    assert (found.grader, found.rows["grade"].tolist()) == (grader, grades)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        (b"", "no column candidate_id; it has none"),
        (b"candidate_id,score\na,1\n", "no column grade; it has candidate_id, score"),
        (b"candidate_id,grade\na,A\nb,D\n", "row 1 \\(counted from 0\\) has grade 'D'"),
        (b"candidate_id,grade\na,A\na,B\n", "a is there twice"),
        (b"candidate_id,grade,grader\na,A,Ada\nb,B,Ben\n", "of 2 graders \\(Ada, Ben\\)"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_files_that_are_no_grades(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=said):
        read_grades(path)


# --- agreement ---


def test_fleiss_kappa_by_hand():
    # Two subjects, three graders: AAB and XXX. P = ((4+1-3)/6 + 1)/2 = 2/3; shares 2/6, 1/6, 3/6.
    steps = np.array([[3, 3, 2], [0, 0, 0]])
    chance = (2 / 6) ** 2 + (1 / 6) ** 2 + (3 / 6) ** 2
    assert fleiss_kappa(steps) == pytest.approx((2 / 3 - chance) / (1 - chance))


@pytest.mark.parametrize(
    ("steps", "kappa"),
    [
        ([[3, 3, 3], [0, 0, 0]], 1.0),
        ([[3, 0], [0, 3]], -1.0),
        ([[3, 3], [3, 3]], np.nan),  # one grade only: nothing to agree on
        (np.empty((0, 2), int), np.nan),
        ([[3], [0]], np.nan),
    ],
)
def test_fleiss_kappa_at_its_ends(steps, kappa):
    assert fleiss_kappa(np.asarray(steps)) == pytest.approx(kappa, nan_ok=True)


def test_cohen_kappa():
    # Cohen (1960): agreement 0.7 where chance gives 0.5 is 0.4.
    one = np.array([3] * 25 + [3] * 10 + [0] * 15 + [0] * 20)
    other = np.array([3] * 25 + [0] * 10 + [3] * 5 + [0] * 30)
    agreed = np.mean(one == other)
    chance = sum(np.mean(one == step) * np.mean(other == step) for step in (0, 3))
    assert cohen_kappa(one, other, None) == pytest.approx((agreed - chance) / (1 - chance))
    # A step apart is less of a disagreement than three.
    near, far = np.where(one == 3, 2, one), np.where(one == 3, 0, 3)
    assert cohen_kappa(one, near, "linear") > 0.5 > 0.0 > cohen_kappa(one, far, "linear")
    assert np.isnan(cohen_kappa(np.array([2, 2]), np.array([2, 2]), None))


def rows(**given):
    return pd.DataFrame(
        [(name, what, grade) for what, pairs in given.items() for name, grade in pairs],
        columns=["candidate_id", "what", "grade"],
    )


def test_graders_are_measured_on_what_is_known():
    ada = rows(
        candidate=[("a", "A"), ("b", "X"), ("c", ""), ("d", "B")],
        repeat=[("a", "A"), ("b", "C"), ("c", "A")],
        lens=[("l1", "A"), ("l2", "B"), ("l3", "C"), ("l4", "")],
        dud=[("d1", "X"), ("d2", "B")],
    )
    ben = rows(candidate=[("a", "C"), ("b", "X"), ("e", "A")])
    found = compare(["Ada", "Ben"], [ada, ben])
    first, second = found.graders.to_dict("records")
    assert (first["n"], first["found"], first["of_lenses"]) == (3, 2, 3)
    assert (first["called"], first["of_duds"]) == (1, 2)
    # What was not graded at first cannot be graded the same.
    assert (first["same"], first["of_repeats"]) == (1, 2)
    assert first["found_low"] < 2 / 3 < first["found_high"]
    assert (second["of_lenses"], second["of_duds"], second["of_repeats"]) == (0, 0, 0)
    table = found.candidates.set_index("candidate_id")
    assert sorted(table.index) == ["a", "b", "d", "e"]
    assert table.loc["a", ["grade", "mean_grade", "n_graders", "disagreement"]].tolist() == [
        "B", 2.0, 2, 2.0,
    ]  # fmt: skip
    assert table.loc["d", ["grade", "grade_Ada", "grade_Ben"]].tolist() == ["B", "B", ""]
    assert found.n_all == 2
    assert found.pairs["n"].tolist() == [2]


def test_halves_go_up():
    found = compare(["a", "b"], [rows(candidate=[("x", "B")]), rows(candidate=[("x", "C")])])
    assert found.candidates["grade"].tolist() == ["B"]
    assert set(STEPS) == {"A", "B", "C", "X"}


# --- merging ---


def test_grades_are_joined_onto_candidates(run, candidates, identity, tmp_path):
    names = candidates["candidate_id"]
    n = len(names)
    assert n > 3
    files = [
        grades_of(tmp_path / "a.csv", "Ada", names, ["A", "B"] + [""] * (n - 2),
                  comment=["an arc"] + [""] * (n - 1)),
        grades_of(tmp_path / "b.csv", "Ben", names[:3], "AXX", flag=[0, 1, 0],
                  comment=["sure; #1", "", ""]),
    ]  # fmt: skip
    merged = merge_grades(files, run, None)
    assert merged.grades == RunPaths(run).inspection / "merged.csv"
    again = read_grades(merged.grades)
    assert again.grader == "merged"
    assert set(again.rows["run_id"]) == {identity}
    assert again.rows["candidate_id"].tolist() == names[:3].tolist()
    assert again.rows["grade"].tolist() == ["A", "C", "X"]
    assert again.rows["comment"].tolist() == ["an arc; sure; #1", "", ""]
    assert again.rows["flag"].tolist() == [False, True, False]
    joined = pd.read_parquet(merged.joined)
    assert joined["candidate_id"].tolist() == names.tolist()
    assert joined["mean_grade"].tolist()[:3] == [3.0, 1.0, 0.0]
    assert joined["mean_grade"][3:].isna().all()
    assert set(candidates) < set(joined)
    facts = pq.read_schema(merged.joined).metadata
    assert {one["grader"] for one in json.loads(facts[b"lensweep.graders"])} == {"Ada", "Ben"}


def test_a_blind_page_is_resolved_and_measures_who_graded_it(run, candidates, identity, tmp_path):
    seed, rng = 7, np.random.default_rng(0)
    write_blind(run, 300, seed, 3, planted(rng))
    page = RunPaths(run).blind_page(seed).read_text()
    keys = read_keys(run)
    assert keys["what"].value_counts().to_dict() == {
        CANDIDATE: len(candidates), REPEAT: 3, LENS: 2, DUD: 2
    }  # fmt: skip
    # Nothing in the page tells rows from each other, or where and what they are.
    contents = json.loads(page.split('id="contents">')[1].split("</script>")[0])
    assert {tuple(sorted(row)) for row in contents["rows"]} == {("high", "key", "low", "masked")}
    assert contents["overview"] == {}
    for name in (*candidates["candidate_id"], candidates["mosaic"].iloc[0], '"what"'):
        assert name not in page
    assert not keys["what"].is_monotonic_increasing
    # Written again, it has the same rows, so that grades of it stay good.
    write_blind(run, 300, seed, 3, planted(np.random.default_rng(0)))
    assert read_keys(run)["key"].tolist() == keys["key"].tolist()

    said = {CANDIDATE: "B", REPEAT: "B", LENS: "A", DUD: "X"}
    path = grades_of(tmp_path / "a.csv", "Ada", keys["key"], keys["what"].map(said), identity)
    merged = merge_grades([path], run, tmp_path / "out.csv")
    found = merged.agreement.graders.iloc[0]
    assert (found["n"], found["found"], found["of_lenses"]) == (len(candidates), 2, 2)
    assert (found["called"], found["same"], found["of_repeats"]) == (0, 3, 3)
    table = read_grades(merged.grades).rows
    assert table["candidate_id"].tolist() == candidates["candidate_id"].tolist()
    assert table["ra_deg"].astype(float).to_numpy() == pytest.approx(candidates["ra_deg"])
    assert table["rank"].astype(int).tolist() == candidates["rank"].tolist()
    with pytest.raises(InputError, match="of a blind page; name its run with --run"):
        merge_grades([path], None, tmp_path / "out.csv")
    # Open and blind grades of one person are one list: what was said last counts.
    later = {"graded_at": "2026-02-01T00:00:00Z"}
    both = grades_of(tmp_path / "b.csv", "Ada", candidates["candidate_id"][:1], "X", identity,
                     **later)  # fmt: skip
    merged = merge_grades([path, both], run, tmp_path / "out.csv")
    assert read_grades(merged.grades).rows["grade"].tolist()[:2] == ["X", "B"]


def planted(rng):
    flux = rng.normal(0.0, 0.01, (4, 200, 200)).astype(np.float32)
    truth = {"kind": "lensed_galaxy", "theta_e_arcsec": 1.0, "signal_to_noise": 50.0}
    lenses = [Planted(one, LENS, truth) for one in flux[:2]]
    return [*lenses, *(Planted(one, DUD, {"kind": "galaxy"}) for one in flux[2:])]


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ([], [], "no grades: name files"),
        ([], ["--run", "{run}"], "no grades: name files"),
        (["ada"], [], "no place for the merged grades"),
        (["ada", "other"], ["--out", "{out}"], "of two runs"),
        (["other"], ["--run", "{run}"], "but the grades are of run 0123456789ab"),
        (["ada", "twin"], ["--out", "{out}"], "both are of Ada, and both grade"),
        (["stranger"], ["--run", "{run}"], "LSWP J1 is no candidate of run"),
        (["lost"], ["--run", "{run}"], "blind-000 is of no blind page of run"),
        (["bad"], ["--out", "{out}"], "has grade 'Q'"),
        (["ada"], ["--out", "{out}/no/such/folder/x.csv"], "cannot be written"),
        (["ada"], ["--out", "{ada}"], "ada.csv: is an input of this command"),
        (["ada"], ["--out", "grades.parquet"], "grades are written as CSV"),
        (["ada"], ["--run", "{run}", "--out", "{run}/candidates.csv"], "the run"),
        (["ada"], ["--run", "nowhere"], "nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_one_message(
    run, candidates, identity, tmp_path, monkeypatch, capsys, files, options, said
):
    names = candidates["candidate_id"][:2]
    (tmp_path / "out.csv").write_text("a file")
    for name, grader, rows, grades, of_run in (
        ("ada", "Ada", names, "AB", identity), ("twin", "Ada", names, "AB", identity),
        ("other", "Ben", names, "AB", "0123456789ab"), ("bad", "Cleo", names, "AQ", identity),
        ("stranger", "Dora", ["LSWP J1"], "A", ""), ("lost", "Eve", ["blind-000"], "A", ""),
    ):  # fmt: skip
        grades_of(tmp_path / f"{name}.csv", grader, rows, grades, of_run)
    given = [str(tmp_path / f"{name}.csv") for name in files]
    given += [
        part.format(run=run, out=tmp_path / "out.csv", ada=tmp_path / "ada.csv") for part in options
    ]
    monkeypatch.setattr(sys, "argv", ["lensweep", "grades", "merge", *given])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_command_shows_how_far_graders_agree(
    run, candidates, identity, tmp_path, monkeypatch, capsys
):
    names = candidates["candidate_id"]
    for number, grader in enumerate(("Ada", "Ben")):
        grades = [("A", "X")[(k + (number and k == 0)) % 2] for k in range(len(names))]
        kept = RunPaths(run).grades / "a-page" / f"{grader}.csv"
        grades_of(kept, grader, names, grades, identity)
    out = tmp_path / "out.csv"
    monkeypatch.setattr(
        sys, "argv", ["lensweep", "grades", "merge", "--run", str(run), "--out", str(out)]
    )
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "Cohen's kappa" in shown
    assert f"of {len(names)} candidates that all graded" in shown
    assert out.is_file()
