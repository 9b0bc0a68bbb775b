import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lensweep.catalogs.crossmatch import MatchError
from lensweep.catalogs.lens_lists import known_lenses
from lensweep.catalogs.lens_matches import count_matches, match_lenses
from lensweep.catalogs.lens_schemas import MATCHES
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.catalogs.tables import TableError
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.lens_report import read_matchable, show_matches

ARCSEC = 1.0 / 3600.0


@pytest.fixture(autouse=True)
def no_fetched_grades(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path_factory.mktemp("data")))


def positions(ra, dec):
    return pd.DataFrame({"row": np.arange(len(ra)), "name": None, "rank": None,
                         "ra_deg": ra, "dec_deg": dec})  # fmt: skip


def listed(ra, dec, catalogue="mine"):
    table = known_lenses().head(len(ra)).copy()
    return table.assign(catalogue=catalogue, catalogue_row=np.arange(len(ra)),
                        known_ra_deg=ra, known_dec_deg=dec)  # fmt: skip


@pytest.mark.parametrize("catalogue", ["CASTLES", "LensFlow"])
def test_the_shipped_lists_match_themselves_at_zero(catalogue):
    known = known_lenses()
    known = known[known["catalogue"] == catalogue]
    matches = match_lenses(
        positions(known["known_ra_deg"].to_numpy(), known["known_dec_deg"].to_numpy()),
        known, 0.001, every=True,
    )  # fmt: skip
    assert len(matches) == {"CASTLES": 100, "LensFlow": 92}[catalogue]
    assert matches["catalogue_row"].tolist() == matches["row"].tolist()
    assert matches["separation_arcsec"].max() < 1e-6
    assert (matches["n_lenses"] == 1).all()


def test_nearest_and_every_match_and_what_is_not_one_to_one():
    known = pd.concat(
        [
            listed([10.0, 10.0, 50.0], [0.0, 2 * ARCSEC, 0.0]),
            listed([10.0], [0.5 * ARCSEC], "other"),
        ]
    )
    where = positions([10.0, 10.0, 90.0], [0.2 * ARCSEC, 1.8 * ARCSEC, 0.0])
    every = match_lenses(where, known, 3.0, every=True)
    assert len(every) == 6  # two positions with three lenses each
    nearest = match_lenses(where, known, 3.0, every=False)
    assert nearest[["row", "catalogue", "catalogue_row"]].to_numpy().tolist() == [
        [0, "mine", 0], [0, "other", 0], [1, "mine", 1], [1, "other", 0],
    ]  # fmt: skip
    np.testing.assert_allclose(nearest["separation_arcsec"], [0.2, 0.3, 0.2, 1.3], atol=1e-6)
    # The counts are of all pairs, in the short list too.
    assert nearest["n_lenses"].tolist() == [2, 1, 2, 1]
    assert nearest["n_positions"].tolist() == [2, 2, 2, 2]
    counts = count_matches(nearest).set_index("catalogue")
    assert counts.loc["mine"].tolist() == [2, 2, 2, 2]
    assert counts.loc["other"].tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("ra", "dec", "lens_ra", "lens_dec", "separation"),
    [
        (359.9999, 0.0, 0.0001, 0.0, 0.72),  # across RA 0
        (0.0, 90.0 - ARCSEC, 180.0, 90.0 - ARCSEC, 2.0),  # across the north pole
        (77.0, -90.0, 200.0, -90.0 + ARCSEC, 1.0),  # the south pole itself
    ],
)
def test_on_the_sphere(ra, dec, lens_ra, lens_dec, separation):
    found = match_lenses(positions([ra], [dec]), listed([lens_ra], [lens_dec]), 2.5, every=False)
    assert found["separation_arcsec"].tolist() == pytest.approx([separation], abs=1e-5)


