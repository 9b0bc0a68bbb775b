import hashlib

import numpy as np
import pandas as pd
import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes
from lensweep.training.data.examples import check_classes, open_examples, read_flux

TRUTH = pd.DataFrame({"kind": ["lens", "star"] * 4, "is_lens": [True, False] * 4})


def write_set(folder, truth=TRUTH, empty_rows=(), n_stored=8, stated_valid=None):
    """A data set of cutouts that each hold their own number."""
    flux = np.ones((n_stored, 100, 100), np.float32) * np.arange(n_stored)[:, None, None]
    flux[list(empty_rows)] = np.nan
    valid = np.isfinite(flux).mean(axis=(1, 2)).astype(np.float32)
    if stated_valid is not None:
        valid[:] = stated_valid
    nowhere, corner = np.full(n_stored, np.nan), np.zeros(n_stored, np.int32)
    attributes = StoreAttributes("test", "", "F814W", 0.05, grid_wcs="", windows_per_shard=16)
    (folder / "truth").mkdir(parents=True)
    cutout_store.create(folder / "cutouts.zarr", n_stored, attributes)
    cutouts = Cutouts(flux, valid, nowhere, nowhere, nowhere, nowhere, corner, corner)
    cutout_store.write_shard(folder / "cutouts.zarr", 0, cutouts)
    truth.to_parquet(folder / "truth" / "00000000.parquet")
    return folder


def test_opens_the_first_cutouts(tmp_path):
    examples = open_examples(write_set(tmp_path / "set"), 4)
    assert len(examples) == 4
    assert examples.labels.tolist() == [True, False, True, False]
    assert examples.objects.tolist() == [0, 1, 2, 3]


def test_objects_are_numbered_by_what_the_truth_calls_them(tmp_path):
    truth = TRUTH.assign(object_id=["a", "b", "a", "c", "d", "b", "e", "f"])
    examples = open_examples(write_set(tmp_path / "set", truth))
    assert examples.objects.tolist() == [0, 1, 0, 2, 3, 1, 4, 5]


def test_reads_cutouts_in_any_order_and_twice(tmp_path):
    folder = write_set(tmp_path / "set")
    flux = read_flux(folder / "cutouts.zarr", np.array([5, 0, 5, 3]))
    assert flux[:, 50, 50].tolist() == [5.0, 0.0, 5.0, 3.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": TRUTH.assign(is_lens=True)}, "all 8 cutouts are lenses"),
        ({"truth": TRUTH.assign(is_lens=False)}, "all 8 cutouts are non-lenses"),
        ({"empty_rows": (2, 6)}, r"2 cutouts without a valid pixel \(rows 2, 6"),
        # Pixels are believed, not what is said of them.
        ({"empty_rows": (3,), "stated_valid": 1.0}, r"1 cutouts without a valid pixel \(rows 3"),
        # A table of labels under names of its own.
        ({"truth": TRUTH.rename(columns={"is_lens": "label"})}, "no column is_lens; it has kind"),
        ({"truth": TRUTH[["is_lens"]]}, "no column kind"),
        ({"truth": TRUTH.assign(is_lens=[0.5] * 8)}, "true or false"),
        ({"truth": TRUTH.iloc[:6]}, "8 cutouts, but 6 rows of truth"),
    ],
)
def test_refuses_what_nothing_can_be_learned_from(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        open_examples(write_set(tmp_path / "set", **options))


def test_refuses_sets_that_are_not_there_or_too_short(tmp_path):
    with pytest.raises(InputError, match="simulate, collect or mine it"):
        open_examples(tmp_path / "absent")
    with pytest.raises(InputError, match="8 cutouts, but 9 are asked for"):
        open_examples(write_set(tmp_path / "set"), 9)


def test_sets_that_are_joined_need_both_classes_together(tmp_path):
    negatives = open_examples(
        write_set(tmp_path / "mined", TRUTH.assign(is_lens=False)), both_classes=False
    )
    with pytest.raises(InputError, match="all 8 cutouts are non-lenses"):
        check_classes([negatives])
    check_classes([negatives, open_examples(write_set(tmp_path / "set"))])


def test_the_fingerprint_is_that_of_the_pixels_taken(tmp_path):
    folder = write_set(tmp_path / "set")
    flux = cutout_store.read_column(folder / "cutouts.zarr", "flux")
    assert open_examples(folder).fingerprint == hashlib.sha256(flux.tobytes()).hexdigest()
    assert open_examples(folder, 4).fingerprint == hashlib.sha256(flux[:4].tobytes()).hexdigest()
