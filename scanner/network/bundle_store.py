"""The ensemble bundle on disk: its format, and every check of it before any work.

A bundle is a folder:

* `ensemble.json`: what it is, what it was trained on, how it performs, and the SHA-256 of every
  other file;
* one `<trunk>.json` (a Keras graph) and `<trunk>.npz` (its weights, kernels in half precision) per
  pretrained trunk: scaled cutouts in, pooled features out; or `<trunk>.skops`, an estimator of
  cutouts whose one feature is its log-odds (`lensweep.scanner.network.estimators`);
* `heads.npz`: every member's head, a linear map of the features (batch normalisation folded in);
* perhaps `reference.npz` (`lensweep.scanner.network.reference`): cutouts with their logits;
* perhaps a screen: `screen.json` and `screen.npz`, a far cheaper network, or `screen.skops`; and
  `screen_head.npz`;
* perhaps `fields.parquet`: scores of planted lenses and of false candidates on fields.

No pickle anywhere.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.files import whole_file
from lensweep.scanner.network.ensemble import (
    Description,
    EnsembleError,
    FieldFacts,
    PrecisionCheck,
    Screen,
    Trunk,
)
from lensweep.scanner.network.estimators import estimator_file, member_files, save_estimator
from lensweep.scanner.network.networks import save_network
from lensweep.scanner.network.reference import REFERENCE
from lensweep.scanner.network.shipped import find_shipped
from lensweep.scanner.network.stretch import Stretch

FORMAT = "lensweep-ensemble"
VERSION = 2
# The first had a calibration on balanced sets, which said nothing of fields: it is not read.
READABLE = (1, VERSION)
MANIFEST = "ensemble.json"
HEADS = "heads.npz"
SCREEN = "screen"
SCREEN_HEAD = "screen_head.npz"
FIELDS = "fields.parquet"
# By trunk name: weights, shape (features, members), and biases.
Heads = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
# Fields of a description that a manifest may lack.
_OPTIONAL = {"screen", "precision", "fields", "second_band"}


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files have been checked.

    Attributes
    ----------
    folder : str
    sha256 : str
        Of its manifest, which holds the hashes of all other files: identifies the ensemble. What it
        is known to make of fields is left out: that changes no score.
    description : Description
    files : dict of str to str
        SHA-256 of every file but the manifest.
    """

    folder: str
    sha256: str
    description: Description
    files: dict[str, str]

    @property
    def has_networks(self) -> bool:
        """Whether a trunk or the screen is a network; estimators need no TensorFlow."""
        screen = () if self.description.screen is None else (SCREEN,)
        names = *(trunk.name for trunk in self.description.trunks), *screen
        return any(estimator_file(name) not in self.files for name in names)


