import io
import json
import shutil
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from conftest import scan_here
from drizzled_files import CRVAL, add_star, sky_cards, write_hla

from lensweep.__main__ import main
from lensweep.catalogs.crossmatch import nearest
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.inspection.contents import run_id
from lensweep.scanner.network.bundle_store import check_bundle, read_heads
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.run import cutout_store
from lensweep.training.learning.learn import learn

SHAPE = (1300, 1300)


def make_field(folder, name, seed, north):
    """A mosaic of rings, which stand for lenses, and of stars, on a grid; and where they are."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(0.0, 0.01, SHAPE)
    x, y = (values.ravel() for values in np.meshgrid(*[np.arange(100, 1300, 150)] * 2))
    is_ring = rng.random(len(x)) < 0.5
    for column, row, ring in zip(x, y, is_ring, strict=True):
        peak = 10 ** rng.uniform(0.2, 1.2)
        here = flux[row - 40 : row + 41, column - 40 : column + 41]
        if ring:
            for angle in np.arange(0, 2 * np.pi, 0.35):
                add_star(here, 40 + 18 * np.cos(angle), 40 + 18 * np.sin(angle), peak / 8, 3.0)
        add_star(here, 40, 40, peak, 2.0)
    sky = sky_cards(SHAPE, crval=(CRVAL[0], CRVAL[1] + north))
    path = write_hla(folder / f"{name}_f814w_drz.fits", flux.astype("f4"),
                     np.full(SHAPE, 2028.0, "f4"), sky=sky)  # fmt: skip
    ra, dec = WCS(fits.getheader(path, "SCI")).all_pix2world(x, y, 0)
    table = pd.DataFrame({"ra_deg": ra, "dec_deg": dec, "is_ring": is_ring})
    table.to_csv(folder / f"{name}.csv", index=False)
    return path, folder / f"{name}.csv", table


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    return [make_field(folder, name, seed, north)
            for name, seed, north in (("graded", 1, 0.0), ("other", 2, 0.3))]  # fmt: skip


@pytest.fixture(scope="module")
def run(client, tiny_bundle, fields, tmp_path_factory):
    """A finished run about every object of the first field, with heads that know nothing."""
    path, positions, _ = fields[0]
    root = tmp_path_factory.mktemp("runs") / "run"
    options = {"centres": str(positions), "merge_radius_arcsec": 1.0}
    scan_here(client, tiny_bundle, [path], root, **options)
    return root


def grades_of(run, truth, path, wrong=0.1, grader="ada", n=None, seed=3):
    """Grades as the page writes them, of which some are wrong."""
    table = pd.read_parquet(run / "candidates.parquet").head(n)
    rings = truth[truth["is_ring"]]
    index, _, _ = nearest(table["ra_deg"], table["dec_deg"], rings["ra_deg"], rings["dec_deg"], 1.0)
    is_ring = np.isin(np.arange(len(table)), index)
    flipped = np.random.default_rng(seed).random(len(table)) < wrong
    text = table[["candidate_id", "ra_deg", "dec_deg"]].assign(
        grade=np.where(is_ring ^ flipped, "A", "X"), grader=grader, graded_at="", flag=False,
        comment="", mosaic=table["mosaic"], rank=table["rank"], run_id=run_id(read_facts(run)),
    ).to_csv(index=False)  # fmt: skip
    path.write_text(f"# lensweep grades\n# of {grader}\n{text}")
    return path


def quiet():
    return PlainProgress(io.StringIO(), time.monotonic)


def found_before_false(run_or_table, truth, n_false):
    """Share of a field's rings that stand before so many false candidates."""
    table = pd.read_parquet(run_or_table).sort_values("rank")
    ra, dec = truth.loc[truth["is_ring"], "ra_deg"], truth.loc[truth["is_ring"], "dec_deg"]
    index, _, _ = nearest(table["ra_deg"], table["dec_deg"], ra, dec, 1.0)
    is_ring = np.isin(np.arange(len(table)), index)
    return is_ring[np.cumsum(~is_ring) <= n_false].sum() / len(ra)


