import dataclasses
import math

import pytest

from lensweep.catalogs.coverage import area_deg2
from lensweep.catalogs.tables import TableError
from lensweep.scanner.archive.citations import citation_lines
from lensweep.scanner.archive.footprints import FootprintError, footprint_moc
from lensweep.scanner.archive.products import Product, read_products, write_products

PRODUCT = Product(
    name="hst_05206_01_wfpc2_f814w_wf_drz.fits", collection="HLA", level="visit", camera="WFPC2",
    band="F814W", exposure_s=1200.5, depth_s=1200.5, observed="1994-12-30", calibration="",
    size_bytes=12345678901, footprint="POLYGON ICRS 1 2 3 4 5 6", programme="05206", rank=1,
    address="https://hla.stsci.edu/cgi-bin/getdata.cgi?config=ops&dataset=x,y",
)  # fmt: skip
UNKNOWN = dataclasses.replace(
    PRODUCT, name="b.fits", exposure_s=math.nan, depth_s=math.nan, size_bytes=0, survey="candels",
    collection="HLSP", programme="",
)  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "ecsv", "parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path, ending):
    path = tmp_path / f"found.{ending}"
    write_products([PRODUCT, UNKNOWN], path, {"asked": "somewhere"})
    first, second = read_products(path)
    assert first == PRODUCT
    assert math.isnan(second.exposure_s) and math.isnan(second.depth_s)
    assert dataclasses.replace(second, exposure_s=1.0, depth_s=1.0) == dataclasses.replace(
        UNKNOWN, exposure_s=1.0, depth_s=1.0
    )
    write_products([], path, {})
    assert read_products(path) == []


def test_units_and_words_are_in_the_table(tmp_path):
    from astropy.table import Table

    write_products([PRODUCT], tmp_path / "found.ecsv", {"asked": "somewhere"})
    table = Table.read(tmp_path / "found.ecsv")
    assert (str(table["exposure_s"].unit), table.meta["asked"]) == ("s", "somewhere")
    assert all(column.description for column in table.columns.values())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("found.txt", "", "unknown ending"),
        ("gone.csv", None, "no such table"),
        ("other.csv", "ra_deg,dec_deg\n1,2\n", "lacks the column 'name'.*--centres"),
        ("broken.ecsv", "# %ECSV 1.0\n# ---\nname\n", "not a readable table"),
        ("broken.parquet", "PAR1", "not a readable table"),
    ],
)
def test_another_table_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=message):
        read_products(tmp_path / name)


def test_a_number_that_is_none(tmp_path):
    path = tmp_path / "found.csv"
    write_products([PRODUCT], path, {})
    path.write_text(path.read_text().replace("12345678901", "many"))
    with pytest.raises(TableError, match=r"column size_bytes, row 0 .*'many'"):
        read_products(path)


@pytest.mark.parametrize(
    ("stcs", "square_degrees"),
    [
        # As MAST writes it, and HLA, without a frame, closed, and round the other way.
        ("POLYGON ICRS 150.08 2.17 150.14 2.17 150.14 2.23 150.08 2.23", 0.0036),
        ("Polygon J2000 150.08 2.17 150.14 2.17 150.14 2.23 150.08 2.23", 0.0036),
        ("POLYGON 150.08 2.17 150.14 2.17 150.14 2.23 150.08 2.23 150.08 2.17", 0.0036),
        ("POLYGON ICRS 150.08 2.23 150.14 2.23 150.14 2.17 150.08 2.17", 0.0036),
        # Across the meridian, both ways of writing it.
        ("POLYGON ICRS 359.97 0 0.03 0 0.03 0.06 359.97 0.06", 0.0036),
        ("POLYGON ICRS -0.03 0 0.03 0 0.03 0.06 -0.03 0.06", 0.0036),
        # Two chips, apart and overlapping by half.
        ("POLYGON ICRS 10 0 10.06 0 10.06 .06 10 .06 POLYGON ICRS 11 0 11.06 0 11.06 .06 11 .06",
         0.0072),
        ("POLYGON 10 0 10.06 0 10.06 .06 10 .06 POLYGON 10.03 0 10.09 0 10.09 .06 10.03 .06",
         0.0054),
        ("CIRCLE ICRS 210.9 54.57 0.1", 0.0314),
    ],
)  # fmt: skip
def test_footprints(stcs, square_degrees):
    # Cells that are touched belong to it: a percent for an ACS field.
    assert area_deg2(footprint_moc(stcs)) == pytest.approx(square_degrees, rel=0.02)


@pytest.mark.parametrize(
    ("stcs", "message"),
    [
        ("", "no polygon and no circle"),
        ("None", "no polygon and no circle"),
        ("POLYGON ICRS", "not three corners"),
        ("POLYGON ICRS 1 2 3 4", "not three corners"),
        ("POLYGON ICRS 1 2 3 4 5", "not three corners"),
        ("POLYGON GALACTIC 1 2 3 4 5 6", "GALACTIC"),
        ("POLYGON 0 0 nan 1 1 1", "a corner is no number"),
        ("POLYGON 0 0 0 0 0 0", "not three corners"),
        ("POLYGON 0 95 1 95 1 96", "beyond a pole"),
        ("CIRCLE ICRS 1 2", "ra, dec and radius"),
        ("CIRCLE ICRS 1 2 -3", "ra, dec and radius"),
        ("CIRCLE ICRS 1 2 60", "120 deg wide"),
        ("POLYGON ICRS 0 0 90 0 90 60", "90 deg wide"),
    ],
)
def test_footprints_that_say_nothing(stcs, message):
    with pytest.raises(FootprintError, match=message):
        footprint_moc(stcs)


def test_what_a_paper_says():
    lines = citation_lines([PRODUCT, UNKNOWN, dataclasses.replace(UNKNOWN, survey="goods")])
    text = "\n".join(lines)
    assert "obtained from the Hubble Legacy Archive" in text
    assert "Mikulski Archive for Space Telescopes" in text
    assert "Hubble programmes: 05206" in lines
    assert "candels: data doi:10.17909/T94S3X" in lines
    assert "candels: Koekemoer et al. 2011, ApJS 197, 36" in lines
    assert "goods: data DOI: see https://archive.stsci.edu/hlsp/goods" in lines
    assert citation_lines([]) == []
