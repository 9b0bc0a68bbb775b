import numpy as np
import pytest

from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import (
    STRIP_HEIGHT_PX,
    STRIP_ROWS,
    centred_windows,
    grid_windows,
    regions,
    shard_bounds,
)

SHAPES = [
    (100, 100),  # exactly one window
    (99, 250),  # narrower than a window
    (101, 101),  # one pixel too many
    (1000, 1),  # a sliver
    (1, 1),
    (850, 850),  # a strip of 16 rows at stride 50
    (1234, 777),
    (2049, 3333),  # several strips, uneven
]


def boxes_of(corners, run):
    """Sides of the bounding boxes of all runs of consecutive windows."""
    starts = range(max(1, len(corners) - run + 1))
    spans = [np.ptp(corners[start : start + run], axis=0) + CUTOUT_SIZE for start in starts]
    return np.array(spans)


@pytest.mark.parametrize("stride", [25, 50, 99, 100])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_is_in_a_window(shape, stride):
    corners = grid_windows(shape, stride)
    assert corners.dtype == np.int32
    assert len(np.unique(corners, axis=0)) == len(corners)
    for axis, length in enumerate(reversed(shape)):
        starts = np.unique(corners[:, axis])
        covered = np.zeros(length, bool)
        for start in starts.tolist():
            covered[start : start + CUTOUT_SIZE] = True
        assert covered.all()
        assert starts[0] == 0
        # Flush with the edge, so nothing is padded that need not be.
        assert starts[-1] == max(0, length - CUTOUT_SIZE)
        assert np.diff(starts).max(initial=0) <= stride
    # Windows form a full grid, so covered axes make a covered image.
    assert len(corners) == np.prod([len(np.unique(corners[:, axis])) for axis in (0, 1)])


@pytest.mark.parametrize(
    ("shape", "stride", "n_windows"),
    [
        ((100, 100), 50, 1),
        ((99, 250), 50, 4),
        ((101, 101), 50, 4),
        ((4040, 4040), 50, 80 * 80),  # one ACS field: FACTS has about 6,500
    ],
)
def test_window_counts(shape, stride, n_windows):
    assert len(grid_windows(shape, stride)) == n_windows


@pytest.mark.parametrize("stride", [0, 101])
def test_strides_that_leave_gaps_are_refused(stride):
    with pytest.raises(ValueError, match=f"stride {stride} px"):
        grid_windows((500, 500), stride)


@pytest.mark.parametrize("shape", [(2049, 3333), (6000, 4100), (920, 5000), (1270, 5000)])
def test_runs_of_windows_are_compact(shape):
    corners = grid_windows(shape, 50)
    boxes = boxes_of(corners, 512)
    # A run of 512 fills 16 x 32 windows; turning into the next strip, or strips of 11 to 23
    # rows, never make more of it than a read of 2048 x 2048 holds.
    assert boxes.max() <= 50 * (512 // (STRIP_ROWS // 2)) + CUTOUT_SIZE
    assert boxes.prod(axis=1).max() <= 2048**2
    # Row by row, the same run would span the image.
    by_rows = corners[np.lexsort((corners[:, 0], corners[:, 1]))]
    assert boxes_of(by_rows, 512)[:, 0].max() == shape[1]


def test_consecutive_windows_are_neighbours():
    corners = grid_windows((3000, 3000), 50)
    steps = np.abs(np.diff(corners, axis=0)).max(axis=1)
    # One window on, except where a strip ends: up to the height of two strips.
    assert np.count_nonzero(steps > 50) <= 3
    assert steps.max() <= 2 * 50 * 1.5 * STRIP_ROWS


@pytest.mark.parametrize(
    ("x", "corner"),
    [
        (49.5, 0),  # exactly central
        (49.0, 0),  # half a pixel off either way
        (49.9, 0),
        (50.4, 1),
        (0.0, -49),  # over the edge
        (1e4, 9951),
    ],
)
def test_windows_are_centred_to_the_pixel(x, corner):
    corners, order = centred_windows(np.array([x]), np.array([x]))
    assert corners.tolist() == [[corner, corner]]
    assert corners.dtype == np.int32
    assert order.tolist() == [0]
    assert abs(corner + 49.5 - x) <= 0.5


def test_centred_windows_are_ordered_and_traceable():
    rng = np.random.default_rng(814)
    x, y = rng.uniform(-60, 6000, (2, 8000))
    corners, order = centred_windows(x, y)
    assert sorted(order.tolist()) == list(range(8000))
    positions = np.stack([x, y], axis=1)[order]
    assert np.abs(corners + 49.5 - positions).max() <= 0.5
    # 512 of 8,000 on 6,000 px square need 1,500 px square; strips of 1,000 px give up to
    # 2,400 by 1,000, and twice as high where they turn.
    boxes = boxes_of(corners, 512)
    assert boxes.max() <= 3 * STRIP_HEIGHT_PX
    assert np.median(boxes.prod(axis=1)) < 3.5e6


def test_no_positions_make_no_windows():
    corners, order = centred_windows(np.empty(0), np.empty(0))
    assert corners.shape == (0, 2)
    assert order.shape == (0,)
    assert list(regions(corners, 2048)) == []


@pytest.mark.parametrize(
    ("n_windows", "per_shard", "bounds"),
    [
        (0, 512, []),
        (512, 512, [(0, 512)]),
        (513, 512, [(0, 512), (512, 513)]),
        (5, 2, [(0, 2), (2, 4), (4, 5)]),
    ],
)
def test_shard_bounds(n_windows, per_shard, bounds):
    assert shard_bounds(n_windows, per_shard) == bounds


@pytest.mark.parametrize("max_side_px", [100, 150, 1000, 2048])
@pytest.mark.parametrize(
    "corners",
    [
        grid_windows((1300, 2100), 50),
        centred_windows(*np.random.default_rng(92).uniform(-60, 9000, (2, 300)))[0],  # sparse
    ],
)
def test_regions_hold_their_windows_and_stay_small(corners, max_side_px):
    expected_start = 0
    for start, stop, rows, cols in regions(corners, max_side_px):
        assert start == expected_start < stop
        expected_start = stop
        x0, y0 = corners[start:stop].T
        # The tight box: nothing is read that no window needs.
        assert (cols.start, cols.stop) == (x0.min(), x0.max() + CUTOUT_SIZE)
        assert (rows.start, rows.stop) == (y0.min(), y0.max() + CUTOUT_SIZE)
        assert max(rows.stop - rows.start, cols.stop - cols.start) <= max_side_px
    assert expected_start == len(corners)


def test_regions_are_no_smaller_than_they_must_be():
    corners = grid_windows((850, 4050), 50)
    # One strip of 16 rows: 2048 px hold 39 columns of windows, so 80 columns take 3 reads.
    assert len(list(regions(corners, 2048))) == 3
