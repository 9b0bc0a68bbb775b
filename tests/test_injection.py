import dataclasses
import io
import json
import time

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from drizzled_files import write_hla
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run import cutout_store
from lensweep.scanner.sky.grid import scan_grid, sky_to_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.data.hosts import measure_host, measure_noise
from lensweep.training.data.injection import inject, open_injection
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.data.real_cutouts import cut_rows
from lensweep.training.data.requests import InjectionConfig
from lensweep.training.simulation.light import Sersic, draw_galaxy_light, flux_of
from lensweep.training.simulation.painting import LEARNING, MEASURING, Depth, paint
from lensweep.training.simulation.psf_file import read_psf
from lensweep.training.simulation.simulate import VERSION

SIZE_PX, NOISE, BLUR_PX, SEED = 1100, 0.008, 0.45, 6
ZERO_POINT = -2.5 * np.log10(7.0834177e-20) - 5 * np.log10(8044.8877) - 2.408
N_LENSES = 8


def write_psf(path, scale_arcsec=0.025, size=81, fwhm_arcsec=0.1, **cards):
    y, x = (np.mgrid[:size, :size] - size // 2) * scale_arcsec
    sigma = fwhm_arcsec / 2.3548
    header = fits.Header(cards)
    fits.PrimaryHDU(np.exp(-(x**2 + y**2) / (2 * sigma**2)), header).writeto(path)
    return path


@pytest.fixture(scope="module")
def psf_path(tmp_path_factory):
    return write_psf(tmp_path_factory.mktemp("psf") / "psf.fits", PIXELSCL=0.025)


@pytest.fixture(scope="module")
def galaxies():
    """Sixteen galaxies that can be deflectors: position, magnitude, axis ratio, angle."""
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(150.0, 1000.0, 240.0), np.arange(150.0, 1000.0, 240.0))
    return pd.DataFrame({
        "x": x.ravel() + rng.uniform(-5, 5, 16), "y": y.ravel() + rng.uniform(-5, 5, 16),
        "magnitude": rng.uniform(19.5, 22.0, 16), "axis_ratio": rng.uniform(0.5, 0.9, 16),
        "angle_rad": rng.uniform(-1.5, 1.5, 16),
    })  # fmt: skip


@pytest.fixture(scope="module")
def mosaic_path(tmp_path_factory, galaxies, psf_path):
    """A mosaic of those galaxies, some stars that cannot be deflectors, and correlated noise."""
    rng = np.random.default_rng(3)
    psf = read_psf(psf_path)
    light = np.zeros((SIZE_PX, SIZE_PX))
    for row in galaxies.itertuples():
        shape = Sersic(row.magnitude, 0.4, 1.5, row.axis_ratio, row.angle_rad)
        draw_galaxy_light(light, row.x, row.y, (shape,), psf)
    for x, y in rng.uniform(50, SIZE_PX - 50, (40, 2)):
        if np.hypot(galaxies["x"] - x, galaxies["y"] - y).min() < 60.0:
            continue
        star = flux_of(rng.uniform(19.0, 23.0)) * psf.stamp(0.0, 0.0)
        half = psf.half_size_px
        light[round(y) - half : round(y) + half + 1, round(x) - half : round(x) + half + 1] += star
    white = rng.normal(0.0, NOISE, light.shape)
    flux = (light + ndimage.gaussian_filter(white, BLUR_PX, truncate=3.0)).astype(np.float32)
    weight = np.full(flux.shape, 2028.0, np.float32)
    weight[:, :60] = 0.0
    return write_hla(tmp_path_factory.mktemp("mosaic") / "real_f814w_drz.fits", flux, weight)


def config_of(mosaic_path, psf_path, **changes):
    given = {"n": N_LENSES, "seed": SEED, "drawn_hosts": 0.25, "psf": str(psf_path)}
    return InjectionConfig((str(mosaic_path),), **(given | changes))


