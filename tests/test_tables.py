import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import coordinates
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import MaskedColumn, Table

from lensweep.catalogs.formats import columns_of_table, read_columns
from lensweep.catalogs.tables import TableError, check_positions, read_positions, write_parquet

RA = [149.545323, 0.0, 359.999999]
DEC = [1.614164, -90.0, 90.0]
NAMES = ["0028", "b", "c d"]


def write(path, ra_name="RA", dec_name="Dec", name="Name", **units):
    """Write RA, DEC and NAMES in the format of the ending."""
    frame = pd.DataFrame({"mag": [1, 2, 3], ra_name: RA, dec_name: DEC, name: NAMES})
    table = Table.from_pandas(frame)
    for column, unit in units.items():
        table[column].unit = unit
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        fields = [pa.field(n, pa.array(frame[n]).type, metadata={"unit": units.get(n, "")})
                  for n in frame.columns]  # fmt: skip
        pq.write_table(pa.table(dict(frame), schema=pa.schema(fields)), path)
    elif path.suffix in (".fits", ".gz"):
        table.write(path, format="fits")
    else:
        table.write(path, format="votable")
    return path


@pytest.mark.parametrize(
    "file", ["a.csv", "a.fits", "A.FITS.gz", "a.xml", "a.vot", "a.votable", "a.parquet"]
)
def test_every_format_gives_the_same_positions(tmp_path, file):
    table = read_positions(write(tmp_path / file))
    assert list(table.columns) == ["ra_deg", "dec_deg", "row", "name"]
    assert table["ra_deg"].dtype == table["dec_deg"].dtype == np.float64
    np.testing.assert_array_equal(table["ra_deg"], RA)
    np.testing.assert_array_equal(table["dec_deg"], DEC)
    np.testing.assert_array_equal(table["row"], [0, 1, 2])
    assert table["name"].tolist() == NAMES


@pytest.mark.parametrize(
    ("ra_name", "dec_name"),
    [
        ("ra_deg", "dec_deg"),  # ours
        ("RA [deg]", "DEC [deg]"),  # lenscat
        ("RA_ICRS", "DE_ICRS"),  # VizieR, Gaia
        ("RAJ2000", "DEJ2000"),  # VizieR
        ("ALPHA_J2000", "DELTA_J2000"),  # SExtractor
        ("ra", "dec"),
    ],
)
@pytest.mark.parametrize("file", ["a.csv", "a.fits", "a.xml", "a.parquet"])
# Writing a VOTable, astropy says so when a name cannot be an XML identifier.
@pytest.mark.filterwarnings("ignore::astropy.io.votable.exceptions.W03")
def test_position_columns_are_known_by_name(tmp_path, file, ra_name, dec_name):
    table = read_positions(write(tmp_path / file, ra_name, dec_name))
    np.testing.assert_array_equal(table["ra_deg"], RA)
    np.testing.assert_array_equal(table["dec_deg"], DEC)


def test_pairs_are_not_mixed(tmp_path):
    path = tmp_path / "two_frames.csv"
    path.write_text("RAJ2000,DEJ2000,ra,dec\n10,20,11,21\n")
    assert read_positions(path)[["ra_deg", "dec_deg"]].to_numpy().tolist() == [[10.0, 20.0]]
    path.write_text("RAJ2000,dec\n10,20\n")
    with pytest.raises(TableError, match="no pair of RA and Dec columns among RAJ2000, dec"):
        read_positions(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha,Dec\n1,2\n", "among alpha, Dec; rename"),  # no RA
        ("RA,delta\n1,2\n", "among RA, delta; rename"),  # no Dec
        ("ra,RA,dec\n1,1,2\n", "'ra' and 'RA' differ in case only"),
        ("ra,dec\n1,2\n3,\n", "row 1 .* has RA 3.0, Dec nan"),  # blank
        ("ra,dec\n1,2\n3,4\nnan,4\n", "row 2 .* has RA nan"),
        ("ra,dec\n1,inf\n", "row 0 .* Dec inf"),
        ("ra,dec\n1,90.001\n", "row 0 .* Dec 90.001, outside -90 to 90"),
        ("ra,dec\n1,-91\n", "Dec -91.0, outside"),
        ("ra,dec\n1,2\n360,2\n", r"row 1 .* RA 360.0, outside \[0, 360\)"),
        ("ra,dec\n-0.001,2\n", r"RA -0.001, outside \[0, 360\)"),
        # Of two forms: which was meant?
        ("ra,dec\n10:00:28.6,2\n1,+02:12:06\n", "'ra', row 1 .* '1' is neither a number like"),
        ("ra,dec\n1,north\n", "'north' is neither a number"),
        ("ra,dec\n10:61:28.6,2\n", "'ra': not all of it is sexagesimal"),
        ("ra,dec\n10:00:60.6,2\n", "'ra': not all of it is sexagesimal"),
        ("ra,dec\n150:00:28,2\n", r"'hours' was found \('150.0'\)"),  # nothing says degrees
        ("ra,dec\n", "the table has no rows"),
        ("", "not a readable CSV"),  # no header
        ("ra,dec\n7,1,2\n", "more values than the header has names"),
        ("ra,dec\n1,2\n1,2,3\n", "not a readable CSV"),  # ragged
    ],
)
def test_unusable_csv_is_refused(tmp_path, text, message):
    path = tmp_path / "sources.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=message) as caught:
        read_positions(path)
    assert "sources.csv" in str(caught.value)


