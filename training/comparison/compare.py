"""One comparison, from labelled cutouts to its page."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from distributed import Client

from lensweep.ground.progress import Progress
from lensweep.training.comparison.fields import check_counted, count_on_fields
from lensweep.training.comparison.report import write_comparison
from lensweep.training.comparison.run import (
    AUGMENTED,
    check_finders,
    open_comparison,
    run_comparison,
)
from lensweep.training.comparison.settings import ComparisonSettings
from lensweep.training.data.augment import materialise
from lensweep.training.data.examples import open_examples
from lensweep.training.published.stamps import read_stamps

# Opened only where there is something for it to do.
OpenClient = Callable[[], AbstractContextManager[Client]]


def compare(
    settings: ComparisonSettings, data: Path, out: Path, open_client: OpenClient, progress: Progress
) -> Path:
    """Fit and score finders on the same folds; a stopped comparison continues.

    Parameters
    ----------
    settings : ComparisonSettings
    data : Path
        Folder of a labelled set.
    out : Path
        Keeps what is finished; receives tables, pictures and the page.
    open_client : callable
        Opens a cluster, to augment beforehand and to scan fields.
    progress : Progress

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If anything that is asked for is not there or does not fit, or `out` holds another
        comparison.
    """
    originals = stamps = read_stamps(data, settings.cutouts or None)
    if settings.fields:
        check_counted(settings, out)
    if settings.augmented_lenses:
        # Before the augmenting; opening the comparison comes after it.
        check_finders(settings, out)
        stamps = read_stamps(_augmented(settings, data, out / AUGMENTED, open_client, progress))
    comparison = open_comparison(settings, stamps, out)
    comparison = run_comparison(settings, comparison, out, progress)
    if settings.fields:
        with open_client() as client:
            count_on_fields(settings, comparison, out, client, progress)
    return write_comparison(comparison, originals, out, settings.seed)


def _augmented(
    settings: ComparisonSettings,
    data: Path,
    folder: Path,
    open_client: OpenClient,
    progress: Progress,
) -> Path:
    examples = open_examples(data, settings.cutouts or None)
    with open_client() as client:
        materialise(
            examples, folder, settings.augmented_lenses, settings.augmented_others, settings.seed,
            client, progress,
        )  # fmt: skip
    return folder
