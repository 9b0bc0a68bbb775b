"""Whether runs are parts of one survey: scanned alike, ranked alike, and each mosaic once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.ground.outputs import check_folder
from lensweep.scanner.results.worth import asked_of
from lensweep.scanner.run.opening import ranking_in
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.status import read_status
from lensweep.scanner.run.tally import planned_mosaics

# Of what a part was asked, what may differ: which mosaics, and where a table of positions lies,
# which is told by its sum.
_OF_A_PART = ("mosaics", "centres")


def refuse_unusable(roots: Sequence[Path], out: Path) -> None:
    """Refuse places that cannot be joined, or be written to.

    Raises
    ------
    InputError
    """
    for path in (*roots, out):
        if is_remote(path):
            raise InputError(
                f"{path}: is in an object store, where files cannot be linked; copy it to a folder"
            )
    if len({root.resolve() for root in roots}) < 2:
        raise InputError("join: name two runs at least")
    if out.exists():
        raise InputError(f"output folder {out}: is there already; name a new one")
    for root in roots:
        status = read_status(root)
        if not status.finished:
            raise InputError(
                f"run {root}: is not finished ({status.tally.waiting:,} of "
                f"{status.tally.planned:,} planned windows wait); repeat its scan first"
            )
    check_folder(out.absolute().parent)


def refuse_unlike(roots: Sequence[Path], facts: Sequence[dict[str, str]]) -> None:
    """Refuse runs that were not scanned and ranked as the first of them.

    Parameters
    ----------
    roots : sequence of Path
    facts : sequence of dict
        Of their catalogues.

    Raises
    ------
    InputError
        Naming both runs and both values.
    """
    first = _settings(facts[0])
    for root, one in zip(roots[1:], facts[1:], strict=True):
        other = _settings(one)
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                raise InputError(
                    f"runs {roots[0]} and {root}: {name} is {first.get(name)} in the first, "
                    f"{other.get(name)} in the second; only runs that were scanned and ranked "
                    "alike are parts of one"
                )


def owners_of(roots: Sequence[Path]) -> dict[str, Path]:
    """The run that each mosaic is taken from, by the mosaic's name.

    Raises
    ------
    InputError
        If two runs have two mosaics of one name.
    """
    owners: dict[str, Path] = {}
    for root in roots:
        for name in planned_mosaics(root):
            owner = owners.setdefault(name, root)
            mine, theirs = (read_plan(one, name).mosaic for one in (root, owner))
            if mine.sha256 != theirs.sha256:
                raise InputError(
                    f"mosaic {name}: {theirs.path} in run {owner} (SHA-256 {theirs.sha256}), but "
                    f"{mine.path} in run {root} ({mine.sha256}); one name for two cannot be joined"
                )
    return dict(sorted(owners.items()))


def _settings(facts: dict[str, str]) -> dict[str, Any]:
    asked = {name: value for name, value in asked_of(facts).items() if name not in _OF_A_PART}
    listed = "centres_sha256" in asked
    asked["centres"] = "a table" if listed else asked_of(facts)["centres"]
    return asked | ranking_in(facts)
