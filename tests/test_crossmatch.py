import numpy as np
import pytest

from lensweep.catalogs.crossmatch import MatchError, all_pairs, nearest
from lensweep.catalogs.tables import TableError

ARCSEC = 1.0 / 3600.0


def separation_arcsec(ra_1, dec_1, ra_2, dec_2):
    """Haversine distance, independent of astropy's."""
    ra_1, dec_1, ra_2, dec_2 = np.radians([ra_1, dec_1, ra_2, dec_2])
    half = (
        np.sin((dec_2 - dec_1) / 2) ** 2
        + np.cos(dec_1) * np.cos(dec_2) * np.sin((ra_2 - ra_1) / 2) ** 2
    )
    return np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600.0


@pytest.mark.parametrize(
    ("ra", "dec", "catalog_ra", "catalog_dec", "expected_arcsec"),
    [
        (150.0, 2.0, 150.0, 2.0 + ARCSEC, 1.0),
        (150.0, 60.0, 150.0 + 2 * ARCSEC, 60.0, 1.0),  # RA shrinks by cos(Dec)
        (360.0 - 0.5 * ARCSEC, 0.0, 0.5 * ARCSEC, 0.0, 1.0),  # across RA 0
        (0.0, 90.0 - ARCSEC, 180.0, 90.0 - ARCSEC, 2.0),  # across the north pole
        (10.0, -90.0, 200.0, -90.0, 0.0),  # the south pole has any RA
    ],
)
def test_distances_are_on_the_sphere(ra, dec, catalog_ra, catalog_dec, expected_arcsec):
    index, catalog_index, found_arcsec = nearest([ra], [dec], [catalog_ra], [catalog_dec], 2.5)
    assert index.tolist() == catalog_index.tolist() == [0]
    assert found_arcsec[0] == pytest.approx(expected_arcsec, abs=1e-6)
    if expected_arcsec > 0:
        outside = nearest([ra], [dec], [catalog_ra], [catalog_dec], 0.99 * expected_arcsec)
        assert len(outside[0]) == 0


def test_nearest_takes_one_catalogue_row_per_input():
    catalog_dec = [2.0 + 2 * ARCSEC, 2.0 - 1 * ARCSEC, 2.5]
    index, catalog_index, found_arcsec = nearest(
        [150.0, 150.0, 150.0, 10.0], [2.0, 2.5, 2.0 + 1.9 * ARCSEC, 2.0],
        [150.0] * 3, catalog_dec, 3.0,
    )  # fmt: skip
    assert index.tolist() == [0, 1, 2]  # the fourth input has no match
    assert catalog_index.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found_arcsec, [1.0, 0.0, 0.1], atol=1e-6)


def test_one_catalogue_row_may_serve_two_inputs():
    index, catalog_index, _ = nearest([150.0, 150.0], [2.0, 2.0002], [150.0], [2.0001], 1.0)
    assert index.tolist() == [0, 1]
    assert catalog_index.tolist() == [0, 0]


def test_the_lower_catalogue_row_wins_a_tie():
    assert nearest([150.0], [2.0], [150.0, 150.0], [2.0, 2.0], 1.0)[1].tolist() == [0]


def test_all_pairs_equals_the_full_distance_matrix():
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(-0.01, 0.01, 120) % 360.0, rng.uniform(1.0, 1.02, 120)
    catalog_ra, catalog_dec = rng.uniform(-0.01, 0.01, 90) % 360.0, rng.uniform(1.0, 1.02, 90)
    index, catalog_index, found_arcsec = all_pairs(ra, dec, catalog_ra, catalog_dec, 10.0)
    matrix = separation_arcsec(
        *np.broadcast_arrays(ra[:, None], dec[:, None], catalog_ra, catalog_dec)
    )
    assert len(index) > 100
    expected = {(int(i), int(j)) for i, j in np.argwhere(matrix <= 10.0)}
    assert set(zip(index.tolist(), catalog_index.tolist(), strict=True)) == expected
    assert len(index) == len(expected)
    np.testing.assert_allclose(found_arcsec, matrix[index, catalog_index], atol=1e-6)
    assert (np.diff(index) >= 0).all()
    same = np.diff(index) == 0
    assert (np.diff(found_arcsec)[same] >= 0).all()


@pytest.mark.parametrize("match", [all_pairs, nearest])
@pytest.mark.parametrize(
    ("n_input", "n_catalog"),
    [(0, 2), (2, 0), (0, 0)],
)
def test_empty_lists_give_empty_arrays(match, n_input, n_catalog):
    index, catalog_index, found_arcsec = match(
        np.zeros(n_input), np.zeros(n_input), np.zeros(n_catalog), np.zeros(n_catalog), 1.0
    )
    assert (index.dtype, catalog_index.dtype) == (np.int64, np.int64)
    assert found_arcsec.dtype == np.float64
    assert index.shape == catalog_index.shape == found_arcsec.shape == (0,)


@pytest.mark.parametrize("match", [all_pairs, nearest])
@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf, 3600.1])
def test_unusable_radius_is_named(match, radius):
    with pytest.raises(MatchError, match=f"radius {radius} arcsec"):
        match([1.0], [1.0], [1.0], [1.0], radius)


def test_a_degree_is_the_largest_radius():
    assert len(nearest([10.0], [0.0], [10.0], [0.999], 3600.0)[0]) == 1


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (([np.nan], [1.0], [1.0], [1.0]), "positions to match: row 0"),
        (([1.0], [90.1], [1.0], [1.0]), "positions to match: row 0 .* Dec 90.1"),
        (([1.0], [1.0], [1.0, 1.0], [1.0, np.nan]), "catalogue: row 1"),
        (([1.0], [1.0], [1.0, 2.0], [1.0]), "catalogue: RA has shape"),
    ],
)
def test_unusable_positions_are_refused(positions, message):
    with pytest.raises(TableError, match=message):
        nearest(*positions, 1.0)
