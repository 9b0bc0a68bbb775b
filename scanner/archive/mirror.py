"""A mirror: a folder of files from archives, fetched a few at a time, their origins beside them."""

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.files import make_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.archive.download import Stopped, download, here, part_bytes
from lensweep.scanner.archive.names import safe_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import Services, open_session
from lensweep.scanner.sky.origins import Origin

# Room that is left on the disk, for whatever else writes there.
SPARE_BYTES = 256 << 20


class NoRoomError(TryAgainError):
    """A disk without room for what is to be fetched."""


@dataclass(frozen=True)
class Fetched:
    """What came of fetching.

    Attributes
    ----------
    origins : dict of str to Origin
        Of all files that are here now, by name.
    n_new : int
        How many of them were not here before.
    failed : dict of str to Exception
        Why the others are not, by name.
    """

    origins: dict[str, Origin]
    n_new: int
    failed: dict[str, Exception]


def fetch(
    products: Sequence[Product], folder: Path, services: Services, progress: Progress
) -> Fetched:
    """Bring the files of products into a folder; what is there already stays as it is.

    Parameters
    ----------
    products : sequence of Product
    folder : Path
        Made if it is not there.
    services : Services
    progress : Progress

    Returns
    -------
    Fetched
        With the failures of single files; the others are fetched all the same.

    Raises
    ------
    InputError
        If two products have one name, or a name that must not be used here, or a file is there
        that is another.
    NoRoomError
        If the disk has no room for them, or is full before the end.
    """
    _refuse_name_twice(products)
    make_folder(folder)
    found = {product.name: here(product, folder) for product in products}
    missing = [product for product in products if found[product.name] is None]
    _refuse_without_room(missing, folder)
    origins = {name: origin for name, origin in found.items() if origin is not None}
    got, failed = _fetch_missing(missing, folder, services, progress) if missing else ({}, {})
    return Fetched(origins | got, len(got), failed)


def _fetch_missing(
    missing: Sequence[Product], folder: Path, services: Services, progress: Progress
) -> tuple[dict[str, Origin], dict[str, Exception]]:
    meter = _Meter(missing, folder, progress)
    got: dict[str, Origin] = {}
    failed: dict[str, Exception] = {}
    with open_session(services) as session, ThreadPoolExecutor(services.connections) as pool:
        futures = {
            pool.submit(download, product, folder, session, services, meter.advance): product
            for product in missing
        }
        try:
            for future in as_completed(futures):
                product, error = futures[future], future.exception()
                if isinstance(error, OSError):
                    raise NoRoomError(
                        f"{folder}: {error.strerror or error}; what came is kept: make room and "
                        "repeat the command"
                    ) from error
                if error is None:
                    got[product.name] = future.result()
                elif isinstance(error, InputError):
                    failed[product.name] = error
                    progress.note(str(error))
                else:
                    raise error
        finally:
            # On an error, or Ctrl-C: the others end at their next piece, which is kept.
            meter.stop()
            pool.shutdown(cancel_futures=True)
    return got, failed


class _Meter:
    """Counts bytes of several downloads in one stage of progress, in megabytes."""

    def __init__(self, products: Sequence[Product], folder: Path, progress: Progress) -> None:
        here_bytes = sum(part_bytes(product, folder) for product in products)
        total = sum(product.size_bytes for product in products)
        self._lock, self._progress = threading.Lock(), progress
        self._bytes, self._shown = here_bytes, here_bytes // _MB
        self._stopped = False
        self._stage = progress.stage("fetching", max(1, total // _MB), done=self._shown, unit="MB")

    def advance(self, n_bytes: int) -> None:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._bytes += n_bytes
            whole = self._bytes // _MB
            self._progress.advance(self._stage, whole - self._shown)
            self._shown = whole

    def stop(self) -> None:
        with self._lock:
            self._stopped = True


_MB = 1_000_000


def _refuse_name_twice(products: Sequence[Product]) -> None:
    seen: dict[str, Product] = {}
    for product in products:
        # A file system may not tell capitals from others.
        other = seen.setdefault(safe_name(product.name).lower(), product)
        if other is not product:
            raise InputError(
                f"{other.address} and {product.address}: one name, {product.name}, for two files; "
                "fetch them into two folders"
            )


def _refuse_without_room(missing: Sequence[Product], folder: Path) -> None:
    needed = sum(max(0, one.size_bytes - part_bytes(one, folder)) for one in missing)
    free = shutil.disk_usage(folder).free
    if needed and free < needed + SPARE_BYTES:
        raise NoRoomError(
            f"{folder}: {free / 1e9:.2f} GB are free, but {needed / 1e9:.2f} GB are to be fetched "
            f"({SPARE_BYTES / 1e9:.2f} GB are left alone); make room, or name another folder"
        )