@pytest.mark.parametrize("file", ["a.fits", "a.xml", "a.parquet"])
def test_a_declared_unit_that_is_no_angle_is_refused(tmp_path, file):
    with pytest.raises(TableError, match="'RA' is in 'pix'"):
        read_positions(write(tmp_path / file, RA="pix"))


@pytest.mark.parametrize(
    ("file", "unit", "degrees"),
    [
        ("a.fits", "rad", 180.0 / np.pi),
        ("a.parquet", "h", 15.0),  # of RA: hours of angle
        ("a.parquet", "hourangle", 15.0),
        ("a.xml", "hourangle", 15.0),  # VOTable has no such word: astropy writes 15 deg
        ("a.fits", "arcmin", 1.0 / 60.0),
    ],
)
def test_declared_units_of_angle_are_converted(tmp_path, monkeypatch, file, unit, degrees):
    monkeypatch.setitem(globals(), "RA", [1.5, 0.0, 2.25])
    table = read_positions(write(tmp_path / file, RA=unit))
    np.testing.assert_allclose(table["ra_deg"], np.array(RA) * degrees, rtol=1e-12)


# 10h00m28.6s is 150.119167 deg; -02d12m06s is -2.201667.
SEXAGESIMAL = (150.0 + 28.6 * 15.0 / 3600.0, -(2.0 + 12.0 / 60.0 + 6.0 / 3600.0))


@pytest.mark.parametrize(
    ("ra", "dec", "unit"),
    [
        ("10:00:28.6", "-02:12:06", ""),
        ("10 00 28.6", "-02 12 06.0", ""),
        ("10h00m28.6s", "-02d12m06s", ""),
        ("150d07m09s", "-02d12m06s", ""),  # what is written goes before what is usual
        ("150:07:09", "-02:12:06", "deg"),  # so does what is declared
        ("10:00:28.6", "-02:12:06", '"h:m:s"'),  # as VizieR has it
        ("10:00.47666667", "-02:12.1", ""),
    ],
)
def test_sexagesimal_text(tmp_path, ra, dec, unit):
    field = pa.field("ra", pa.string(), metadata={"unit": unit})
    schema = pa.schema([field, pa.field("dec", pa.string())])
    pq.write_table(pa.table({"ra": [ra], "dec": [dec]}, schema), tmp_path / "a.parquet")
    found = read_positions(tmp_path / "a.parquet")[["ra_deg", "dec_deg"]].to_numpy()[0]
    np.testing.assert_allclose(found, SEXAGESIMAL, atol=1e-6)


TEXTS = {
    "fixed.txt": 'name  ra      dec\n007   1.50    -2.0\n"a b" 2.5   3\n',
    "tabs.tsv": "name\tra\tdec\n007\t1.50\t-2.0\na b\t2.5\t3\n",
    "ipac.tbl": "|name  |ra      |dec     |\n|char  |double  |double  |\n"
    "|      |deg     |deg     |\n 007    1.50     -2.0     \n a b    2.5      3        \n",
    "a.ecsv": "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: name, datatype: string}\n"
    "# - {name: ra, unit: deg, datatype: float64}\n# - {name: dec, datatype: float64}\n"
    'name ra dec\n007 1.5 -2.0\n"a b" 2.5 3.0\n',
    "commas.txt": "name,ra,dec\n007,1.50,-2.0\na b,2.5,3\n",
}


