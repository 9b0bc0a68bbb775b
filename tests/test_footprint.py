import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import scan_here, write_field

from lensweep.catalogs.coverage import area_deg2, inside, read_coverage
from lensweep.ground.errors import InputError
from lensweep.scanner.results.footprint import mosaic_footprint, run_footprint
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.grid import grid_to_sky

NAME = "part_f814w_drz"
PIXEL_DEG2 = (0.05 / 3600.0) ** 2


@pytest.fixture(scope="module")
def run(client, tiny_bundle, tmp_path_factory):
    """A run on 300 x 400 pixels, of which the 150 columns on the left hold no data."""
    folder = tmp_path_factory.mktemp("footprint")
    mosaic = write_field(folder / f"{NAME}.fits", seed=9, shape=(300, 400))
    return scan_here(client, tiny_bundle, [mosaic], folder / "run").paths.root


def test_area_is_that_of_the_valid_pixels(run):
    footprint = run_footprint(run)
    # Windows from column 100 on are scored: half of the first of them holds data.
    assert area_deg2(footprint) == pytest.approx(250 * 300 * PIXEL_DEG2, rel=0.02)


def test_every_pixel_is_in_or_out_as_it_was_seen(run):
    plan = read_plan(run, NAME)
    y, x = np.mgrid[-30:330:3, -30:430:3].astype(float)
    ra, dec = grid_to_sky(plan.grid, x.ravel(), y.ravel())
    found = inside(run_footprint(run), ra, dec).reshape(x.shape)
    # Cells of 16 pixels: within 16 of an edge a pixel may belong to a cell on either side.
    clear = np.minimum.reduce([x - 150, 399 - x, y, 299 - y]) > 16
    outside = np.minimum.reduce([x - 150, 399 - x, y, 299 - y]) < -16
    assert found[clear].all()
    assert not found[outside].any()
    assert clear.any()
    assert outside.any()


def test_map_is_kept_and_made_anew_when_more_is_scored(run):
    footprint = run_footprint(run)
    path = RunPaths(run).coverage
    written = path.stat().st_mtime_ns
    assert run_footprint(run) == footprint
    assert path.stat().st_mtime_ns == written
    kept = path.read_bytes()
    # The card of a map that was made when one window fewer was scored.
    _, header = read_coverage(path)
    older = kept.replace(f"{header['NSEEN']:>20}".encode(), f"{header['NSEEN'] - 1:>20}".encode())
    assert older != kept
    path.write_bytes(older)
    assert run_footprint(run) == footprint
    assert read_coverage(path)[1]["NSEEN"] == header["NSEEN"]


def test_windows_that_were_not_scored_are_not_in_it(run):
    ledger = pd.read_parquet(RunPaths(run).ledger)
    masked = ledger[(ledger["state"] == "masked")]
    assert masked["x0"].max() == 50  # half of it valid would have been enough
    plan = read_plan(run, NAME)
    ra, dec = grid_to_sky(plan.grid, [60.0], [150.0])
    assert not inside(mosaic_footprint(run, plan), ra, dec).any()


def test_cutouts_that_are_gone_are_no_empty_sky(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    RunPaths(root).coverage.unlink()
    for file in (RunPaths(root).cutouts(NAME) / "flux/c").rglob("0"):
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError, match=r"windows 0 to 15 .* lost .*scan this mosaic anew"):
        run_footprint(root)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run in this folder"):
        run_footprint(tmp_path)
