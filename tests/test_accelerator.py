import json
import multiprocessing
import subprocess
import sys
import threading

import pytest

from lensweep.deploy.accelerator import loading_turn


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def new_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def imported(new_home):
    """A process that has imported TensorFlow, of a user who has set nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(new_home))
        for name in ("KERAS_BACKEND", "KERAS_HOME"):
            patch.delenv(name, raising=False)
        return run(
            "from lensweep.deploy.accelerator import import_tensorflow as load\n"
            "print(load().constant(2.0).numpy())"
        )


def test_tensorflow_starts_without_a_word(imported):
    assert imported.stdout.strip() == "2.0"
    assert imported.stderr == ""


def test_the_users_home_is_not_written(imported, new_home):
    assert imported.returncode == 0, imported.stderr
    assert not (new_home / ".keras").exists()


def test_keras_runs_on_tensorflow_whatever_the_user_has_set(tmp_path, monkeypatch):
    """By its variable, or in a file of its folder, which says more than the backend."""
    kept = json.dumps({"backend": "jax", "floatx": "float16", "image_data_format": "channels_first",
                       "epsilon": 1e-3})  # fmt: skip
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(kept)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    done = run(
        "from lensweep.training.fit.keras_on_tensorflow import keras\n"
        "settings = keras.config\n"
        "print(settings.backend(), settings.floatx(), settings.image_data_format())\n"
        "import os; print(os.environ['KERAS_BACKEND'], os.environ.get('KERAS_HOME'))\n"
    )
    assert done.stdout.splitlines() == ["tensorflow float32 channels_last", "jax None"]
    assert (tmp_path / ".keras" / "keras.json").read_text() == kept


def test_keras_on_another_backend_is_refused():
    """As in a notebook that has imported it before."""
    done = run(
        "import sys, types\n"
        "keras = types.ModuleType('keras')\n"
        "keras.config = types.SimpleNamespace(backend=lambda: 'jax')\n"
        "sys.modules['keras'] = keras\n"
        "from lensweep.deploy.accelerator import import_tensorflow\nimport_tensorflow()\n"
    )
    assert done.returncode == 1
    assert "Keras runs on jax in this process" in done.stderr


def test_what_was_written_before_a_failure_is_shown():
    done = run(
        "import os\n"
        "from lensweep.deploy.accelerator import native_stderr_aside\n"
        "with native_stderr_aside():\n"
        "    os.write(2, b'driver is broken\\n')\n"
        "    raise ImportError('no tensorflow')\n"
    )
    assert done.returncode == 1
    assert "driver is broken" in done.stderr
    assert "no tensorflow" in done.stderr


def test_networks_are_loaded_in_turns(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    entered = threading.Event()

    def load():
        with loading_turn():
            entered.set()

    other = threading.Thread(target=load)
    with loading_turn():
        other.start()
        assert not entered.wait(0.2)
    other.join()
    assert entered.is_set()
    # One that is killed in its turn keeps nobody waiting.
    killed = run(
        f"import os, tempfile\ntempfile.tempdir = {str(tmp_path)!r}\n"
        "from lensweep.deploy.accelerator import loading_turn\n"
        "with loading_turn():\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert killed.returncode == -9
    load()


@pytest.mark.gpu
def test_gpu_memory_grows_with_need():
    from lensweep.deploy.accelerator import import_tensorflow

    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        pytest.skip("no NVIDIA GPU here")
    for gpu in gpus:
        assert tf.config.experimental.get_memory_growth(gpu)


def what_keras_brought():
    from lensweep.deploy.accelerator import import_tensorflow

    import_tensorflow()
    brought = [name for name in ("matplotlib.pyplot", "sklearn") if name in sys.modules]
    import sklearn.linear_model  # noqa: F401 - is there for whoever asks

    return brought


def test_a_worker_does_not_wait_for_what_keras_draws_with():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(what_keras_brought) == []
