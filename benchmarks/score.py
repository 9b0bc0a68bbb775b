"""Scores of cutouts: one network, the ensemble of a bundle, and other ways to run both.

    python benchmarks/score.py [BUNDLE] [N_CUTOUTS] [ROUNDS]

From N_CUTOUTS (256) simulated cutouts in e-/s to the logits of all members of BUNDLE
(xception-7fold), in ROUNDS (5) after one that warms up. ONNX Runtime and OpenVINO
(`pip install '.[bench]'`) are skipped where they are not installed.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from contest import Way, Work, contest, print_table
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.batch_size import CPU_BATCH
from lensweep.scanner.network.bundle_store import HEADS, check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.networks import load_network, reduced_precision
from lensweep.training.simulation.simulate import plan_kinds, simulate

PREDICT_BATCH = 32  # as keras.predict has it
DISTINCT = 64  # simulated cutouts; repeated, since simulating costs more than scoring
MATRIX = 2048


def main(name: str, n_cutouts: int, rounds: int) -> None:
    """Let the ways take turns, print their rates and what that is of the processor's peak."""
    folder = check_bundle(name).folder
    with tempfile.TemporaryDirectory() as scratch:
        cutouts = str(Path(scratch) / "cutouts.npy")
        drawn = np.stack([one.flux for one in simulate(plan_kinds(DISTINCT, 1), 1)])
        np.save(cutouts, np.resize(drawn, (n_cutouts, *drawn.shape[1:])))
        reduced = reduced_precision() or "full"
        ways = [
            Way("keras.predict, one network", keras_once, (folder, cutouts)),
            Way("keras.predict, every fold", keras_per_fold, (folder, cutouts)),
            Way("lensweep, one member", ours, (folder, cutouts, "full", True)),
            Way("lensweep, ensemble", ours, (folder, cutouts, "full", False)),
            Way(f"lensweep, ensemble, {reduced}", ours, (folder, cutouts, reduced, False)),
            Way(f"lensweep, second looks, {reduced}", two_looks, (folder, cutouts, reduced)),
            Way("ONNX Runtime, ensemble", onnx, (folder, cutouts)),
            Way("OpenVINO, ensemble", openvino, (folder, cutouts, "f32")),
            Way("OpenVINO, ensemble, bf16", openvino, (folder, cutouts, "bf16")),
        ]
        if check_bundle(name).description.screen is not None:
            ways.append(Way("lensweep, its screen alone", screen, (folder, cutouts)))
        peaks = [Way("float32", matrix_product, ("float32",)),
                 Way("bfloat16", matrix_product, ("bfloat16",))]  # fmt: skip
        results = contest([*ways, *peaks], rounds)
        best = {peak.name: results.pop(peak.name).rate for peak in peaks}
        print_table(results, "cutouts", "keras.predict, every fold")
        flop = flop_per_cutout(folder)
        print(f"\n{flop / 1e9:.2f} GFLOP per cutout; best matrix product "
              f"{best['float32'] / 1e9:,.0f} GFLOP/s in float32, "
              f"{best['bfloat16'] / 1e9:,.0f} in bfloat16\n")  # fmt: skip
        print("| way | GFLOP/s | of the best matrix product |\n|---|---|---|")
        for runs in results.values():
            # The screen is another network, and how many cutouts have a second look is not counted.
            if not runs.skipped and "screen" not in runs.name and "second" not in runs.name:
                passes = members(folder) if "every fold" in runs.name else 1
                done = runs.rate * flop * passes
                peak = best["bfloat16" if "f16" in runs.name or "float16" in runs.name
                            else "float32"]  # fmt: skip
                print(f"| {runs.name} | {done / 1e9:,.0f} | {done / peak:.0%} |")


def members(folder: str) -> int:
    """How many members the bundle has."""
    return len(check_bundle(folder).description.members)


