"""The score Zarr format: the logits of all members for the windows of one mosaic."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from lensweep.ground.atomic import whole_folder
from lensweep.ground.errors import InputError
from lensweep.scanner.run.chunks import make_folders, read_chunks, write_chunks
from lensweep.scanner.run.cutout_store import is_made, open_arrays
from lensweep.scanner.run.paths import zarr_location
from lensweep.scanner.run.records import FileSum
from lensweep.scanner.run.zarr_metadata import mend_metadata

FORMAT = "lensweep-scores"
VERSION = 2
# Beside the logits of the members, one number per window each.
COLUMNS = ("peak_dx", "peak_dy", "peak_sn", "screen_logit")
_UNITS = {"peak_dx": "pix", "peak_dy": "pix"}


def create(
    path: Path, n_windows: int, windows_per_shard: int, ensemble_sha256: str, members: list[str]
) -> bool:
    """Create an empty store, or leave the same one untouched.

    Returns
    -------
    bool
        Whether it was created.

    Raises
    ------
    InputError
        If the store there holds another ensemble's scores.
    """

    def make(folder: Path) -> None:
        _create_arrays(folder, n_windows, windows_per_shard, ensemble_sha256, members)

    if is_made(path):
        mend_metadata(path, ("member_logits", *COLUMNS), make)
        attributes = zarr.open_group(zarr_location(path), mode="r").attrs
        if attributes.get("version") != VERSION:
            raise InputError(
                f"score store {path}: version {attributes.get('version')}, but this lensweep "
                f"writes version {VERSION}; use a new folder"
            )
        found = attributes.get("ensemble_sha256")
        if found != ensemble_sha256:
            raise InputError(
                f"score store {path}: scores of ensemble {found}, not of {ensemble_sha256}; "
                "use a new folder"
            )
        return False
    with whole_folder(path) as partial:
        make(partial)
    return True


def _create_arrays(
    path: Path, n_windows: int, windows_per_shard: int, ensemble_sha256: str, members: list[str]
) -> None:
    group = zarr.create_group(zarr_location(path), zarr_format=3)
    columns = {"member_logits": (len(members),), **dict.fromkeys(COLUMNS, ())}
    for name, trailing in columns.items():
        group.create_array(
            name,
            shape=(n_windows, *trailing),
            chunks=(windows_per_shard, *trailing),
            dtype="float32",
            fill_value=np.nan,
            compressors=None,
            dimension_names=("window", "member") if trailing else ("window",),
            attributes={"units": _UNITS.get(name, "")},
        )
    make_folders(path, list(columns))
    group.attrs.update(
        {
            "format": FORMAT,
            "version": VERSION,
            "ensemble_sha256": ensemble_sha256,
            "members": members,
            "windows_per_shard": windows_per_shard,
        }
    )


def write_shard(
    path: Path,
    start: int,
    member_logits: NDArray[np.float32],
    peak_dx: NDArray[np.float32],
    peak_dy: NDArray[np.float32],
    peak_sn: NDArray[np.float32],
    screen_logit: NDArray[np.float32],
) -> dict[str, FileSum]:
    """Write one whole shard, and flush it; NaN for windows that were not scored.

    Parameters
    ----------
    path : Path
    start : int
        The shard's first window.
    member_logits : ndarray, shape (n, members), float32
    peak_dx, peak_dy : ndarray, shape (n,), float32
        Where the light peaks, pixels from the window's centre.
    peak_sn : ndarray, shape (n,), float32
        Peak signal-to-noise; a number for every window that was looked at.
    screen_logit : ndarray, shape (n,), float32
        NaN for windows that the screen did not look at.

    Returns
    -------
    dict of str to FileSum
        Of every file that was written, for what says so.

    Raises
    ------
    ValueError
        If it is not exactly the shard that begins at `start`.
    """
    arrays = open_arrays(path, "r+")
    shard, n_windows = arrays["member_logits"].chunks[0], arrays["member_logits"].shape[0]
    stop = start + len(member_logits)
    if start % shard or stop != min(start + shard, n_windows):
        raise ValueError(f"windows {start}:{stop} of {path} are not a shard of {shard} windows")
    columns = (member_logits, peak_dx, peak_dy, peak_sn, screen_logit)
    values = dict(zip(("member_logits", *COLUMNS), columns, strict=True))
    return write_chunks(path, start // shard, arrays, values)


def read_written(
    path: Path, start: int, stop: int, sums: Mapping[str, Sequence[int]] | None
) -> dict[str, NDArray[np.float32]]:
    """Read one shard that somebody has written: ``member_logits`` and `COLUMNS`; read-only.

    Parameters
    ----------
    path, start, stop
        Of which shard.
    sums : mapping or None
        What `write_shard` has returned.

    Raises
    ------
    ValueError
        If it cannot be what was written.
    """
    arrays = open_arrays(path, "r")
    shard = start // arrays["member_logits"].chunks[0]
    return read_chunks(path, shard, arrays, stop - start, sums)


def read(
    path: Path, start: int = 0, stop: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Read member logits and peak offsets of the windows start:stop (all by default)."""
    arrays = open_arrays(path, "r")
    names = ("member_logits", "peak_dx", "peak_dy")
    logits, dx, dy = (np.asarray(arrays[name][start:stop]) for name in names)
    return logits, dx, dy


def read_screening(
    path: Path, start: int = 0, stop: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read peak signal-to-noise and screen logits of the windows start:stop (all by default).

    A window was looked at, whatever came of it, where the first is a number.
    """
    arrays = open_arrays(path, "r")
    peak_sn, screen_logit = (np.asarray(arrays[name][start:stop]) for name in COLUMNS[2:])
    return peak_sn, screen_logit


def read_seen(path: Path, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
    """Which of the windows start:stop (all by default) were looked at: scored, or screened."""
    return ~np.isnan(read_screening(path, start, stop)[0])
