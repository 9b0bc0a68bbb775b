import numpy as np
import pytest
from astropy.io import fits

from lensweep.catalogs.coverage import (
    ORDER,
    CoverageError,
    area_deg2,
    cells_within,
    coverage_of,
    inside,
    joined,
    read_coverage,
    write_coverage,
)
from lensweep.catalogs.tables import TableError

ARCSEC = 1.0 / 3600.0


def square(ra, dec, side_arcsec):
    """Cells with their centres in a square about a position, and their map."""
    half, stretch = side_arcsec * ARCSEC / 2, 1 / np.cos(np.radians(dec))
    east = np.array([half, -half, -half, half]) * stretch
    north = np.array([-half, -half, half, half])
    cells, centre_ra, centre_dec = cells_within((ra + east) % 360, dec + north)
    off = (centre_ra - ra + 180) % 360 - 180
    within = (np.abs(off) < half * stretch) & (np.abs(centre_dec - dec) < half)
    return coverage_of(cells[within])


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (150.1, 2.2),  # COSMOS
        (0.0, 0.0),  # across RA 0
        (359.9999, -41.8),  # in the south, and where the polar caps of HEALPix begin
        (45.0, 75.0),  # within the northern cap
    ],
)
def test_area_is_that_of_the_square(ra, dec):
    coverage = square(ra, dec, 60.0)
    assert area_deg2(coverage) == pytest.approx((60.0 * ARCSEC) ** 2, rel=0.02)
    assert inside(coverage, [ra, ra + 0.1, ra - 360.0], [dec, dec, dec]).tolist() == [
        True, False, True,
    ]  # fmt: skip


def test_a_pole_is_inside_of_what_surrounds_it():
    cells, _, _ = cells_within([0.0, 90.0, 180.0, 270.0], [90.0 - 20 * ARCSEC] * 4)
    assert inside(coverage_of(cells), [17.0, 17.0], [90.0, -90.0]).tolist() == [True, False]


def test_the_same_sky_counts_once():
    one, shifted = square(150.1, 2.2, 60.0), square(150.1, 2.2 + 30 * ARCSEC, 60.0)
    assert area_deg2(joined([one, one])) == area_deg2(one)
    assert area_deg2(joined([one, shifted])) == pytest.approx(1.5 * area_deg2(one), rel=0.02)


def test_written_and_read_back(tmp_path):
    path = tmp_path / "coverage.fits"
    write_coverage(coverage_of(np.empty(0, np.int64)), path, {"NSCORED": 1})
    write_coverage(square(150.1, 2.2, 10.0), path, {"NSCORED": 7})
    coverage, header = read_coverage(path)
    assert coverage == square(150.1, 2.2, 10.0)
    assert (header["NSCORED"], header["MOCORD_S"], header["MOCVERS"]) == (7, ORDER, "2.0")
    assert [entry.name for entry in tmp_path.iterdir()] == ["coverage.fits"]


def test_an_empty_map_holds_nothing(tmp_path):
    empty = coverage_of(np.empty(0, np.int64))
    write_coverage(empty, tmp_path / "empty.fits", {})
    coverage, _ = read_coverage(tmp_path / "empty.fits")
    assert area_deg2(coverage) == 0.0
    assert inside(coverage, [1.0], [1.0]).tolist() == [False]
    assert inside(square(1.0, 1.0, 9.0), [], []).tolist() == []


def test_positions_off_the_sphere_are_refused():
    with pytest.raises(TableError, match=r"row 1 .*Dec 91"):
        inside(square(1.0, 1.0, 9.0), [1.0, 1.0], [1.0, 91.0])


@pytest.mark.parametrize("content", [None, b"", b"no map", "image"])
def test_what_is_no_map_is_refused(tmp_path, content):
    path = tmp_path / "map.fits"
    if content == "image":
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CoverageError, match=r"map\.fits"):
        read_coverage(path)
