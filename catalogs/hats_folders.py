"""What a HATS catalogue is recognised by; quick to import, as `lensweep.catalogs.hats` is not."""

from pathlib import Path

from lensweep.ground.files import is_file, is_remote, place, reached

HATS_PROPERTIES = ("hats.properties", "collection.properties", "properties")


def is_hats(path: str | Path) -> bool:
    """Whether a path is a HATS catalogue or collection: a folder with HATS' properties file.

    Raises
    ------
    lensweep.ground.files.StoreError
        If an address does not answer.
    """
    folder = place(path)
    if not is_remote(folder):
        return any(is_file(folder / name) for name in HATS_PROPERTIES)
    with reached(folder):
        found = any((folder / name).is_file() for name in HATS_PROPERTIES)
        if not found:
            # To fsspec a file of a web server that does not answer is absent; a listing tells.
            folder.is_dir()
    return found
