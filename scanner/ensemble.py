"""The ensemble bundle: format, loading with every check before any work, prediction.

A bundle is a folder:

* `ensemble.json`: what it is, what it was trained on, how it performs, and the SHA-256 of every
  other file;
* one `<trunk>.json` (a Keras graph) and `<trunk>.npz` (its weights, kernels in half precision) per
  pretrained trunk: scaled cutouts in, pooled features out;
* `heads.npz`: every member's head, a linear map of the features (batch normalisation folded in).

No pickle anywhere. The trunk runs once for all members that share it.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.accelerator import import_tensorflow
from scanner.errors import InputError
from scanner.stretch import Stretch

if TYPE_CHECKING:
    import keras

FORMAT = "lensweep-ensemble"
VERSION = 1
MANIFEST = "ensemble.json"
HEADS = "heads.npz"
# Where shipped bundles lie: beside the packages, in a checkout and in an installation.
SHIPPED = Path(__file__).resolve().parent.parent / "ensembles"
# Cutouts at once: 64 are 5 % faster on a core, and take 180 MB more in every process.
BATCH = 16


class EnsembleError(InputError):
    """A bundle that cannot be used."""


@dataclass(frozen=True)
class Trunk:
    """One pretrained network of a bundle, and the members that read it.

    Attributes
    ----------
    name : str
        Also the stem of its files.
    members : tuple of str
        One per fold, in the order of the columns of its heads.
    """

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """From a committee's mean logit to a probability.

    logit(p) = slope * logit_mean + intercept + logit(prior) - logit(training_prior): Platt's
    scaling on out-of-fold logits, then the shift to another prior (Saerens et al. 2002).
    """

    slope: float
    intercept: float
    training_prior: float

    def probability(self, logit_mean: NDArray[np.float32], prior: float) -> NDArray[np.float64]:
        """Calibrated probability that a window holds a lens.

        Parameters
        ----------
        logit_mean : ndarray of float
        prior : float
            Lenses per window where the ensemble is used.
        """
        shift = _logit(prior) - _logit(self.training_prior)
        logit = self.slope * np.asarray(logit_mean, np.float64) + self.intercept + shift
        return np.asarray(sigmoid(logit))


@dataclass(frozen=True)
class Description:
    """Everything about a bundle but its numbers; `ensemble.json` without the file hashes.

    Attributes
    ----------
    name : str
    trunks : tuple of Trunk
    stretch : Stretch
    band : str
    pixel_scale_arcsec : float
    cutout_size : int
    calibration : Calibration
    thresholds : dict of str to float
        Mean logit at which simulated non-lenses pass at a rate: keys like `fpr_0.01`.
    metrics : dict
        As printed by `lensweep train`.
    training : dict
        The config, and what the training set was.
    """

    name: str
    trunks: tuple[Trunk, ...]
    stretch: Stretch
    band: str
    pixel_scale_arcsec: float
    cutout_size: int
    calibration: Calibration
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    training: dict[str, Any]

    @property
    def members(self) -> tuple[str, ...]:
        """All members, in the order of the columns of the logits."""
        return tuple(member for trunk in self.trunks for member in trunk.members)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files have been checked.

    Attributes
    ----------
    folder : str
    sha256 : str
        Of its manifest, which holds the hashes of all other files: identifies the ensemble.
    description : Description
    """

    folder: str
    sha256: str
    description: Description


def find_bundle(name: str) -> Path:
    """The folder of a shipped ensemble, or of a path.

    Raises
    ------
    EnsembleError
        If there is neither.
    """
    for folder in (Path(name), SHIPPED / name):
        if (folder / MANIFEST).is_file():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}")))
    raise EnsembleError(
        f"ensemble {name}: neither a folder with {MANIFEST} nor a shipped ensemble ({shipped})"
    )