@pytest.mark.parametrize("file", TEXTS)
def test_text_tables_of_every_form(tmp_path, file):
    (tmp_path / file).write_text(TEXTS[file])
    table = read_positions(tmp_path / file)
    assert table[["ra_deg", "dec_deg"]].to_numpy().tolist() == [[1.5, -2.0], [2.5, 3.0]]
    assert table["name"].tolist() == ["007", "a b"]


def test_positions_in_parts_as_the_cds_has_them(tmp_path):
    (tmp_path / "a.txt").write_text(
        "Name RAh RAm RAs DE- DEd DEm DEs\nx 10 00 28.6 - 02 12 06\ny 0 0 0 + 0 30 0\n"
    )
    found = read_positions(tmp_path / "a.txt")[["ra_deg", "dec_deg"]].to_numpy()
    np.testing.assert_allclose(found, [SEXAGESIMAL, [0.0, 0.5]], atol=1e-9)


@pytest.mark.parametrize("file", ["a.fits", "a.xml", "a.parquet"])
def test_declared_degrees_are_taken(tmp_path, file):
    table = read_positions(write(tmp_path / file, RA="deg", Dec="deg"))
    np.testing.assert_array_equal(table["ra_deg"], RA)


def test_small_values_are_degrees_without_a_unit(tmp_path):
    path = tmp_path / "might_be_hours.csv"
    path.write_text("ra,dec\n10.0,2\n23.9,2\n")
    assert read_positions(path)["ra_deg"].tolist() == [10.0, 23.9]


@pytest.mark.parametrize("dtype", [float, int])
def test_a_masked_votable_position_is_missing(tmp_path, dtype):
    ra = MaskedColumn(np.array([1, 2], dtype=dtype), mask=[False, True])
    path = tmp_path / "masked.xml"
    votable.writeto(votable.from_table(Table({"ra": ra, "dec": [1.0, 2.0]})), str(path))
    with pytest.raises(TableError, match=r"row 1 .* has RA nan"):
        read_positions(path)


@pytest.mark.parametrize("ending", [".fits", ".vot", ".ecsv"])
@pytest.mark.parametrize("dtype", ["i2", "i4", "i8"])
def test_numbers_as_names_whatever_their_bytes_and_nulls(tmp_path, ending, dtype):
    path = tmp_path / f"a{ending}"
    name = MaskedColumn(np.array([12, 13], dtype), mask=[False, True])
    kind = "votable" if ending == ".vot" else None
    Table({"ID": name, "RA": [1.0, 2.0], "Dec": [1.0, 2.0]}).write(path, format=kind)
    names = read_positions(path)["name"]
    assert names[0] == "12"
    assert pd.isna(names[1])
    in_memory = columns_of_table(Table.read(path, format=kind), "table").values["ID"]
    assert in_memory.dtype.isnative


def test_nulls_are_none_in_a_fits_table(tmp_path):
    masked = {
        "n": MaskedColumn(np.array([5, 2], np.int32), mask=[True, False]),
        "z": MaskedColumn([0.5, 0.7], mask=[True, False]),
    }
    columns = {"RA": [1.0, 2.0], "Dec": [1.0, 2.0], "ID": ["a", ""]} | masked
    Table(columns).write(tmp_path / "a.fits")
    values = read_columns(tmp_path / "a.fits", None).values
    assert values["n"].tolist() == [None, 2]
    assert np.isnan(values["z"][0])
    assert values["ID"].tolist() == ["a", ""]


def test_columns_of_arrays_of_any_length_are_read_as_they_are(tmp_path):
    several = np.array([np.array([1.0]), np.array([1.0, 2.0])], object)
    columns = fits.Column("RA", "D", array=[1.0, 2.0]), fits.Column("V", "PD()", array=several)
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    values = read_columns(tmp_path / "a.fits", None).values
    assert [one.tolist() for one in values["V"]] == [[1.0], [1.0, 2.0]]
    assert list(read_columns(tmp_path / "a.fits", {"ra"}).values) == ["RA"]
    assert read_columns(tmp_path / "a.fits", {"nothing"}).values == {}


CDS = """\
Title: A list
Authors: Nobody
Table: Positions
================================================================================
Byte-by-byte Description of file: a.dat
--------------------------------------------------------------------------------
   Bytes Format Units  Label  Explanations
--------------------------------------------------------------------------------
   1-  2  I2    h      RAh    Hour of Right Ascension ({equinox})
   4-  5  I2    min    RAm    Minute of Right Ascension ({equinox})
   7- 10  F4.1  s      RAs    Second of Right Ascension ({equinox})
       12 A1    ---    DE-    Sign of the Declination ({equinox})
  13- 14  I2    deg    DEd    Degree of Declination ({equinox})
  16- 17  I2    arcmin DEm    Arcminute of Declination ({equinox})
  19- 22  F4.1  arcsec DEs    Arcsecond of Declination ({equinox})
--------------------------------------------------------------------------------
10 00 28.6  02 12 06.0
10 00 28.6 -02 12 06.0
"""


