import shutil

import pandas as pd
import pytest
from conftest import scan_here, write_field
from drizzled_files import sky_cards

from lensweep.catalogs.known_lenses import lensflow92


@pytest.fixture(autouse=True)
def no_fetched_grades(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def run(client, tiny_bundle, tmp_path_factory):
    """A run on a small mosaic about LensFlow 1."""
    folder, lens = tmp_path_factory.mktemp("commands"), lensflow92().iloc[0]
    sky = sky_cards((300, 400), crval=(lens["ra_deg"], lens["dec_deg"]))
    mosaic = write_field(folder / "one_f814w_drz.fits", 4, (300, 400), 50, sky=sky)
    return scan_here(client, tiny_bundle, [mosaic], folder / "run").paths.root


def test_recall(command, run):
    status, shown = command("recall", run, "--radius", "2")
    assert status == 0
    assert "within 2″; Wilson 95% interval" in shown
    assert (run / "coverage.fits").is_file()
    assert pd.read_parquet(run / "recall.parquet")["observed"].sum() == 1


def test_names_with_markup_are_shown_as_they_are(command, run, tmp_path):
    """To rich `[/b]` closes what was never opened, which is an error after all work is done."""
    strange = (tmp_path / "run [/b] :star:").absolute()
    shutil.copytree(run, strange)
    mine = tmp_path / "my [bold]lenses.csv"
    lens = lensflow92().iloc[0]
    mine.write_text(f"ra_deg,dec_deg,name\n{lens['ra_deg']},{lens['dec_deg']},A[/red]1\n")
    status, shown = command("recall", strange, "--known", mine)
    assert (status, "A[/red]1" in shown, "my [bold]lenses" in shown) == (0, True, True)
    assert f"wrote {strange / 'recall.parquet'}" in shown
    status, shown = command("crossmatch", mine, "--known", mine, "--out", strange / "x.parquet")
    assert (status, "A[/red]1" in shown) == (0, True)
    assert f"wrote {strange / 'x.parquet'}" in shown
    assert command("status", strange)[0] == 0
    status, shown = command("recall", tmp_path / "no [/b] run")
    assert (status, "no [/b] run: no run in this folder" in shown) == (2, True)


def test_crossmatch(command, run, tmp_path):
    table = tmp_path / "mine.csv"
    lensflow92().head(3)[["ra_deg", "dec_deg"]].to_csv(table, index=False)
    status, shown = command("crossmatch", table, "--known", table, "--all")
    assert status == 0
    assert "mine: 3 of 3 positions match 3 lenses within each lens's own radius" in shown
    assert command("crossmatch", run)[0] == 0
    table.write_text("ra,dec\n10.0046,2.2\n9.98,2.3\n")
    status, shown = command("crossmatch", table)
    assert (status, "below 24, as hours do" in shown) == (2, True)
    assert (run / "crossmatch.parquet").is_file()


def test_grades(command, run, tiny_bundle, tmp_path):
    status, shown = command(
        "grades", "--run", run, "--ensemble", tiny_bundle, "--out", tmp_path / "out", "--control", 5
    )
    assert status == 0
    assert "1 of 92 listed lenses covered; 5 random windows" in shown
    status, shown = command(
        "grades", "--run", run, "--cutouts", run, "--ensemble", tiny_bundle, "--out", tmp_path
    )
    assert (status, "one source of pixels" in shown) == (2, True)


def test_rank(command, run, tiny_bundle):
    status, shown = command("rank", run, "--aggregate", "median", "--ensemble", tiny_bundle)
    assert status == 0
    assert "candidates-median.parquet" in shown
    assert pd.read_parquet(run / "candidates-median.parquet")["rank"].iloc[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recall", "{run}", "--radius", "0"], "radius 0"),
        (["recall", "{run}", "--known", "none.csv"], "none.csv: no such file"),
        (["crossmatch", "{run}", "--radius", "36000"], "at most 3600"),
        (["rank", "{run}", "--aggregate", "best"], "none of mean, median"),
        (["catalogs", "update", "--server", "localhost:9"], "VizieR at localhost:9"),
        (["catalogs", "update", "--timeout", "0"], "time-out of 0 s"),
        (["grades", "--out", "{out}"], "one source of pixels"),
        (
            ["grades", "--out", "{out}", "--run", "{run}", "--control", "-1"],
            "control = -1: must be at least 0",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_status_2(
    command, run, tmp_path, arguments, message
):
    status, shown = command(*(part.format(run=run, out=tmp_path / "out") for part in arguments))
    assert status == 2
    assert message in shown
    assert "Traceback" not in shown
