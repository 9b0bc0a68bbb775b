"""The score Zarr format: the logits of all members for the windows of one mosaic."""

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from scanner.atomic import whole_folder
from scanner.cutout_store import open_arrays
from scanner.errors import InputError

FORMAT = "lensweep-scores"
VERSION = 1


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
    if (path / "zarr.json").is_file():
        found = zarr.open_group(path, mode="r").attrs.get("ensemble_sha256")
        if found != ensemble_sha256:
            raise InputError(
                f"score store {path}: scores of ensemble {found}, not of {ensemble_sha256}; "
                "use a new folder"
            )
        return False
    with whole_folder(path) as partial:
        _create_arrays(partial, n_windows, windows_per_shard, ensemble_sha256, members)
    return True


def _create_arrays(
    path: Path, n_windows: int, windows_per_shard: int, ensemble_sha256: str, members: list[str]
) -> None:
    group = zarr.create_group(path, zarr_format=3)
    columns = {"member_logits": (len(members),), "peak_dx": (), "peak_dy": ()}
    for name, trailing in columns.items():
        group.create_array(
            name,
            shape=(n_windows, *trailing),
            chunks=(windows_per_shard, *trailing),
            dtype="float32",
            fill_value=np.nan,
            compressors=None,
            dimension_names=("window", "member") if trailing else ("window",),
            attributes={"units": "pix" if name.startswith("peak") else ""},
        )
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
) -> None:
    """Write one whole shard; NaN for windows that were not scored.

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
    for name, values in (
        ("member_logits", member_logits), ("peak_dx", peak_dx), ("peak_dy", peak_dy),
    ):  # fmt: skip
        arrays[name][start:stop] = values


def read(
    path: Path, start: int = 0, stop: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Read member logits and peak offsets of the windows start:stop (all by default)."""
    arrays = open_arrays(path, "r")
    names = ("member_logits", "peak_dx", "peak_dy")
    logits, dx, dy = (np.asarray(arrays[name][start:stop]) for name in names)
    return logits, dx, dy