@pytest.fixture(scope="module")
def learned(run, fields, tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    grades = grades_of(run, fields[0][2], folder / "ada.csv")
    return learn(run, [grades], folder / "better", quiet(), str(tiny_bundle)), grades


def test_the_loop_finds_more_on_another_field(client, learned, fields, tiny_bundle, tmp_path):
    bundle, (path, positions, truth) = learned[0].bundle.folder, fields[1]
    shares = []
    for name, ensemble in (("before", tiny_bundle), ("after", bundle)):
        scan_here(client, ensemble, [path], tmp_path / name, centres=str(positions),
                  merge_radius_arcsec=1.0)  # fmt: skip
        shares.append(found_before_false(tmp_path / name / "candidates.parquet", truth, 3))
    before, after = shares
    assert after > before + 0.2


def test_the_run_is_ranked_again(run, learned, fields):
    before = pd.read_parquet(run / "candidates.parquet")
    after = pd.read_parquet(learned[0].ranking)
    assert learned[0].ranking == run / "candidates-learned.parquet"
    assert sorted(after["candidate_id"]) == sorted(before["candidate_id"])
    assert after["rank"].tolist() == list(range(1, len(after) + 1))
    assert (np.diff(after["logit_mean"]) <= 0).all()
    truth = fields[0][2]
    assert found_before_false(learned[0].ranking, truth, 3) > found_before_false(
        run / "candidates.parquet", truth, 3
    )
    facts = pq.read_schema(learned[0].ranking).metadata
    assert facts[b"lensweep.ensemble_sha256"].decode() == learned[0].bundle.sha256
    # What the new bundle makes of the windows is what the ranking says.
    first = after.iloc[:4]
    flux = np.concatenate([
        cutout_store.read_column(run / "cutouts.zarr" / row.mosaic, "flux", row.window,
                                 row.window + 1)
        for row in first.itertuples()
    ])  # fmt: skip
    logits = Ensemble(learned[0].bundle, precision="full").logits(flux).mean(axis=1)
    np.testing.assert_allclose(logits, first["logit_mean"], atol=0.02)


def test_the_bundle_is_a_normal_one_with_its_history(run, learned, tiny_bundle):
    parent, new = check_bundle(str(tiny_bundle)), check_bundle(learned[0].bundle.folder)
    (history,) = new.description.training["learned"]
    assert history["parent_sha256"] == parent.sha256
    assert history["lenses"] + history["others"] == len(pd.read_parquet(run / "candidates.parquet"))
    assert history["held_out"]["log_loss"] < history["held_out"]["log_loss_before"]
    assert new.description.name == "better"
    for same in ("fields", "thresholds", "stretch", "trunks", "precision"):
        assert getattr(new.description, same) == getattr(parent.description, same)
    # Every head takes the same step.
    (before, bias_before), (after, bias) = (read_heads(one)["tiny"] for one in (parent, new))
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(np.ptp(after - before, axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(np.ptp(bias - bias_before), 0, atol=1e-4)


def test_features_are_computed_once(run, learned, fields, tiny_bundle, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(Ensemble, "features", refuse)
    again = learn(run, [learned[1]], tmp_path / "again", quiet(), str(tiny_bundle))
    assert again.held_out == learned[0].held_out


def test_second_looks_are_learned_from(client, second_look_bundle, fields, tmp_path):
    path, positions, truth = fields[0]
    scan_here(client, second_look_bundle, [path], tmp_path / "run", centres=str(positions),
              merge_radius_arcsec=1.0)  # fmt: skip
    grades = grades_of(tmp_path / "run", truth, tmp_path / "ada.csv")
    found = learn(tmp_path / "run", [grades], None, quiet(), str(second_look_bundle))
    assert found.bundle.folder == str(tmp_path / "run" / "learned" / "round-1")
    after = pd.read_parquet(found.ranking).iloc[:6]
    flux = np.concatenate([
        cutout_store.read_column(tmp_path / "run" / "cutouts.zarr" / row.mosaic, "flux",
                                 row.window, row.window + 1) for row in after.itertuples()
    ])  # fmt: skip
    logits = Ensemble(found.bundle, precision="full").logits(flux).mean(axis=1)
    np.testing.assert_allclose(logits, after["logit_mean"], atol=0.02)


def test_grades_that_teach_nothing_change_nothing(run, fields, tiny_bundle, tmp_path):
    grades = grades_of(run, fields[0][2], tmp_path / "ada.csv", wrong=0.5)
    with pytest.raises(InputError, match="teach nothing: held out of the fit"):
        learn(run, [grades], tmp_path / "out", quiet(), str(tiny_bundle))
    assert not (tmp_path / "out").exists()


def test_graders_vote(run, fields, tiny_bundle, tmp_path):
    paths = [grades_of(run, fields[0][2], tmp_path / f"{name}.csv", 0.1, name, seed=seed)
             for seed, name in enumerate(("ada", "bob", "eve"))]  # fmt: skip
    found = learn(run, paths, tmp_path / "out", quiet(), str(tiny_bundle))
    assert found.said[0].startswith("ada.csv: ")
    assert "A, B and C are lenses, X is none" in found.said[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",A,", ",Z,", 1), "grade 'Z', but must be one of A, B, C, X"),
        (lambda text: "\n".join(text.split("\n")[:6]), "5 of each are needed"),
        (lambda text: text.replace(",A,", ",,"), "0 lenses and"),
    ],
)  # fmt: skip
def test_unusable_grades_are_refused(run, fields, tiny_bundle, tmp_path, change, message):
    path = grades_of(run, fields[0][2], tmp_path / "ada.csv", wrong=0.0)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        learn(run, [path], tmp_path / "out", quiet(), str(tiny_bundle))


def test_grades_of_another_run_are_refused(run, fields, tiny_bundle, tmp_path):
    path = grades_of(run, fields[0][2], tmp_path / "ada.csv")
    mine = run_id(read_facts(run))
    path.write_text(path.read_text().replace(mine, "0123456789ab"))
    with pytest.raises(InputError, match=f"grades of run 0123456789ab, but this is run {mine}"):
        learn(run, [path], tmp_path / "out", quiet(), str(tiny_bundle))
    away = fields[1][2].assign(label="lens")[["ra_deg", "dec_deg", "label"]]
    away.to_csv(path, index=False)
    with pytest.raises(InputError, match="0 of 64 lie within 1 arcsec of a candidate"):
        learn(run, [path], tmp_path / "out", quiet(), str(tiny_bundle))


def test_the_command(run, learned, tiny_bundle, tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["lensweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code, printed.out + printed.err

    asked = ["learn", run, "--labels", learned[1], "--ensemble", tiny_bundle]
    status, shown = command(*asked, "--out", tmp_path / "new")
    assert status == 0
    assert "held-out grades: log loss" in shown
    assert json.loads((tmp_path / "new" / "ensemble.json").read_text())["name"] == "new"
    status, shown = command(*asked, "--out", tmp_path / "new")
    assert (status, "is there already" in shown) == (2, True)
    shutil.copytree(run, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "candidates.parquet").unlink()
    status, shown = command("learn", tmp_path / "unfinished", "--labels", learned[1])
    assert (status, "0 of 64 planned windows wait" in shown) == (2, True)
