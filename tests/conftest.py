"""What several test files need: a tiny ensemble, small mosaics, a cluster, scans."""

import io
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from lensweep.deploy.environment import DASK_SETTINGS, THREAD_VARIABLES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# LSDB goes through the few rows of tests sooner than it is compiled.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that load a network take turns by a file in there: not with those of other tests.
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix=os.environ["PYTEST_XDIST_WORKER"])
    tempfile.tempdir = None

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from drizzled_files import add_star, write_hla
from forked_programs import begin_server

from lensweep.__main__ import main
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_additions import record_fields
from lensweep.scanner.network.bundle_store import save_bundle
from lensweep.scanner.network.ensemble import Description, FieldFacts, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.results.worth import as_field_scores
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.work.scan import Outcome, run_scan

# Workers within this process are set as those of a scan.
dask.config.set(DASK_SETTINGS)

# What takes minutes begins first, so that at the end no core waits for another.
LONGEST = (
    "test_slurm", "test_train", "test_backbones", "test_faults", "test_resume",
    "test_shipped_ensemble", "test_outlook", "test_inspection_page", "test_grades_command",
    "test_published_networks", "test_tutorial", "test_object_store", "test_comparison",
    "test_two_bands", "test_netns", "test_run", "test_lens_parameters", "test_inspection_server",
    "test_commands", "test_targets", "test_kernel_pca", "test_damage", "test_opened_run",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else 99)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """One worker per core: threads of one would wait, busily, for those of the others.

    A worker itself could not say so: plugins have imported NumPy before it comes to this file.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def pytest_sessionstart():
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Whoever needs one finds a server that has imported all.
        begin_server()


@pytest.fixture(scope="session", autouse=True)
def _no_data_of_the_user(tmp_path_factory):
    """Grades that the user has fetched, and what is known of devices, must not change tests."""
    for name in ("LENSWEEP_DATA", "LENSWEEP_CACHE"):
        os.environ[name] = str(tmp_path_factory.mktemp("of_the_user"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real Hubble pixels."""
    folder = os.environ.get("LENSWEEP_REAL_DATA")
    if not folder:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Path:
    """An ensemble of three members on a network of one small convolution.

    It was measured on no fields: what a score is worth takes half a second of every scan.
    """
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny-3fold", None)


@pytest.fixture(scope="session")
def measured_bundle(tiny_bundle, tmp_path_factory) -> Path:
    """The same, measured on fields."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny-3fold"
    return with_field_scores(Path(shutil.copytree(tiny_bundle, folder)))


@pytest.fixture(scope="session")
def estimator_bundle(tmp_path_factory) -> Path:
    """Three lines through nine numbers of a cutout: workers have it without TensorFlow."""
    pytest.importorskip("skops", reason="finders of scikit-learn are kept by skops")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from lensweep.training.published.morphology import Morphology

    flux = np.random.default_rng(0).normal(size=(20, 100, 100)).astype(np.float32)
    finder = make_pipeline(Morphology(), LogisticRegression()).fit(flux, np.arange(20) % 2)
    heads = {"line": (np.array([[1.0, 1.1, 0.9]], "f4"), np.array([0.0, 0.1, -0.1], "f4"))}
    description = describe_tiny("line", (Trunk("line", ("line-0", "line-1", "line-2")),))
    folder = tmp_path_factory.mktemp("bundles") / "line"
    save_bundle(folder, description, {"line": finder}, heads)
    return folder


@pytest.fixture(scope="session")
def second_look_bundle(tmp_path_factory) -> Path:
    """A measured one with second looks at about half of what is scored."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny-3fold"
    return with_field_scores(write_tiny_bundle(folder, -4.5))


def with_field_scores(folder, **made_from) -> Path:
    facts = FieldFacts(0.1, 70, 150, made_from)
    record_fields(folder, as_field_scores(drawn_field_scores()), facts)
    return folder


def write_tiny_bundle(folder, second_look) -> Path:
    import keras

    keras.utils.set_random_seed(5)
    inputs = keras.Input((100, 100, 3))
    features = keras.layers.Conv2D(6, 5, strides=5, activation="relu")(inputs)
    features = keras.layers.GlobalAveragePooling2D()(features)
    trunk = keras.Model(inputs, features)
    rng = np.random.default_rng(5)
    heads = {"tiny": (rng.normal(0, 20, (6, 3)).astype("f4"), rng.normal(0, 1, 3).astype("f4"))}
    members = ("tiny-fold0", "tiny-fold1", "tiny-fold2")
    description = describe_tiny("tiny-3fold", (Trunk("tiny", members, second_look),))
    save_bundle(folder, description, {"tiny": trunk}, heads)
    return folder


