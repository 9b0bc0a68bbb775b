"""The command line: what it returns, prints and leaves; on a cluster within this process."""

import dataclasses
import json
import os
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from conftest import write_field

import lensweep
from lensweep.__main__ import main
from lensweep.commands.show import PLANTED as PLANTED_AS
from lensweep.commands.show import planted_marks, read_planted, show_expectation
from lensweep.ground.errors import InputError
from lensweep.ground.settings import option_of
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides

NAME = "field_f814w_drz"


@pytest.fixture
def command(monkeypatch, capfd):
    """Run a command: its exit status, what it printed, and what it complained of."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lensweep", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as end:
            main()
            raise SystemExit(0)
        out, err = capfd.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def scanning(client, tiny_bundle):
    """Options of every scan here."""
    return "--ensemble", tiny_bundle, "--cluster", client.scheduler.address, "--screen", "off"


def files(folder):
    return sorted(os.listdir(folder))  # noqa: PTH208


def test_scan_then_status(command, scanning, field, tmp_path):
    status, out, _ = command("scan", field, "--out", tmp_path / "run", *scanning)
    assert status == 0
    assert "112 windows planned = 96 scored + 0 screened + 16 masked + 0 failed" in out
    for name in ("candidates.parquet", "candidates.png", "ledger.parquet"):
        assert f"wrote {tmp_path / 'run' / name}" in out
        assert (tmp_path / "run" / name).is_file()
    status, out, _ = command("status", tmp_path / "run")
    assert status == 0
    assert "finished" in out


def test_markup_in_paths(command, scanning, field, tmp_path):
    """What rich takes for its own language is a name here, in every line of a scan."""
    mosaic = field.rename(tmp_path / "a[b]_f814w_drz.fits")
    run, gone = tmp_path / "[red]run [/b]", tmp_path / "gone[bold].fits"
    status, out, err = command("scan", mosaic, gone, "--out", run, *scanning)
    assert status == 3
    for name in ("candidates.parquet", "candidates.png", "ledger.parquet"):
        assert f"wrote {run / name}" in out
    assert "failed: mosaic gone[bold].fits: no such file" in out
    assert "mosaic gone[bold].fits: no such file" in err
    status, out, _ = command("scan", mosaic, "--out", tmp_path / "no", *scanning, "--plan")
    assert status == 0
    scores = tmp_path / "[b]scores.parquet"
    ensemble = scanning[:2]
    status, out, _ = command("score", mosaic, gone, "--out", scores, *ensemble)
    assert status == 3
    assert "a[b]_f814w_drz.fits" in out
    assert "not scored: mosaic gone[bold].fits" in out
    assert f"wrote {scores}" in out


PLANTED = {"name": ["a[/b]", "b"], "ra_deg": [10.0, 11.0], "dec_deg": [0.0, 0.0]}


@pytest.mark.parametrize("ending", ["csv", "fits", "vot", "parquet"])
@pytest.mark.parametrize(
    ("kinds", "read"),
    [
        ({"kind": ["[red]ring[/x]", "quad"]}, ["[red]ring[/x]", "quad"]),
        ({"kind": ["", "quad"]}, [PLANTED_AS, "quad"]),
        ({}, [PLANTED_AS, PLANTED_AS]),
    ],
)
def test_planted_lenses_of_any_table(ending, kinds, read, tmp_path):
    path = tmp_path / f"planted.{ending}"
    table = Table(PLANTED | kinds)
    if ending == "parquet":
        table.to_pandas().to_parquet(path)
    else:
        table.write(path, format="votable" if ending == "vot" else None)
    planted = read_planted(path)
    assert planted["kind"].tolist() == read
    near = pd.DataFrame({"ra_deg": [10.0 + 1.0 / 3600, 12.0], "dec_deg": [0.0, 0.0]})
    assert planted_marks(near, planted) == [read[0], None]


def test_planted_lenses_are_marked(command, scanning, field, tmp_path):
    """The kind stands in the table and on the contact sheet, whatever letters it has."""
    run = tmp_path / "run"
    command("scan", field, "--out", run, *scanning)
    first = lensweep.read_candidates(run).iloc[0]
    truth = tmp_path / "truth.fits"
    Table({"ra": [first["ra_deg"]], "dec": [first["dec_deg"]], "kind": ["[x]ring[/y] $_"]}).write(
        truth
    )
    status, out, _ = command("scan", field, "--out", run, *scanning, "--truth", truth)
    assert (status, "[x]ring[/y] $_" in out) == (0, True)
    assert "1 of 1 planted lenses among the top 30" in out


def test_some_mosaics_failed(command, scanning, field, tmp_path):
    missing = tmp_path / "gone.fits"
    status, out, _ = command("scan", field, missing, "--out", tmp_path / "run", *scanning)
    assert status == 3
    assert "96 scored" in out
    assert "failed: mosaic gone.fits: no such file" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "gone.fits", "--out", "run"], "mosaic gone.fits: no such file"),
        (["scan", ".", "--out", "run"], "mosaic .: is a folder; name the files in it: ./*.fits"),
        (["scan", "p.csv", "--out", "run"], "p.csv: no table of `lensweep find`"),
        (["scan", "field.fits", "--out", "run", "--cluster", "slrm"], "slrm: there is no such"),
        (["scan", "--out", "run"], "no mosaics: name at least one FITS file"),
        (["scan", "field.fits"], "no output folder: give --out RUN"),
        (["scan", "field.fits", "--out", "run", "--stride", "0"], "stride = 0: must lie within"),
        (["scan", "field.fits", "--out", "run", "--merge-radius", "-2"], "merge_radius_arcsec"),
        (["scan", "field.fits", "--out", "run", "--config", "a.toml"], "config a.toml: cannot be"),
        (["scan", "field.fits", "--out", "field.fits/run"], "cannot be written to"),
        (["scan", "field.fits", "--out", "run", "--band", "F606W"], "--band says F606W"),
        (["scan", "field.fits", "--out", "run", "--centres", "p.csv"], "no pair of RA and Dec"),
        (["scan", "field.fits", "--out", "run", "--ensemble", "x"], "ensemble x: neither a folder"),
        (["status", "."], "no run in this folder"),
        (["inspect", "nowhere"], "run nowhere: no such folder; name the --out of its scan"),
        (["score", "field.fits", "--out", "no/s.parquet"], "output file no/s.parquet"),
    ],
)
def test_what_the_user_can_mend_is_one_message(
    command, scanning, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_field(tmp_path / "field.fits", seed=1, shape=(120, 120), blank_columns=0)
    (tmp_path / "p.csv").write_text("name\nx\n")
    first = scanning if arguments[0] == "scan" else ()
    status, _, err = command(arguments[0], *first, *arguments[1:])
    assert status == 2
    assert message in err
    assert err.count("lensweep: ") == 1
    if "x" not in arguments:
        assert files(tmp_path) == ["field.fits", "p.csv"]


def test_a_scheduler_that_does_not_answer_may_do_so_later(command, scanning, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_field(tmp_path / "field.fits", seed=1, shape=(120, 120), blank_columns=0)
    status, _, err = command(
        "scan", *scanning, "field.fits", "--out", "run", "--cluster", "tcp://127.0.0.1:1"
    )
    assert status == 75
    assert "cluster tcp://127.0.0.1:1: no scheduler" in err


def test_a_plan_writes_nothing(command, scanning, field, tmp_path):
    before = files(tmp_path)
    status, out, _ = command("scan", field, "--plan", *scanning)
    assert status == 0
    assert "730 x 420" in out
    assert "112 windows, about" in out
    assert files(tmp_path) == before
    status, out, err = command("scan", "gone.fits", "--plan", *scanning)
    assert (status, "gone.fits: no such file" in out + err, "windows" in out) == (2, True, False)
    status, out, _ = command("scan", field, "gone.fits", "--out", "run", "--plan", *scanning)
    assert status == 3
    assert "no such file" in out


def test_positions_on_no_mosaic_are_named(command, scanning, field, tmp_path):
    grid = inspect_mosaic(field, HeaderOverrides(), "F814W", "", tmp_path).wcs
    ra_deg, dec_deg = grid.wcs_pix2world([[200, 200]], 0)[0]
    table = tmp_path / "centres.csv"
    table.write_text(f"ra,dec\n{ra_deg},{dec_deg}\n10.0,10.0\n")
    for more in ([], ["--plan"]):
        status, out, err = command(
            "scan", field, "--centres", table, "--out", tmp_path / "run", *more, *scanning
        )
        assert status == 0
        told = "1 of 2 positions lie on no mosaic of this scan, the first in row 1 (counted from 0)"
        assert told in "".join((out + err).splitlines())


@pytest.mark.parametrize(
    ("centres", "windows"),
    [("grid", "a grid of windows"), ("my.csv", "windows on sources or positions")],
)
def test_why_p_lens_is_empty_is_told(centres, windows, capsys):
    facts = {"ensemble": "one", "run": json.dumps({"asked": {"centres": centres}})}
    show_expectation(pd.DataFrame({"p_lens": [float("nan")]}), facts)
    told = " ".join(capsys.readouterr().out.split())
    assert f"was not measured for {windows} and ensemble one" in told
    assert "`lensweep calibrate RUN` on your mosaics" in told


@pytest.mark.parametrize("name", ["scan", "submit"])
def test_help_has_an_option_with_its_default_for_every_field(command, name):
    _, out, _ = command(name, "--help")
    words = " ".join(out.replace("│", " ").split())
    fields = {one.name: one for one in dataclasses.fields(ScanConfig)}
    for field in fields.keys() - {"mosaics", "cluster"}:
        assert f"{option_of(ScanConfig, field)}" in words, field
    assert "Pixels between the windows of a grid. Default: 50." in words
    assert ("--partition" in words) == (name == "submit")


def test_flags_win_over_the_file(command, scanning, field, tmp_path):
    toml = tmp_path / "scan.toml"
    toml.write_text(f"mosaics = [{str(field)!r}]\nstride = 100\nmin_valid_fraction = 0.0\n")
    run = tmp_path / "run"
    status, out, _ = command(
        "scan", "--config", toml, "--out", run, "--min-valid-fraction", 0.5, *scanning
    )
    assert status == 0
    assert "40 windows planned = 35 scored + 0 screened + 5 masked" in out


def test_score(command, tiny_bundle, field, tmp_path):
    out = tmp_path / "scores.parquet"
    status, shown, _ = command(
        "score", field, tmp_path / "gone.fits", "--ensemble", tiny_bundle, "--out", out
    )
    assert status == 3
    assert "no such file" in shown
    assert pq.read_table(out)["p_mean"].is_null().to_pylist() == [False, True]


def test_no_score_at_all_leaves_the_table_that_is_there(command, tiny_bundle, tmp_path):
    out = tmp_path / "scores.parquet"
    out.write_text("earlier")
    status, _, err = command(
        "score", tmp_path / "gone.fits", "--ensemble", tiny_bundle, "--out", out
    )
    assert status == 2
    assert err.count("no such file") == 1
    assert out.read_text() == "earlier"


def test_candidates_are_read_back(command, scanning, field, tmp_path):
    command("scan", field, "--out", tmp_path / "run", *scanning)
    table = lensweep.read_candidates(tmp_path / "run")
    assert table["rank"].is_monotonic_increasing
    assert lensweep.read_candidates(tmp_path / "run" / "candidates.parquet").equals(table)
    with pytest.raises(InputError, match="no such catalogue"):
        lensweep.read_candidates(tmp_path / "nowhere")
