import numpy as np
import pandas as pd
import pytest

from lensweep.training.evaluation.population import (
    COLLETT,
    EDGES,
    QUANTILES,
    collett_weights,
    flat_weights,
    is_clear,
)
from lensweep.training.simulation.lenses import draw_lens, truth


@pytest.fixture(scope="module")
def lenses():
    """As training draws them, one in ten a quasar."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(3000):
        lens = draw_lens(rng, lensed_quasar=number % 10 == 0)
        rows.append(truth(lens) | {"kind": lens.kind})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", list(EDGES))
def test_weighted_lenses_are_as_colletts_within_what_is_drawn(lenses, name):
    weights = collett_weights(lenses)
    edges = EDGES[name]
    shares, _ = np.histogram(np.clip(lenses[name], edges[0], edges[-1]), edges, weights=weights)
    expected = np.diff(np.interp(edges, COLLETT[name], QUANTILES))
    np.testing.assert_allclose(shares / shares.sum(), expected / expected.sum(), rtol=1e-3)


@pytest.mark.parametrize(("name", "within"), [("theta_e_arcsec", 0.1), ("source_magnitude", 0.5)])
def test_lenses_are_drawn_nearly_as_collett_has_them(name, within, lenses):
    galaxies, drawn = lenses["kind"] == "lensed_galaxy", lenses[name].to_numpy()
    weighted = np.average(drawn, weights=collett_weights(lenses))
    assert weighted == pytest.approx(drawn[galaxies].mean(), abs=within)


def test_quasars_weigh_nothing_and_galaxies_one_in_the_mean(lenses):
    for weights in (collett_weights(lenses), flat_weights(lenses)):
        quasars = lenses["kind"] == "lensed_quasar"
        assert not weights[quasars].any()
        assert weights[~quasars].mean() == pytest.approx(1.0)


def test_flat_is_flat(lenses):
    name = "theta_e_arcsec"
    density = np.histogram(lenses[name], EDGES[name], weights=flat_weights(lenses))[0]
    density = density / np.diff(EDGES[name])
    np.testing.assert_allclose(density, density.mean(), rtol=1e-3)


def test_none_weigh_nothing(lenses):
    assert len(collett_weights(lenses.iloc[:0])) == 0


def test_arcs_are_clear_on_twenty_pixels_and_where_nothing_was_visible_on_none():
    lenses = pd.DataFrame({"n_clear_pixels": [19, 20, 300, np.nan]})
    assert is_clear(lenses).tolist() == [False, True, True, False]