def test_nothing_near_and_nothing_at_all():
    known = known_lenses()
    for where in (positions([200.0], [80.0]), positions(np.zeros(0), np.zeros(0))):
        found = match_lenses(where, known, 3.0, every=True)
        assert found.columns.tolist() == MATCHES.names
        assert len(found) == len(count_matches(found)) == 0


@pytest.mark.parametrize("radius", [0.0, 36000.0, np.nan])  # none, ten degrees, no number
def test_unusable_radius_is_refused(radius):
    with pytest.raises(MatchError, match="radius"):
        match_lenses(positions([1.0], [1.0]), known_lenses(), radius, every=True)


def write_candidates(folder, ra, dec):
    folder.mkdir()
    values = {"rank": np.arange(1, len(ra) + 1), "ra_deg": ra, "dec_deg": dec,
              "candidate_id": [f"LSWP {i}" for i in range(len(ra))]}  # fmt: skip
    fields = [field for field in CANDIDATES if field.name in values]
    import pyarrow as pa

    table = pa.table([pa.array(values[f.name], f.type) for f in fields], schema=pa.schema(fields))
    pq.write_table(table, folder / "candidates.parquet")
    return folder


def test_the_command_on_a_run(tmp_path, capsys):
    lens = known_lenses().iloc[100]
    run = write_candidates(
        tmp_path / "run", [lens["known_ra_deg"], 10.0], [lens["known_dec_deg"] + ARCSEC, 10.0]
    )
    show_matches(run, [], 3.0, False, None)
    written = pq.read_table(run / "crossmatch.parquet")
    assert written.schema.remove_metadata().equals(MATCHES.remove_metadata())
    row = written.to_pylist()[0]
    assert (row["name"], row["rank"], row["known_name"]) == ("LSWP 0", 1, "LensFlow 1")
    assert row["separation_arcsec"] == pytest.approx(1.0, abs=1e-6)
    shown = capsys.readouterr().out
    assert "LensFlow: 1 of 2 positions match 1 lenses within 3″" in shown
    assert "not LensFlow's A/B/C" in shown


def test_the_command_on_a_table_writes_only_what_is_asked_for(tmp_path, capsys):
    table = tmp_path / "mine.csv"
    table.write_text("ra,dec\n200.0,80.0\n")
    # Brackets in names are shown as they are.
    listed = tmp_path / "theirs.csv"
    listed.write_text("name,ra_deg,dec_deg\n[VV96] J1 [/bold],200.0,80.0\n")
    show_matches(table, [listed], 3.0, False, None)
    assert "[VV96] J1 [/bold]" in capsys.readouterr().out
    show_matches(table, [], 3.0, False, None)
    assert "no known lens within 3″ of 1 positions" in capsys.readouterr().out
    show_matches(table, [], 3.0, True, tmp_path / "m.parquet")
    assert pq.read_table(tmp_path / "m.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("ranks", "read"), [(("7", "3"), [7, 3]), (("B+", "2"), [None, 2]), (("0.5", ""), [None, None])]
)
def test_a_table_of_candidates_keeps_its_ranks(tmp_path, ranks, read):
    """A catalogue that was ranked in another way, say; what is no rank is none."""
    table = tmp_path / "candidates-median.csv"
    table.write_text(f"Rank,ra,dec\n{ranks[0]},200.0,80.0\n{ranks[1]},201.0,80.0\n")
    found = read_matchable(table)["rank"]
    assert [None if pd.isna(rank) else rank for rank in found] == read
    show_matches(table, [str(table)], 3.0, False, tmp_path / "m.parquet")
    written = pq.read_table(tmp_path / "m.parquet")["rank"].to_pylist()
    assert written == read


def test_a_run_without_candidates_is_not_an_error(tmp_path):
    assert len(read_matchable(write_candidates(tmp_path / "run", [], []))) == 0


def test_what_is_neither_run_nor_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run with a catalogue"):
        read_matchable(tmp_path)
    with pytest.raises(TableError, match="no such file"):
        read_matchable(tmp_path / "none.csv")
