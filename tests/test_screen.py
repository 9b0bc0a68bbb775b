import dataclasses
import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import scan_here
from toy_stamps import write_toy_set

import lensweep
from lensweep.catalogs.lens_schemas import KNOWN
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.recall import measure_recall
from lensweep.scanner.network.blank import BLANK_SIGNAL_TO_NOISE, peak_signal_to_noise
from lensweep.scanner.network.bundle_additions import add_screen, set_screen_default
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.run import score_store
from lensweep.scanner.run.ledger import write_ledger
from lensweep.scanner.run.plan import read_plan, read_windows
from lensweep.scanner.run.status import read_status
from lensweep.scanner.sky.grid import grid_to_sky
from lensweep.training.evaluation.screen_loss import measure_screen
from lensweep.training.evaluation.vetting import vet
from lensweep.training.simulation.simulate import LENS_KINDS, simulate

NAME = "field_f814w_drz"


def small_network(outputs=2):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((100, 100, 3))
    features = keras.layers.Conv2D(outputs, 10, strides=10)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(features))


@pytest.fixture
def screened(screened_there, tmp_path):
    """A bundle with a screen whose threshold passes on about half of what it sees."""
    return shutil.copytree(screened_there, tmp_path / "screened")


@pytest.fixture(scope="module")
def screened_there(tiny_bundle, tmp_path_factory):
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("screened") / "screened")
    add_screen(folder, small_network(), np.array([9.0, -4.0], "f4"), 0.5, -1e9, {}, True)
    bundle = check_bundle(str(folder))
    flux = np.random.default_rng(1).normal(0.0, 0.01, (64, 100, 100)).astype(np.float32)
    logits = Ensemble(bundle).screen_logits(flux)
    middle = float(np.median(logits))
    metrics = {"recall_lost": 0.01}
    add_screen(folder, small_network(), np.array([9.0, -4.0], "f4"), 0.5, middle, metrics, True)
    return folder


def test_a_screen_is_part_of_its_bundle(screened):
    bundle = check_bundle(str(screened))
    assert bundle.description.screen is not None
    assert bundle.description.screen.metrics == {"recall_lost": 0.01}
    assert bundle.description.members == ("tiny-fold0", "tiny-fold1", "tiny-fold2")


@pytest.mark.parametrize("name", ["screen.json", "screen.npz", "screen_head.npz"])
def test_a_changed_screen_is_refused(screened, name):
    (screened / name).write_bytes((screened / name).read_bytes()[:-1])
    with pytest.raises(EnsembleError, match=f"{name} has SHA-256"):
        check_bundle(str(screened))


def test_a_screen_of_another_shape_is_refused(screened):
    with pytest.raises(EnsembleError, match=r"expected .* and \(None, 3\)"):
        add_screen(screened, small_network(), np.zeros(3, "f4"), 0.0, 0.0, {})
    assert check_bundle(str(screened)).description.screen is not None


def test_the_screens_scores_are_those_of_keras(screened):
    flux = np.random.default_rng(1).normal(0.0, 0.01, (70, 100, 100)).astype(np.float32)
    loaded = Ensemble(check_bundle(str(screened)))
    features = small_network().predict(loaded.description.stretch(flux), verbose=0)
    expected = features @ np.array([9.0, -4.0], "f4") + 0.5
    np.testing.assert_allclose(loaded.screen_logits(flux), expected, atol=1e-4)


def test_whether_a_screen_is_on_is_the_bundles_word(screened, tiny_bundle):
    before = check_bundle(str(screened))
    assert Ensemble(before).screen_threshold == before.description.screen.threshold
    off = set_screen_default(screened, False)
    assert off.sha256 != before.sha256
    assert Ensemble(off).screen_threshold is None
    assert Ensemble(off, screen="on").screen_threshold == before.description.screen.threshold
    assert set_screen_default(screened, True).sha256 == before.sha256
    with pytest.raises(EnsembleError, match="has no screen"):
        set_screen_default(tiny_bundle, True)


def test_a_stamps_row_has_its_screens_score(screened, field):
    row = lensweep.score([field], str(screened)).iloc[0]
    assert np.isfinite(row["screen_logit"])
    assert np.isfinite(row["p_mean"])