def describe_tiny(name, trunks) -> Description:
    return Description(
        name=name,
        trunks=trunks,
        stretch=Stretch(),
        band="F814W",
        pixel_scale_arcsec=0.05,
        cutout_size=100,
        # So low that every scored window is a detection.
        thresholds={"fpr_0.3": -1e6},
        metrics={},
        training={},
    )


def drawn_field_scores() -> pd.DataFrame:
    """Scores of lenses, and of other candidates that are rarer the better: of no network."""
    rng, parts = np.random.default_rng(6), []
    for centres in ("grid", "sources"):
        for is_lens, scores in (
            (True, rng.normal(0.0, 3.0, 150)), (False, rng.exponential(1.0, 400) - 6.0),
        ):  # fmt: skip
            kind = "lensed_galaxy" if is_lens else "merger"
            parts.append(pd.DataFrame(
                {"centres": centres, "is_lens": is_lens, "kind": kind, "seed": 0,
                 "logit_mean": scores, "weight": 1.0}
            ))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def write_field(path, seed, shape=(420, 730), blank_columns=150, **write_options) -> Path:
    """A small HLA mosaic: noise, 40 stars, and a strip without weight along its left edge."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(0.0, 0.01, shape)
    for _ in range(40):
        add_star(flux, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), rng.uniform(1, 40), 1.5)
    weight = np.full(shape, 2028.0, np.float32)
    weight[:, :blank_columns] = 0.0
    flux[:, :blank_columns] = 0.0
    return write_hla(path, flux.astype(np.float32), weight, **write_options)


@pytest.fixture(scope="session")
def one_field(tmp_path_factory) -> Path:
    """One small mosaic, to be read only."""
    return write_field(tmp_path_factory.mktemp("field") / "field_f814w_drz.fits", seed=3)


@pytest.fixture
def field(one_field, tmp_path) -> Path:
    """One small mosaic."""
    return Path(shutil.copy(one_field, tmp_path))


@pytest.fixture(scope="session")
def client():
    """A Dask cluster within this process."""
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as opened:
        yield opened


def scan_here(client, bundle, mosaics, out, hold=lambda: None, **options) -> Outcome:
    """A scan of all windows in shards of 16, as the command does it, with few to draw."""
    few = {"windows_per_shard": 16, "merge_radius_arcsec": 10.0, "screen": "off"}
    options = few | {"ensemble": str(bundle)} | options
    config = ScanConfig(tuple(str(path) for path in mosaics), str(out), **options)
    opened, paths = open_run(config)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    return run_scan(config, opened, paths, client, progress, hold)


@pytest.fixture
def scan(client, tiny_bundle):
    """`scan_here` with the tiny ensemble: ``scan(mosaics, out, **options)``."""
    return lambda mosaics, out, **options: scan_here(client, tiny_bundle, mosaics, out, **options)


@pytest.fixture(scope="session")
def finished_run(client, tiny_bundle, one_field, tmp_path_factory) -> Path:
    """The folder of a finished scan of `one_field`, to be read only."""
    root = tmp_path_factory.mktemp("finished") / "run"
    return scan_here(client, tiny_bundle, [one_field], root).paths.root


@pytest.fixture
def finished(finished_run, tmp_path) -> RunPaths:
    """A finished scan of `one_field`, to be changed and continued."""
    return RunPaths(Path(shutil.copytree(finished_run, tmp_path / "run")))


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``lensweep ...``: exit status, and what it printed."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lensweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code, printed.out + printed.err

    return call


def run_command(*arguments) -> tuple[int, str]:
    """As `command`, for fixtures that more than one test shares."""
    said = io.StringIO()
    with (
        patch.object(sys, "argv", ["lensweep", *map(str, arguments)]),
        redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as end,
    ):  # fmt: skip
        main()
    return end.value.code, said.getvalue()


@pytest.fixture(scope="session")
def object_server():
    """A server on loopback that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'lensweep[s3]'")
    from moto.server import ThreadedMotoServer

    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def store(object_server, monkeypatch, tmp_path):
    """A new bucket, and the environment in which whoever reads `s3://` finds it."""
    return new_bucket(object_server, monkeypatch, tmp_path.name)


def new_bucket(object_server, monkeypatch, name) -> str:
    """`store`, for as long as a patch lasts."""
    import s3fs

    said = {"ENDPOINT_URL": object_server, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "much-ado",
            "DEFAULT_REGION": "us-east-1", "EC2_METADATA_DISABLED": "true"}  # fmt: skip
    for variable, value in said.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    bucket = f"survey-{name.replace('_', '-').lower()}"[:60].strip("-")
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"
