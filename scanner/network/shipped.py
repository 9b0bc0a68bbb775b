"""Networks by name: those that are shipped, and those of a folder."""

from importlib.resources import files
from pathlib import Path

from lensweep.scanner.network.ensemble import EnsembleError

SHIPPED = Path(str(files("lensweep.ensembles")))


def find_shipped(name: str, manifest: str, what: str) -> Path:
    """The folder of what is shipped under a name, or of a path.

    Parameters
    ----------
    name : str
    manifest : str
        Name of the file that such a folder has.
    what : str
        What it is, for the message.

    Raises
    ------
    EnsembleError
        If there is neither.
    """
    for folder in (Path(name), SHIPPED / name):
        if (folder / manifest).is_file():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob(f"*/{manifest}")))
    raise EnsembleError(
        f"{what} {name}: neither a folder with {manifest} nor a shipped one ({shipped})"
    )
