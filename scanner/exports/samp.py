"""Hand candidates to a running Aladin, DS9 or TOPCAT, by the IVOA's SAMP."""

from pathlib import Path

from pyvo.samp import SAMPHubError, SAMPIntegratedClient

from lensweep.ground.errors import TryAgainError
from lensweep.scanner.exports.export import export
from lensweep.scanner.results.finished_run import read_facts

TABLE, COVERAGE = "table.load.votable", "coverage.load.moc.fits"


def send(root: Path, top: int | None = None, where: str | None = None) -> list[str]:
    """Write a run's candidates and footprint, and tell every application that loads such files.

    Parameters
    ----------
    root : Path
        The run's folder.
    top, where : optional
        As of `lensweep.scanner.exports.export`.

    Returns
    -------
    list of str
        Names of the applications that were told, and of what.

    Raises
    ------
    TryAgainError
        If there is no hub, or nobody there who loads tables.
    InputError
        As of `export`.
    """
    read_facts(root)
    client = SAMPIntegratedClient(
        name="lensweep", description="Strong-lens candidates", addr="127.0.0.1"
    )
    try:
        client.connect()
    except SAMPHubError as error:
        raise TryAgainError(
            "no SAMP hub is running: start Aladin, TOPCAT or DS9, then repeat the command"
        ) from error
    try:
        told = _tell(client, TABLE, export(root, "votable", top, where), root.name)
        if not told:
            raise TryAgainError("nobody at the SAMP hub loads tables; start Aladin, TOPCAT or DS9")
        return told + _tell(client, COVERAGE, export(root, "moc"), f"{root.name} footprint")
    finally:
        client.disconnect()


def _tell(client: SAMPIntegratedClient, kind: str, path: Path, name: str) -> list[str]:
    asked = {"url": path.absolute().as_uri(), "name": name, "table-id": str(path.absolute())}
    told = []
    for receiver in client.get_subscribed_clients(kind):
        known = client.get_metadata(receiver).get("samp.name", receiver)
        client.notify(receiver, {"samp.mtype": kind, "samp.params": asked})
        told.append(f"{known}: {name}")
    return told
