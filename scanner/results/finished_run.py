"""A finished run: what its catalogue says of itself, and the ensemble that scored it."""

from pathlib import Path

from lensweep.catalogs.schemas import read_provenance
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.tally import Tally, planned_mosaics, tally


def read_facts(root: Path) -> dict[str, str]:
    """What a run's catalogue says of how it was made.

    Parameters
    ----------
    root : Path
        The run's folder.

    Raises
    ------
    InputError
        If it has no catalogue, or a damaged one; the message says what is missing.
    """
    path = RunPaths(root).candidates
    if not path.is_file():
        if not root.is_dir():
            raise InputError(f"run {root}: no such folder; name the --out of its scan")
        raise InputError(
            f"run {root}: no {path.name} in it ({_missing(root)}); finish its scan first"
        )
    facts = read_provenance(path)
    if not facts:
        raise InputError(f"run {root}: {path.name} is damaged; repeat its scan to have it again")
    return facts


def bundle_of(facts: dict[str, str], ensemble: str | None) -> Bundle:
    """The ensemble that scored a run.

    Parameters
    ----------
    facts : dict
        As of `read_facts`.
    ensemble : str or None
        Where it lies, if it is not a shipped one.

    Raises
    ------
    InputError
        If it is not the run's.
    """
    bundle = check_bundle(ensemble or facts["ensemble"])
    if bundle.sha256 != facts["ensemble_sha256"]:
        raise InputError(
            f"ensemble {bundle.folder}: SHA-256 {bundle.sha256}, but the run was scored by "
            f"{facts['ensemble_sha256']}; name it with --ensemble"
        )
    return bundle


def _missing(root: Path) -> str:
    if not RunPaths(root).run.is_file():
        return f"no {RunPaths(root).run.name} either: no run in this folder"
    total = sum((tally(root, name) for name in planned_mosaics(root)), Tally())
    if not total.planned:
        return "no mosaic is planned yet"
    return f"{total.waiting:,} of {total.planned:,} planned windows wait"
