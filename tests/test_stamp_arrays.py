"""Stamps in arrays, folders and stores of other tools: read, refused, scored and continued."""

import dataclasses
import io
import os
import shutil
import time

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zarr
from astropy.io import fits
from conftest import with_field_scores
from drizzled_files import add_star, write_hla
from forked_programs import Forked
from PIL import Image

import lensweep
from lensweep.catalogs.schemas import provenance_of
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.run.score_config import ScoreConfig
from lensweep.scanner.run.status import read_status
from lensweep.scanner.sky.stamp_arrays import names_of, read_stack, scales_of
from lensweep.scanner.sky.stamps import find_stamps
from lensweep.scanner.work.stamps import (
    keep_array,
    open_scores,
    plan_stamps,
    unfinished_at,
)

SAID = {"pixel_scale_arcsec": 0.05, "units": "electrons/s"}


def drawn(n, size=100, seed=0):
    """Noise with a star in the middle of each, of another brightness each."""
    rng = np.random.default_rng(seed)
    stamps = rng.normal(0.0, 0.01, (n, size, size)).astype(np.float32)
    for number, stamp in enumerate(stamps):
        add_star(stamp, (size - 1) / 2, (size - 1) / 2, 1.0 + number, 3.0)
    return stamps


@pytest.fixture(scope="module")
def stack():
    return drawn(5)


@pytest.fixture(scope="module")
def expected(stack, tiny_bundle):
    return Ensemble(check_bundle(str(tiny_bundle))).logits(stack).mean(axis=1)


def as_numpy(folder, stack):
    np.save(folder / "stack.npy", stack)
    return str(folder / "stack.npy"), None


def as_doubles_of_counts(folder, stack):
    """In units of a thousandth, in another byte order."""
    np.save(folder / "stack.npy", (1000.0 * stack).astype(">f8"))
    return str(folder / "stack.npy"), None


def as_zarr(folder, stack):
    zarr.save_array(folder / "stack.zarr", stack)
    return str(folder / "stack.zarr"), None


def as_zarr_in_a_group(folder, stack):
    group = zarr.open_group(folder / "all.zarr", mode="w")
    group.create_array("deep/stamps", data=stack)
    return f"{folder / 'all.zarr'}::deep/stamps", None


def as_hdf5(folder, stack):
    with h5py.File(folder / "stack.h5", "w") as file:
        file["a/stamps"], file["other"] = stack, np.zeros(3)
    return f"{folder / 'stack.h5'}::a/stamps", None


def as_anomalymatch_zarr(folder, stack):
    """A store with an array `images` of channels, and names beside it."""
    group = zarr.open_group(folder / "sky.zarr", mode="w")
    group.create_array("images", data=np.stack([stack, -stack], axis=3))
    names = [f"tile_{number}.fits" for number in range(len(stack))]
    pd.DataFrame({"original_filename": names}).to_parquet(folder / "sky_metadata.parquet")
    return str(folder), names


def as_cutana(folder, stack):
    """Two batches, whose metadata name the sources."""
    for batch, part in enumerate((stack[:3], stack[3:])):
        where = folder / f"batch_cutout_process_{batch:03d}_x"
        group = zarr.open_group(where / "images.zarr", mode="w")
        group.create_array("images", data=part[..., None])
        ids = [f"{batch}-00{number}" for number in range(len(part))]
        table = {"source_id": ids, "pixel_scale_arcsec_per_pixel": 0.05}
        pd.DataFrame(table).to_parquet(where / "images_metadata.parquet")
    return str(folder), ["0-000", "0-001", "0-002", "1-000", "1-001"]


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (as_numpy, SAID),
        (as_doubles_of_counts, SAID | {"units": "0.001 electron/s"}),
        (as_zarr, SAID),
        (as_zarr_in_a_group, SAID),
        (as_hdf5, SAID),
        (as_anomalymatch_zarr, SAID | {"channel": 0}),
        (as_cutana, {"units": "electrons/s"}),  # they say their own scale
    ],
)
def test_arrays_of_every_kind(write, options, stack, expected, tiny_bundle, tmp_path):
    path, names = write(tmp_path, stack)
    table = lensweep.score(path, str(tiny_bundle), **options)
    np.testing.assert_allclose(table["logit_mean"], expected, atol=1e-3)
    assert table["message"].isna().all()
    assert (table["valid_fraction"] == 1.0).all()
    found = table["name"].tolist()
    assert found == names if names else table["name"].isna().all()
    counted = [0, 1, 2, 0, 1] if write is as_cutana else [0, 1, 2, 3, 4]
    assert table["index"].tolist() == counted


