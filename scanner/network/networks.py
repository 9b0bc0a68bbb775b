"""Networks of a bundle: how they lie in its folder, and how they run.

A network is a Keras graph (`<name>.json`) and its weights (`<name>.npz`). It runs as a frozen
graph, which on a device begins with flux: its variables are constants, so that TensorFlow folds,
fuses and, where it may, rewrites them for half precision, and nothing of Keras stays in memory.
"""

import ctypes
import gc
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow, loading_turn, native_stderr_aside
from lensweep.scanner.network.graph_input import graph_inputs, images_of_looks
from lensweep.scanner.network.looks import Looks, empty_looks
from lensweep.scanner.network.stretch import Stretch

if TYPE_CHECKING:
    import keras

Network = Callable[[Looks], NDArray[np.float32]]
# TensorFlow's rewrites of a float32 graph, by the precision that they compute in and whether on a
# GPU. No processor is faster in float16: there it shows what the rewrite does.
_REWRITES = {
    ("bfloat16", False): "auto_mixed_precision_onednn_bfloat16",
    ("float16", False): "auto_mixed_precision_cpu",
    ("float16", True): "auto_mixed_precision",
}
# Those that have nothing to do on a frozen network; each takes a copy of it all the same.
_IDLE_REWRITES = (
    "shape_optimization", "dependency_optimization", "loop_optimization", "function_optimization",
    "debug_stripper", "scoped_allocator_optimization", "pin_to_host_optimization",
    "implementation_selector", "common_subgraph_elimination",
)  # fmt: skip
_CPUINFO = Path("/proc/cpuinfo")
_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
# Tensor cores for half precision came with NVIDIA's compute capability 7.0 (Volta).
_GPU_CAPABILITY = (7, 0)


def network_files(name: str) -> tuple[str, str]:
    """The names of a network's files."""
    return f"{name}.json", f"{name}.npz"


def save_network(folder: Path, name: str, model: "keras.Model", half: bool) -> None:
    """Write a network.

    Parameters
    ----------
    folder : Path
    name : str
    model : keras.Model
    half : bool
        Keep the kernels of its convolutions in half precision.
    """
    graph, weights = (folder / file for file in network_files(name))
    layers = json.loads(model.to_json())
    # How it was trained is no part of it, and an optimiser would be built with it.
    layers.pop("compile_config", None)
    graph.write_text(json.dumps(layers))
    arrays: dict[str, Any] = {
        key: value.astype(np.float16) if half and value.ndim == 4 else value
        for key, value in zip(_weight_names(model), model.get_weights(), strict=True)
    }
    np.savez(weights, **arrays)


def load_network(folder: Path, name: str) -> "keras.Model":
    """Load a network as a Keras model, everything in float32."""
    import_tensorflow()
    import keras

    graph, weights = (folder / file for file in network_files(name))
    model = keras.models.model_from_json(graph.read_text())
    with np.load(weights, allow_pickle=False) as arrays:
        model.set_weights([arrays[key].astype(np.float32) for key in _weight_names(model)])
    model.trainable = False
    return model


