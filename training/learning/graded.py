"""From files of grades to labelled candidates of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import nearest
from lensweep.catalogs.formats import read_columns
from lensweep.catalogs.grade_scales import at_least
from lensweep.ground.errors import InputError
from lensweep.scanner.inspection.contents import run_id
from lensweep.training.data.label_table import SAME_ARCSEC, describe_labels, read_labels, vote

# Of either label: five folds of them can be held out.
LEAST = 5


@dataclass(frozen=True)
class Graded:
    """Labelled candidates of a run.

    Attributes
    ----------
    rows : ndarray, shape (n,), int64
        Of the catalogue.
    is_lens : ndarray, shape (n,), bool
    said : tuple of str
        What was made of each file, and what of it could not be used.
    """

    rows: NDArray[np.int64]
    is_lens: NDArray[np.bool_]
    said: tuple[str, ...]


def read_graded_candidates(
    labels: Sequence[Path], candidates: pd.DataFrame, facts: dict[str, str], min_grade: str | None
) -> Graded:
    """Find the candidates that labels are of; several graders vote on each.

    Parameters
    ----------
    labels : sequence of Path
        As of `lensweep.training.data.label_table.read_labels`.
    candidates : DataFrame
        The run's catalogue.
    facts : dict of str to str
        As of `lensweep.scanner.results.finished_run.read_facts`.
    min_grade : str or None
        Lenses of a weaker grade are left out: A, B or C, the default.

    Raises
    ------
    InputError
        If the grades are of another run, or there are too few of either label.
    """
    for path in labels:
        _refuse_another_run(path, facts)
    tables = [read_labels(path) for path in labels]
    said = [describe_labels(table) for table in tables]
    given = pd.concat(tables, ignore_index=True)
    strong = ~given["is_lens"] | at_least(given["grade"], min_grade or "C")
    index, of_candidate, _ = nearest(
        given["ra_deg"], given["dec_deg"], candidates["ra_deg"], candidates["dec_deg"], SAME_ARCSEC
    )
    matched = given.iloc[index].assign(row=of_candidate)
    matched["name"] = candidates["candidate_id"].to_numpy()[of_candidate]
    if 2 * len(matched) < len(given):
        raise InputError(
            f"labels {', '.join(map(str, labels))}: {len(matched)} of {len(given)} lie within "
            f"{SAME_ARCSEC:g} arcsec of a candidate of this run; are they another run's?"
        )
    voted, divided = vote([matched[strong.iloc[index].to_numpy()]])
    is_lens = voted["is_lens"].to_numpy(np.bool_)
    left_out = {
        "are of no candidate of this run": len(given) - len(matched),
        f"are weaker than grade {min_grade}": int((~strong).sum()),
        "are left out, since graders are divided": divided,
    }
    said += [f"{n} {what}" for what, n in left_out.items() if n]
    if min(is_lens.sum(), (~is_lens).sum()) < LEAST:
        raise InputError(
            f"labels {', '.join(map(str, labels))}: {int(is_lens.sum())} lenses and "
            f"{int((~is_lens).sum())} others among this run's candidates, but {LEAST} of each are "
            "needed to tell whether anything is learned; grade more"
        )
    return Graded(voted["row"].to_numpy(np.int64), is_lens, tuple(said))


def _refuse_another_run(path: Path, facts: dict[str, str]) -> None:
    columns = read_columns(path, ("run_id",)).values
    named = {str(value) for values in columns.values() for value in values if pd.notna(value)}
    strangers = sorted(named - {run_id(facts), ""})
    if strangers:
        raise InputError(
            f"labels {path}: grades of run {strangers[0]}, but this is run {run_id(facts)}; name "
            "the run whose candidates were graded"
        )
