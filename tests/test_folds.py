import numpy as np
import pytest

from scanner.errors import InputError
from training.folds import assign_folds


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
        (np.arange(20) % 2 == 0, np.zeros(20, int), "1 objects for 7 folds"),
    ],
)
def test_refuses_what_cannot_be_split(labels, objects, message):
    with pytest.raises(InputError, match=message):
        assign_folds(labels, objects, 7, seed=1)
