"""Finders on disk: the same scores after they were read again, and nothing that is not expected."""

import json

import numpy as np
import pytest
import skops.io
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from toy_stamps import draw_toy

from lensweep.ground.errors import InputError
from lensweep.training.published.deeplens import DeepLens
from lensweep.training.published.finder_store import MANIFEST, MODEL, load_finder, save_finder
from lensweep.training.published.gaussian_mixture import MixtureFinder
from lensweep.training.published.kernel_pca import KernelPcaFinder
from lensweep.training.published.lensflow import LensFlow
from lensweep.training.published.thesis import ThesisNetwork

FINDERS = [
    MixtureFinder(random_state=0),
    KernelPcaFinder("trees", 20, random_state=0),
    # The kernel by landmarks.
    KernelPcaFinder("network", 20, exact_limit=10, n_landmarks=15, random_state=0),
    # What networks have learned is told apart by their weights, however they came by them.
    LensFlow(epochs=0, fine_epochs=0, random_state=0),
    DeepLens(epochs=0, random_state=0),
    ThesisNetwork("vgg16", "xavier", epochs=0, input_px=32, random_state=0),
]


@pytest.mark.parametrize("finder", FINDERS, ids=lambda finder: type(finder).__name__)
def test_a_finder_scores_the_same_after_it_was_read_again(finder, tmp_path, monkeypatch):
    # All stages of DeepLens, with one unit of three in each.
    monkeypatch.setattr("lensweep.training.published.deeplens.UNITS", 1)
    flux, labels = draw_toy(20, 50)
    save_finder(finder.fit(flux, labels), tmp_path / "finder")
    again = load_finder(str(tmp_path / "finder"))
    assert again.get_params() == finder.get_params()
    assert again.classes_.tolist() == [False, True]
    assert again.n_parameters_ == finder.n_parameters_
    assert np.array_equal(again.decision_function(flux), finder.decision_function(flux))


def test_types_that_no_finder_is_made_of_are_refused(tmp_path):
    class Other(LogisticRegression):
        pass

    skops.io.dump(Other(), tmp_path / MODEL)
    described = {"format": "lensweep-finder", "version": 1, "finder": "MixtureFinder"}
    (tmp_path / MANIFEST).write_text(json.dumps(described))
    with pytest.raises(InputError, match=r"holds .*Other, which no finder is made of"):
        load_finder(tmp_path)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        # Nothing there.
        (None, f"no {MANIFEST} in it"),
        # Of a later lensweep.
        ({"format": "lensweep-finder", "version": 2}, "version 2, but this lensweep reads"),
    ],
)
def test_what_is_no_finder_is_refused(described, said, tmp_path):
    if described is not None:
        (tmp_path / MANIFEST).write_text(json.dumps(described))
    with pytest.raises(InputError, match=said):
        load_finder(tmp_path)


def test_a_finder_is_whole_and_in_a_folder_of_its_own(tmp_path):
    with pytest.raises(NotFittedError):
        save_finder(LensFlow(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    flux, labels = draw_toy(12, 100)
    networks = LensFlow(epochs=0, fine_epochs=0, random_state=0).fit(flux, labels)
    with pytest.raises(InputError, match=r"holds notes\.txt and no finder\.json; name a new"):
        save_finder(networks, tmp_path / "mine")
    # Another finder replaces all of one that is there.
    save_finder(networks, tmp_path / "new")
    save_finder(MixtureFinder(max_components=1, n_starts=1, random_state=0).fit(flux, labels),
                tmp_path / "new")  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [MANIFEST, MODEL]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new"]
