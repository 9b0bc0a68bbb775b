import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from lensweep.scanner.network.batch_size import CPU_BATCH
from lensweep.scanner.network.bundle_additions import record_fields, record_precision
from lensweep.scanner.network.bundle_store import _manifest_sha256, check_bundle
from lensweep.scanner.network.ensemble import (
    EnsembleError,
    FieldFacts,
    PrecisionCheck,
    Scoring,
    summarise,
)
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.looks import first_looks, turned_looks
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.network.second_look import TURNS, own_turns
from lensweep.scanner.work.tasks import load_ensemble


@pytest.fixture(scope="module")
def loaded(second_look_bundle):
    return Ensemble(check_bundle(str(second_look_bundle)))


@pytest.fixture(scope="module")
def flux():
    rng = np.random.default_rng(11)
    flux = rng.normal(0.0, 0.01, (CPU_BATCH + 6, 100, 100)).astype(np.float32)
    flux[:, 40:60, 40:60] += rng.uniform(0.0, 1.0, (len(flux), 1, 1)).astype(np.float32)
    flux[3, :30] = np.nan
    return flux


@pytest.fixture
def copied(measured_bundle, tmp_path):
    return shutil.copytree(measured_bundle, tmp_path / "copy")


def test_score_does_not_depend_on_company(loaded, flux):
    together = loaded.logits(flux)
    np.testing.assert_array_equal(loaded.logits(flux[5:6]), together[5:6])
    np.testing.assert_array_equal(loaded.logits(flux[::-1]), together[::-1])
    # The last batch holds six cutouts and padding.
    np.testing.assert_array_equal(loaded.logits(flux[CPU_BATCH:]), together[CPU_BATCH:])
    assert loaded.logits(flux[:0]).shape == (0, 3)


def test_promising_cutouts_are_looked_at_again_by_every_member_its_own_way(loaded, flux):
    (trunk,), shown = loaded._trunks, first_looks(flux, measure_noise(flux))
    looks = [trunk.look(turned_looks(shown, range(turn, turn + 1))) for turn in range(3)]
    logits, promising = loaded.logits(flux), looks[0].mean(axis=1) >= -4.5
    assert 0 < promising.sum() < len(flux)
    np.testing.assert_array_equal(logits[~promising], looks[0][~promising])
    for member in range(3):
        np.testing.assert_allclose(
            logits[promising, member], looks[member][promising, member], rtol=1e-4, atol=1e-4
        )
        assert not member or not np.allclose(logits[promising, member], looks[0][promising, member])


def test_the_fifth_member_looks_like_the_first():
    looks = np.arange(TURNS)[:, None, None] * np.ones((TURNS, 2, 6))
    assert own_turns(looks).tolist() == [[0, 1, 2, 3, 0, 1]] * 2


# A quotient beyond float32 is set to sky.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_extreme_pixels_get_finite_scores(loaded, flux):
    extreme = flux[:4].copy()
    extreme[0, 50, 50] = 3e38
    extreme[1] = 0.0
    extreme[2] = np.nan
    extreme[3] *= 1e-30
    assert np.isfinite(loaded.logits(extreme)).all()


def test_description_survives(measured_bundle):
    bundle = check_bundle(str(measured_bundle))
    assert bundle.description.members == ("tiny-fold0", "tiny-fold1", "tiny-fold2")
    assert bundle.description.fields == FieldFacts(0.1, 70, 150, {})
    endings = {path.suffix for path in measured_bundle.iterdir()}
    assert not endings & {".pkl", ".keras", ".h5"}


@pytest.mark.parametrize(
    "name", ["ensemble.json", "fields.parquet", "heads.npz", "tiny.json", "tiny.npz"]
)
@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.99])
def test_a_changed_byte_is_refused(copied, name, where):
    content = bytearray((copied / name).read_bytes())
    content[int(where * len(content))] ^= 0x04
    (copied / name).write_bytes(content)
    with pytest.raises(EnsembleError, match=r"ensemble .*copy: "):
        check_bundle(str(copied))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3, but this lensweep reads lensweep-ensemble versions 1 to 2"),
        ({"format": "other"}, "format other"),
        ({"stretch": None, "thresholds": None}, "lacks stretch, thresholds"),
    ],
)
def test_another_manifest_is_refused(copied, change, message):
    path = copied / "ensemble.json"
    manifest = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    with pytest.raises(EnsembleError, match=message):
        check_bundle(str(copied))


