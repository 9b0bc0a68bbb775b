"""From mosaics of two bands to candidates that an ensemble of two bands has ranked."""

import io
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from conftest import scan_here
from drizzled_files import sky_cards, write_hla
from reproject import reproject_adaptive

from lensweep.catalogs.schemas import provenance_of
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.network.two_bands import TwoBandEnsemble
from lensweep.scanner.results.two_bands import LOOKED_AT
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.training.data.examples import open_examples
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.outlook.two_bands import TwoBandNetwork, with_second_band
from lensweep.training.published.stamps import read_stamps
from lensweep.training.simulation.bands import F606W
from lensweep.training.simulation.field import make_field
from lensweep.training.simulation.psf import draw_psf

N, SEED, SIZE = 48, 19, 640


@pytest.fixture(scope="module")
def sets(client, tmp_path_factory):
    """The same scenes in both bands."""
    folder = tmp_path_factory.mktemp("sets")
    progress = PlainProgress(io.StringIO(), time.monotonic)
    # One in F814W, in place of a bank of its own that takes seconds.
    psf = draw_psf(np.random.default_rng(1))
    make_dataset(folder / "f814w", N, SEED, client, progress, psf=psf)
    make_dataset(folder / "f606w", N, SEED, client, progress, psf=psf, band=F606W)
    return folder


@pytest.fixture(scope="module")
def bundle(sets, tmp_path_factory):
    """What the outlook makes of them: folder of the ensemble."""
    from lensweep.training.outlook.experiments import run_outlook
    from lensweep.training.outlook.settings import OutlookSettings

    out = tmp_path_factory.mktemp("outlook")
    settings = OutlookSettings(("two-bands",), 2, SEED)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    results = run_outlook(settings, sets / "f814w", out, progress, sets / "f606w")
    assert results["tested"].tolist() == [N // 4]
    assert (out / "two-bands.png").stat().st_size > 10_000
    return out / "two-bands"


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory):
    """One sky in F814W; in F606W on the same pixels; and that on turned, smaller ones."""
    folder = tmp_path_factory.mktemp("mosaics")
    lenses = make_field(folder / "a_f814w_drz.fits", SEED, SIZE, 1)
    same = folder / "a_f606w_drz.fits"
    make_field(same, SEED, SIZE, 1, F606W)
    with fits.open(same) as hdus:
        plane, sky = hdus["SCI"].data.astype(float), hdus["SCI"].header
        plane[hdus["WHT"].data == 0] = np.nan
    side = round(1.3 * SIZE)
    turned = sky_cards(
        (side, side), 0.04, 25.0, crval=(sky["CRVAL1"] + 0.0005, sky["CRVAL2"] + 0.0003)
    )
    flux = reproject_adaptive(
        (plane, WCS(sky)), WCS(turned), (side, side), kernel="Hann", conserve_flux=True,
        return_footprint=False, boundary_mode="ignore", bad_value_mode="ignore",
    )  # fmt: skip
    weight = np.isfinite(flux).astype(np.float32)
    path = write_hla(
        folder / "turned_f606w_drz.fits", np.nan_to_num(flux).astype(np.float32), weight, turned,
        {"FILTER2": "F606W"},
    )  # fmt: skip
    return {"lenses": lenses, "f814w": folder / "a_f814w_drz.fits", "same": same, "turned": path}


@pytest.fixture(scope="module")
def run(client, tiny_bundle, mosaics, tmp_path_factory):
    """The folder of a finished scan in F814W."""
    root = tmp_path_factory.mktemp("scan") / "run"
    return scan_here(
        client, tiny_bundle, [mosaics["f814w"]], root, merge_radius_arcsec=2.0
    ).paths.root


def look(command, run, bundle, *second, top=500):
    options = [part for path in second for part in ("--second-band", path)]
    status, printed = command("two-bands", run, "--ensemble", bundle, "--top", top, *options)
    assert status == 0, printed
    return pd.read_parquet(run / "candidates-two-bands.parquet"), printed


def test_both_sets_show_the_same_scenes(sets):
    first = read_stamps(sets / "f814w")
    both = with_second_band(first, sets / "f606w")
    assert both.flux.shape == (N, 100, 100, 2)
    np.testing.assert_array_equal(both.flux[..., 0], first.flux)
    # The brightest light lies at the same place, in another amount.
    seen = np.nan_to_num(both.flux)
    likeness = [np.corrcoef(one[..., 0].ravel(), one[..., 1].ravel())[0, 1] for one in seen]
    assert np.median(likeness) > 0.7
    assert not np.array_equal(seen[..., 0], seen[..., 1])