def check_bundle(name: str) -> Bundle:
    """Find a bundle and check all of it, without loading a network.

    Raises
    ------
    EnsembleError
        If it is missing, of another format version, or any byte of it has changed.
    """
    folder = find_bundle(name)
    text = (folder / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
    except ValueError as error:  # JSON's grammar, or bytes that are no text
        raise EnsembleError(f"ensemble {folder}: {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise EnsembleError(f"ensemble {folder}: {MANIFEST} is not a JSON object")
    found = manifest.get("format"), manifest.get("version")
    if found != (FORMAT, VERSION):
        raise EnsembleError(
            f"ensemble {folder}: format {found[0]} version {found[1]}, but this lensweep reads "
            f"{FORMAT} version {VERSION}; use the lensweep that wrote it, or train it again"
        )
    _check_manifest(folder, manifest)
    for file, expected in manifest["sha256"].items():
        path = folder / file
        actual = sha256_of(path) if path.is_file() else "no such file"
        if actual != expected:
            raise EnsembleError(
                f"ensemble {folder}: {file} has SHA-256 {actual}, but the manifest says "
                f"{expected}; restore the bundle from where you got it"
            )
    return Bundle(str(folder.absolute()), hashlib.sha256(text).hexdigest(), _describe(manifest))


def _check_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    needed = {field.name for field in dataclasses.fields(Description)}
    needed |= {"sha256", "manifest_sha256"}
    missing = sorted(needed - manifest.keys())
    if missing:
        raise EnsembleError(
            f"ensemble {folder}: {MANIFEST} lacks {', '.join(missing)}; restore the bundle from "
            "where you got it"
        )
    expected, actual = manifest["manifest_sha256"], _manifest_sha256(manifest)
    if expected != actual:
        raise EnsembleError(
            f"ensemble {folder}: {MANIFEST} has SHA-256 {actual} of its content, but says "
            f"{expected}; restore the bundle from where you got it"
        )


def _manifest_sha256(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_bundle(
    folder: Path,
    description: Description,
    trunks: dict[str, "keras.Model"],
    heads: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> None:
    """Write a bundle; the manifest comes last, so that an unfinished folder is not a bundle.

    Parameters
    ----------
    folder : Path
    description : Description
    trunks : dict of str to keras.Model
        (n, size, size, 3) to (n, features); by trunk name.
    heads : dict of str to (weights, biases)
        By trunk name: shape (features, members) and (members,).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, trunk in trunks.items():
        (folder / f"{name}.json").write_text(trunk.to_json())
        np.savez(folder / f"{name}.npz", **_halved(trunk))
    arrays: dict[str, Any] = {}
    for name, (weights, biases) in heads.items():
        arrays[f"{name}.weights"] = weights.astype(np.float32)
        arrays[f"{name}.biases"] = biases.astype(np.float32)
    np.savez(folder / HEADS, **arrays)
    files = [HEADS, *(f"{name}.{ending}" for name in trunks for ending in ("json", "npz"))]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **dataclasses.asdict(description),
        "sha256": {file: sha256_of(folder / file) for file in files},
    }
    manifest["manifest_sha256"] = _manifest_sha256(manifest)
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.replace(folder / MANIFEST)


class Ensemble:
    """A loaded bundle, ready to score.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        # TensorFlow takes seconds to import, and only those who score need it.
        tf = import_tensorflow()
        self.description = bundle.description
        self._heads = []
        self._trunks = []
        with np.load(Path(bundle.folder) / HEADS, allow_pickle=False) as heads:
            for trunk in bundle.description.trunks:
                weights, biases = heads[f"{trunk.name}.weights"], heads[f"{trunk.name}.biases"]
                self._heads.append((weights, biases))
                self._trunks.append(tf.function(load_trunk(bundle, trunk.name), jit_compile=False))

    def logits(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score cutouts with every member.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s; NaN where there is no data.

        Returns
        -------
        ndarray, shape (n, members), float32
            Log-odds of a lens, at the training set's prior.
        """
        if not len(flux):
            return np.empty((0, len(self.description.members)), np.float32)
        parts = [self._batch(flux[first : first + BATCH]) for first in range(0, len(flux), BATCH)]
        return np.concatenate(parts)

    def _batch(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        # Always the same batch size: one graph, and a cutout's score never depends on its company.
        padded = np.zeros((BATCH, *flux.shape[1:]), np.float32)
        padded[: len(flux)] = flux
        scaled = self.description.stretch(padded)
        columns = []
        for trunk, (weights, biases) in zip(self._trunks, self._heads, strict=True):
            features = trunk(scaled).numpy()
            columns.append(features @ weights + biases)
        return np.concatenate(columns, axis=1)[: len(flux)].astype(np.float32)


def load_trunk(bundle: Bundle, name: str) -> "keras.Model":
    """Load one trunk of a bundle as a Keras model, kernels widened to float32."""
    import keras

    folder = Path(bundle.folder)
    model = keras.models.model_from_json((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        model.set_weights([arrays[key].astype(np.float32) for key in _weight_names(model)])
    model.trainable = False
    return model


def summarise(
    logits: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mean probability, its spread over the members, and mean logit of every cutout.

    Parameters
    ----------
    logits : ndarray, shape (n, members), float32

    Returns
    -------
    p_mean, p_std, logit_mean : ndarray, shape (n,), float32
        `p_std` is the sample standard deviation; it measures training variance only.
    """
    probability = sigmoid(logits.astype(np.float64))
    spread = probability.std(axis=1, ddof=min(1, logits.shape[1] - 1))
    return (
        probability.mean(axis=1).astype(np.float32),
        spread.astype(np.float32),
        logits.mean(axis=1).astype(np.float32),
    )


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))


def _logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def _describe(manifest: dict[str, Any]) -> Description:
    values = {field.name: manifest[field.name] for field in dataclasses.fields(Description)}
    values["trunks"] = tuple(
        Trunk(trunk["name"], tuple(trunk["members"])) for trunk in values["trunks"]
    )
    values["stretch"] = Stretch(**values["stretch"])
    values["calibration"] = Calibration(**values["calibration"])
    return Description(**values)


def _halved(model: "keras.Model") -> dict[str, Any]:
    """Weights by path: convolution kernels in half precision, everything else as it is."""
    return {
        key: value.astype(np.float16) if value.ndim == 4 else value
        for key, value in zip(_weight_names(model), model.get_weights(), strict=True)
    }


def _weight_names(model: "keras.Model") -> list[str]:
    """A name per weight, unique and in the order of `get_weights`."""
    return [f"{index:04d}" for index in range(len(model.weights))]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
