"""Whether an ensemble's shortcuts hold, kept in its bundle: the screen, and reduced precision."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lensweep.scanner.network.bundle_additions import (
    add_reference,
    record_precision,
    set_screen_default,
)
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.training.data.examples import open_examples
from lensweep.training.evaluation.screen_loss import measure_screen, screen_markdown
from lensweep.training.fit.precision import check_precision, make_reference


def vet(folder: Path, datasets: Sequence[Path], record: bool) -> Iterator[str]:
    """Measure the screen and this machine's reduced precision on labelled cutouts.

    Parameters
    ----------
    folder : Path
        Of the bundle.
    datasets : sequence of Path
        Folders with `cutouts.zarr` and `truth/`, which the ensemble was not trained on. The screen
        is measured on the first.
    record : bool
        Keep the outcome in the bundle: whether its screen is on by default, and whether scans
        compute in reduced precision.

    Yields
    ------
    str
        What was found, in Markdown, as it is found.

    Raises
    ------
    InputError
        If the bundle has no screen, or a folder no labelled cutouts.
    """
    sets = [open_examples(one) for one in datasets]
    loss = measure_screen(check_bundle(str(folder)), datasets[0])
    yield screen_markdown(loss)
    yield f"the screen {'loses few enough' if loss.holds else 'loses too many'} to be on by default"
    if record:
        set_screen_default(folder, loss.holds)
    stores, labels = [one.store for one in sets], np.concatenate([one.labels for one in sets])
    found = check_precision(check_bundle(str(folder)), stores, labels)
    if found is None:
        yield "this machine has no reduced precision: nothing to compare"
        return
    reduced, check = found
    yield f"{reduced}: {json.dumps(dataclasses.asdict(check))}"
    yield f"{reduced} {'keeps the ranks' if check.passed else 'is not good enough'}"
    if record:
        bundle = record_precision(folder, reduced, check)
        add_reference(folder, *make_reference(bundle, stores[0]))