def test_a_set_of_another_band_or_other_scenes_is_refused(sets, client, tmp_path, command):
    # What one band is trained on never takes another.
    with pytest.raises(InputError, match="its cutouts are F606W, but F814W is needed"):
        open_examples(sets / "f606w")
    with pytest.raises(InputError, match="its cutouts are F814W, but F606W is needed"):
        with_second_band(read_stamps(sets / "f814w"), sets / "f814w")
    progress = PlainProgress(io.StringIO(), time.monotonic)
    psf = draw_psf(np.random.default_rng(1))
    make_dataset(tmp_path / "fewer", N // 2, SEED, client, progress, psf=psf, band=F606W)
    with pytest.raises(InputError, match="24 scenes that are not the 48"):
        with_second_band(read_stamps(sets / "f814w"), tmp_path / "fewer")
    status, printed = command(
        "outlook", sets / "f814w", "--out", tmp_path / "out", "--idea", "two-bands"
    )
    assert (status, "give --second-band" in printed) == (2, True)


def test_both_bands_are_turned_together():
    flux = np.arange(2 * 6 * 6, dtype=np.float32).reshape(2, 6, 6)
    both = np.stack([flux, 100.0 + flux], axis=-1)
    turned = TwoBandNetwork().augmented(both, np.random.default_rng(2))
    assert not np.array_equal(turned, both)
    np.testing.assert_array_equal(turned[..., 1], 100.0 + turned[..., 0])


def test_the_bundle_scores_as_the_finder_did(sets, bundle):
    opened = check_bundle(str(bundle), two_bands=True)
    assert (opened.description.band, opened.description.second_band) == ("F814W", "F606W")
    stamps = with_second_band(read_stamps(sets / "f814w"), sets / "f606w")
    loaded = TwoBandEnsemble(opened)
    logits = loaded.logits(stamps.flux)
    assert logits.shape == (N, 1)
    # One by one as together, and whatever the unit of either band is.
    np.testing.assert_allclose(loaded.logits(7.0 * stamps.flux[3:4]), logits[3:4], atol=1e-3)
    others = np.sort(logits[~stamps.labels, 0])
    assert others[0] <= opened.description.thresholds["fpr_0.01"] <= others[-1] + 1e-2


def test_each_kind_of_bundle_is_refused_where_the_other_is_needed(bundle, tiny_bundle):
    with pytest.raises(EnsembleError, match=r"needs F606W beside F814W; .* lensweep two-bands"):
        check_bundle(str(bundle))
    with pytest.raises(EnsembleError, match="looks at F814W alone"):
        check_bundle(str(tiny_bundle), two_bands=True)
    # A bundle of one band says what it said before there were two.
    assert "second_band" not in (tiny_bundle / "ensemble.json").read_text()


def test_from_two_mosaics_to_candidates(run, bundle, mosaics, command):
    before = (run / "candidates.parquet").read_bytes()
    turned, printed = look(command, run, bundle, mosaics["turned"])
    candidates = pd.read_parquet(run / "candidates.parquet")
    assert turned.columns.tolist() == LOOKED_AT.names
    assert turned["rank"].tolist() == list(range(1, len(turned) + 1))
    assert sorted(turned["candidate_id"]) == sorted(candidates["candidate_id"])
    scored = turned[turned["second_band"] == "scored"]
    assert len(scored) > 10
    assert scored["logit_two_bands"].is_monotonic_decreasing
    assert set(scored["second_mosaic"]) == {"turned_f606w_drz"}
    assert f"{len(scored):,} scored" in printed
    # The planted lens is among them.
    (lens,) = mosaics["lenses"].itertuples()
    apart = np.hypot(turned["x_pix"] - lens.x_pix, turned["y_pix"] - lens.y_pix) * 0.05
    assert turned["second_band"][apart.idxmin()] == "scored"
    assert apart.min() < 2.5
    assert (run / "candidates.parquet").read_bytes() == before
    said = provenance_of(pq.read_schema(run / "candidates-two-bands.parquet"))
    assert said["two_bands_ensemble_sha256"] == check_bundle(str(bundle), two_bands=True).sha256
    # A mosaic on the run's own pixels is read as it is, and a turned one put onto them.
    same, _ = look(command, run, bundle, mosaics["same"])
    both = same.merge(scored, on="candidate_id", suffixes=("", "_turned"))
    both = both[both["second_band"] == "scored"]
    likeness = np.corrcoef(both["logit_two_bands"], both["logit_two_bands_turned"])[0, 1]
    assert likeness > 0.9
    first = both.iloc[0]
    with fits.open(mosaics["same"]) as hdus:
        plane = hdus["SCI"].data.copy()
        plane[hdus["WHT"].data == 0] = np.nan
    own = cutout_store.read(
        RunPaths(run).cutouts(first["mosaic"]), first["window"], first["window"] + 1
    )
    x0, y0 = int(own.x0[0]), int(own.y0[0])
    cut = np.stack([own.flux[0], plane[y0 : y0 + 100, x0 : x0 + 100]], axis=-1)
    loaded = TwoBandEnsemble(check_bundle(str(bundle), two_bands=True))
    assert first["logit_two_bands"] == pytest.approx(float(loaded.logits(cut[None])[0, 0]))


def test_what_the_second_band_does_not_show_is_counted_and_follows(
    run, bundle, mosaics, command, tmp_path
):
    with fits.open(mosaics["same"]) as hdus:
        flux, weight = hdus["SCI"].data.copy(), hdus["WHT"].data.copy()
        sky = hdus["SCI"].header.copy()
    # The left part only, which cuts windows in two.
    half = write_hla(
        tmp_path / "half_f606w_drz.fits", flux[:, :300], weight[:, :300], sky, {"FILTER2": "F606W"}
    )
    table, printed = look(command, run, bundle, half)
    counts = table["second_band"].value_counts()
    assert counts.min() > 0
    assert set(counts.index) == {"scored", "too little data", "not covered"}
    for outcome, count in counts.items():
        assert f"{count:,} {outcome}" in printed
    rest = table[table["second_band"] != "scored"]
    assert rest["rank"].min() == counts["scored"] + 1
    assert rest["one_band_rank"].is_monotonic_increasing
    assert rest["logit_two_bands"].isna().all()
    assert (table["second_valid_fraction"][table["second_band"] == "not covered"] == 0).all()
    # Both together are as good as the whole one.
    rest = write_hla(
        tmp_path / "rest_f606w_drz.fits", flux, weight * (np.arange(SIZE) >= 200), sky,
        {"FILTER2": "F606W"},
    )  # fmt: skip
    both, _ = look(command, run, bundle, half, rest)
    assert (both["second_band"] == "scored").sum() > counts["scored"]
    assert both["second_mosaic"].dropna().nunique() == 2


def elsewhere(mosaics, folder):
    with fits.open(mosaics["same"]) as hdus:
        flux = hdus["SCI"].data.copy()
    return write_hla(folder / "away_f606w_drz.fits", flux, None, None, {"FILTER2": "F606W"})


def without_filter(mosaics, folder):
    with fits.open(mosaics["same"]) as hdus:
        flux, sky = hdus["SCI"].data.copy(), hdus["SCI"].header.copy()
    cards = {"FILTER1": None, "FILTER2": None}
    return write_hla(folder / "silent_drz.fits", flux, None, sky, cards)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        # The run's own filter again.
        (lambda mosaics, _: mosaics["f814w"],
         "filter F814W, but ensemble two-bands (its second band) was trained on F606W"),
        # Another piece of sky.
        (elsewhere, "away_f606w_drz.fits: shows none of the run's first"),
        # A header that names no filter.
        (without_filter, "the header names no filter"),
        # No such file, and a folder.
        (lambda _, folder: folder / "none.fits", "none.fits: no such file"),
        (lambda _, folder: folder, "is a folder; name the files in it"),
    ],
)  # fmt: skip
def test_a_second_band_that_cannot_be_used_is_told_in_one_line(
    run, bundle, mosaics, command, tmp_path, second, message
):
    written = run / "candidates-two-bands.parquet"
    written.unlink(missing_ok=True)
    path = second(mosaics, tmp_path)
    status, printed = command("two-bands", run, "--ensemble", bundle, "--second-band", path)
    assert status == 2
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed
    assert not written.exists()