@pytest.mark.parametrize(("equinox", "old"), [("J2000", False), ("B1950", True), ("1950.0", True)])
def test_tables_of_journals_with_blank_signs_and_old_equinoxes(tmp_path, equinox, old):
    path = tmp_path / "a.txt"
    path.write_text(CDS.format(equinox=equinox))
    found = read_positions(path)
    stated = SkyCoord([SEXAGESIMAL[0]] * 2, [-SEXAGESIMAL[1], SEXAGESIMAL[1]], unit="deg",
                      frame=coordinates.FK4(equinox="B1950") if old else "icrs").icrs  # fmt: skip
    np.testing.assert_allclose(found["ra_deg"], stated.ra.deg, atol=1e-6)
    np.testing.assert_allclose(found["dec_deg"], stated.dec.deg, atol=1e-6)


def test_parquet_nulls(tmp_path):
    path = tmp_path / "nulls.parquet"
    pq.write_table(pa.table({"ra": [1, 2], "dec": [1.0, 2.0], "ID": [12, None]}), path)
    names = read_positions(path)["name"]
    assert names[0] == "12"
    assert pd.isna(names[1])
    pq.write_table(pa.table({"ra": [1, None], "dec": [1.0, 2.0]}), path)
    with pytest.raises(TableError, match=r"row 1 .* has RA nan"):
        read_positions(path)


def test_name_is_preferred_to_id_and_may_be_absent(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ID,ra,dec,NAME\n7,1,2,seven\n")
    assert read_positions(path)["name"].tolist() == ["seven"]
    path.write_text("ID,ra,dec\n007,1,2\n")
    assert read_positions(path)["name"].tolist() == ["007"]
    path.write_text("ra,dec\n1,2\n")
    assert "name" not in read_positions(path)


def test_spaces_and_byte_order_mark_in_a_csv_header(tmp_path):
    path = tmp_path / "spreadsheet.csv"
    path.write_text("\ufeffRA , Dec\n1, -2\n", encoding="utf-8")
    assert read_positions(path)[["ra_deg", "dec_deg"]].to_numpy().tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("a.fits", "not a readable FITS file"),
        ("a.xml", "not a readable VOTable"),
        ("a.parquet", "not a readable Parquet file"),
        ("a.doc", r"unknown file ending; .* \.csv, \.ecsv, \.txt"),
        ("parquet", "unknown file ending"),  # a name, not an ending
    ],
)
def test_content_of_another_format_is_refused(tmp_path, file, message):
    (tmp_path / file).write_text("ra,dec\n1,2\n")
    with pytest.raises(TableError, match=message):
        read_positions(tmp_path / file)


@pytest.mark.parametrize("file", ["a.fits", "a.fits.gz", "a.xml", "a.parquet"])
@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_a_truncated_file_is_refused(tmp_path, file):
    path = write(tmp_path / file)
    content = path.read_bytes()
    # The rows are in the last FITS block, of 2880 bytes.
    path.write_bytes(content[: -2880 if file == "a.fits" else len(content) // 2])
    with pytest.raises(TableError, match=r"not a readable|has no table extension"):
        read_positions(path)


def test_fits_image_and_votable_without_table_are_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    with pytest.raises(TableError, match="no table extension"):
        read_positions(tmp_path / "image.fits")
    (tmp_path / "none.xml").write_text(
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        "<RESOURCE></RESOURCE></VOTABLE>"
    )
    with pytest.raises(TableError, match="not a readable VOTable"):
        read_positions(tmp_path / "none.xml")


def test_first_fits_table_is_read_even_after_an_image(tmp_path):
    table = fits.BinTableHDU(Table({"ra": np.array([1.5], ">f4"), "dec": [2.0]}))
    other = fits.BinTableHDU(Table({"ra": [9.0], "dec": [9.0]}))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2))), table, other])
    hdus.writeto(tmp_path / "a.fits")
    assert read_positions(tmp_path / "a.fits")["ra_deg"].tolist() == [1.5]


