import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from lensweep.scanner.results.falling_curve import FallingCurve


@pytest.mark.parametrize("n", [2, 3, 4, 60])
@pytest.mark.parametrize("power", [1.0, 3.0])  # even steps, and steps of very different sizes
def test_it_is_that_of_scipy(n, power):
    rng = np.random.default_rng(n)
    x, y = np.cumsum(rng.random(n) ** power), -np.cumsum(rng.random(n) ** power)
    places = np.concatenate([x, rng.uniform(x[0], x[-1], 500)])
    height, slope = FallingCurve(x, y)(places)
    expected = PchipInterpolator(x, y)
    np.testing.assert_allclose(height, expected(places), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(slope, expected(places, 1), rtol=1e-8, atol=1e-8)