def freeze(
    model: "keras.Model",
    stretch: Stretch,
    reduced: str | None = None,
    from_flux: bool | None = None,
) -> Network:
    """Freeze a network for inference.

    Parameters
    ----------
    model : keras.Model
        (n, size, size, 3) to (n, features).
    stretch : Stretch
        Of what it was trained on.
    reduced : str or None
        `bfloat16` or `float16`: compute convolutions and matrix products in that.
    from_flux : bool, optional
        Whether noise units, turns and the stretch are part of the graph; by default on GPUs.

    Returns
    -------
    callable
        From looks to features, float32; any n, best always the same one.
    """
    arrays = [
        [variable.numpy() for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    from_flux = on_gpu() if from_flux is None else from_flux
    return _freeze(model, arrays, stretch, reduced, from_flux)


def load_frozen(folder: Path, name: str, stretch: Stretch, reduced: str | None = None) -> Network:
    """Load a network for inference, and give back the memory that this took."""
    import_tensorflow()
    import keras

    graph, weights = (folder / file for file in network_files(name))
    # Its variables are never given values: those go from the file into the frozen graph.
    with keras.StatelessScope(initialize_variables=False):
        model = keras.models.model_from_json(graph.read_text())
    model.trainable = False
    with np.load(weights, allow_pickle=False) as kept:
        names = dict(zip(map(id, model.weights), _weight_names(model), strict=True))
        # What no file keeps is the random state of layers that do nothing here.
        values = [
            kept[names[id(variable)]] if id(variable) in names
            else np.zeros(variable.shape, variable.dtype)
            for variable in model.non_trainable_variables
        ]  # fmt: skip
    with loading_turn(), native_stderr_aside():
        size = model.input_shape[1]
        network = _freeze(model, [[], values], stretch, reduced, on_gpu())
        del model, values
        gc.collect()
        if not on_gpu():
            # The first call rewrites the graph, and tells that it does. A GPU chooses its
            # algorithms for every size anew: it is called with that of its batches
            # (`lensweep.scanner.network.inference`).
            network(empty_looks(1, size))
    _trim()
    return network


def _freeze(
    model: "keras.Model",
    arrays: Sequence[Sequence[NDArray[Any]]],
    stretch: Stretch,
    reduced: str | None,
    from_flux: bool,
) -> Network:
    """Freeze a network with these values of its trainable and its other variables.

    Kernels in half precision become float32 within TensorFlow, which then holds fewer copies of
    the wide ones while it rewrites the graph.
    """
    tf = import_tensorflow()

    def constant(array: NDArray[Any]) -> Any:
        value = tf.constant(array)
        return tf.cast(value, tf.float32) if array.dtype == np.float16 else value

    graph = tf.Graph()
    with graph.as_default():
        # Constants at once: TensorFlow's own way from variables to constants takes twice the
        # memory.
        inputs, images = graph_inputs(stretch, model.input_shape[1], from_flux)
        constants = [[constant(array) for array in several] for several in arrays]
        outputs, _ = model.stateless_call(*constants, images, training=False)
    # A session has options of its own, where those of eager TensorFlow hold for the process.
    session = tf.compat.v1.Session(graph=graph, config=_options(tf, reduced))

    def run(looks: Looks) -> NDArray[np.float32]:
        columns = looks.columns if from_flux else (images_of_looks(stretch, looks),)
        fed = dict(zip(inputs, columns, strict=True))
        return np.asarray(session.run(outputs, fed), np.float32)

    return run


def _options(tf: Any, reduced: str | None) -> Any:
    options = tf.compat.v1.ConfigProto()
    options.gpu_options.allow_growth = True
    # Nothing is added to the graph later: no second copy of it is kept.
    options.experimental.optimize_for_static_graph = True
    options.experimental.disable_output_partition_graphs = True
    rewrites = options.graph_options.rewrite_options
    for name in _IDLE_REWRITES:
        setattr(rewrites, name, rewrites.OFF)
    rewrites.memory_optimization = rewrites.NO_MEM_OPT
    if not on_gpu():
        # Processors take channels last, as the networks have them.
        rewrites.layout_optimizer = rewrites.OFF
    if reduced is not None:
        setattr(rewrites, _REWRITES[reduced, on_gpu()], rewrites.ON)
    return options


def reduced_precision() -> str | None:
    """The reduced precision that this machine is fast in: `bfloat16`, `float16`, or None."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "float16" if found is not None and found >= _GPU_CAPABILITY else None
    return "bfloat16" if processor_has_bfloat16() else None


def processor_has_bfloat16() -> bool:
    """Whether products in bfloat16 are faster here: without, they take three times as long.

    Elsewhere than on Linux no processor says, and TensorFlow has no oneDNN.
    """
    flags = set(_CPUINFO.read_text().split()) if _CPUINFO.is_file() else set()
    return bool(flags & _CPU_FLAGS)


def device_name() -> str:
    """What computes here, as far as batches and rounding may depend on it."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{processor_name()}, TensorFlow {tf.__version__}"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"{details.get('device_name', 'GPU')}, TensorFlow {tf.__version__}"


def processor_name() -> str:
    """The processor's own name, or its kind where the system does not tell."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU here."""
    return bool(import_tensorflow().config.list_physical_devices("GPU"))


def _trim() -> None:
    """Give freed memory back to the system, where the C library is one that keeps it (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _weight_names(model: "keras.Model") -> list[str]:
    """A name per weight, unique and in the order of `get_weights`."""
    return [f"{index:04d}" for index in range(len(model.weights))]
