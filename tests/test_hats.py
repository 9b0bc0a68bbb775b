import functools
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import astropy.units as u
import lsdb
import numpy as np
import pandas as pd
import pytest
from astropy_healpix import HEALPix

from lensweep.__main__ import main
from lensweep.catalogs.crossmatch import MatchError, all_pairs
from lensweep.catalogs.hats import HatsError, match_hats, rows_near
from lensweep.catalogs.hats_folders import is_hats
from lensweep.catalogs.lens_lists import LensListError, read_lens_list
from lensweep.catalogs.lens_matches import match_lenses
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.hats_report import show_hats_matches

pytestmark = [
    # LSDB 0.11 on pandas 3.1 calls set_index(inplace=True) and others of that kind.
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*[Ii]nplace.*"),
]

ARCSEC = 1.0 / 3600.0
RADIUS_ARCSEC = 2.0
BORDER_DEC = 10.0


def border_ra(dec):
    """Where two HEALPix pixels of order 2 meet on a parallel, by bisection."""
    pixel = HEALPix(nside=4, order="nested").lonlat_to_healpix
    west, east = 60.0, 90.0
    first = pixel(west * u.deg, dec * u.deg)
    assert first != pixel(east * u.deg, dec * u.deg)
    while east - west > 1e-9:
        middle = (west + east) / 2
        same = pixel(middle * u.deg, dec * u.deg) == first
        west, east = (middle, east) if same else (west, middle)
    return west


