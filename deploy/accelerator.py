"""Set TensorFlow up in the process that is going to use it: GPUs, chatter, memory, and its end."""

import atexit
import fcntl
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lensweep.deploy.cores import usable_cores
from lensweep.deploy.environment import set_in_environment

# What Keras draws with and wraps models for, if it finds them: nothing here asks it to, and they
# are a quarter of what it takes to import.
_BESIDES = ("matplotlib.pyplot", "sklearn")


class BackendError(RuntimeError):
    """Keras runs on something else than TensorFlow in this process."""


def import_tensorflow(bare: bool = False) -> Any:
    """Import TensorFlow, and Keras on it, whatever the user has set for other programs.

    GPU memory grows with need: without that the first process takes a whole GPU. Start-up notes
    (which instructions the build uses, that there is no GPU driver) are kept back: they come from
    C++ before logging is set up, on every worker, and no setting of TensorFlow's own stops them; if
    the import fails they are shown.

    Parameters
    ----------
    bare : bool
        Without what Keras can do without, as in every worker.

    Returns
    -------
    module
        `tensorflow`.

    Raises
    ------
    BackendError
        If this process has imported Keras already, on another backend.
    """
    if not {"tensorflow", "keras"} <= sys.modules.keys():
        with native_stderr_aside(), _keras_on_tensorflow(), _found_by_nobody(_BESIDES, bare):
            _import_both()
    backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise BackendError(
            f"Keras runs on {backend} in this process, but lensweep's networks need TensorFlow; "
            "start another process, and import lensweep before Keras"
        )
    return sys.modules["tensorflow"]


def _import_both() -> None:
    # Memory of a GPU grows with need, in processes that are forked off this one too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # cuDNN's own choice of algorithms, instead of timing them for every size of every layer: on an
    # H200 as fast, seconds sooner, and the same every time, so that scores are.
    os.environ.setdefault("TF_CUDNN_USE_AUTOTUNE", "0")
    import keras  # noqa: F401  (its backend is what prints next)
    import tensorflow  # noqa: F401


@contextmanager
def _found_by_nobody(modules: Sequence[str], bare: bool) -> Iterator[None]:
    """While Keras is imported by a worker: what it can do without is not there.

    A process of the user's own, in which Keras may draw, finds everything.
    """
    hidden = [n for n in modules if (bare or _is_worker()) and n not in sys.modules]
    # Python's own way to say that there is no such module.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _keras_on_tensorflow() -> Iterator[None]:
    """While Keras is imported: its backend, and an empty folder instead of the user's settings.

    Keras reads `keras.json` of its folder (backend, kind of floats, order of axes), and writes one
    that is not there. Processes that are started later see the environment as the user set it.
    """
    with (
        tempfile.TemporaryDirectory() as empty,
        set_in_environment({"KERAS_BACKEND": "tensorflow", "KERAS_HOME": empty}),
    ):
        yield


@contextmanager
def loading_turn() -> Iterator[None]:
    """Wait until few of this machine's processes load a network: one per four cores.

    Loading takes 0.3 GB more than what is loaded; all at once would take that for every process.
    Nothing is left to undo by a process that is killed.
    """
    places = max(1, usable_cores() // 4)
    name = f"lensweep-{os.getuid()}-loading-{os.getpid() % places}"
    # Nobody else's file is touched, whatever stands under that name.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(os.path.join(tempfile.gettempdir(), name), flags, 0o600)  # noqa: PTH118
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def end_at_once() -> None:
    """Let this process, if it is a worker's, end without taking TensorFlow apart.

    Python would take 1.5 s to free what the system frees anyhow.
    """
    if _is_worker():
        atexit.unregister(_end)
        atexit.register(_end)


def _is_worker() -> bool:
    return multiprocessing.parent_process() is not None


def _end() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def native_stderr_aside() -> Iterator[None]:
    """Collect what this process writes to file descriptor 2; show it only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        worth_showing = True
        try:
            yield
            worth_showing = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if worth_showing:
                aside.seek(0)
                os.write(2, aside.read())