def test_a_column_of_arrays_is_refused(tmp_path):
    Table({"ra": np.zeros((2, 3)), "dec": [1.0, 2.0]}).write(tmp_path / "a.fits")
    with pytest.raises(TableError, match=r"'ra' holds arrays of shape \(3,\)"):
        read_positions(tmp_path / "a.fits")


def test_missing_file(tmp_path):
    with pytest.raises(TableError, match=r"none\.csv: no such file"):
        read_positions(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        ([1.0], [1.0, 2.0], r"list: RA has shape \(1,\) and Dec \(2,\)"),
        ([[1.0]], [[1.0]], "give two lists of one length"),
        ([1.0, np.nan], [1.0, 2.0], r"list: row 1 .* \(1 such rows\)"),
        ([1.0, 2.0], [91.0, 92.0], r"row 0 .* \(2 such rows\)"),
    ],
)
def test_check_positions(ra, dec, message):
    with pytest.raises(TableError, match=message):
        check_positions(ra, dec, "list")


def test_check_positions_takes_any_finite_ra_and_no_rows():
    check_positions([360.0, -1e-12], [90.0, -90.0], "list")
    check_positions([], [], "list")


def test_write_parquet_keeps_metadata_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "t.parquet"
    field = pa.field("a", pa.int32(), metadata={"unit": "deg"})
    write_parquet(pa.table({"a": [1, 2]}, pa.schema([field], metadata={"k": "v"})), path)
    back = pq.read_table(path)
    assert back.column("a").to_pylist() == [1, 2]
    assert back.schema.field("a").metadata[b"unit"] == b"deg"
    assert back.schema.metadata[b"k"] == b"v"
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "t.parquet"
    write_parquet(pa.table({"a": [1]}), path)
    schema = pa.schema([pa.field("a", pa.int32(), nullable=False)])
    with pytest.raises(ValueError, match="non-nullable"):
        write_parquet(pa.table({"a": pa.array([None], pa.int32())}, schema), path)
    assert pq.read_table(path).column("a").to_pylist() == [1]
    write_parquet(pa.table({"a": [2]}), path)  # over what the failed write left
    assert pq.read_table(path).column("a").to_pylist() == [2]
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


# M87: B1950 of the old catalogues, and ICRS of SIMBAD.
M87_B1950, M87_ICRS = (187.07321, 12.66714), (187.705931, 12.391123)


def write_votable(path, systems, ra_ref="", group_ref="", position=M87_B1950):
    """A VOTable as VizieR writes them: systems of coordinates first, and columns that refer."""
    ref = f' ref="{ra_ref}"' if ra_ref else ""
    group = (
        f'<GROUP ref="{group_ref}"><FIELDref ref="ra"/><FIELDref ref="dec"/></GROUP>'
        if group_ref else ""
    )  # fmt: skip
    path.write_text(
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f"<RESOURCE>{systems}<TABLE>{group}"
        f'<FIELD ID="ra" name="ra" datatype="double" unit="deg"{ref}/>'
        f'<FIELD ID="dec" name="dec" datatype="double" unit="deg"{ref}/>'
        f"<DATA><TABLEDATA><TR><TD>{position[0]}</TD><TD>{position[1]}</TD></TR></TABLEDATA>"
        "</DATA></TABLE></RESOURCE></VOTABLE>"
    )
    return path


FK4 = '<COOSYS ID="old" system="eq_FK4" equinox="B1950"/>'
FK5 = '<COOSYS ID="new" system="eq_FK5" equinox="J2000"/>'
GALACTIC = '<COOSYS ID="gal" system="galactic"/>'