def test_what_else_cannot_be(run, bundle, tiny_bundle, mosaics, command, tmp_path):
    for arguments, message in (
        ((run, "--ensemble", tiny_bundle), "looks at F814W alone"),
        ((run, "--ensemble", bundle, "--top", 0), "top = 0: must be at least 1"),
        ((tmp_path, "--ensemble", bundle), "finish its scan first"),
    ):
        status, printed = command("two-bands", *arguments, "--second-band", mosaics["same"])
        assert (status, message in " ".join(printed.split())) == (2, True), printed
    options = ("--out", tmp_path / "scan", "--ensemble", bundle)
    status, printed = command("scan", mosaics["f814w"], *options)
    assert (status, "then look again with lensweep two-bands" in " ".join(printed.split())) == (
        2, True,
    )  # fmt: skip
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # A band that nothing is known of.
        (("--band", "F435W"), "band = F435W: must be one of F606W"),
        # The PSF of which band would that be?
        (("--band", "F606W", "--psf", "psf.fits"), "psf psf.fits: one file cannot be the PSF"),
    ],
)
def test_a_second_band_that_cannot_be_simulated(command, arguments, message, tmp_path):
    status, printed = command("simulate", "--n", 9, *arguments, "--out", tmp_path / "set")
    assert (status, message in " ".join(printed.split())) == (2, True)
    assert not (tmp_path / "set").exists()