def test_arrays_in_memory(stack, expected, tiny_bundle, tmp_path):
    table = lensweep.score(stack, str(tiny_bundle), **SAID)
    np.testing.assert_allclose(table["logit_mean"], expected, atol=1e-4)
    assert table["file"].eq("array").all()
    zarr.save_array(tmp_path / "stack.zarr", stack)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["stamps"] = stack
        # Nobody else can read it while it is open for writing.
        written = lensweep.score(file["stamps"], str(tiny_bundle), **SAID)
    with h5py.File(tmp_path / "stack.h5") as file:
        read = lensweep.score(file["stamps"], str(tiny_bundle), **SAID)
    stored = lensweep.score(zarr.open_array(tmp_path / "stack.zarr"), str(tiny_bundle), **SAID)
    for again in (written, read, stored):
        np.testing.assert_array_equal(again["logit_mean"], table["logit_mean"])


def test_what_a_score_is_worth_is_told_at_a_density_or_a_prior(stack, measured_bundle, tmp_path):
    out = tmp_path / "scores.parquet"
    table = lensweep.score(stack, str(measured_bundle), **SAID, out=out)
    assert table["p_lens"].between(0.0, 1.0, inclusive="neither").all()
    facts = provenance_of(pq.read_schema(out))
    assert float(facts["lens_density_per_deg2"]) == 10.0
    assert facts["calibrated_on_centres"] == "sources"
    # A stamp is 25 square arcsec: 518,400 of them are a square degree.
    # One in three: one lens for every two others.
    dense = lensweep.score(stack, str(measured_bundle), **SAID, lens_density=259_200.0)
    prior = lensweep.score(stack, str(measured_bundle), **SAID, prior=1.0 / 3.0)
    np.testing.assert_allclose(prior["p_lens"], dense["p_lens"])
    assert (prior["p_lens"] > table["p_lens"]).all()
    with pytest.raises(InputError, match=r"prior = 0.1 and lens_density = 5: .* give one"):
        lensweep.score(stack, str(measured_bundle), **SAID, prior=0.1, lens_density=5.0)


def test_a_prior_is_among_as_many_others_as_were_counted(stack, tiny_bundle, tmp_path):
    counted = with_field_scores(
        shutil.copytree(tiny_bundle, tmp_path / "counted"), windows_per_deg2={"sources": 7e5}
    )
    even = lensweep.score(stack, str(counted), **SAID, prior=0.5)
    dense = lensweep.score(stack, str(counted), **SAID, lens_density=7e5)
    np.testing.assert_allclose(even["p_lens"], dense["p_lens"])


def test_large_stamps_are_cut_about_their_centre_and_small_ones_filled_up(tiny_bundle, tmp_path):
    large, small = drawn(2, 141), drawn(2, 61)
    for stamps in (large, small):
        size = stamps.shape[1]
        for number, stamp in enumerate(stamps):
            write_hla(tmp_path / f"{size}-{number}.fits", stamp)
        files = lensweep.score(str(tmp_path / f"{size}-*.fits"), str(tiny_bundle))
        table = lensweep.score(stamps, str(tiny_bundle), **SAID)
        np.testing.assert_allclose(table["logit_mean"], files["logit_mean"], atol=1e-4)
        share = min(size, 100) ** 2 / 1e4
        np.testing.assert_allclose(table["valid_fraction"], share, rtol=1e-6)


def test_another_scale_is_resampled(tiny_bundle, tmp_path):
    stamps = drawn(2, 120)
    path = write_hla(tmp_path / "one.fits", stamps[0], sky=fits.Header())
    table = lensweep.score(stamps, str(tiny_bundle), pixel_scale_arcsec=0.06, units="electrons/s")
    alone = lensweep.score(path, str(tiny_bundle), pixel_scale_arcsec=0.06)
    assert table["logit_mean"][0] == pytest.approx(alone["logit_mean"][0], abs=1e-3)


