"""Join runs of parts of a survey into one run, as if their mosaics had been scanned together.

Nothing is cut or scored again: the files of windows are linked, or copied where a file system does
not link, and what follows from them is made anew.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lensweep.catalogs.coverage import joined, write_coverage
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.atomic import whole_folder
from lensweep.ground.files import make_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.results.finished_run import bundle_of, read_facts
from lensweep.scanner.results.footprint import footprint_facts, footprint_of, seen_windows
from lensweep.scanner.results.ranking import draw_candidates, rank_candidates
from lensweep.scanner.results.targets import write_targets
from lensweep.scanner.results.worth import asked_of, find_field_scores
from lensweep.scanner.run.config import ScanConfig, fields_that_decide
from lensweep.scanner.run.ledger import write_ledger
from lensweep.scanner.run.opening import ranking_in, say_in_run, versions
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan
from lensweep.scanner.run.tally import Tally, failed_mosaics
from lensweep.scanner.work.parts import owners_of, refuse_unlike, refuse_unusable
from lensweep.scanner.work.stores import make_groups


@dataclass(frozen=True)
class Joined:
    """What came of joining runs.

    Attributes
    ----------
    paths : RunPaths
        Of the new run.
    tally : Tally
    n_mosaics : int
    n_candidates : int
    n_before : int
        Candidates of all parts: those that several have seen count once now.
    failed_mosaics : dict of str to str
        Mosaics that no part could plan, each with the reason.
    """

    paths: RunPaths
    tally: Tally
    n_mosaics: int
    n_candidates: int
    n_before: int
    failed_mosaics: dict[str, str]


def join_runs(roots: Sequence[Path], out: Path, ensemble: str | None, progress: Progress) -> Joined:
    """Join finished runs of parts of a survey into a new run.

    Parameters
    ----------
    roots : sequence of Path
        The runs' folders, on this machine. A mosaic that several have scanned counts once.
    out : Path
        The new run's folder, not there yet.
    ensemble : str or None
        Where the runs' ensemble lies, if it is not a shipped one.
    progress : Progress

    Raises
    ------
    InputError
        If a run is not finished, or another was scanned or ranked in another way, or `out` is
        there; the message has both values. Then nothing is written.
    """
    refuse_unusable(roots, out)
    facts = [read_facts(root) for root in roots]
    refuse_unlike(roots, facts)
    bundle, owners = bundle_of(facts[0], ensemble), owners_of(roots)
    if any(RunPaths(root).calibration.is_file() for root in roots):
        progress.note(
            "p_lens of the joined run is by the ensemble's own calibration, not by that of single "
            f"parts; `lensweep calibrate {out}` measures it on all of them"
        )
    footprint = joined(footprint_of(root, seen) for root in roots if (seen := seen_windows(root)))
    with whole_folder(out) as partial:
        paths = RunPaths(partial)
        plans = _gather(roots, owners, paths, facts, progress)
        config = _config(facts[0], bundle, paths)
        total = write_ledger(partial, plans, config.min_valid_fraction)
        candidates = rank_candidates(config, bundle, paths, plans)
        write_parquet(candidates, paths.candidates)
        if config.lists_targets:
            write_targets(
                paths, plans, candidates, find_field_scores(bundle, paths, config.centres)
            )
        if total.seen:
            write_coverage(footprint, paths.coverage, footprint_facts(total.seen))
    paths = RunPaths(out)
    draw_candidates(paths, candidates.to_pandas())
    before = sum(_n_rows(RunPaths(root).candidates) for root in roots)
    return Joined(paths, total, len(owners), len(candidates), before, failed_mosaics(out))


def _gather(
    roots: Sequence[Path],
    owners: dict[str, Path],
    paths: RunPaths,
    facts: Sequence[dict[str, str]],
    progress: Progress,
) -> list[Plan]:
    """Bring what belongs to the mosaics into the new run's folder; their plans."""
    stage = progress.stage("joining", len(owners), unit="mosaics")
    make_folder(paths.root)
    asked = asked_of(facts[0]) | {"mosaics": _all_mosaics(facts)}
    parts = [str(root.absolute()) for root in roots]
    say_in_run(paths, asked=asked, versions=versions(), command=_command(facts), joined=parts)
    make_groups(paths)
    if RunPaths(roots[0]).centres.is_file():
        _link(RunPaths(roots[0]).centres, paths.centres)
    for name, root in owners.items():
        _take(RunPaths(root), paths, name)
        progress.advance(stage, 1)
    for root in roots:
        for name in failed_mosaics(root).keys() - owners.keys():
            _link(RunPaths(root).mosaic_failure(name), paths.mosaic_failure(name))
    return [read_plan(paths.root, name) for name in owners]


def _take(part: RunPaths, whole: RunPaths, mosaic: str) -> None:
    """Link all that a run has of a mosaic; what is linked is never written to, only replaced."""
    for file in (part.plan(mosaic), part.windows(mosaic)):
        _link(file, whole.plans / file.name)
    for theirs, ours in (
        (part.cutouts(mosaic), whole.cutouts(mosaic)),
        (part.scores(mosaic), whole.scores(mosaic)),
        (part.markers(mosaic), whole.markers(mosaic)),
        (part.failures / mosaic, whole.failures / mosaic),
    ):
        if theirs.is_dir():
            shutil.copytree(theirs, ours, copy_function=_link)


def _link(file: str | Path, target: str | Path) -> None:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(file, target)


def _config(facts: dict[str, str], bundle: Bundle, paths: RunPaths) -> ScanConfig:
    """The scan that all parts are parts of; its windows are planned already."""
    asked = asked_of(facts)
    scanned = {name: asked[name] for name in fields_that_decide("scores") if name != "mosaics"}
    values: dict[str, Any] = scanned | ranking_in(facts)
    if paths.centres.is_file():
        values["centres"] = str(paths.centres)
    return ScanConfig(tuple(asked["mosaics"]), str(paths.root), bundle.folder, **values)


def _all_mosaics(facts: Sequence[dict[str, str]]) -> list[str]:
    return sorted({mosaic for one in facts for mosaic in asked_of(one)["mosaics"]})


def _command(facts: Sequence[dict[str, str]]) -> str:
    """What was typed for the first part: the page shows it."""
    return str(json.loads(facts[0]["run"])["command"])


def _n_rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
