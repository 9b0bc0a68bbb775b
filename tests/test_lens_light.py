import numpy as np
import pytest
from astropy.io import fits

from lensweep.ground.errors import InputError
from lensweep.training.published.lens_light import remove_by_components, remove_by_ellipses
from lensweep.training.simulation.lenses import Deflector, Lens, draw_arcs
from lensweep.training.simulation.light import Sersic, draw_galaxy_light
from lensweep.training.simulation.simulate import psf_bank

# Of lens and source in two bands: the lens is red.
COLOURS = ((0.35, 1.0), (1.0, 0.8))
X, Y = 49.5, 48.0


@pytest.fixture(scope="module")
def scene():
    """A lens' light, its arcs, and noise, each shape (100, 100)."""
    rng, psf = np.random.default_rng(1), psf_bank(1)[0]
    lens = Lens(
        Deflector(1.2, 0.75, 0.4, 0.0, 0.0), (Sersic(19.5, 0.7, 4.0, 0.7, 0.4),),
        (Sersic(23.5, 0.12, 1.0, 0.8, 1.0, 0.15, 0.1),), None,
    )  # fmt: skip
    host, arcs = np.zeros((2, 100, 100))
    draw_galaxy_light(host, X, Y, lens.host, psf)
    draw_arcs(arcs, X, Y, lens, psf, rng)
    return host, arcs, rng.normal(0.0, 0.008, (2, 100, 100))


def judged(left, host, arcs, arc_colour=1.0):
    """Shares of the lens' light and of the arcs' that are left, where each is."""
    y, x = np.mgrid[:100, :100]
    ring = arcs > 0.3 * arcs.max()
    # Farther out the noise is as much.
    inside = np.hypot(x - X, y - Y) < 15.0
    lens = np.abs(left - arc_colour * arcs)[inside].sum() / host[inside].sum()
    return lens, left[ring].sum() / (arc_colour * arcs[ring].sum())


def test_components_of_two_bands_part_lens_and_source(scene):
    host, arcs, noise = scene
    bands = np.stack([red * host + blue * arcs for red, blue in COLOURS]) + noise
    left = remove_by_components(bands, X, Y)
    for plane, (red, blue) in zip(left, COLOURS, strict=True):
        lens, kept = judged(plane, red * host, arcs, blue)
        assert lens < 0.35
        assert 0.6 < kept < 1.4
    np.testing.assert_array_equal(left, remove_by_components(bands, X, Y))


def test_ellipses_take_the_lens_and_leave_the_arcs(scene):
    host, arcs, noise = scene
    lens, kept = judged(remove_by_ellipses(host + arcs + noise[0], X, Y), host, arcs)
    assert lens < 0.2
    assert 0.7 < kept < 1.2


def test_what_has_no_data_stays_so(scene):
    host, arcs, noise = scene
    image = host + arcs + noise[0]
    image[:, :20] = np.nan
    left = remove_by_ellipses(image, X, Y)
    assert np.isnan(left[:, :20]).all()
    assert np.isfinite(left[:, 20:]).all()
    bands = np.stack([image, 2 * arcs + host + noise[1]])
    assert np.isnan(remove_by_components(bands, X, Y)).sum() == 2 * 20 * 100


def test_one_band_has_no_components():
    with pytest.raises(InputError, match="one band"):
        remove_by_components(np.zeros((1, 10, 10)), 5.0, 5.0)


def test_bands_without_a_common_pixel_are_refused():
    bands = np.full((2, 10, 10), np.nan)
    bands[0, :5], bands[1, 5:] = 1.0, 1.0
    with pytest.raises(InputError, match="no pixel has data in all"):
        remove_by_components(bands, 5.0, 5.0)


def test_a_band_without_light_is_named():
    bands = np.stack([np.random.default_rng(1).normal(size=(20, 20)), np.zeros((20, 20))])
    with pytest.raises(InputError, match="band 2: all pixels are alike"):
        remove_by_components(bands, 10.0, 10.0)


@pytest.mark.parametrize("x", [-20.0, 99.0, 250.0])
def test_a_centre_that_is_not_in_the_image_is_refused(scene, x):
    host, arcs, noise = scene
    with pytest.raises(InputError, match="outside the image of 100 x 100"):
        remove_by_ellipses(host + noise[0], x, 50.0)
    if x != 99.0:
        with pytest.raises(InputError, match="no band has data within"):
            remove_by_components(np.stack([host + noise[0], arcs + noise[1]]), x, 50.0)


def test_empty_sky_has_no_ellipse():
    with pytest.raises(InputError, match="no ellipse fits"):
        remove_by_ellipses(np.random.default_rng(2).normal(size=(60, 60)), 30.0, 30.0)


@pytest.mark.parametrize("core", [np.nan, 1.0])
def test_a_centre_without_light_is_refused(scene, core):
    host, arcs, noise = scene
    image = host + arcs + noise[0]
    image[40:61, 40:61] = core
    with pytest.raises(InputError, match="there is no light to fit within 6 pixels"):
        remove_by_ellipses(image, 50.0, 50.0)


def test_a_packed_image_is_read(scene, tmp_path, command):
    host, arcs, noise = scene
    packed = tmp_path / "lens.fits.gz"
    fits.PrimaryHDU(host + arcs + noise[0]).writeto(packed)
    status, printed = command("lens-light", packed, "--out", tmp_path / "left.fits")
    assert status == 0, printed


def test_the_command_writes_what_is_left(scene, tmp_path, command):
    host, arcs, noise = scene
    paths = [tmp_path / f"{name}.fits" for name in ("f606w", "f814w")]
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0,
                          "CRVAL2": 2.0, "CRPIX1": 50.0, "CRPIX2": 50.0, "CDELT1": -1.4e-5,
                          "CDELT2": 1.4e-5})  # fmt: skip
    for path, (red, blue), grain in zip(paths, COLOURS, noise, strict=True):
        fits.PrimaryHDU(red * host + blue * arcs + grain, header).writeto(path)
    out = tmp_path / "left.fits"
    centre = ("--x", X, "--y", Y)
    for bands in (paths, paths[:1]):
        status, printed = command("lens-light", *bands, "--out", out, *centre)
        assert status == 0, printed
        assert fits.getdata(out).shape == (len(bands), 100, 100)
        written = fits.getheader(out)
        assert (written["CRVAL1"], written["CTYPE2"]) == (150.0, "DEC--TAN")
        assert [written[f"PLANE{n}"] for n, _ in enumerate(bands, 1)] == [
            path.name for path in bands
        ]
    fits.PrimaryHDU(np.zeros((10, 12))).writeto(tmp_path / "small.fits")
    status, printed = command("lens-light", *paths, tmp_path / "small.fits", "--out", out)
    assert status == 2
    assert "several shapes ((100, 100), (100, 100), (10, 12))" in printed
    status, printed = command("lens-light", tmp_path / "none.fits", "--out", out)
    assert status == 2
    assert "none.fits: no such file" in printed
    # A file that ends early, and one whose sky coordinates cannot be.
    whole = paths[0].read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    fits.PrimaryHDU(np.ones((100, 100)), fits.Header({**header, "CTYPE2": "DEC--SIN"})).writeto(
        tmp_path / "odd.fits"
    )
    for name, said in (("cut", "truncated"), ("odd", "unusable sky coordinates")):
        status, printed = command("lens-light", tmp_path / f"{name}.fits", "--out", out)
        assert status == 2
        assert f"image {tmp_path / name}.fits" in printed
        assert said in printed