def test_a_bundle_is_vetted_on_labelled_cutouts(screened, tiny_bundle, tmp_path):
    """What the screen loses decides whether it is on, if that is to be recorded."""
    write_toy_set(tmp_path / "set", 24)
    loss = measure_screen(check_bundle(str(screened)), tmp_path / "set")
    lost, found = loss.lost(1e-2)
    assert 0 <= lost <= found <= 12
    everything = dataclasses.replace(loss, passed=np.ones(24, bool))
    assert everything.holds
    assert everything.lost(1e-2) == (0, found)
    before = check_bundle(str(screened)).sha256
    told = "\n".join(vet(screened, [tmp_path / "set"], record=False))
    assert f"| 0.01 | {found / 12:.4f} |" in told
    assert check_bundle(str(screened)).sha256 == before
    list(vet(screened, [tmp_path / "set"], record=True))
    screen = check_bundle(str(screened)).description.screen
    assert screen.on_by_default == loss.holds
    with pytest.raises(InputError, match="has no screen; train with"):
        list(vet(tiny_bundle, [tmp_path / "set"], record=True))


def bright(n):
    """Cutouts of noise with one round source each."""
    flux = np.random.default_rng(6).normal(0.0, 0.01, (n, 100, 100)).astype(np.float32)
    y, x = np.mgrid[:100, :100]
    return flux + np.exp(-0.5 * ((x - 40) ** 2 + (y - 60) ** 2) / 9.0).astype(np.float32)


@pytest.mark.parametrize("screen", ["auto", "on"])
def test_what_passes_is_scored_as_without_a_screen(screened, screen):
    flux = bright(40)
    bundle = check_bundle(str(screened))
    loaded = Ensemble(bundle, screen=screen)
    found = loaded.judge(flux)
    everything = Ensemble(bundle, screen="off").judge(flux)
    assert everything.scored.all()
    assert np.isnan(everything.screen_logit).all()
    np.testing.assert_array_equal(found.scored, found.screen_logit >= loaded.screen_threshold)
    np.testing.assert_array_equal(found.logits[found.scored], everything.logits[found.scored])
    assert np.isnan(found.logits[~found.scored]).all()


def test_blank_windows_are_not_looked_at_further(tiny_bundle):
    flux = bright(6)
    flux[1::2] = np.random.default_rng(7).normal(0.0, 0.01, (3, 100, 100))
    bundle = check_bundle(str(tiny_bundle))
    found = Ensemble(bundle).judge(flux)
    assert found.scored.tolist() == [True, False] * 3
    assert Ensemble(bundle, screen="off").judge(flux).scored.all()
    assert Ensemble(bundle).judge(flux[:0]).scored.shape == (0,)
    assert Ensemble(bundle).judge(flux[1:2]).scored.tolist() == [False]


def test_peaks_in_units_of_the_noise():
    rng = np.random.default_rng(8)
    noise = rng.normal(3.0, 0.02, (20, 100, 100)).astype(np.float32)
    # White noise: a few sigma among the thousand or so independent places of a cutout.
    assert 2.5 < np.median(peak_signal_to_noise(noise)) < 4.5
    source = noise.copy()
    source[:, 50, 50] += 10.0
    # A point of 10 in noise of 0.02, smoothed by 2.5 px: 500 / (sqrt(pi) 2.5).
    np.testing.assert_allclose(peak_signal_to_noise(source), 500 / 4.431, rtol=0.05)
    # Neither unit nor sky level matters.
    np.testing.assert_allclose(
        peak_signal_to_noise(7.0 * source - 5.0), peak_signal_to_noise(source), rtol=1e-3
    )


def test_what_has_no_noise_is_never_blank():
    flux = np.zeros((3, 100, 100), np.float32)
    flux[1] = np.nan
    flux[2, 40:42, 40:42] = 1.0
    assert np.isinf(peak_signal_to_noise(flux)).all()


# A quotient beyond float32 counts as sky.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_extreme_pixels_are_not_blank():
    flux = bright(2)
    flux[0, 10, 10], flux[1, 10, 10] = 3e38, -3e38
    assert (peak_signal_to_noise(flux) > BLANK_SIGNAL_TO_NOISE).all()


def test_no_simulated_lens_is_blank():
    lenses = np.stack([one.flux for one in simulate(list(LENS_KINDS) * 6, 31)])
    assert (peak_signal_to_noise(lenses) >= 2 * BLANK_SIGNAL_TO_NOISE).all()


