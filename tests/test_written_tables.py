"""Tables in the format that the ending asks for, read back by astropy and by ourselves."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

from lensweep.catalogs.lens_schemas import MATCHES
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import TableError, read_positions
from lensweep.catalogs.written_tables import WRITERS, check_table_file, write_table
from lensweep.ground.errors import InputError

ROW = {
    "row": 3, "name": "naïve [x]", "rank": None, "ra_deg": 10.5, "dec_deg": -2.25,
    "catalogue": "mine", "catalogue_row": 1, "known_name": "0028", "known_ra_deg": 10.5,
    "known_dec_deg": -2.25, "grade": None, "grade_scheme": None, "z_lens": None,
    "z_lens_listed": None, "kind": None, "reference": None, "separation_arcsec": 0.5,
    "nearest": True, "n_lenses": 1, "n_positions": 1, "match_radius_arcsec": 3.0,
}  # fmt: skip


@pytest.fixture
def matches():
    table = pa.Table.from_pylist([ROW, ROW | {"rank": 7, "name": None, "z_lens": 0.5}], MATCHES)
    return with_provenance(table, {"source": "caf\u00e9\n[x]", "long": "x" * 200})


@pytest.mark.parametrize("ending", [*WRITERS, ".CSV"])
def test_every_ending_is_what_it_says(matches, ending, tmp_path):
    path = tmp_path / f"a.b{ending}"
    check_table_file(path)
    write_table(matches, path)
    first = path.read_bytes()[:200]
    magic = {".parquet": b"PAR1", ".fits": b"SIMPLE  =", ".ecsv": b"# %ECSV", ".csv": b"row,name"}
    assert first.startswith(magic.get(ending.lower(), b"<?xml"))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    check_table_file(path)  # a repeated command replaces it
    write_table(matches, path)


@pytest.mark.parametrize("ending", [".csv", ".fits", ".vot", ".parquet"])
def test_what_is_written_is_read_back(matches, ending, tmp_path):
    write_table(matches, tmp_path / f"a{ending}")
    found = read_positions(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(found["ra_deg"], [10.5, 10.5])
    np.testing.assert_array_equal(found["dec_deg"], [-2.25, -2.25])


@pytest.mark.parametrize(
    ("ending", "name"),
    [(".fits", "na\\xefve [x]"), (".ecsv", "naïve [x]"), (".vot", "naïve [x]")],
)
def test_astropy_reads_units_text_and_nulls(matches, ending, name, tmp_path):
    path = tmp_path / f"a{ending}"
    write_table(matches, path)
    table = Table.read(path, format="votable" if ending == ".vot" else None)
    assert table["ra_deg"].unit == "deg"
    assert str(table["name"][0]) == name
    assert np.ma.getmaskarray(table["rank"]).tolist() == [True, False]
    assert table["rank"][1] == 7
    assert table["z_lens"][1] == 0.5


@pytest.mark.parametrize("ending", [".fits", ".vot", ".ecsv"])
def test_a_null_truth_value_is_none(matches, ending, tmp_path):
    rows = [ROW | {"nearest": value} for value in (None, False, True)]
    path = tmp_path / f"a{ending}"
    write_table(with_provenance(pa.Table.from_pylist(rows, MATCHES), {}), path)
    found = Table.read(path, format="votable" if ending == ".vot" else None)["nearest"]
    assert found.mask.tolist() == [True, False, False]
    assert found[1:].astype(bool).tolist() == [False, True]


def test_provenance_is_kept(matches, tmp_path):
    write_table(matches, tmp_path / "a.fits")
    history = "".join(fits.getheader(tmp_path / "a.fits", 1)["HISTORY"])
    assert "source: caf\\xe9 [x]" in history
    assert "x" * 200 in history


@pytest.mark.parametrize("name", ["scores.txt", "scores", "scores.parquet.gz", "scores.csv.png"])
def test_unknown_endings_are_refused(name, tmp_path):
    with pytest.raises(TableError, match=r"unknown ending; .* one of \.parquet, \.csv, \.ecsv"):
        check_table_file(tmp_path / name)


def test_an_image_is_never_written_over(tmp_path):
    """`--out *.fits` is what a shell makes of it."""
    image = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((4, 4), np.float32)).writeto(image)
    with pytest.raises(TableError, match="is no file that lensweep wrote"):
        check_table_file(image)
    (tmp_path / "b.fits").write_text("mine")
    with pytest.raises(TableError, match="is no file that lensweep wrote"):
        check_table_file(tmp_path / "b.fits")
    (tmp_path / "mine.csv").write_text("ra,dec\n1,2\n")
    with pytest.raises(InputError, match="is an input of this command"):
        check_table_file(tmp_path / "mine.csv", [tmp_path / "mine.csv"])
