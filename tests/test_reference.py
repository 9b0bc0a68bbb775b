"""A device that nobody has checked shows on a bundle's reference cutouts that it may use less."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lensweep.scanner.network import inference
from lensweep.scanner.network.bundle_additions import add_reference, record_precision
from lensweep.scanner.network.bundle_store import MANIFEST, check_bundle
from lensweep.scanner.network.ensemble import EnsembleError, PrecisionCheck
from lensweep.scanner.network.inference import BY_CHECK, BY_REFERENCE, FULL, Ensemble
from lensweep.scanner.network.known_devices import FOLDER_VARIABLE, KnownDevice
from lensweep.scanner.network.reference import (
    LARGEST_DIFFERENCE,
    REFERENCE,
    Reference,
    kept_pixels,
    pixels_of,
    read_reference,
)

# As on a GPU; processors are slower in it, and can do it.
REDUCED = "float16"


@pytest.fixture
def flux():
    rng = np.random.default_rng(4)
    flux = rng.normal(0.02, 0.01, (20, 100, 100)).astype(np.float32)
    flux[:, 40:60, 40:60] += rng.uniform(0.0, 3.0, (20, 1, 1)).astype(np.float32)
    flux[3, :30] = np.nan
    return flux


@pytest.fixture
def bundle(tiny_bundle, tmp_path, flux, monkeypatch):
    """A bundle with reference cutouts, on an unknown device that is fast in half precision."""
    monkeypatch.setattr(inference, "reduced_precision", lambda: REDUCED)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    steps, step = kept_pixels(flux)
    exact = Ensemble(check_bundle(str(folder)), "full").first_look(pixels_of(steps, step))
    return add_reference(folder, steps, step, exact)


def test_kept_pixels_are_theirs_to_an_eighth_of_the_noise(flux):
    steps, step = kept_pixels(flux)
    found = pixels_of(steps, step)
    assert steps.dtype == np.int16
    np.testing.assert_array_equal(np.isnan(found), np.isnan(flux))
    assert np.nanmax(np.abs(found - flux) / step[:, None, None]) <= 0.501


def test_pixels_without_noise_and_beyond_the_range():
    flux = np.zeros((3, 100, 100), np.float32)
    flux[1], flux[2, 5, 5] = np.nan, 1e9
    found = pixels_of(*kept_pixels(flux))
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


def test_a_reference_is_part_of_its_bundle(bundle):
    found = read_reference(Path(bundle.folder))
    assert found.agrees(Ensemble(bundle, "full").first_look(found.flux))
    path = Path(bundle.folder) / REFERENCE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EnsembleError, match=r"reference\.npz has SHA-256"):
        check_bundle(bundle.folder)


SPREAD = np.linspace(-9.0, 9.0, 200, dtype=np.float32)[:, None] * np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        (np.float32(0.0), True),
        (np.float32(0.9 * LARGEST_DIFFERENCE), True),  # all shifted: the ranks stay
        (np.float32(1.1 * LARGEST_DIFFERENCE), False),
        (np.where(np.arange(200) == 7, np.nan, 0.0)[:, None], False),  # beyond float16
        (np.where(np.arange(200) == 7, 3.0, 0.0)[:, None], False),  # one cutout alone
        (-2.0 * SPREAD, False),
    ],
)
def test_what_agrees(change, agrees):
    flux = np.zeros((len(SPREAD), 1, 1), np.float32)
    assert Reference(flux, SPREAD).agrees(SPREAD + change) is agrees


def test_an_unknown_device_takes_half_precision_once_it_has_shown_that_it_may(
    bundle, flux, monkeypatch
):
    first = Ensemble(bundle)
    assert (first.precision, first.shown_by) == (REDUCED, BY_REFERENCE)
    # The next process believes it.
    monkeypatch.setattr(inference, "read_reference", None)
    assert Ensemble(bundle).shown_by == BY_REFERENCE
    assert Ensemble(bundle, "full").precision == FULL


def test_a_device_that_does_not_agree_computes_in_float32(bundle, monkeypatch):
    load, loaded = inference.load_frozen, []

    def inexact(folder, name, stretch, reduced=None):
        network = load(folder, name, stretch, reduced)
        loaded.append(reduced)
        return (lambda looks: network(looks) * 1.5) if reduced else network

    monkeypatch.setattr(inference, "load_frozen", inexact)
    found = Ensemble(bundle)
    assert (found.precision, found.shown_by) == (FULL, None)
    assert found.logits(read_reference(Path(bundle.folder)).flux).shape == (20, 3)
    assert loaded == [REDUCED, None]
    # Remembered: nothing is loaded in vain.
    Ensemble(bundle)
    assert loaded == [REDUCED, None, None]


def test_a_recorded_check_wins(bundle):
    good = record_precision(Path(bundle.folder), REDUCED, PrecisionCheck(10_000, 1.0, 100, 0.0))
    assert Ensemble(good).shown_by == BY_CHECK
    bad = record_precision(Path(bundle.folder), REDUCED, PrecisionCheck(10_000, 0.9, 100, 0.0))
    assert Ensemble(bad).precision == FULL
    assert json.loads((Path(bundle.folder) / MANIFEST).read_text())["sha256"][REFERENCE]


def test_devices_and_bundles_are_known_apart_and_each_is_asked_once(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    asked = iter(range(100, 200))
    for device in (KnownDevice("one", "ab"), KnownDevice("other", "ab"), KnownDevice("one", "cd")):
        answer = device.recall("batch", lambda: next(asked))
        assert device.recall("batch", lambda: next(asked)) == answer
        assert device.recall("agrees", lambda: False) is False
        assert device.known("agrees") is False
    assert next(asked) == 103
    assert len(list(tmp_path.rglob("*.json"))) == 3


@pytest.mark.parametrize("damage", ["", "[]", '{"batch'])
def test_what_is_remembered_may_be_lost(tmp_path, monkeypatch, damage):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    device = KnownDevice("one", "ab")
    assert device.recall("batch", lambda: 64) == 64
    device.path.write_text(damage)
    assert device.recall("batch", lambda: 32) == 32
    assert device.recall("batch", lambda: 16) == 32


def test_nothing_can_be_remembered(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    assert KnownDevice("one", "ab").recall("batch", lambda: 64) == 64