def inject_here(config, out, client, **stated):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    return inject(open_injection(config, HeaderOverrides(**stated), out), client, progress)


def without_arcs(truth, number):
    """The number of the cutout that differs from this one by its arcs only."""
    row = truth.iloc[number]
    below = "host" if row["host"] == "drawn" else "nothing"
    return truth.index[(truth["object_id"] == row["object_id"]) & (truth["painted"] == below)][0]


@pytest.fixture(scope="module")
def made(mosaic_path, psf_path, client, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    plan = inject_here(config_of(mosaic_path, psf_path), out, client)
    return out, plan, read_truth(out), cutout_store.read(out / "cutouts.zarr")


@pytest.fixture(scope="module")
def opened(mosaic_path, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    mosaic = inspect_mosaic(mosaic_path, HeaderOverrides(), "F814W", "x", scratch)
    return {mosaic.name: (mosaic, scan_grid(mosaic))}


def test_every_place_has_its_untouched_version(made):
    _, _, truth, _ = made
    painted = truth.groupby("object_id")["painted"].agg(list)
    hosts = truth.groupby("object_id")["host"].first()
    for object_id, kinds in painted.items():
        drawn = hosts[object_id] == "drawn"
        assert kinds == (["nothing", "host", "lens"] if drawn else ["nothing", "lens"])
    assert truth["is_lens"].sum() == N_LENSES
    assert (hosts == "drawn").sum() == N_LENSES // 4
    assert (truth["kind"] == "lensed_quasar").sum() == N_LENSES // 4
    assert set(truth.loc[truth["painted"] == "nothing", "kind"]) == {"real_sky", "real_galaxy"}


def test_untouched_cutouts_are_the_mosaics_pixels(made, opened):
    _, plan, truth, cutouts = made
    untouched = np.flatnonzero(truth["painted"] == "nothing")
    again = cut_rows(plan.iloc[untouched], opened)
    np.testing.assert_array_equal(cutouts.flux[untouched], again.flux)
    assert (truth["x_px"].between(20, 80) & truth["y_px"].between(20, 80)).all()


def test_places_share_no_pixel(made):
    _, _, truth, _ = made
    corners = truth.drop_duplicates("object_id")[["x0", "y0"]].to_numpy()
    apart = np.abs(corners[:, None] - corners[None]).max(axis=2) + 1000 * np.eye(len(corners))
    assert apart.min() >= 100


def test_what_is_painted_has_the_flux_of_its_magnitudes(made):
    _, _, truth, cutouts = made
    for number in np.flatnonzero(truth["kind"] == "lensed_galaxy"):
        row = truth.iloc[number]
        below = without_arcs(truth, number)
        arcs = float(np.nansum(cutouts.flux[number] - cutouts.flux[below]))
        unlensed = 10 ** (0.4 * (ZERO_POINT - row["source_magnitude"]))
        noise = 2 * np.sqrt(abs(arcs) / 2028 + 0.05)
        assert arcs == pytest.approx(unlensed * row["magnification"], abs=noise, rel=0.05)
        assert row["signal_to_noise"] >= 20.0


def test_hosts_are_measured(made, galaxies):
    _, _, truth, _ = made
    hosts = truth[(truth["host"] == "detected") & ~truth["is_lens"]]
    assert len(hosts) == N_LENSES - N_LENSES // 4
    for row in hosts.itertuples():
        x, y = row.x0 + row.x_px, row.y0 + row.y_px
        away = np.hypot(galaxies["x"] - x, galaxies["y"] - y)
        galaxy = galaxies.loc[away.idxmin()]
        assert away.min() < 1.0  # none of the stars was taken for a galaxy
        assert row.host_magnitude == pytest.approx(galaxy["magnitude"], abs=0.15)
        assert row.host_axis_ratio == pytest.approx(galaxy["axis_ratio"], abs=0.12)
        turned = (row.host_angle_rad - galaxy["angle_rad"] + np.pi / 2) % np.pi - np.pi / 2
        assert abs(turned) < 0.35
        assert row.noise == pytest.approx(NOISE, rel=0.2)


def test_mass_follows_the_hosts_light(made):
    _, _, truth, _ = made
    lenses = truth[(truth["host"] == "detected") & truth["is_lens"]]
    turned = (lenses["angle_rad"] - lenses["host_angle_rad"] + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(turned).max() < 0.7  # scatter 0.15 rad


def test_noise_is_that_before_drizzling():
    rng = np.random.default_rng(1)
    white = rng.normal(0.3, 0.01, (100, 100))
    flux = ndimage.gaussian_filter(white, BLUR_PX, truncate=3.0).astype(np.float32)
    noise = measure_noise(flux)
    assert flux.std() < 0.0078
    assert noise.sigma == pytest.approx(0.01, rel=0.12)
    assert noise.sky == pytest.approx(0.3, abs=0.001)
    flux[:90] = np.nan
    assert measure_noise(flux) is None
    assert measure_noise(np.zeros((100, 100), np.float32)) is None


def test_no_host_in_an_empty_cutout():
    flux = np.random.default_rng(1).normal(0.0, 0.01, (100, 100)).astype(np.float32)
    assert measure_host(flux, measure_noise(flux), 25.9) is None


def painted(row, depth, psf_path):
    flux = np.zeros((100, 100), np.float32)
    return flux, paint(flux, row, depth, (read_psf(psf_path),), SEED)


@pytest.fixture(scope="module")
def row(made):
    _, plan, _, _ = made
    return plan[(plan["painted"] == "lens") & (plan["host"] == "drawn")].to_dict("records")[0]


def test_what_is_measured_with_is_not_what_is_learned_from(row, psf_path):
    flux, bank = np.zeros((300, 300), np.float32), (read_psf(psf_path),)
    drawn = [paint(flux, row, Depth(ZERO_POINT, 2028.0), bank, SEED, stream=stream)
             for stream in (LEARNING, MEASURING)]  # fmt: skip
    assert drawn[0]["theta_e_arcsec"] != drawn[1]["theta_e_arcsec"]


def test_fluxes_go_with_the_zero_point(row, psf_path):
    # Without shot noise: so many electrons that it is lost.
    flux, drawn = painted(row, Depth(25.0, 1e13), psf_path)
    brighter, same = painted(row | {"noise": 10 * row["noise"]}, Depth(27.5, 1e13), psf_path)
    assert same["theta_e_arcsec"] == drawn["theta_e_arcsec"]
    np.testing.assert_allclose(brighter, 10 * flux, rtol=1e-3, atol=1e-5)


def test_shot_noise_goes_with_the_exposure_time(row, psf_path):
    smooth, drawn = painted(row, Depth(25.9, 1e13), psf_path)
    noisy, same = painted(row, Depth(25.9, 500.0), psf_path)
    assert same["theta_e_arcsec"] == drawn["theta_e_arcsec"]
    bright = smooth > 0.05
    scatter = ((noisy - smooth) / np.sqrt(np.maximum(smooth, 1e-9) / 500.0))[bright]
    # A blur of 0.45 pixels leaves 0.74 of the scatter of single pixels.
    assert bright.sum() > 200
    assert scatter.std() == pytest.approx(0.74, rel=0.12)


def test_no_window_holds_a_known_lens(mosaic_path, psf_path, opened, galaxies, client, tmp_path):
    _, grid = opened["real_f814w_drz"]
    sky = grid.wcs.pixel_to_world(*galaxies[["x", "y"]].to_numpy()[:15].T)
    known = tmp_path / "mine.csv"
    pd.DataFrame({"ra_deg": sky.ra.deg, "dec_deg": sky.dec.deg}).to_csv(known, index=False)
    config = config_of(mosaic_path, psf_path, n=2, drawn_hosts=0.0, known=(str(known),))
    plan = inject_here(config, tmp_path / "out", client)
    x, y = sky_to_grid(grid, sky.ra.deg, sky.dec.deg)
    assert plan["object_id"].nunique() == 1  # of sixteen galaxies one is left
    for row in plan.itertuples():
        held = (np.abs(x - row.x0 - 49.5) < 50) & (np.abs(y - row.y0 - 49.5) < 50)
        assert not held.any()
    more = dataclasses.replace(config, n=11)
    with pytest.raises(InputError, match=r"have 1 such places .* at most 10 lenses each"):
        inject_here(more, tmp_path / "more", client)


def test_a_stopped_set_continues_to_the_same_pixels(made, mosaic_path, psf_path, client):
    out, _, truth, cutouts = made
    (out / "truth" / "00000000.parquet").unlink()
    inject_here(config_of(mosaic_path, psf_path), out, client)
    np.testing.assert_array_equal(cutout_store.read(out / "cutouts.zarr").flux, cutouts.flux)
    pd.testing.assert_frame_equal(read_truth(out), truth)
    with pytest.raises(InputError, match=r"another data set \(seed was 6, now 7\)"):
        inject_here(config_of(mosaic_path, psf_path, seed=7), out, client)
    said = out / "dataset.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"simulation": VERSION - 1}))
    with pytest.raises(InputError, match=rf"simulation was {VERSION - 1}, now {VERSION}"):
        inject_here(config_of(mosaic_path, psf_path), out, client)


@pytest.mark.parametrize(
    ("cards", "changes", "message"),
    [
        ({"PHOTFLAM": None}, {}, "--zero-point"),
        ({"EXPTIME": None}, {}, "--exposure-time"),
        ({"FILTER2": "F606W"}, {}, "filter F606W, but the cutouts of a data set are F814W"),
        ({}, {"n": 500}, "ask for fewer"),
        ({}, {"psf": "none.fits"}, "none.fits"),
    ],
)
def test_unusable_mosaics(cards, changes, message, psf_path, client, tmp_path):
    noise = np.random.default_rng(1).normal(0.0, 0.01, (200, 220)).astype(np.float32)
    primary = {key: value for key, value in cards.items() if key != "PHOTFLAM"}
    science = {key: value for key, value in cards.items() if key == "PHOTFLAM"}
    path = write_hla(tmp_path / "bad_drz.fits", noise, None, None, primary, science)
    with pytest.raises(InputError, match=message):
        inject_here(config_of(path, psf_path, **changes), tmp_path / "out", client)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaics": ()}, "no mosaics"),
        ({"n": 0}, "0 lenses"),
        ({"drawn_hosts": 1.5}, "drawn_hosts"),
        ({"exclusion_radius_arcsec": 2.0}, "at least 3.6"),
        ({"exclusion_radius_arcsec": float("nan")}, "must be a finite number"),
        ({"zero_point_ab": 0.0}, "zero point"),
        ({"exposure_time_s": -1.0}, "exposure time"),
    ],
)
def test_unusable_requests(changes, message):
    with pytest.raises(InputError, match=message):
        InjectionConfig(**({"mosaics": ("a.fits",), "n": 3} | changes))


@pytest.mark.parametrize(
    ("scale_arcsec", "size"),
    [
        (0.025, 81),  # as it is drawn
        (0.05, 41),  # coarser
        (0.03, 61),  # COSMOS' pixels
        (0.01, 201),  # finer
    ],
)
def test_a_psf_keeps_its_width(scale_arcsec, size, tmp_path):
    path = write_psf(tmp_path / "psf.fits", scale_arcsec, size, PIXSCALE=scale_arcsec)
    kernel = read_psf(path).kernel
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.shape[0] % 4 == 1
    middle = kernel.shape[0] // 2
    x = (np.arange(kernel.shape[0]) - middle) * 0.025
    width = 2.3548 * np.sqrt((kernel.sum(axis=0) * x**2).sum())
    assert width == pytest.approx(0.1, rel=0.08)
    assert np.argmax(kernel) == kernel.size // 2


@pytest.mark.parametrize(
    ("values", "cards", "stated", "message"),
    [
        (np.ones((3, 31, 31)), {"PIXSCALE": 0.05}, None, "2 dimensions"),
        (np.ones((30, 31)), {"PIXSCALE": 0.05}, None, "odd number"),
        (np.full((31, 31), np.nan), {"PIXSCALE": 0.05}, None, "not finite"),
        (-np.ones((31, 31)), {"PIXSCALE": 0.05}, None, "must be positive"),
        (np.eye(31), {}, None, "--psf-scale"),
        (np.eye(31), {"PIXSCALE": 0.05}, 0.03, "header says 0.05"),
        (np.eye(31), {"PIXSCALE": 0.2}, None, "0.2 arcsec/pixel"),
        (np.eye(31), {"PIXSCALE": "wide"}, None, "not a number"),
        (np.eye(5), {"PIXSCALE": 0.05}, None, "from centre to edge"),
        (np.eye(31)[::1] * np.arange(31), {"PIXSCALE": 0.05}, None, "centre it"),
    ],
)
def test_unusable_psfs(values, cards, stated, message, tmp_path):
    fits.PrimaryHDU(values, fits.Header(cards)).writeto(tmp_path / "psf.fits")
    with pytest.raises(InputError, match=message):
        read_psf(tmp_path / "psf.fits", stated)


def test_real_psfs(real_data):
    folder = real_data / "psf"
    psf = read_psf(folder / "psf_cosmos_147246_acs_f814w.fits", 0.03)
    stamp = psf.stamp(0.0, 0.0)
    half = stamp > stamp.max() / 2
    assert 0.07 < 2 * np.sqrt(half.sum() / np.pi) * 0.05 < 0.16
    with pytest.raises(InputError, match="odd number"):
        read_psf(folder / "psf_tinytim_acs_f814w.fits")
    with pytest.raises(InputError, match="2 dimensions"):
        read_psf(folder / "epsf_wfc3uvis_f814w.fits", 0.0125)


def test_lenses_on_real_pixels(real_data, client, tmp_path):
    """A COSMOS drizzle of 0.03 arcsec, turned against north, whose BUNIT is wrong."""
    path = real_data / "galaxies" / "COSMOS_147246_acs_f814w_drz.fits"
    psf = real_data / "psf" / "psf_cosmos_147246_acs_f814w.fits"
    config = InjectionConfig((str(path),), 4, 3, 0.5, psf=str(psf), psf_scale_arcsec=0.03)
    out = tmp_path / "out"
    inject_here(config, out, client, units="electrons/s")
    truth, flux = read_truth(out), cutout_store.read(out / "cutouts.zarr").flux
    assert truth["is_lens"].sum() == 4
    assert set(truth["host"]) == {"detected", "drawn"}
    galaxy = truth[truth["host"] == "detected"].iloc[0]
    assert 16.5 < galaxy["host_magnitude"] < 23.5
    for number in np.flatnonzero(truth["is_lens"]):
        change = flux[number] - flux[without_arcs(truth, number)]
        assert np.isnan(change).mean() < 0.1
        # Sky that the light does not reach is as it was, to a hundredth of its noise.
        assert np.nanpercentile(np.abs(change), 10) < 0.05 * truth["noise"].iloc[number]
        assert np.nanmax(change) > 3 * truth["noise"].iloc[number]


def test_what_was_stated_for_the_headers_is_part_of_what_was_asked(
    made, mosaic_path, psf_path, client
):
    with pytest.raises(InputError, match="another data set \\(overrides was"):
        inject_here(config_of(mosaic_path, psf_path), made[0], client, units="electrons/s")
