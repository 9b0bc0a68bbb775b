"""Runs of parts of a survey, joined: as if their mosaics had been scanned together."""

import hashlib
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from drizzled_files import CRVAL, sky_cards

import lensweep
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.status import read_status


@pytest.fixture(scope="module")
def survey(client, measured_bundle, tmp_path_factory):
    """Two overlapping mosaics and one that is none, in two runs and in one."""
    folder = tmp_path_factory.mktemp("survey")
    beside = sky_cards((420, 730), crval=(CRVAL[0] + 12.0 / 3600, CRVAL[1]))
    mosaics = [
        write_field(folder / "a_f814w_drz.fits", seed=3),
        write_field(folder / "b_f814w_drz.fits", seed=3, sky=beside),
    ]
    bad = folder / "bad.fits"
    bad.write_bytes(b"no FITS at all")
    scan_here(client, measured_bundle, mosaics[:1], folder / "0000")
    scan_here(client, measured_bundle, [mosaics[1], bad], folder / "0001")
    scan_here(client, measured_bundle, [*mosaics, bad], folder / "whole")
    return folder


@pytest.fixture
def join(command, survey, measured_bundle):
    """Run ``lensweep join``: exit status, and what it printed."""

    def call(*runs, out):
        return command("join", *(survey / run for run in runs), "-o", out,
                       "--ensemble", measured_bundle)  # fmt: skip

    return call


def scan_parts(client, bundle, survey, folder, **asked):
    """Scan the survey's two mosaics, each into a run (`a`, `b`) and both into `whole`."""
    parts = [survey / name for name in ("a_f814w_drz.fits", "b_f814w_drz.fits")]
    for part, root in zip(parts, ("a", "b"), strict=True):
        scan_here(client, bundle, [part], folder / root, **asked)
    scan_here(client, bundle, parts, folder / "whole", **asked)


