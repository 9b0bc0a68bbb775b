"""What was found out about devices: how many cutouts at once pay, whether half precision holds.

One small file per device and bundle, in the user's cache: safe to delete, written again when it is
missed. Where it cannot be written, every process finds out for itself.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_cache_path

from lensweep.ground.atomic import write_json

T = TypeVar("T", int, bool)

# Another folder, such as one that the nodes of a cluster share.
FOLDER_VARIABLE = "LENSWEEP_CACHE"


class KnownDevice:
    """What is known of one device with one bundle.

    Parameters
    ----------
    device : str
        As of `lensweep.scanner.network.networks.device_name`.
    bundle_sha256 : str
    """

    def __init__(self, device: str, bundle_sha256: str) -> None:
        self._what = {"device": device, "bundle_sha256": bundle_sha256}
        name = hashlib.sha256(f"{device} {bundle_sha256}".encode()).hexdigest()[:16]
        folder = os.environ.get(FOLDER_VARIABLE)
        root = Path(folder) if folder else user_cache_path("lensweep")
        self.path = root / "devices" / f"{name}.json"

    def recall(self, key: str, find_out: Callable[[], T]) -> T:
        """What is remembered under a key; found out and remembered where nothing is."""
        found: T | None = self.known(key)
        if found is not None:
            return found
        answer = find_out()
        # A home that cannot be written to, or is full: the answer holds all the same.
        with suppress(OSError):
            write_json(self.path, self._what | self._read() | {key: answer})
        return answer

    def known(self, key: str) -> Any:
        """What is remembered under a key; None if nothing is."""
        return self._read().get(key)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):  # nothing yet, or half a file from a full disk
            return {}
        return known if isinstance(known, dict) else {}
