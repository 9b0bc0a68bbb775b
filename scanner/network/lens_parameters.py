"""A network that estimates the parameters of a lens, as it lies on disk and as it runs.

After Hezaveh, Perreault Levasseur & Marshall (2017, Nature 548, 555): a cutout in, the parameters
of a singular isothermal ellipsoid out. Uncertainties are those of Perreault Levasseur, Hezaveh &
Wechsler (2017, ApJL 850, L7): the network tells the noise of each parameter itself, and passes with
other units dropped tell what it does not know (Gal & Ghahramani 2016).

A folder holds `parameters.json` (what it is, and the SHA-256 of its other files), `network.json`
and `network.npz` (a Keras graph, from cutouts in circles to features) and `head.npz` (two dense
layers). No pickle anywhere.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.scanner.network.batch_size import CPU_BATCH
from lensweep.scanner.network.bundle_store import sha256_of
from lensweep.scanner.network.networks import load_network, network_files, on_gpu, save_network
from lensweep.scanner.network.polar_views import N_ANGLES, circles_of, polar_images
from lensweep.scanner.network.second_look import TURNS
from lensweep.scanner.network.shipped import find_shipped
from lensweep.scanner.network.stretch import Stretch

if TYPE_CHECKING:
    import keras

FORMAT, VERSION = "lensweep-parameters", 2
MANIFEST, NETWORK, HEAD = "parameters.json", "network", "head.npz"
# Ellipticity as lenstronomy has it: modulus (1 - q) / (1 + q), twice the angle from x towards y, so
# that an ellipse has one. The centre is counted from the middle of the cutout.
PARAMETERS = ("theta_e_arcsec", "ellipticity_1", "ellipticity_2", "x_arcsec", "y_arcsec")
GPU_BATCH = 256
# No network is surer than this of a parameter that varies by 1.
LEAST_LOG_SQUARE, LARGEST_LOG_SQUARE = -9.0, 4.0
# Cutouts in memory together, each in half a megabyte.
_BLOCK = 128


@dataclass(frozen=True)
class Estimates:
    """Parameters of lenses, and one standard deviation of each.

    Attributes
    ----------
    mean, error : ndarray, shape (n, 5), float64
        Of `PARAMETERS`.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class DroppedHead:
    """Two dense layers that are asked several times, each time with other units dropped.

    Which units a pass drops is drawn once: what is said of a cutout depends on nothing else.

    Attributes
    ----------
    kernel, bias : ndarray, shape (features, hidden) and (hidden,), float32
        Of the hidden layer, ReLU.
    out_kernel, out_bias : ndarray, shape (hidden, 10) and (10,), float32
        Medians of `PARAMETERS` (of the Einstein radius' logarithm), then the logarithms of the
        squared scales of their Laplace distributions, in units of `ParameterFacts`.
    dropout : float
        Share of units that a pass drops, before either layer.
    passes : int
    seed : int
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    out_kernel: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    dropout: float
    passes: int
    seed: int

    def __call__(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Medians and squared scales by every pass, each of shape (passes, n, 5).

        A Laplace distribution's variance is twice its squared scale; the widening of the errors
        makes up for that.
        """
        rng = np.random.default_rng([self.seed, 40])
        answers = np.empty((self.passes, len(features), self.out_bias.size), np.float32)
        for answer in answers:
            seen = features * self._kept(rng, len(self.kernel))
            hidden = np.maximum(seen @ self.kernel + self.bias, 0.0)
            hidden *= self._kept(rng, len(self.bias))
            answer[...] = hidden @ self.out_kernel + self.out_bias
        median, log_square = np.split(answers, 2, axis=-1)
        return median, np.exp(np.clip(log_square, LEAST_LOG_SQUARE, LARGEST_LOG_SQUARE))

    def _kept(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """What a pass multiplies units by: 0, or what makes up for those that are."""
        kept = rng.random(n) >= self.dropout
        return (kept / np.float32(1.0 - self.dropout)).astype(np.float32)


@dataclass(frozen=True)
class ParameterFacts:
    """What a network of lens parameters is; `parameters.json` without the hashes of its files.

    Attributes
    ----------
    name : str
    band : str
    pixel_scale_arcsec : float
    stretch : Stretch
    dropout : float
    passes : int
    seed : int
        Of the passes.
    middle, spread : tuple of float
        Mean and standard deviation in the training set of what the head tells: its units.
    widening : tuple of float
        By what the standard deviations of `PARAMETERS` are multiplied, so that they cover 68 % of
        held-out lenses.
    training : dict
        What it was trained on, and how.
    metrics : dict
        Of held-out lenses.
    """

    name: str
    band: str
    pixel_scale_arcsec: float
    stretch: Stretch
    dropout: float
    passes: int
    seed: int
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    widening: tuple[float, ...]
    training: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class ParameterNetwork:
    """A network of lens parameters, ready to run.

    Attributes
    ----------
    network : callable
        Images of `lensweep.scanner.network.polar_views.polar_images` to features.
    head : DroppedHead
    facts : ParameterFacts
    sha256 : str
        Of its manifest; empty for one that was never written.
    """

    network: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    head: DroppedHead
    facts: ParameterFacts
    sha256: str = ""

    def estimate(self, flux: NDArray[np.float32]) -> Estimates:
        """Estimate the parameters of the lens in each cutout, as if each held one.

        Every cutout is looked at in all quarter turns, and by every pass of the head.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s or any unit proportional to it; NaN where there is no data.
        """
        parts = [self._estimate(flux[first : first + _BLOCK])
                 for first in range(0, len(flux), _BLOCK)]  # fmt: skip
        if not parts:
            return Estimates(np.empty((0, len(PARAMETERS))), np.empty((0, len(PARAMETERS))))
        means, errors = zip(*parts, strict=True)
        return Estimates(np.concatenate(means), np.concatenate(errors))

    def _estimate(
        self, flux: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        circles = circles_of(flux)
        images = polar_images(self.facts.stretch, circles)
        looks = [np.roll(images, -turn * N_ANGLES // TURNS, axis=2) for turn in range(TURNS)]
        median, square = self.head(self.network(np.concatenate(looks)))
        spread = np.asarray(self.facts.spread)
        shape = (len(median), TURNS, len(flux), len(PARAMETERS))
        said = (median * spread + np.asarray(self.facts.middle)).reshape(shape)
        noise = (square * spread**2).reshape(shape)
        straight = [turned_back(said[:, turn], turn) for turn in range(TURNS)]
        # A quarter turn trades x for y; their noise is the mean over the turns all the same.
        noise[:, 1::2, :, 3:] = noise[:, 1::2, :, [4, 3]]
        said = np.stack(straight, axis=1)
        found = said.mean(axis=(0, 1))
        error = np.sqrt(noise.mean(axis=(0, 1)) + said.var(axis=(0, 1)))
        # What is told of the Einstein radius is its logarithm.
        found[:, 0] = np.exp(found[:, 0])
        error[:, 0] *= found[:, 0]
        found[:, 3:] += np.stack([circles.x_arcsec, circles.y_arcsec], axis=1)
        return found, error * np.asarray(self.facts.widening)


def turned_back(parameters: NDArray[np.floating], turn: int) -> NDArray[np.float64]:
    """Parameters of a cutout from those that were told of it after some quarter turns.

    Parameters
    ----------
    parameters : ndarray, shape (..., 5)
        Of `PARAMETERS`.
    turn : int
        As of `lensweep.scanner.network.second_look.turned`, which takes (x, y) to (y, -x).
    """
    back = np.array(parameters, np.float64)
    for _ in range(turn):
        back[..., 1:3] *= -1.0
        back[..., 3], back[..., 4] = -back[..., 4], back[..., 3].copy()
    return back


def save_parameter_network(
    folder: Path, model: "keras.Model", head: DroppedHead, facts: ParameterFacts
) -> None:
    """Write a network of lens parameters; the manifest comes last.

    Parameters
    ----------
    folder : Path
    model : keras.Model
        (n, *`lensweep.scanner.network.polar_views.SHAPE`) to (n, features).
    head : DroppedHead
    facts : ParameterFacts
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    save_network(folder, NETWORK, model, half=True)
    arrays: dict[str, Any] = {name: getattr(head, name) for name in _ARRAYS}
    np.savez(folder / HEAD, **arrays)
    manifest = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(facts)}
    manifest["sha256"] = {file: sha256_of(folder / file) for file in _files()}
    with whole_file(folder / MANIFEST) as aside:
        aside.write_text(json.dumps(manifest, indent=1) + "\n")


def load_parameter_network(name: str) -> ParameterNetwork:
    """Load a network of lens parameters: a shipped one, or that of a folder.

    Raises
    ------
    InputError
        If there is neither, or it is of another format, or a file of it has changed.
    """
    folder = find_shipped(name, MANIFEST, "parameter network")
    facts = _read_facts(folder)
    with np.load(folder / HEAD, allow_pickle=False) as arrays:
        layers = {name: arrays[name] for name in _ARRAYS}
    head = DroppedHead(**layers, dropout=facts.dropout, passes=facts.passes, seed=facts.seed)
    network = in_batches(load_network(folder, NETWORK))
    return ParameterNetwork(network, head, facts, sha256_of(folder / MANIFEST))


def in_batches(model: "keras.Model") -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A network of images, a batch of which is always of one size: none depends on its company."""
    size = GPU_BATCH if on_gpu() else CPU_BATCH

    def features(images: NDArray[np.float32]) -> NDArray[np.float32]:
        short = -len(images) % size
        filled = np.concatenate([images, np.zeros((short, *images.shape[1:]), np.float32)])
        parts = [np.asarray(model.predict_on_batch(filled[first : first + size]))
                 for first in range(0, len(filled), size)]  # fmt: skip
        return np.concatenate(parts)[: len(images)]

    return features


_ARRAYS = ("kernel", "bias", "out_kernel", "out_bias")


def _files() -> tuple[str, ...]:
    return (*network_files(NETWORK), HEAD)


def _read_facts(folder: Path) -> ParameterFacts:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        found = manifest["format"], manifest["version"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"parameter network {folder}: {MANIFEST} is damaged ({error}); restore it from where "
            "you got it"
        ) from error
    if found != (FORMAT, VERSION):
        raise InputError(
            f"parameter network {folder}: format {found[0]} version {found[1]}, but this lensweep "
            f"reads {FORMAT} version {VERSION}; train it again"
        )
    for file in _files():
        actual = sha256_of(folder / file) if (folder / file).is_file() else "no such file"
        if actual != manifest["sha256"].get(file):
            raise InputError(
                f"parameter network {folder}: {file} has SHA-256 {actual}, but {MANIFEST} says "
                f"{manifest['sha256'].get(file)}; restore it from where you got it"
            )
    values = {one.name: manifest[one.name] for one in dataclasses.fields(ParameterFacts)}
    values |= {name: tuple(values[name]) for name in ("middle", "spread", "widening")}
    return ParameterFacts(**values | {"stretch": Stretch(**values["stretch"])})