def heads_of(folder: str) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of the heads."""
    with np.load(Path(folder) / HEADS) as heads:
        return dict(heads)


def flop_per_cutout(folder: str) -> float:
    """Floating-point operations of the trunks, as TensorFlow counts them."""
    tf = import_tensorflow()
    v1, total = tf.compat.v1, 0.0
    for trunk in check_bundle(folder).description.trunks:
        model = load_network(Path(folder), trunk.name)
        spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        graph = tf.function(model).get_concrete_function(spec).graph
        options = v1.profiler.ProfileOptionBuilder(
            v1.profiler.ProfileOptionBuilder.float_operation()
        )
        profile = v1.profiler.profile(graph, options=options.with_empty_output().build())
        total += float(profile.total_float_ops)
    return total


def ours(folder: str, cutouts: str, precision: str, one_member: bool) -> Work:
    """`Ensemble.first_look`, of all members or with the head of one."""
    flux, ensemble = np.load(cutouts), Ensemble(check_bundle(folder), precision, "off")
    if one_member:
        trunk = ensemble._trunks[0]
        ensemble._trunks = [
            dataclasses.replace(trunk, weights=trunk.weights[:, :1], biases=trunk.biases[:1])
        ]

    def work() -> float:
        return float(len(ensemble.first_look(flux)))

    return work


def two_looks(folder: str, cutouts: str, precision: str) -> Work:
    """`Ensemble.logits`: the simulated lenses, half of the cutouts, are looked at again."""
    flux, ensemble = np.load(cutouts), Ensemble(check_bundle(folder), precision, "off")

    def work() -> float:
        return float(len(ensemble.logits(flux)))

    return work


def screen(folder: str, cutouts: str) -> Work:
    """The first network that most windows see."""
    flux, ensemble = np.load(cutouts), Ensemble(check_bundle(folder), "auto", "on")

    def work() -> float:
        return float(len(ensemble.screen_logits(flux)))

    return work


def keras_chains(folder: str) -> tuple[Any, list[Any]]:
    """Stretch, and a Keras model per member: its trunk and its head."""
    import_tensorflow()
    import keras

    bundle, chains, heads = check_bundle(folder), [], heads_of(folder)
    for trunk in bundle.description.trunks:
        network = load_network(Path(folder), trunk.name)
        for number in range(len(trunk.members)):
            head = keras.layers.Dense(1)
            chain = keras.Model(network.input, head(network.output))
            head.set_weights([heads[f"{trunk.name}.weights"][:, number : number + 1],
                              heads[f"{trunk.name}.biases"][number : number + 1]])  # fmt: skip
            chains.append(chain)
    return bundle.description.stretch, chains


def keras_once(folder: str, cutouts: str) -> Work:
    """One pass of one network."""
    flux = np.load(cutouts)
    stretch, chains = keras_chains(folder)

    def work() -> float:
        return float(len(chains[0].predict(stretch(flux), PREDICT_BATCH, verbose=0)))

    return work


def keras_per_fold(folder: str, cutouts: str) -> Work:
    """What a notebook does: one pass per member."""
    flux = np.load(cutouts)
    stretch, chains = keras_chains(folder)

    def work() -> float:
        scaled = stretch(flux)
        for chain in chains:
            chain.predict(scaled, PREDICT_BATCH, verbose=0)
        return float(len(flux))

    return work


def in_batches(flux: NDArray[np.float32], folder: str, run: Any) -> Work:
    """The ensemble by a runtime that gives features of the first trunk."""
    bundle = check_bundle(folder)
    name, stretch = bundle.description.trunks[0].name, bundle.description.stretch
    weights, biases = (heads_of(folder)[f"{name}.{part}"] for part in ("weights", "biases"))

    def work() -> float:
        for first in range(0, len(flux), CPU_BATCH):
            run(stretch(flux[first : first + CPU_BATCH])) @ weights + biases
        return float(len(flux))

    return work


def onnx(folder: str, cutouts: str) -> Work:
    """ONNX Runtime on the exported trunk."""
    import onnxruntime
    import tf2onnx

    tf = import_tensorflow()
    model = load_network(Path(folder), check_bundle(folder).description.trunks[0].name)
    spec = (tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images"),)
    exported, _ = tf2onnx.convert.from_function(tf.function(model), input_signature=spec)
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def run(scaled: NDArray[np.float32]) -> Any:
        return session.run(None, {"images": scaled})[0]

    return in_batches(np.load(cutouts), folder, run)


def openvino(folder: str, cutouts: str, precision: str) -> Work:
    """OpenVINO on the exported trunk."""
    import openvino as ov

    import_tensorflow()
    model = load_network(Path(folder), check_bundle(folder).description.trunks[0].name)
    with tempfile.TemporaryDirectory() as saved:
        model.export(saved, verbose=False)
        compiled = ov.compile_model(
            ov.convert_model(saved), "CPU", {"INFERENCE_PRECISION_HINT": precision}
        )

    def run(scaled: NDArray[np.float32]) -> Any:
        return compiled(scaled)[0]

    return in_batches(np.load(cutouts), folder, run)


def matrix_product(precision: str) -> Work:
    """The fastest that this processor computes."""
    tf = import_tensorflow()
    factors = tf.cast(tf.random.normal((2, MATRIX, MATRIX), seed=0), precision)

    def work() -> float:
        for _ in range(5):
            tf.linalg.matmul(factors[0], factors[1])[0, 0].numpy()
        return 5 * 2.0 * MATRIX**3

    return work


if __name__ == "__main__":
    words = (*sys.argv[1:], *("xception-7fold", "256", "5")[len(sys.argv) - 1 :])
    main(words[0], int(words[1]), int(words[2]))