def test_a_folder_of_files(stack, expected, tiny_bundle, tmp_path):
    for number, stamp in enumerate(stack):
        write_hla(tmp_path / f"{number}.fits", stamp)
    (tmp_path / "notes.txt").write_text("no stamp")
    table = lensweep.score(tmp_path, str(tiny_bundle))
    assert table["file"].tolist() == [str(tmp_path / f"{number}.fits") for number in range(5)]
    np.testing.assert_allclose(table["logit_mean"], expected, atol=1e-4)
    assert table["index"].isna().all()


def test_no_data_in_an_array(tiny_bundle):
    """Zeros and NaN are none, in floats; a stamp of nothing else keeps its row."""
    stamps = drawn(4)
    stamps[0, :50], stamps[1, :, :50], stamps[2] = 0.0, np.nan, 0.0
    table = lensweep.score(stamps, str(tiny_bundle), **SAID)
    assert table["valid_fraction"].tolist()[:2] == [0.5, 0.5]
    assert table["message"][2] == "stamps array, number 2: no data at its centre; cut it elsewhere"
    assert table["logit_mean"].isna().tolist() == [False, False, True, False]


def test_pictures_of_anomalymatch(tmp_path):
    """Bytes of PNG, with names: read as the mean of their colours."""
    values = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with h5py.File(tmp_path / "old.hdf5", "w") as file:
        kind = h5py.vlen_dtype(np.uint8)
        images = file.create_dataset("images", (2,), dtype=kind)
        for number in range(2):
            content = io.BytesIO()
            Image.fromarray(values + number).save(content, format="PNG")
            images[number] = np.frombuffer(content.getvalue(), np.uint8)
        file["filenames"] = [b"a.png", b"b.png"]
    (found,) = find_stamps([str(tmp_path / "old.hdf5")])
    assert len(found) == 2
    assert names_of(found) == ["a.png", "b.png"]
    first, second = read_stack(found, 0, 2)
    np.testing.assert_allclose(first, values.mean(axis=2))
    np.testing.assert_allclose(second, first + 1)


