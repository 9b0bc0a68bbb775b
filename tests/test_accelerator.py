import subprocess
import sys
import threading

import pytest

from lensweep.deploy.accelerator import loading_turn


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_tensorflow_starts_without_a_word():
    done = run(
        "from deploy.accelerator import import_tensorflow as load\n"
        "print(load().constant(2.0).numpy())"
    )
    assert done.stdout.strip() == "2.0"
    assert done.stderr == ""


def test_what_was_written_before_a_failure_is_shown():
    done = run(
        "import os\n"
        "from deploy.accelerator import native_stderr_aside\n"
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
        "from deploy.accelerator import loading_turn\n"
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
