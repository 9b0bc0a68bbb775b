import subprocess
import sys

import pytest


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


@pytest.mark.gpu
def test_gpu_memory_grows_with_need():
    from deploy.accelerator import import_tensorflow

    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        pytest.skip("no NVIDIA GPU here")
    for gpu in gpus:
        assert tf.config.experimental.get_memory_growth(gpu)
