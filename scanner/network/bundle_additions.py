"""What is added to a bundle that is there: screen, precision, field scores, reference cutouts.

Where files change, the manifest is removed first and written last: half an addition is no bundle.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_parquet
from lensweep.scanner.network.bundle_store import (
    FIELDS,
    MANIFEST,
    SCREEN,
    SCREEN_HEAD,
    Bundle,
    check_bundle,
    save_member,
    write_manifest,
)
from lensweep.scanner.network.ensemble import (
    EnsembleError,
    FieldFacts,
    PrecisionCheck,
    Screen,
)
from lensweep.scanner.network.reference import write_reference


def add_screen(
    folder: Path,
    model: Any,
    weights: NDArray[np.float32],
    bias: float,
    threshold: float,
    metrics: dict[str, Any],
    on_by_default: bool = False,
) -> Bundle:
    """Add a screen to a bundle, or put it in the place of another.

    Parameters
    ----------
    folder : Path
        The bundle's.
    model : keras.Model or estimator
        (n, size, size, 3) stretched cutouts to (n, k) features; or to (n, 1) logits, with a
        weight of 1 and a bias of 0. An estimator of cutouts is likewise.
    weights : ndarray, shape (k,), float32
    bias : float
        Of the screen's head.
    threshold : float
    metrics : dict
    on_by_default : bool

    Raises
    ------
    EnsembleError
        If there is no sound bundle, or the network does not fit its cutouts or the head.
    """
    bundle = check_bundle(str(folder))
    size = bundle.description.cutout_size
    wanted = ((None, size, size, 3), (None, len(weights)))
    is_network = not hasattr(model, "decision_function")
    if is_network and (model.input_shape, model.output_shape) != wanted:
        raise EnsembleError(
            f"ensemble {folder}: a screen of input {model.input_shape} and output "
            f"{model.output_shape}, expected {wanted[0]} and {wanted[1]}"
        )
    (folder / MANIFEST).unlink()
    save_member(folder, SCREEN, model, half=False)
    head: dict[str, Any] = {"weights": np.asarray(weights, np.float32), "bias": np.float32(bias)}
    np.savez(folder / SCREEN_HEAD, **head)
    screen = Screen(float(threshold), on_by_default, metrics)
    write_manifest(folder, dataclasses.replace(bundle.description, screen=screen))
    return check_bundle(str(folder))


def set_screen_default(folder: Path, on_by_default: bool) -> Bundle:
    """Say in a bundle whether its screen is used where nobody asks for it or forbids it.

    Raises
    ------
    EnsembleError
        If it has no screen.
    """
    description = check_bundle(str(folder)).description
    if description.screen is None:
        raise EnsembleError(f"ensemble {folder}: has no screen to be on or off by default")
    screen = dataclasses.replace(description.screen, on_by_default=on_by_default)
    write_manifest(folder, dataclasses.replace(description, screen=screen))
    return check_bundle(str(folder))


def record_precision(folder: Path, reduced: str, check: PrecisionCheck) -> Bundle:
    """Keep in a bundle how well a reduced precision does, which may make it the default."""
    description = check_bundle(str(folder)).description
    precision = description.precision | {reduced: check}
    write_manifest(folder, dataclasses.replace(description, precision=precision))
    return check_bundle(str(folder))


def record_fields(folder: Path, scores: pa.Table, facts: FieldFacts) -> Bundle:
    """Keep in a bundle what it makes of fields, in the place of what was kept before.

    Parameters
    ----------
    folder : Path
    scores : pyarrow.Table
        Schema `lensweep.catalogs.schemas.FIELD_SCORES`.
    facts : FieldFacts
    """
    description = check_bundle(str(folder)).description
    (folder / MANIFEST).unlink()
    write_parquet(scores, folder / FIELDS)
    write_manifest(folder, dataclasses.replace(description, fields=facts))
    return check_bundle(str(folder))


def add_reference(
    folder: Path,
    steps: NDArray[np.int16],
    step: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> Bundle:
    """Add reference cutouts to a bundle, or put them in the place of others.

    Parameters
    ----------
    folder : Path
        The bundle's.
    steps, step
        As of `lensweep.scanner.network.reference.kept_pixels`.
    logits : ndarray, shape (n, members), float32
        Of their first looks, in float32.
    """
    description = check_bundle(str(folder)).description
    (folder / MANIFEST).unlink()
    write_reference(folder, steps, step, logits)
    write_manifest(folder, description)
    return check_bundle(str(folder))