def arc(surface_brightness, radius_px=16.0, width_px=2.0):
    """A quarter of a ring, e-/s per pixel, without a host."""
    y, x = np.mgrid[:100, :100] - 49.5
    ring = np.exp(-0.5 * ((np.hypot(x, y) - radius_px) / width_px) ** 2)
    return (surface_brightness * ring * ((x > 0) & (y > 0))).astype(np.float32)


@pytest.mark.parametrize(
    ("magnitude_per_arcsec2", "kept"),
    [(23.0, True), (23.5, True), (25.0, False)],
)
def test_arcs_without_a_host_are_kept_down_to_a_surface_brightness(magnitude_per_arcsec2, kept):
    # COSMOS' depth; F814W's zero point is 25.94 (AB), a pixel 0.05 arcsec.
    flux = np.random.default_rng(9).normal(0.0, 0.0085, (20, 100, 100)).astype(np.float32)
    per_pixel = 10 ** (-0.4 * (magnitude_per_arcsec2 - 25.94)) * 0.05**2
    peaks = peak_signal_to_noise(flux + arc(per_pixel))
    assert (peaks >= BLANK_SIGNAL_TO_NOISE).all() == kept


def test_a_run_accounts_for_what_it_screened(client, screened, field, tmp_path, capsys):
    outcome = scan_here(client, screened, [field], tmp_path / "run", screen="auto")
    tally, paths = outcome.tally, outcome.paths
    assert tally.masked == 16
    assert tally.scored > 0
    assert tally.screened > 0
    assert tally.planned == tally.scored + tally.screened + tally.masked == 112
    ledger = pd.read_parquet(paths.ledger)
    assert ledger["state"].value_counts().to_dict() == {
        "scored": tally.scored, "screened": tally.screened, "masked": 16,
    }  # fmt: skip
    of = ledger[ledger["state"] == "screened"]
    assert of["reason"].str.match(r"blank: peak S/N [\d.]+ < 12$|screen: \S+ < \S+$").all()
    by_screen = of["reason"].str.startswith("screen")
    assert by_screen.any()
    assert not by_screen.all()
    assert (of["screen_logit"].notna() == by_screen).all()
    threshold = check_bundle(str(screened)).description.screen.threshold
    assert (of.loc[by_screen, "screen_logit"] < threshold).all()
    # Seen, and no candidate.
    logits, _, _ = score_store.read(paths.scores(NAME))
    assert np.isfinite(logits).all(axis=1).sum() == tally.scored
    assert score_store.read_seen(paths.scores(NAME)).sum() == tally.seen
    candidates = lensweep.read_candidates(paths.root)
    assert not set(candidates["window"]) & set(of["window"])
    # Status, and a second ledger, say the same.
    assert read_status(paths.root).finished
    assert write_ledger(paths.root, [read_plan(paths.root, NAME)], 0.5) == tally
    marker = json.loads(paths.score_marker(NAME, 0).read_text())
    assert marker["screen_threshold"] == pytest.approx(threshold)


def test_a_lens_in_a_screened_window_was_observed(client, screened, field, tmp_path):
    """And is a miss: not a candidate, unlike one outside the footprint."""
    add_screen(screened, small_network(), np.zeros(2, "f4"), 0.0, 1.0, {}, True)
    root = scan_here(client, screened, [field], tmp_path / "run", screen="on").paths.root
    plan = read_plan(root, NAME)
    corner = read_windows(root, NAME).corners[60] + 49.5
    ra, dec = grid_to_sky(plan.grid, corner[:1], corner[1:])
    known = pd.DataFrame({name: [None] for name in KNOWN.names}).assign(
        catalogue="mine", catalogue_row=0, known_name="a", known_ra_deg=ra, known_dec_deg=dec
    )
    found = measure_recall(root, known, 3.0).lenses.iloc[0]
    assert found["observed"]
    assert not found["is_candidate"]
    assert pd.isna(found["logit_mean"])


def test_a_screen_that_is_not_there_is_refused_before_anything(tiny_bundle, field, tmp_path):
    with pytest.raises(InputError, match="has no screen, but screen is on"):
        lensweep.scan([field], tmp_path / "run", ensemble=str(tiny_bundle), screen="on")
    assert not (tmp_path / "run").exists()
    with pytest.raises(EnsembleError, match="has no screen"):
        Ensemble(check_bundle(str(tiny_bundle)), screen="on")
