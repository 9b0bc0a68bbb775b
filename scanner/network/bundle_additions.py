"""What is added to a bundle that is there: screen, precision, field scores, reference cutouts.

Where files change, the manifest is removed first and written last: half an addition is no bundle.
"""

import dataclasses
from collections.abc import Sequence
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
    write_manifest,
    write_screen_files,
)
from lensweep.scanner.network.ensemble import (
    EnsembleError,
    FieldFacts,
    PrecisionCheck,
    Screen,
)
from lensweep.scanner.network.estimators import member_files
from lensweep.scanner.network.reference import REFERENCE, write_reference


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
    write_screen_files(folder, model, weights, bias)
    screen = Screen(float(threshold), on_by_default, metrics)
    return _described(bundle, screen=screen, changed=(*member_files(folder, SCREEN), SCREEN_HEAD))


def set_screen_default(folder: Path, on_by_default: bool) -> Bundle:
    """Say in a bundle whether its screen is used where nobody asks for it or forbids it.

    Raises
    ------
    EnsembleError
        If it has no screen.
    """
    bundle = check_bundle(str(folder))
    if bundle.description.screen is None:
        raise EnsembleError(f"ensemble {folder}: has no screen to be on or off by default")
    screen = dataclasses.replace(bundle.description.screen, on_by_default=on_by_default)
    return _described(bundle, screen=screen)


def record_precision(folder: Path, reduced: str, check: PrecisionCheck) -> Bundle:
    """Keep in a bundle how well a reduced precision does, which may make it the default."""
    bundle = check_bundle(str(folder))
    return _described(bundle, precision=bundle.description.precision | {reduced: check})


def record_fields(folder: Path, scores: pa.Table, facts: FieldFacts) -> Bundle:
    """Keep in a bundle what it makes of fields, in the place of what was kept before.

    Parameters
    ----------
    folder : Path
    scores : pyarrow.Table
        Schema `lensweep.catalogs.schemas.FIELD_SCORES`.
    facts : FieldFacts
    """
    bundle = check_bundle(str(folder))
    (folder / MANIFEST).unlink()
    write_parquet(scores, folder / FIELDS)
    return _described(bundle, fields=facts, changed=(FIELDS,))


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
    bundle = check_bundle(str(folder))
    (folder / MANIFEST).unlink()
    write_reference(folder, steps, step, logits)
    return _described(bundle, changed=(REFERENCE,))


def _described(bundle: Bundle, changed: Sequence[str] = (), **facts: Any) -> Bundle:
    """Seal a bundle of which some files and facts have changed."""
    known = {file: value for file, value in bundle.files.items() if file not in changed}
    description = dataclasses.replace(bundle.description, **facts)
    return write_manifest(Path(bundle.folder), description, known)