@pytest.mark.parametrize(
    ("systems", "refs", "expected"),
    [
        (FK4, {"ra_ref": "old"}, M87_ICRS),
        (FK4, {"group_ref": "old"}, M87_ICRS),  # of a group of columns
        (FK4, {}, M87_ICRS),  # the only one, to which nothing refers
        ('<COOSYS ID="x" system="FK4"/>', {"ra_ref": "x"}, M87_ICRS),  # VOTable 1.5; its equinox
        (FK4 + FK5, {"ra_ref": "old"}, M87_ICRS),
        (FK4 + FK5, {"ra_ref": "new"}, M87_B1950),  # FK5 of J2000 is ICRS within 0.03 arcsec
        ('<COOSYS ID="x" system="ICRS"/>' + FK4, {"ra_ref": "x"}, M87_B1950),
        (FK4 + FK5, {}, M87_B1950),  # two to which nothing refers say nothing
        ("", {}, M87_B1950),
    ],
)
def test_frames_of_votables(tmp_path, systems, refs, expected):
    table = read_positions(write_votable(tmp_path / "old.vot", systems, **refs))
    found = table[["ra_deg", "dec_deg"]].to_numpy()[0]
    np.testing.assert_allclose(found, expected, atol=0.3 / 3600)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"RADESYS": "FK4", "EQUINOX": 1950.0}, M87_ICRS),
        ({"RADESYS": "fk4 "}, M87_ICRS),
        ({"RADECSYS": "FK4"}, M87_ICRS),
        ({"EQUINOX": 1950.0}, M87_ICRS),  # FITS: before 1984 FK4
        ({"EQUINOX": "B1950"}, M87_ICRS),
        ({"RADESYS": "FK5", "EQUINOX": 2000.0}, M87_B1950),
        ({"EQUINOX": 2000.0}, M87_B1950),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, M87_B1950),
        ({}, M87_B1950),
    ],
)
def test_frames_of_fits_tables(tmp_path, cards, expected):
    hdu = fits.BinTableHDU(Table({"ra": [M87_B1950[0]], "dec": [M87_B1950[1]]}))
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "old.fits")
    found = read_positions(tmp_path / "old.fits")[["ra_deg", "dec_deg"]].to_numpy()[0]
    np.testing.assert_allclose(found, expected, atol=0.3 / 3600)


def test_j2000_in_name_and_header_agree(tmp_path):
    hdu = fits.BinTableHDU(Table({"RAJ2000": [10.0], "DEJ2000": [2.0]}))
    hdu.header["EQUINOX"] = 2000.0
    hdu.writeto(tmp_path / "new.fits")
    assert read_positions(tmp_path / "new.fits")["ra_deg"][0] == pytest.approx(10.0, abs=1e-5)


def test_another_equinox_of_fk5(tmp_path):
    """50.3 arcsec a year of precession: 25 years are a third of a degree."""
    hdu = fits.BinTableHDU(Table({"ra": [0.0], "dec": [0.0]}))
    hdu.header.update({"RADESYS": "FK5", "EQUINOX": 1975.0})
    hdu.writeto(tmp_path / "old.fits")
    table = read_positions(tmp_path / "old.fits")
    assert table["ra_deg"][0] == pytest.approx(0.3202, abs=1e-3)
    assert table["dec_deg"][0] == pytest.approx(0.1392, abs=1e-3)


@pytest.mark.parametrize(
    ("systems", "refs", "message"),
    [
        (GALACTIC, {"ra_ref": "gal"}, "declared in frame 'galactic'.*convert them to ICRS"),
        ('<COOSYS ID="x" system="ecl_FK5"/>', {"ra_ref": "x"}, "frame 'ecl_FK5'"),
        ('<COOSYS ID="x" system="GSC1"/>', {"ra_ref": "x"}, "frame 'GSC1'"),
        (GALACTIC, {}, "frame 'galactic'"),
    ],
)
def test_frames_that_are_not_understood_are_refused(tmp_path, systems, refs, message):
    with pytest.raises(TableError, match=message):
        read_positions(write_votable(tmp_path / "x.vot", systems, **refs))


@pytest.mark.parametrize(
    ("names", "cards", "message"),
    [
        (("ra", "dec"), {"RADESYS": "GAPPT"}, "frame 'GAPPT'"),
        (("ra", "dec"), {"EQUINOX": "soon"}, "equinox or epoch 'soon'"),
        # The name says one thing, the header another.
        (("RAJ2000", "DEJ2000"), {"EQUINOX": 1950.0}, "FK4 B1950, which their names contradict"),
        (("ra_icrs", "dec_icrs"), {"RADESYS": "FK4"}, "FK4 B1950, which their names contradict"),
    ],
)
def test_frames_of_fits_tables_that_are_refused(tmp_path, names, cards, message):
    hdu = fits.BinTableHDU(Table({names[0]: [10.0], names[1]: [2.0]}))
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "x.fits")
    with pytest.raises(TableError, match=message):
        read_positions(tmp_path / "x.fits")


def test_columns_of_two_frames_are_refused(tmp_path):
    path = write_votable(tmp_path / "x.vot", FK4 + FK5, ra_ref="old")
    path.write_text(path.read_text().replace('unit="deg" ref="old"/><DATA>',
                                             'unit="deg" ref="new"/><DATA>'))  # fmt: skip
    with pytest.raises(TableError, match="'ra' is in FK4 B1950, but 'dec' in FK5 J2000"):
        read_positions(path)