def check_bundle(name: str, two_bands: bool = False) -> Bundle:
    """Find a bundle and check all of it, without loading a network.

    Parameters
    ----------
    name : str
        Of a shipped ensemble, or its folder.
    two_bands : bool
        Whether its networks are to look at two bands, or at one.

    Raises
    ------
    EnsembleError
        If it is missing, of another format version, any byte of it has changed, or it looks at
        two bands in place of one, or at one in place of two.
    """
    folder = find_shipped(name, MANIFEST, "ensemble")
    text = (folder / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
    except ValueError as error:  # JSON's grammar, or bytes that are no text
        raise EnsembleError(f"ensemble {folder}: {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise EnsembleError(f"ensemble {folder}: {MANIFEST} is not a JSON object")
    found = manifest.get("format"), manifest.get("version")
    if found[0] != FORMAT or found[1] not in READABLE:
        raise EnsembleError(
            f"ensemble {folder}: format {found[0]} version {found[1]}, but this lensweep reads "
            f"{FORMAT} versions {READABLE[0]} to {VERSION}; use the lensweep that wrote it, or "
            "train it again"
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
    bundle = _as_bundle(folder, manifest)
    _refuse_other_bands(bundle, two_bands)
    return bundle


def _refuse_other_bands(bundle: Bundle, two_bands: bool) -> None:
    said = bundle.description
    if two_bands and said.second_band is None:
        raise EnsembleError(
            f"ensemble {bundle.folder}: looks at {said.band} alone; give one that was trained on "
            "two bands (lensweep outlook makes one)"
        )
    if said.second_band is not None and not two_bands:
        raise EnsembleError(
            f"ensemble {bundle.folder}: needs {said.second_band} beside {said.band}; scan with an "
            f"ensemble of {said.band} alone, then look again with lensweep two-bands"
        )


def _as_bundle(folder: Path, manifest: dict[str, Any]) -> Bundle:
    files = manifest["sha256"]
    return Bundle(str(folder.absolute()), _identity(manifest), _describe(manifest), files)


def _check_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    needed = {one.name for one in dataclasses.fields(Description)} - _OPTIONAL
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


def _identity(manifest: dict[str, Any]) -> str:
    scoring = {key: value for key, value in manifest.items() if key != "fields"}
    scoring["sha256"] = {
        file: value for file, value in manifest["sha256"].items() if file != FIELDS
    }
    return _manifest_sha256(scoring)


def _manifest_sha256(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_bundle(
    folder: Path,
    description: Description,
    trunks: dict[str, Any],
    heads: Heads,
) -> Bundle:
    """Write a bundle; the manifest comes last, so that an unfinished folder is not a bundle.

    Parameters
    ----------
    folder : Path
    description : Description
        What is kept of fields was measured on another ensemble, and is left out: `record_fields`.
    trunks : dict of str to keras.Model or estimator
        (n, size, size, 3) to (n, features); or an estimator of cutouts; by trunk name.
    heads : dict of str to (weights, biases)
        By trunk name: shape (features, members) and (members,).
    """
    write_files(folder, trunks, heads)
    return write_manifest(folder, dataclasses.replace(description, fields=None))


def write_files(folder: Path, trunks: dict[str, Any], heads: Heads) -> None:
    """Write what a bundle cannot be without, but for its manifest; see `save_bundle`."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (MANIFEST, REFERENCE):
        (folder / stale).unlink(missing_ok=True)
    for name, trunk in trunks.items():
        save_member(folder, name, trunk, half=True)
    _write_heads(folder, heads)


def write_screen_files(folder: Path, model: Any, weights: NDArray[np.float32], bias: float) -> None:
    """Write a screen into a bundle's folder, which needs another manifest then."""
    save_member(folder, SCREEN, model, half=False)
    head: dict[str, Any] = {"weights": np.asarray(weights, np.float32), "bias": np.float32(bias)}
    np.savez(folder / SCREEN_HEAD, **head)


def save_member(folder: Path, name: str, model: Any, half: bool) -> None:
    """Write a trunk or a screen: a network, or an estimator of cutouts.

    Parameters
    ----------
    folder : Path
    name : str
    model : keras.Model or estimator
    half : bool
        Keep a network's kernels in half precision.
    """
    (folder / estimator_file(name)).unlink(missing_ok=True)
    if hasattr(model, "decision_function"):
        save_estimator(folder / estimator_file(name), model)
    else:
        save_network(folder, name, model, half)


def with_other_heads(
    bundle: Bundle,
    folder: Path,
    description: Description,
    heads: Heads,
) -> Bundle:
    """Write a bundle of the same trunks and screen as another's, with heads of its own.

    Parameters
    ----------
    bundle : Bundle
    folder : Path
        Not there yet, or empty.
    description : Description
        Of the new bundle.
    heads : dict of str to (weights, biases)
        As of `save_bundle`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [trunk.name for trunk in description.trunks]
    theirs = Path(bundle.folder)
    files = [file for name in names for file in member_files(theirs, name)]
    if description.screen is not None:
        files += [*member_files(theirs, SCREEN), SCREEN_HEAD]
    if description.fields is not None:
        files.append(FIELDS)
    for file in files:
        shutil.copyfile(theirs / file, folder / file)
    _write_heads(folder, heads)
    return write_manifest(folder, description)


def read_heads(bundle: Bundle) -> Heads:
    """The heads of a bundle by trunk: weights, shape (features, members), and biases."""
    with np.load(Path(bundle.folder) / HEADS, allow_pickle=False) as arrays:
        return {
            trunk.name: (arrays[f"{trunk.name}.weights"], arrays[f"{trunk.name}.biases"])
            for trunk in bundle.description.trunks
        }


def _write_heads(folder: Path, heads: Heads) -> None:
    arrays: dict[str, Any] = {}
    for name, (weights, biases) in heads.items():
        arrays[f"{name}.weights"] = weights.astype(np.float32)
        arrays[f"{name}.biases"] = biases.astype(np.float32)
    np.savez(folder / HEADS, **arrays)


def write_manifest(
    folder: Path, description: Description, known: Mapping[str, str] | None = None
) -> Bundle:
    """Write what makes a folder a bundle: its description, and the SHA-256 of every file.

    Parameters
    ----------
    folder : Path
    description : Description
    known : mapping of str to str, optional
        SHA-256 of files that have not changed since; the others are read.
    """
    manifest = _manifest(folder, description, known or {})
    with whole_file(folder / MANIFEST) as aside:
        aside.write_text(json.dumps(manifest, indent=1) + "\n")
    return _as_bundle(folder, manifest)


def without_manifest(folder: Path, description: Description) -> Bundle:
    """A bundle all of whose files are there, to be measured before `write_manifest` seals it."""
    return _as_bundle(folder, _manifest(folder, description, {}))


def _manifest(folder: Path, description: Description, known: Mapping[str, str]) -> dict[str, Any]:
    networks = [trunk.name for trunk in description.trunks]
    files = [HEADS]
    if description.screen is not None:
        networks.append(SCREEN)
        files.append(SCREEN_HEAD)
    if description.fields is not None:
        files.append(FIELDS)
    files += [file for name in networks for file in member_files(folder, name)]
    if (folder / REFERENCE).is_file():
        files.append(REFERENCE)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **dataclasses.asdict(description),
        "sha256": {file: known.get(file) or sha256_of(folder / file) for file in files},
    }
    if description.second_band is None:
        # A bundle of one band says nothing of another, as before there were any.
        del manifest["second_band"]
    # As it is read back: lists, where tuples were.
    manifest = json.loads(json.dumps(manifest))
    return manifest | {"manifest_sha256": _manifest_sha256(manifest)}


def _describe(manifest: dict[str, Any]) -> Description:
    names = {one.name for one in dataclasses.fields(Description)}
    values = {name: manifest[name] for name in names & manifest.keys()}
    values["trunks"] = tuple(
        Trunk(trunk["name"], tuple(trunk["members"]), trunk.get("second_look"))
        for trunk in values["trunks"]
    )
    values["stretch"] = Stretch(**values["stretch"])
    if values.get("screen") is not None:
        values["screen"] = Screen(**values["screen"])
    if values.get("fields") is not None:
        values["fields"] = FieldFacts(**values["fields"])
    checks = values.get("precision", {})
    values["precision"] = {name: PrecisionCheck(**check) for name, check in checks.items()}
    return Description(**values)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
