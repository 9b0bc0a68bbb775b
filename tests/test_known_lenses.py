from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from lensweep.catalogs.crossmatch import MatchError, nearest
from lensweep.catalogs.known_lenses import castles, faure2008, lensflow92, match_known
from lensweep.catalogs.schemas import CANDIDATES

ARCSEC = 1.0 / 3600.0


@pytest.fixture(autouse=True)
def no_fetched_grades(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize(
    ("load", "file"),
    [(castles, "castles.csv"), (lensflow92, "lensflow92.csv"), (faure2008, "faure2008.csv")],
)
def test_positions_are_those_that_were_collected(real_data, load, file):
    collected = real_data.parent / "catalogs" / file
    if not collected.is_file():
        pytest.skip(f"no collected catalogues beside LENSWEEP_REAL_DATA: {collected}")
    table = pd.read_csv(collected)
    np.testing.assert_array_equal(load()["ra_deg"], table["ra_deg"])
    np.testing.assert_array_equal(load()["dec_deg"], table["dec_deg"])


@pytest.mark.parametrize(
    ("load", "n_rows", "key"),
    [(castles, 100, "name"), (lensflow92, 92, "lensflow_id"), (faure2008, 65, "name")],
)
def test_catalogues_are_whole(load, n_rows, key):
    table = load()
    assert len(table) == n_rows
    assert table[key].is_unique
    assert table["ra_deg"].between(0.0, 360.0, inclusive="left").all()
    assert table["dec_deg"].between(-90.0, 90.0).all()


def test_castles_grades_and_types():
    table = castles()
    assert table["grade"].value_counts().to_dict() == {"A": 82, "B": 10, "C": 8}
    assert str(table["n_images"].dtype) == "Int16"
    assert table["image_separation_arcsec"].notna().all()
    assert (table["z_lens_flag"] == "uncertain").sum() == 6
    redshifts = table.dropna(subset=["z_lens", "z_source"])
    assert (redshifts["z_lens"] < redshifts["z_source"]).all()


def test_castles_degrees_follow_from_its_sexagesimal_columns():
    table = castles()
    hours = table["ra_hms"].str.split(":", expand=True).astype(float) @ [1, 1 / 60, 1 / 3600]
    np.testing.assert_allclose(table["ra_deg"], hours * 15, atol=0.01 * ARCSEC)
    sign = np.where(table["dec_dms"].str.startswith("-"), -1.0, 1.0)
    degrees = table["dec_dms"].str.lstrip("+-").str.split(":", expand=True).astype(float)
    degrees = sign * (degrees @ [1, 1 / 60, 1 / 3600])
    np.testing.assert_allclose(table["dec_deg"], degrees, atol=0.01 * ARCSEC)


def test_lensflow_ships_no_grade():
    table = lensflow92()
    assert table["lensflow_id"].tolist() == list(range(1, 93))
    assert table["grade"].isna().all()
    assert table["confidence"].value_counts().to_dict() == {"probable": 78, "confident": 14}
    text = files("lensweep.catalogs").joinpath("data", "lensflow92.csv").read_text()
    header = text.splitlines()[0]
    assert "grade_inferred" not in header


def test_lensflow_lies_in_cosmos():
    table = lensflow92()
    assert table["ra_deg"].between(149.3, 150.8).all()
    assert table["dec_deg"].between(1.4, 3.0).all()


def test_faure_and_lensflow_agree_on_the_46_shared_systems():
    faure, lensflow = faure2008(), lensflow92().set_index("lensflow_id")
    shared = faure.dropna(subset=["lensflow_id"])
    assert len(shared) == 46
    partner = lensflow.loc[shared["lensflow_id"].astype(int)]
    assert partner["in_faure2008"].all()
    np.testing.assert_array_equal(shared["ra_deg"], partner["ra_deg"])
    np.testing.assert_array_equal(shared["dec_deg"], partner["dec_deg"])


def test_match_known_has_the_columns_of_the_candidate_schema():
    expected = [n for n in CANDIDATES.names if n.startswith(("castles_", "lensflow_"))]
    assert len(expected) == 6
    assert list(match_known([], []).columns) == expected
    assert list(match_known([1.0], [1.0]).columns) == expected


def test_match_known_gives_one_row_per_position_in_order():
    lens = castles().set_index("name").loc["B0128+437"]
    candidate = lensflow92().iloc[1]
    found = match_known(
        [10.0, candidate["ra_deg"], lens["ra_deg"]],
        [0.0, candidate["dec_deg"] - 2 * ARCSEC, lens["dec_deg"] + 1 * ARCSEC],
    )
    assert found.index.tolist() == [0, 1, 2]
    assert found.loc[0].isna().all()  # nothing there
    assert found.loc[1, ["castles_name", "castles_separation_arcsec"]].isna().all()
    assert (found.loc[1, "lensflow_id"], found.loc[1, "lensflow_confidence"]) == (2, "confident")
    assert found.loc[1, "lensflow_separation_arcsec"] == pytest.approx(2.0, abs=1e-6)
    assert found.loc[2, "castles_name"] == "B0128+437"
    assert found.loc[2, "castles_separation_arcsec"] == pytest.approx(1.0, abs=1e-6)
    assert found.loc[2, ["lensflow_id", "lensflow_confidence"]].isna().all()
    assert found["lensflow_grade"].isna().all()


def test_match_known_radius():
    lens = castles().iloc[0]
    beyond = [lens["dec_deg"] + 4 * ARCSEC]
    assert pd.isna(match_known([lens["ra_deg"]], beyond)["castles_name"][0])
    assert match_known([lens["ra_deg"]], beyond, 5.0)["castles_name"][0] == lens["name"]
    with pytest.raises(MatchError, match="radius 0"):
        match_known([1.0], [1.0], 0.0)


def test_three_arcsec_are_never_ambiguous_in_lensflow():
    table = lensflow92()
    index, _, _ = nearest(
        table["ra_deg"], table["dec_deg"], table["ra_deg"].iloc[1:], table["dec_deg"].iloc[1:], 6.0
    )
    assert len(index) == 91  # each finds itself only; row 0 was left out of the catalogue


def test_provenance_names_every_shipped_table():
    folder = files("lensweep.catalogs").joinpath("data")
    text = folder.joinpath("PROVENANCE.md").read_text(encoding="utf-8")
    tables = [entry.name for entry in folder.iterdir() if entry.name.endswith(".csv")]
    assert len(tables) == 3
    assert all(f"## {name}" in text for name in tables)
