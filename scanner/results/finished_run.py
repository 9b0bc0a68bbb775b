"""A finished run: what its catalogue says of itself, and the ensemble that scored it."""

from pathlib import Path

import pyarrow.parquet as pq

from lensweep.catalogs.schemas import PROVENANCE_PREFIX
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run.paths import RunPaths


def read_facts(root: Path) -> dict[str, str]:
    """What a run's catalogue says of how it was made.

    Parameters
    ----------
    root : Path
        The run's folder.

    Raises
    ------
    InputError
        If it has no catalogue.
    """
    path = RunPaths(root).candidates
    if not path.is_file():
        raise InputError(f"run {root}: no {path.name} in it; finish its scan first")
    with path.open("rb") as file:
        metadata = pq.read_schema(file).metadata or {}
    prefix = PROVENANCE_PREFIX.encode()
    return {
        key.removeprefix(prefix).decode(): value.decode()
        for key, value in metadata.items()
        if key.startswith(prefix)
    }


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