def sums(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_joined_is_as_if_scanned_together(join, survey, tmp_path):
    before = sums(survey / "0000") | sums(survey / "0001")
    status, shown = join("0000", "0001", out=tmp_path / "joined")
    assert status == 0
    whole, joined = (lensweep.open(path) for path in (survey / "whole", tmp_path / "joined"))
    pd.testing.assert_frame_equal(joined.candidates, whole.candidates)
    pd.testing.assert_frame_equal(joined.ledger, whole.ledger)
    assert joined.coverage == whole.coverage
    parts = [lensweep.open(survey / part) for part in ("0000", "0001")]
    n_before = sum(len(part.candidates) for part in parts)
    # They overlap: what both have seen is one candidate.
    assert len(joined.candidates) < n_before
    assert f"2 mosaics, {len(joined.candidates):,} candidates of {n_before:,} in the parts" in shown
    assert "failed: mosaic bad.fits" in shown
    assert read_status(joined.root).finished
    assert joined.facts["calibration"] == whole.facts["calibration"]
    assert joined.candidates["p_lens"].notna().all()
    # Of the parts nothing has changed.
    assert sums(survey / "0000") | sums(survey / "0001") == before


def test_the_folder_above_an_array_stands_for_its_runs(join, survey, tmp_path):
    job = RunPaths(survey).job
    job.mkdir()
    # As `submit --array 2` leaves them.
    for number in range(2):
        (job / f"scan-{number}.toml").touch()
    assert join("", out=tmp_path / "joined")[0] == 0
    whole, joined = (lensweep.open(path) for path in (survey / "whole", tmp_path / "joined"))
    pd.testing.assert_frame_equal(joined.candidates, whole.candidates)


def test_a_joined_run_is_a_run(join, command, survey, measured_bundle, tmp_path):
    """Its pixels are there, though no mosaic is cut again, and so is all that is made of a run."""
    out = tmp_path / "joined"
    join("0000", "0001", out=out)
    run = lensweep.open(out)
    assert run._repr_html_().count("<img") == min(12, len(run.candidates))
    for part, name in (("0000", "a_f814w_drz"), ("0001", "b_f814w_drz")):
        theirs, ours = (RunPaths(root).cutouts(name) for root in (survey / part, out))
        file = "flux/c/0/0/0"
        assert (theirs / file).stat().st_ino == (ours / file).stat().st_ino
    assert pq.read_schema(RunPaths(out).ledger).names == pq.read_schema(
        RunPaths(survey / "whole").ledger
    ).names  # fmt: skip
    assert json.loads(run.facts["run"])["joined"] == [str(survey / "0000"), str(survey / "0001")]
    assert command("inspect", out)[0] in (0, None)
    assert command("sheet", out, "--top", 9)[0] in (0, None)
    assert RunPaths(out).sheet.is_file()
    assert np.isfinite(run.rank("median", str(measured_bundle))["aggregate_score"]).all()


def test_the_scan_of_all_continues_a_joined_run(join, client, measured_bundle, survey, tmp_path):
    """And has nothing to do: its folder says what was asked of all parts together."""
    join("0000", "0001", out=tmp_path / "joined")
    marker = RunPaths(tmp_path / "joined").score_marker("a_f814w_drz", 0)
    before = marker.stat().st_mtime_ns
    mosaics = [survey / name for name in ("a_f814w_drz.fits", "b_f814w_drz.fits", "bad.fits")]
    outcome = scan_here(client, measured_bundle, mosaics, tmp_path / "joined")
    assert outcome.tally.waiting == 0
    assert marker.stat().st_mtime_ns == before
    whole, joined = (lensweep.open(path) for path in (survey / "whole", tmp_path / "joined"))
    pd.testing.assert_frame_equal(joined.candidates, whole.candidates)


def test_a_mosaic_of_both_counts_once(join, survey, tmp_path):
    assert join("0000", "whole", out=tmp_path / "joined")[0] == 0
    whole, joined = (lensweep.open(path) for path in (survey / "whole", tmp_path / "joined"))
    pd.testing.assert_frame_equal(joined.candidates, whole.candidates)


def test_targets_of_all_parts(client, measured_bundle, survey, join, tmp_path):
    """Rows that one part calls off its mosaic lie on the other's."""
    targets = tmp_path / "targets.csv"
    targets.write_text(
        f"id,ra,dec\nboth,{CRVAL[0]},{CRVAL[1]}\nnone,10.0,-40.0\n"
        f"east,{CRVAL[0] + 25.0 / 3600},{CRVAL[1]}\n"
    )
    asked = {"centres": str(targets), "min_valid_fraction": 0.0}
    scan_parts(client, measured_bundle, survey, tmp_path, **asked)
    assert join(tmp_path / "a", tmp_path / "b", out=tmp_path / "joined")[0] == 0
    whole, joined = (lensweep.open(tmp_path / name) for name in ("whole", "joined"))
    pd.testing.assert_frame_equal(joined.targets, whole.targets)
    assert joined.targets["target_id"].tolist() == ["both", "none", "east"]
    assert lensweep.open(tmp_path / "a").targets["state"].tolist() != joined.targets[
        "state"
    ].tolist()  # fmt: skip
    status, shown = join("0000", tmp_path / "a", out=tmp_path / "unlike")
    assert (status, "centres is grid in the first, a table in the second" in shown) == (2, True)


def test_a_part_without_any_position_is_a_part(client, measured_bundle, survey, join, tmp_path):
    """One list of positions for all parts: on some mosaics lies none of them."""
    targets = tmp_path / "targets.csv"
    targets.write_text(f"id,ra,dec\neast,{CRVAL[0] + 25.0 / 3600},{CRVAL[1]}\n")
    asked = {"centres": str(targets), "min_valid_fraction": 0.0}
    scan_parts(client, measured_bundle, survey, tmp_path, **asked)
    assert len(lensweep.open(tmp_path / "a").ledger) == 0
    assert join(tmp_path / "a", tmp_path / "b", out=tmp_path / "joined")[0] == 0
    whole, joined = (lensweep.open(tmp_path / name) for name in ("whole", "joined"))
    pd.testing.assert_frame_equal(joined.candidates, whole.candidates)
    pd.testing.assert_frame_equal(joined.targets, whole.targets)
    assert joined.coverage == whole.coverage


def test_parts_of_which_none_has_a_position_are_a_run(
    client, measured_bundle, survey, join, tmp_path
):
    targets = tmp_path / "targets.csv"
    targets.write_text("id,ra,dec\nnone,10.0,-40.0\n")
    scan_parts(client, measured_bundle, survey, tmp_path, centres=str(targets))
    assert join(tmp_path / "a", tmp_path / "b", out=tmp_path / "joined")[0] == 0
    joined = lensweep.open(tmp_path / "joined")
    assert (len(joined.candidates), joined.targets["target_id"].tolist()) == (0, ["none"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 100}, "stride is 50 in the first, 100 in the second"),
        ({"screen": "auto"}, "screen is off in the first, auto in the second"),
        ({"min_logit": 0.5}, "min_logit is -1000000.0 in the first, 0.5 in the second"),
        ({"lens_density": 3.0}, "lens_density is 10.0 in the first, 3.0 in the second"),
    ],
)
def test_parts_of_another_survey_are_refused(
    join, survey, client, measured_bundle, tmp_path, options, message
):
    other = write_field(tmp_path / "c_f814w_drz.fits", seed=5, shape=(150, 300))
    scan_here(client, measured_bundle, [other], tmp_path / "other", **options)
    status, shown = join("0000", tmp_path / "other", out=tmp_path / "joined")
    assert status == 2
    assert message in shown
    assert f"runs {survey / '0000'} and {tmp_path / 'other'}" in shown
    assert not (tmp_path / "joined").exists()


def test_nothing_is_overwritten_or_half_joined(join, survey, client, measured_bundle, tmp_path):
    out = tmp_path / "there"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    status, shown = join("0000", "0001", out=out)
    assert (status, [path.name for path in out.iterdir()]) == (2, ["notes.txt"])
    assert "is there already; name a new one" in shown
    # Another mosaic of the same name.
    other = write_field(tmp_path / "a_f814w_drz.fits", seed=6)
    outcome = scan_here(client, measured_bundle, [other], tmp_path / "other")
    status, shown = join("0000", tmp_path / "other", out=tmp_path / "joined")
    assert status == 2
    assert "mosaic a_f814w_drz: " in shown
    assert str(other) in shown
    outcome.paths.score_marker("a_f814w_drz", 1).unlink()
    status, shown = join("0001", tmp_path / "other", out=tmp_path / "joined")
    assert status == 2
    assert "is not finished (16 of 112 planned windows wait)" in shown
    assert join("0000", out=tmp_path / "joined")[0] == 2
    assert [path.name for path in tmp_path.iterdir() if "joined" in path.name] == []
