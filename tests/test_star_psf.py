import numpy as np
import pytest
from drizzled_files import write_hla
from scipy import ndimage

from lensweep.scanner.sky.grid import scan_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.data.star_psf import LEAST_STARS, measure_psf
from lensweep.training.simulation.lenses import draw_galaxy
from lensweep.training.simulation.light import draw_galaxy_light, draw_point
from lensweep.training.simulation.psf import OVERSAMPLING, draw_psf

SIZE, NOISE = 1000, 0.008


def mosaic_with(tmp_path, n_stars):
    """Stars on a loose grid, off the pixels' centres, and small galaxies between them."""
    rng = np.random.default_rng(5)
    psf = draw_psf(rng)
    image = rng.normal(0.0, NOISE, (SIZE, SIZE))
    places = [(x, y) for x in range(100, SIZE - 60, 150) for y in range(100, SIZE - 60, 150)]
    for x, y in places[:n_stars]:
        dx, dy = rng.uniform(-20.0, 20.0, 2)
        draw_point(image, x + dx, y + dy, rng.uniform(15.0, 150.0), psf)
    for x, y in places[n_stars:]:
        draw_galaxy_light(image, x, y, draw_galaxy(rng, 22.0, 0.0, 0.0), psf)
    weight = np.full((SIZE, SIZE), 2028.0, np.float32)
    path = write_hla(tmp_path / "stars_drz.fits", image.astype(np.float32), weight)
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "any", tmp_path)
    return psf, measure_psf(mosaic, scan_grid(mosaic))


def width(kernel):
    """Full width at half maximum, in samples, along both axes."""
    middle = kernel.shape[0] // 2
    widths = []
    for row in (kernel[middle], kernel[:, middle]):
        fine = np.interp(np.linspace(0, len(row) - 1, 40 * len(row)), np.arange(len(row)), row)
        widths.append((fine > 0.5 * row.max()).sum() / 40.0)
    return np.mean(widths)


def test_the_psf_is_that_of_the_stars_through_pixels(tmp_path):
    psf, found = mosaic_with(tmp_path, 24)
    assert found is not None
    measured, n = found
    assert 12 <= n <= 24
    through_pixels = ndimage.uniform_filter(psf.kernel, OVERSAMPLING)
    assert width(measured.kernel) == pytest.approx(width(through_pixels), rel=0.12)
    assert measured.kernel.sum() == pytest.approx(1.0)
    assert measured.kernel.shape[0] % 2 == 1


def test_few_stars_are_no_psf(tmp_path):
    assert mosaic_with(tmp_path, LEAST_STARS - 2)[1] is None
