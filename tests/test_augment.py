import io
import time

import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run import cutout_store
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.data.augment import (
    LEAST_ZOOM,
    ROTATION_DEG,
    SHEAR_DEG,
    SHIFT_PX,
    draw_transform,
    materialise,
    plan_copies,
    transform,
    transform_at_random,
    turn_at_random,
)
from lensweep.training.data.examples import open_examples
from lensweep.training.data.simulated_set import make_dataset

STILL = np.zeros(2)


@pytest.fixture
def progress():
    return PlainProgress(io.StringIO(), time.monotonic)


@pytest.fixture(scope="module")
def originals(client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    make_dataset(folder, 12, 4, client, PlainProgress(io.StringIO(), time.monotonic))
    return open_examples(folder)


def test_turning_keeps_every_pixel_and_reaches_all_eight_symmetries():
    flux = np.arange(9.0, dtype=np.float32).reshape(1, 3, 3)
    turned = turn_at_random(np.repeat(flux, 200, axis=0), np.random.default_rng(0))
    assert (np.sort(turned.reshape(200, 9)) == np.arange(9)).all()
    assert len({image.tobytes() for image in turned}) == 8


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.eye(2), lambda image: image),
        (np.diag([-1.0, 1.0]), lambda image: image[::-1]),
        (np.diag([1.0, -1.0]), lambda image: image[:, ::-1]),
        # Output (y, x) is taken from input (x, -y): a quarter turn to the left.
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), np.rot90),
    ],
)
def test_transforms_that_need_no_interpolation_are_exact(matrix, expected):
    image = np.random.default_rng(1).normal(size=(9, 9)).astype(np.float32)
    image[2, 3] = np.nan
    assert np.allclose(transform(image, matrix, STILL), expected(image), equal_nan=True)


def test_a_shift_moves_the_centre_and_leaves_no_data_behind():
    image = np.zeros((9, 9), np.float32)
    image[4, 4] = 1.0
    moved = transform(image, np.eye(2), np.array([2.0, -1.0]))
    assert moved[6, 3] == 1.0
    assert np.isnan(moved[:2]).all()
    assert np.isnan(moved[:, -1]).all()
    assert np.isfinite(moved[2:, :-1]).all()


def test_a_zoom_below_one_magnifies():
    image = np.zeros((101, 101), np.float32)
    image[50, 80] = 1.0
    zoomed = transform(image, 0.9 * np.eye(2), STILL)
    assert np.nanargmax(zoomed[50]) == pytest.approx(50 + 30 / 0.9, abs=1)


def test_missing_pixels_spread_to_no_others():
    flux = np.ones((20, 60, 60), np.float32)
    flux[:, :, 30:] = np.nan
    out = transform_at_random(flux, np.random.default_rng(3))
    finite = np.isfinite(out)
    assert np.allclose(out[finite], 1.0)
    assert 0.2 < finite.mean() < 0.6


def test_draws_stay_within_what_the_thesis_says():
    rng = np.random.default_rng(5)
    for _ in range(300):
        matrix, shift = draw_transform(rng)
        # Its determinant is zoom^2 cos(shear), but for flips.
        determinant = abs(np.linalg.det(matrix))
        assert LEAST_ZOOM**2 * np.cos(np.deg2rad(SHEAR_DEG)) - 1e-9 <= determinant <= 1.0
        assert (np.abs(shift) <= SHIFT_PX).all()
        turned = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert min(abs(turned), 180.0 - abs(turned)) <= ROTATION_DEG + 1e-9


def test_copies_are_shared_out_evenly():
    labels = np.arange(50) < 10
    origins = plan_copies(labels, 35, 100, seed=1)
    lenses, others = origins[labels[origins]], origins[~labels[origins]]
    assert (len(lenses), len(others)) == (35, 100)
    assert set(np.bincount(lenses, minlength=10)[:10]) == {3, 4}
    assert set(np.bincount(others)[10:]) == {2, 3}


def test_materialised_sets_keep_truth_and_object_and_transform_every_copy(
    originals, client, progress, tmp_path
):
    materialise(originals, tmp_path / "more", 15, 13, 7, client, progress)
    more = open_examples(tmp_path / "more")
    assert (more.labels.sum(), (~more.labels).sum()) == (15, 13)
    origins = more.truth["object_id"].to_numpy()
    assert (more.truth["kind"].to_numpy() == originals.truth["kind"].to_numpy()[origins]).all()
    flux = cutout_store.read_column(more.store, "flux")
    before = cutout_store.read_column(originals.store, "flux")
    for number in range(12):
        # An untouched one among the copies of one class would tell it from the other.
        for copy in np.flatnonzero(origins == number):
            assert not np.array_equal(flux[copy], before[number], equal_nan=True)
    valid = cutout_store.read_column(more.store, "valid_fraction")
    assert np.allclose(valid, np.isfinite(flux).sum(axis=(1, 2)) / CUTOUT_SIZE**2)


def test_another_augmentation_in_the_same_folder_is_refused(originals, client, progress, tmp_path):
    materialise(originals, tmp_path / "more", 6, 6, 7, client, progress)
    with pytest.raises(InputError, match="lenses was 6, now 8"):
        materialise(originals, tmp_path / "more", 8, 6, 7, client, progress)