def test_a_missing_file_is_refused(copied):
    (copied / "tiny.npz").unlink()
    with pytest.raises(EnsembleError, match=r"tiny\.npz has SHA-256 no such file"):
        check_bundle(str(copied))


def test_no_bundle(tmp_path):
    with pytest.raises(EnsembleError, match=r"neither a folder with ensemble\.json nor a shipped"):
        check_bundle(str(tmp_path))


def test_refused_before_tensorflow_is_imported(copied):
    (copied / "heads.npz").write_bytes(b"")
    code = (
        "import sys, lensweep\n"
        "from lensweep.ground.errors import InputError\n"
        "try:\n"
        f"    lensweep.scan(['a.fits'], {str(copied / 'run')!r}, ensemble={str(copied)!r})\n"
        "except InputError as error:\n"
        "    print(error)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heads.npz has SHA-256" in ran.stdout
    assert ran.stdout.endswith("False\n")
    assert not (copied / "run").exists()


def test_another_bundle_on_a_worker_is_refused(measured_bundle):
    with pytest.raises(EnsembleError, match="give every worker the same bundle"):
        load_ensemble(Scoring(str(measured_bundle), "0" * 64))


def test_summary():
    logits = np.array([[0.0, 0.0, 0.0], [-800.0, 0.0, 800.0]], np.float32)
    p_mean, p_std, logit_mean = summarise(logits)
    np.testing.assert_allclose(p_mean, [0.5, 0.5])
    np.testing.assert_allclose(p_std, [0.0, 0.5])
    np.testing.assert_allclose(logit_mean, [0.0, 0.0])
    assert summarise(logits[:, :1])[1].tolist() == [0.0, 0.0]


GOOD = PrecisionCheck(10_000, 0.9991, 98, 0.0004)


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (GOOD, True),
        (PrecisionCheck(9_999, 1.0, 100, 0.0), False),  # too few to tell
        (PrecisionCheck(10_000, 0.9989, 100, 0.0), False),
        (PrecisionCheck(10_000, 1.0, 97, 0.0), False),
        (PrecisionCheck(10_000, 1.0, 100, 0.0005), False),
    ],
)
def test_reduced_precision_has_to_keep_the_ranks(check, passed):
    assert check.passed is passed


def test_a_check_of_precision_is_kept_in_the_bundle(copied):
    before = check_bundle(str(copied))
    assert before.description.precision == {}
    after = record_precision(copied, "bfloat16", GOOD)
    assert after.description.precision == {"bfloat16": GOOD}
    assert after.sha256 != before.sha256
    # Another kind does not replace it.
    assert set(record_precision(copied, "float16", GOOD).description.precision) == {
        "bfloat16", "float16",
    }  # fmt: skip


def test_a_bundle_of_the_first_version_says_nothing_of_fields(copied):
    """Its calibration was on balanced sets: it is not taken for one on fields."""
    path = copied / "ensemble.json"
    manifest = json.loads(path.read_text()) | {
        "version": 1, "calibration": {"slope": 1.0, "intercept": 0.0, "training_prior": 0.5},
    }  # fmt: skip
    del manifest["fields"], manifest["sha256"]["fields.parquet"]
    manifest["manifest_sha256"] = _manifest_sha256(manifest)
    path.write_text(json.dumps(manifest))
    assert check_bundle(str(copied)).description.fields is None


def test_what_is_known_of_fields_changes_no_ensemble(copied):
    """Scores are the same, so a run that was made before it was known stays its own."""
    before = check_bundle(str(copied))
    table = pq.read_table(copied / "fields.parquet")
    after = record_fields(copied, table.slice(0, 700), FieldFacts(0.2, 9, 90, {"a": 1}))
    assert after.sha256 == before.sha256
    assert after.description.fields == FieldFacts(0.2, 9, 90, {"a": 1})
    assert pq.read_table(copied / "fields.parquet").num_rows == 700
