"""Photometric tables of any column names as features."""

import numpy as np
import pandas as pd
import pytest

from lensweep.ground.errors import InputError
from lensweep.training.published.gaussian_mixture import MixtureClassifier
from lensweep.training.published.photometry import (
    BANDS,
    PhotometryColumns,
    photometric_features,
)


def photometry(n=5):
    """Magnitudes that are told apart: bands differ by tenths, PSF from model by a hundredth."""
    values = {}
    for number, band in enumerate(BANDS):
        values[f"modelMag_{band}"] = np.full(n, 20.0 - 0.1 * number**2)
        values[f"psfMag_{band}"] = values[f"modelMag_{band}"] + 0.01 * (number + 1)
    return pd.DataFrame({**values, "w1mpro": np.full(n, 16.0), "w2mpro": np.full(n, 15.2)})


def test_photometry_becomes_nine_features():
    features = photometric_features(photometry(), PhotometryColumns.of_sdss())
    expected = [0.01, 0.02, 0.03, 0.04, 0.1, 0.3, 3.6, 0.8, 15.2]
    assert features == pytest.approx(np.tile(expected, (5, 1)))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        # A column is called otherwise.
        (lambda table: table.rename(columns={"w1mpro": "W1"}), "lacks w1mpro; it has .*W1"),
        # A source was not seen in a band.
        (lambda table: table.assign(w2mpro=[15.0, np.nan, 15.0, 15.0, 15.0]),
         "row 1 has w2mpro = nan, which is no magnitude"),
        # SDSS' own word for that.
        (lambda table: table.assign(psfMag_i=[20.0, 20.0, 20.0, -9999.0, 20.0]),
         "row 3 has psfMag_i = -9999"),
        # A table that was written as text.
        (lambda table: table.assign(w1mpro=["15", "15", "null", "15", "15"]),
         "row 2 has w1mpro = null, which is no magnitude"),
    ],
)  # fmt: skip
def test_photometry_that_cannot_be_used_is_refused(spoil, said):
    with pytest.raises(InputError, match=said):
        photometric_features(spoil(photometry()), PhotometryColumns.of_sdss())


def test_bands_may_be_named_in_any_order_and_all_are_needed():
    psf, model = ({band: f"{kind}Mag_{band}" for band in reversed(BANDS)}
                  for kind in ("psf", "model"))  # fmt: skip
    backwards = PhotometryColumns(psf, model)
    np.testing.assert_array_equal(
        photometric_features(photometry(), backwards),
        photometric_features(photometry(), PhotometryColumns.of_sdss()),
    )
    with pytest.raises(InputError, match="psf: names columns of bands g, r, but g, r, i, z"):
        PhotometryColumns({"g": "a", "r": "b"}, {band: band for band in BANDS})


def test_other_features_can_be_given():
    sdss = PhotometryColumns.of_sdss()
    features = photometric_features(photometry(), sdss, ("model_g - model_z", "w1"))
    assert features == pytest.approx(np.tile([0.9, 16.0], (5, 1)))
    with pytest.raises(InputError, match="write sums and differences of psf_g, psf_r"):
        photometric_features(photometry(), sdss, ("model_u - model_g",))


def test_a_table_trains_a_mixture():
    """Quasars are redder in WISE than stars."""
    rng = np.random.default_rng(5)
    table = pd.concat([photometry(200), photometry(200).assign(w2mpro=16.0)], ignore_index=True)
    table += rng.normal(0.0, 0.05, table.shape)
    quasar = np.repeat([True, False], 200)
    features = photometric_features(table, PhotometryColumns.of_sdss())
    mixture = MixtureClassifier(2, 2, random_state=0).fit(features[::2], quasar[::2])
    assert (mixture.predict(features[1::2]) == quasar[1::2]).all()
