"""What stands above the candidates of the page: maps, curves, and what was measured."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from mocpy import MOC
from PIL import Image

from lensweep.catalogs.coverage import coverage_of
from lensweep.scanner.inspection.overview import completeness_of, histogram, plain, purity_curve
from lensweep.scanner.inspection.sky_map import draw_maps


def square(ra_deg, dec_deg, side_deg):
    half = 0.5 * side_deg
    across = half / np.cos(np.radians(dec_deg))
    ra = (ra_deg + across * np.array([-1, 1, 1, -1])) % 360.0
    dec = dec_deg + half * np.array([-1, -1, 1, 1])
    polygon = MOC.from_polygon(ra * u.deg, dec * u.deg, max_depth=18)
    return coverage_of(polygon.flatten().astype(np.int64))


def seen(sky_map):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sky_map.coverage))))


@pytest.mark.parametrize(
    ("ra_deg", "dec_deg"),
    [(150.0, 2.0), (0.0, 0.0), (44.5, -56.3), (120.0, 85.0)],  # across 0 h; near a pole
)
def test_a_map_holds_what_was_looked_at(ra_deg, dec_deg):
    field = square(ra_deg, dec_deg, 0.05)
    maps, which, place = draw_maps(field, np.array([ra_deg]), np.array([dec_deg]))
    assert len(maps) == 1
    # Three arcmin, cells that reach beyond, and a margin.
    assert 3.2 < maps[0].width_arcmin < 3.7
    assert which.tolist() == [0]
    np.testing.assert_allclose(place, [[0.5, 0.5]], atol=0.02)
    side = maps[0].width_arcmin, maps[0].height_arcmin
    assert seen(maps[0]).mean() == pytest.approx(9.0 / (side[0] * side[1]), rel=0.02)


def test_north_is_up_and_east_is_left():
    field = square(150.0, 2.0, 0.05)
    _, _, place = draw_maps(field, np.array([150.01, 150.0]), np.array([2.0, 2.01]))
    assert place[0][0] < 0.4
    assert place[1][1] < 0.4


def test_pieces_of_sky_are_maps_of_their_own():
    both = square(150.0, 2.0, 0.1).union(square(40.0, -30.0, 0.05))
    # A chip's gap parts nothing.
    both = both.union(square(150.2, 2.0, 0.1))
    ra_deg, dec_deg = np.array([150.0, 40.0, 150.2]), np.array([2.0, -30.0, 2.0])
    maps, which, place = draw_maps(both, ra_deg, dec_deg)
    assert [round(one.ra_deg) for one in maps] == [150, 40]
    assert which.tolist() == [0, 1, 0]
    assert ((place > 0.0) & (place < 1.0)).all()
    assert seen(maps[1]).any()


def test_purity_is_drawn_where_it_is_known():
    table = pd.DataFrame({"rank": np.arange(1, 2001), "logit_mean": np.linspace(5, -5, 2000)})
    assert purity_curve(table) is None
    table["expected_purity"] = 1.0 / table["rank"]
    assert set(purity_curve(table)) == {"rank", "value"}
    table["expected_purity_low"] = table["expected_purity_high"] = 0.5
    curve = purity_curve(table.sample(frac=1.0, random_state=1))
    assert (curve["rank"][0], curve["rank"][-1], curve["value"][0]) == (1, 2000, 1.0)
    assert len(curve["rank"]) == len(curve["high"]) <= 400
    assert purity_curve(table.iloc[:0]) is None


def test_histogram():
    found = histogram(np.array([-1.0, 0.0, 0.1, 3.0]))
    assert sum(found["counts"]) == 4
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert histogram(np.array([])) == {"edges": [], "counts": []}


def test_completeness_is_shown_where_it_was_measured(tmp_path):
    assert completeness_of(tmp_path) is None
    (tmp_path / "completeness").mkdir()
    pd.DataFrame({
        "by": ["kind"], "value": ["lensed_galaxy"], "n": [10], "catalogue": [0.5],
        "catalogue_low": [0.2], "catalogue_high": [0.8], "first_10": [np.nan],
        "first_10_low": [np.nan], "first_10_high": [np.nan],
    }).to_parquet(tmp_path / "completeness" / "completeness.parquet")  # fmt: skip
    found = completeness_of(tmp_path)
    assert found["depths"] == ["catalogue", "first_10"]
    assert found["shares"][0]["catalogue_high"] == 0.8
    assert found["shares"][0]["first_10"] is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), 0.1), (np.nan, None), (np.inf, None), (pd.NA, None), (None, None),
        (np.int16(3), 3), ("a", "a"),
    ],
)  # fmt: skip
def test_cells_become_json(value, expected):
    assert plain(value) == expected
