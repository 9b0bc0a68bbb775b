import dataclasses

import keras
import numpy as np
import pytest
from test_backbones import CONFIG

from lensweep.training.fit.heads import train_head


@pytest.fixture(scope="module")
def separable():
    """Features far from zero, two of which tell the classes apart."""
    rng = np.random.default_rng(6)
    labels = rng.random(300) < 0.5
    features = rng.normal(5.0, 1.0, (300, 8)) * np.linspace(1.0, 3.0, 8)
    features[:, 0] += 3.0 * labels
    features[:, 7] += 9.0 * labels
    return features.astype(np.float32), labels


def test_a_few_steps_on_a_small_set_suffice(separable):
    features, labels = separable
    keras.utils.set_random_seed(0)
    head = train_head(features[:200], labels[:200], (features[200:], labels[200:]), CONFIG, 0)
    held_out = head.logits(features[200:])
    assert head.curve["held_out_auc"].iloc[-1] == pytest.approx(
        np.mean(held_out[labels[200:]][:, None] > held_out[~labels[200:]][None, :]), abs=1e-6
    )
    # Neither scale nor offset of the features is left in the scores.
    assert np.abs(held_out).max() < 10.0
    assert len(head.curve) == CONFIG.head_epochs


def test_more_passes_tell_the_classes_apart(separable):
    features, labels = separable
    config = dataclasses.replace(CONFIG, head_epochs=60, head_learning_rate=0.1)
    head = train_head(features[:200], labels[:200], (features[200:], labels[200:]), config, 0)
    assert head.curve["held_out_auc"].iloc[-1] > 0.95
    assert head.curve["loss"].iloc[-1] < head.curve["loss"].iloc[0]


def test_the_fold_seeds_the_head(separable):
    features, labels = separable
    held_out = (features[200:], labels[200:])
    first, again, other = (
        train_head(features[:200], labels[:200], held_out, CONFIG, fold).weights
        for fold in (0, 0, 1)
    )
    assert np.allclose(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_the_features_does_not_matter(scale, separable):
    features, labels = separable
    heads = [
        train_head(x[:200], labels[:200], (x[200:], labels[200:]), CONFIG, 0)
        for x in (features, np.float32(scale) * features)
    ]
    logits = heads[0].logits(features), heads[1].logits(np.float32(scale) * features)
    assert np.allclose(logits[0], logits[1], atol=0.02)