def write(folder, table, ra, dec, margin_arcsec=5.0):
    catalogue = lsdb.from_dataframe(
        table, ra_column=ra, dec_column=dec, catalog_name=folder.name, lowest_order=2,
        highest_order=8, partition_rows=60, margin_threshold=margin_arcsec,
    )  # fmt: skip
    catalogue.write_catalog(
        folder, catalog_name=folder.name, progress_bar=False, should_write_skymap=False,
        create_per_partition_statistics=False,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def tables():
    """Rows across RA 0, about the north pole, and either side of a partition's border.

    Near that border the first list has rows on the western side only, the second on the eastern.
    """
    rng = np.random.default_rng(4)
    wrap = rng.uniform(-0.004, 0.004, 100) % 360.0, rng.uniform(-0.004, 0.004, 100)
    pole = rng.uniform(0.0, 360.0, 60), rng.uniform(89.997, 90.0, 60)
    ra, dec = (np.concatenate(parts) for parts in zip(wrap, pole, strict=True))
    jitter = rng.normal(0.0, 0.8 * ARCSEC, (2, len(ra)))
    other_dec = np.clip(dec + jitter[1], -90.0, 90.0)
    other_ra = (ra + jitter[0]) % 360.0
    border = border_ra(BORDER_DEC)
    ra, dec = np.append(ra, border - 0.5 * ARCSEC), np.append(dec, BORDER_DEC)
    other_ra = np.append(other_ra, border + 0.5 * ARCSEC)
    other_dec = np.append(other_dec, BORDER_DEC)
    left = pd.DataFrame({"ra": ra, "dec": dec, "id": [f"L{i}" for i in range(len(ra))]})
    right = pd.DataFrame({"ra_j2000": other_ra, "dec_j2000": other_dec,
                          "Name": [f"R{i}" for i in range(len(other_ra))]})  # fmt: skip
    return left, right


@pytest.fixture(scope="module")
def catalogues(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hats")
    left, right = tables
    return write(folder / "left", left, "ra", "dec"), write(folder / "right", right, "ra_j2000",
                                                            "dec_j2000")  # fmt: skip


@pytest.fixture(scope="module")
def expected(tables):
    """The pairs that astropy finds in the tables at once, by names."""
    left, right = tables
    first, second, separation = all_pairs(
        left["ra"], left["dec"], right["ra_j2000"], right["dec_j2000"], RADIUS_ARCSEC
    )
    return pd.DataFrame({
        "name": left["id"].to_numpy()[first], "other_name": right["Name"].to_numpy()[second],
        "separation_arcsec": separation,
    })  # fmt: skip


@pytest.fixture(scope="module")
def found(catalogues):
    return match_hats(*catalogues, RADIUS_ARCSEC, every=True)


def test_pairs_are_those_of_astropy_on_the_same_rows(found, expected, catalogues):
    names = ["name", "other_name"]
    ours = found.sort_values(names)[[*names, "separation_arcsec"]].reset_index(drop=True)
    theirs = expected.sort_values(names).reset_index(drop=True)
    assert len(theirs) > 150
    assert ours[names].to_numpy().tolist() == theirs[names].to_numpy().tolist()
    np.testing.assert_allclose(ours["separation_arcsec"], theirs["separation_arcsec"], atol=1e-7)
    assert len(lsdb.open_catalog(catalogues[0]).get_healpix_pixels()) > 5


@pytest.mark.parametrize(
    "across",
    [
        lambda pairs: np.abs(pairs["ra_deg"] - pairs["other_ra_deg"]) > 359.0,  # RA 0
        lambda pairs: pairs["dec_deg"] > 89.9999,  # the pole
        lambda pairs: pairs["dec_deg"] == BORDER_DEC,  # a border, the other list beyond it only
    ],
)
def test_pairs_across_wraps_poles_and_borders(found, across):
    assert across(found).any()


def test_what_is_not_one_to_one_is_said(found, expected):
    counts = expected["name"].value_counts()
    shared = expected["other_name"].value_counts()
    assert found["n_others"].tolist() == counts[found["name"]].tolist()
    assert found["n_positions"].tolist() == shared[found["other_name"]].tolist()
    assert counts.max() > 1


def test_nearest_takes_one_of_each_position(catalogues, found, expected):
    one = match_hats(*catalogues, RADIUS_ARCSEC, every=False)
    assert len(one) == expected["name"].nunique() < len(found)
    least = expected.groupby("name")["separation_arcsec"].min()
    np.testing.assert_allclose(one["separation_arcsec"], least[one["name"]], atol=1e-7)


def test_a_short_list_against_a_catalogue(catalogues, tables):
    left, right = tables
    some = right.iloc[[0, 50, 120, 160]]
    rows = rows_near(catalogues[0], some["ra_j2000"], some["dec_j2000"], RADIUS_ARCSEC)
    first, _, _ = all_pairs(left["ra"], left["dec"], some["ra_j2000"], some["dec_j2000"],
                            RADIUS_ARCSEC)  # fmt: skip
    assert set(left["id"].iloc[first]) <= set(rows["name"])
    assert len(rows) < len(left)
    known = pd.DataFrame({"known_ra_deg": some["ra_j2000"], "known_dec_deg": some["dec_j2000"]})
    known = known.reset_index(drop=True).assign(
        catalogue="mine", catalogue_row=range(4), known_name="", grade=None, grade_scheme=None,
        z_lens=np.nan, z_lens_listed=None, kind=None, reference=None,
        match_radius_arcsec=RADIUS_ARCSEC,
    )  # fmt: skip
    assert len(match_lenses(rows.assign(rank=None), known, RADIUS_ARCSEC, True)) == len(first)


def test_no_row_near_a_list(catalogues):
    assert rows_near(catalogues[0], [200.0], [-50.0], 3.0).empty


def test_command(catalogues, tmp_path, monkeypatch, capsys):
    left, right = map(str, catalogues)
    out = tmp_path / "pairs.parquet"
    monkeypatch.setattr(
        sys, "argv", ["lensweep", "crossmatch", left, "--known", right, "--out", str(out)]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "nearest pairs within 3″" in capsys.readouterr().out
    assert len(pd.read_parquet(out)) > 100


def test_candidates_of_a_table_or_a_run_against_a_catalogue(
    catalogues, tables, tmp_path, monkeypatch, capsys
):
    """A short list on the left, HATS on the right: only partitions near the list are read."""
    mine = tmp_path / "mine.csv"
    some = tables[0].iloc[[0, 50, 120]]
    some.rename(columns={"ra": "ra_deg", "dec": "dec_deg", "id": "name"}).to_csv(mine, index=False)
    expected = all_pairs(some["ra"], some["dec"], tables[1]["ra_j2000"], tables[1]["dec_j2000"],
                         RADIUS_ARCSEC)  # fmt: skip
    out = tmp_path / "matches.parquet"
    monkeypatch.setattr(sys, "argv", [
        "lensweep", "crossmatch", str(mine), "--known", str(catalogues[1]), "--all", "--radius",
        str(RADIUS_ARCSEC), "--out", str(out),
    ])  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main()
        raise SystemExit(0)
    assert not end.value.code
    assert "right: 3 of 3 positions match" in capsys.readouterr().out
    found = pd.read_parquet(out)
    assert found["catalogue"].eq("right").all()
    assert len(found) == len(expected[0])
    names = tables[1]["Name"].to_numpy()[expected[1]]
    assert sorted(found["known_name"]) == sorted(names)


@pytest.fixture(scope="module")
def address(catalogues):
    """The catalogues on a web server of this machine."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=catalogues[0].parent)
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10.0)


def test_a_catalogue_on_a_server(address, catalogues, tables):
    some = tables[1].iloc[[0, 50]]
    there = rows_near(f"{address}/left", some["ra_j2000"], some["dec_j2000"], RADIUS_ARCSEC)
    here = rows_near(catalogues[0], some["ra_j2000"], some["dec_j2000"], RADIUS_ARCSEC)
    pd.testing.assert_frame_equal(there, here)


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/catalogue", "s3://bucket/catalogue"])
def test_an_address_that_does_not_answer(where, tmp_path):
    """In a process of its own: s3fs keeps a connection, with its address, for as long as one."""
    said = {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "nobody",
            "SECRET_ACCESS_KEY": "nothing", "MAX_ATTEMPTS": "1"}  # fmt: skip
    environment = os.environ | {f"AWS_{name}": value for name, value in said.items()}
    mine = tmp_path / "mine.csv"
    mine.write_text("ra_deg,dec_deg\n10,2\n")
    for arguments in ([where], [str(mine), "--known", where]):
        command = [sys.executable, "-m", "lensweep", "crossmatch", *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert ended.returncode == 2
        assert f"{where}: cannot be reached" in ended.stderr


def test_a_folder_is_no_list(catalogues, tmp_path):
    with pytest.raises(LensListError, match="HATS catalogues are for `lensweep crossmatch` alone"):
        read_lens_list(catalogues[0])


def test_a_margin_narrower_than_the_radius_is_refused(catalogues):
    with pytest.raises(HatsError, match="margin of 5 arcsec, but a radius of 6"):
        match_hats(*catalogues, 6.0, every=True)


@pytest.mark.parametrize("radius", [0.0, 36000.0, np.nan])
def test_unusable_radius(catalogues, radius):
    with pytest.raises(MatchError, match="radius"):
        match_hats(*catalogues, radius, every=True)


def test_a_folder_that_is_not_hats(catalogues, tmp_path):
    assert is_hats(catalogues[0])
    assert not is_hats(tmp_path)
    with pytest.raises(HatsError, match="not a HATS catalogue"):
        match_hats(catalogues[0], tmp_path, 1.0, every=True)
    with pytest.raises(InputError, match="by itself"):
        show_hats_matches(catalogues[0], [str(catalogues[1]), "lenscat"], 1.0, True, None)


def test_known_lenses_are_counted_among_all_rows(catalogues, tables, tmp_path, capsys):
    known = tmp_path / "mine.csv"
    right = tables[1].iloc[[0, 50]]
    right.rename(columns={"ra_j2000": "ra_deg", "dec_j2000": "dec_deg"}).to_csv(known, index=False)
    show_hats_matches(catalogues[0], [str(known)], RADIUS_ARCSEC, True, None)
    assert f" of {len(tables[0])} positions match 2 lenses" in capsys.readouterr().out
