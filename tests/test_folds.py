import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.training.data.folds import assign_folds, leaked_fraction


def test_folds_are_stratified_and_never_split_an_object():
    objects = np.repeat(np.arange(140), 3)
    labels = objects % 4 == 0
    folds = assign_folds(labels, objects, 7, seed=1)
    for member in range(140):
        assert len(set(folds[objects == member])) == 1
    shares = [labels[folds == fold].mean() for fold in range(7)]
    assert np.allclose(shares, 0.25, atol=0.06)
    assert sorted(set(folds)) == list(range(7))


def test_seed_decides_the_folds():
    labels, objects = np.arange(70) % 2 == 0, np.arange(70)
    first = assign_folds(labels, objects, 7, seed=1)
    assert np.array_equal(first, assign_folds(labels, objects, 7, seed=1))
    assert not np.array_equal(first, assign_folds(labels, objects, 7, seed=2))


@pytest.mark.parametrize(
    ("labels", "objects", "message"),
    [
        (np.ones(20, bool), np.arange(20), "one class"),
        (np.zeros(20, bool), np.arange(20), "one class"),
        (np.arange(20) % 2 == 0, np.zeros(20, int), "1 objects for 7 folds among the lenses"),
        # Enough objects, but not of the rarer class.
        (np.arange(20) < 3, np.arange(20), "3 objects for 7 folds among the lenses"),
    ],
)
def test_refuses_what_cannot_be_split(labels, objects, message):
    with pytest.raises(InputError, match=message):
        assign_folds(labels, objects, 7, seed=1)


def test_only_the_thesis_protocol_leaks():
    objects = np.repeat(np.arange(140), 3)
    labels = objects % 4 == 0
    grouped, thesis = (
        assign_folds(labels, objects, 7, 1, protocol) for protocol in ("grouped", "thesis")
    )
    assert leaked_fraction(objects, grouped) == 0.0
    # Three copies all fall into one fold of seven with a chance of about 1 in 49.
    assert leaked_fraction(objects, thesis) == pytest.approx(1 - 1 / 49, abs=0.03)


def test_leaked_fraction_by_hand():
    # Object 0 lies in two folds, object 1 in one, object 2 is alone.
    objects, folds = np.array([0, 1, 0, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert leaked_fraction(objects, folds) == pytest.approx(2 / 5)
