"""The plan of a scan: which 100 x 100 pixel windows, in which order. Numbers only, no pixels.

Neighbours in the order are neighbours on the image, so a shard of consecutive windows needs one
compact region of the mosaic.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.sky.scale import CUTOUT_SIZE

# 16 rows of windows at stride 50 and 32 columns make a shard of 512: 850 by 1650 pixels.
STRIP_ROWS = 16
# Height of the strips for windows at positions, which have no rows.
STRIP_HEIGHT_PX = 1000


def grid_windows(shape: tuple[int, int], stride: int, size: int = CUTOUT_SIZE) -> NDArray[np.int32]:
    """List the windows that cover an image.

    The image is divided into strips of about `STRIP_ROWS` window rows. Within a strip the
    windows run column by column, down one column and up the next; every other strip runs
    backwards.

    Parameters
    ----------
    shape
        (ny, nx) of the scanning grid, pixels, both at least 1.
    stride
        Distance between neighbouring windows, 1 to `size` pixels.
    size
        Side of a window, pixels.

    Returns
    -------
    corners : ndarray, shape (n, 2), int32
        First pixel (x0, y0). The last window on an axis ends flush with the image; on an axis
        shorter than a window, the one window starts at 0 and is padded.

    Raises
    ------
    ValueError
        `stride` would leave gaps, or does not advance.
    """
    if not 1 <= stride <= size:
        raise ValueError(f"stride {stride} px, but windows of {size} px need 1 to {size}")
    y0, x0 = (_starts(length, stride, size) for length in shape)
    rows, columns = np.arange(y0.size), np.arange(x0.size)
    # Strips of equal height: a thin last strip would stretch its shards along the whole image.
    n_strips = max(1, round(y0.size / STRIP_ROWS))
    corners = []
    for number, strip in enumerate(np.array_split(rows, n_strips)):
        column, row = np.meshgrid(columns, strip, indexing="ij")
        row[1::2] = row[1::2, ::-1].copy()
        ordered = np.stack([x0[column.ravel()], y0[row.ravel()]], axis=1)
        corners.append(ordered[::-1] if number % 2 else ordered)
    return np.concatenate(corners)


def _starts(length: int, stride: int, size: int) -> NDArray[np.int32]:
    last = max(0, length - size)
    starts = np.arange(0, last + 1, stride, dtype=np.int32)
    return starts if starts[-1] == last else np.append(starts, np.int32(last))


def centred_windows(
    x: NDArray[np.float64], y: NDArray[np.float64], size: int = CUTOUT_SIZE
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Windows whose centres are as near as whole pixels allow to the given positions.

    Parameters
    ----------
    x, y : ndarray, shape (n,), float64
        Finite 0-based pixel coordinates on the scanning grid.
    size
        Side of a window, pixels.

    Returns
    -------
    corners : ndarray, shape (n, 2), int32
        First pixel (x0, y0), in equal strips of about `STRIP_HEIGHT_PX`, every other one run
        backwards. May be negative or reach beyond the image.
    order : ndarray, shape (n,), intp
        Which position each window is for: ``corners[i]`` belongs to ``x[order[i]]``.
    """
    positions = np.stack([x, y], axis=1)
    corners = np.floor(positions - (size - 1) / 2 + 0.5).astype(np.int32)
    strip = _equal_strips(corners[:, 1])
    along = np.where(strip % 2 == 0, corners[:, 0], -corners[:, 0])
    order = np.lexsort((corners[:, 1], along, strip))
    return corners[order], order


def _equal_strips(y0: NDArray[np.int32]) -> NDArray[np.intp]:
    if not y0.size:
        return np.empty(0, np.intp)
    above = y0 - y0.min()
    n_strips = max(1, round(int(above.max()) / STRIP_HEIGHT_PX))
    strips: NDArray[np.intp] = (above * n_strips // (int(above.max()) + 1)).astype(np.intp)
    return strips


def shard_bounds(n_windows: int, windows_per_shard: int) -> list[tuple[int, int]]:
    """Cut `n_windows` into runs (start, stop) of `windows_per_shard`; the last may be shorter."""
    return [
        (start, min(start + windows_per_shard, n_windows))
        for start in range(0, n_windows, windows_per_shard)
    ]


def regions(
    corners: NDArray[np.int32], max_side_px: int, size: int = CUTOUT_SIZE
) -> Iterator[tuple[int, int, slice, slice]]:
    """Group consecutive windows whose common bounding box is small enough to be read at once.

    Parameters
    ----------
    corners : ndarray, shape (n, 2), int32
        Windows in plan order.
    max_side_px
        Largest side of a box, at least `size`.
    size
        Side of a window, pixels.

    Yields
    ------
    start, stop : int
        The group is ``corners[start:stop]``.
    rows, cols : slice
        Its bounding box, pixels.
    """
    start, box = 0, (0, 0, 0, 0)
    for index, (x0, y0) in enumerate(corners.tolist()):
        if index > start:
            grown = (min(box[0], x0), max(box[1], x0), min(box[2], y0), max(box[3], y0))
            if max(grown[1] - grown[0], grown[3] - grown[2]) + size <= max_side_px:
                box = grown
                continue
            yield start, index, *_slices(box, size)
        start, box = index, (x0, x0, y0, y0)
    if len(corners):
        yield start, len(corners), *_slices(box, size)


def _slices(box: tuple[int, int, int, int], size: int) -> tuple[slice, slice]:
    left, right, bottom, top = box
    return slice(bottom, top + size), slice(left, right + size)