def save(folder, shape, dtype="f4"):
    np.save(folder / "x.npy", np.ones(shape, dtype))
    return str(folder / "x.npy")


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((100, 100), {}, r"\(100, 100\) is one image, .* \(n, y, x\); give array\[None\]"),
        ((2, 3, 4, 5, 6), {}, r"shape \(2, 3, 4, 5, 6\), but stamps are"),
        ((0, 100, 100), {}, r"shape \(0, 100, 100\), .* at least one"),
        ((2, 50, 50, 3), {}, r"shape \(2, 50, 50, 3\) has 3 channels; .* --channel 0 to 2"),
        ((2, 3, 50, 50), {}, r"shape \(2, 3, 50, 50\) has 3 channels"),  # channels first
        ((2, 50, 50, 3), {"channel": 3}, "no channel 3"),
        ((2, 50, 50), {"channel": 1}, "has no channels"),
        ((2, 50, 50), {"pixel_scale_arcsec": None}, "no pixel scale; state pixel_scale_arcsec"),
        ((2, 50, 50), {"units": None}, "an array states no units; .*--units"),
        ((2, 50, 50), {"units": "Jy"}, "--units Jy, but it takes"),
        ((2, 50, 50), {"band": "F606W"}, "band F606W, but ensemble tiny-3fold was trained"),
        ((2, 50, 50), {"stamps_per_shard": 0}, "stamps_per_shard = 0"),
        ((2, 50, 50), {"cluster": "tcp://127.0.0.1:1"}, "see no temporary folder"),
    ],
)
def test_what_cannot_be_scored_is_refused_first(shape, options, message, tiny_bundle, tmp_path):
    given = SAID | options
    for images in (np.ones(shape, "f4"), save(tmp_path, shape)):
        with pytest.raises(InputError, match=message):
            lensweep.score(images, str(tiny_bundle), **given)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none-*.fits", "no file fits this pattern"),
        ("empty", "no FITS files and no Zarr stores in this folder"),
        ("none.npy", r"none\.npy: no such file"),
        ("none", "none: no such file or folder"),
        ("none.h5::a", r"none\.h5: no such file"),
        ("torn.zarr", "no readable Zarr store"),  # no JSON
        ("list.zarr", "no readable Zarr store"),  # JSON, of something else
        ("text.npy", "no readable array of NumPy"),
        ("text.h5", "no readable HDF5 file"),
        ("two.h5", r"holds 2 arrays \(a, b\); say which one is of stamps: --dataset"),
        ("two.h5::c", "no array c in it, but a, b"),
        ("deep.h5", r"holds 2 arrays \(a, g/b\); say which"),  # names are no stamps
        ("words.npy", "values of type <U1, but pixels are numbers"),
    ],
)
def test_places_without_stamps(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    for file in ("text.npy", "text.h5"):
        (tmp_path / file).write_text("no array")
    for store, text in (("torn.zarr", "{"), ("list.zarr", "[]")):
        (tmp_path / store).mkdir()
        (tmp_path / store / "zarr.json").write_text(text)
    np.save(tmp_path / "words.npy", np.full((1, 2, 2), "x"))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = drawn(1), drawn(1)
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["a"], file["g/b"], file["filenames"] = drawn(1), drawn(1), [b"x"]
    with pytest.raises(InputError, match=message):
        find_stamps([str(tmp_path / name)])


def test_scales_of_cutana_that_are_incomplete_are_asked_for(stack, tmp_path):
    as_cutana(tmp_path, stack)
    where = tmp_path / "batch_cutout_process_000_x" / "images_metadata.parquet"
    pd.read_parquet(where).assign(pixel_scale_arcsec_per_pixel=np.nan).to_parquet(where)
    first, second = find_stamps([str(tmp_path)])
    with pytest.raises(InputError, match="no pixel scale"):
        scales_of(first, None)
    assert scales_of(second, None).tolist() == [0.05, 0.05]


def test_a_killed_command_is_continued(estimator_bundle, command, tmp_path):
    """What was done stays done, and is not read again: by then its pixels are others."""
    n, path, out = 160, tmp_path / "stack.npy", tmp_path / "scores.parquet"
    np.save(path, drawn(n))
    whole = lensweep.score(path, str(estimator_bundle), **SAID)
    asked = ["score", path, "--out", out, "--ensemble", estimator_bundle, "--pixel-scale", 0.05,
             "--units", "electrons/s", "--workers", 1, "--stamps-per-shard", 4]  # fmt: skip
    paths = unfinished_at(out)
    running = Forked("lensweep", *asked, log=tmp_path / "log")
    while running.poll() is None and not list((paths.root / "done").glob("*/*.score.json")):
        time.sleep(0.05)
    running.kill_session()
    assert not out.exists()
    (name,) = (folder.name for folder in (paths.root / "done").iterdir())
    done = [int(marker.name[:6]) for marker in paths.score_markers(name)]
    assert 0 < len(done) < n // 4
    assert read_status(paths.root).tally.scored == 4 * len(done)
    when, pixels = path.stat().st_mtime_ns, np.load(path, mmap_mode="r+")
    for shard in done:
        pixels[4 * shard : 4 * shard + 4] = 0.0
    pixels.flush()
    os.utime(path, ns=(when, when))
    status, said = command(*asked)
    assert status == 0, said
    pd.testing.assert_frame_equal(pq.read_table(out).to_pandas(), whole)
    assert not paths.root.exists()


def test_other_scores_are_not_continued(stack, measured_bundle, tmp_path):
    """A folder that a stopped command left behind is of what that was asked."""
    out = tmp_path / "scores.parquet"
    paths = unfinished_at(out)

    paths.root.mkdir()
    bundle = check_bundle(str(measured_bundle))
    config = ScoreConfig(("array",), str(out), str(measured_bundle), **SAID)
    (given,) = find_stamps([keep_array(paths, stack)])
    sets = [dataclasses.replace(given, title="array")]
    open_scores(paths, config, plan_stamps(config, sets, bundle), bundle)
    with pytest.raises(InputError, match=r"scores.parquet.unfinished: .*the array was another"):
        lensweep.score(stack[:3], str(measured_bundle), **SAID, out=out)
    with pytest.raises(InputError, match=r"pixel_scale_arcsec was 0.05, now 0.06"):
        lensweep.score(stack, str(measured_bundle), out=out, pixel_scale_arcsec=0.06,
                       units="electrons/s")  # fmt: skip
    table = lensweep.score(stack, str(measured_bundle), **SAID, out=out, lens_density=20.0)
    assert table["p_lens"].notna().all()
    assert not paths.root.exists()
