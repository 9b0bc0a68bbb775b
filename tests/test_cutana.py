"""Stores that Cutana itself wrote; `pip install 'lensweep[bench]'` brings it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

import lensweep
from lensweep.scanner.sky.stamp_arrays import names_of, read_stack, scales_of
from lensweep.scanner.sky.stamps import find_stamps
from lensweep.training.simulation.field import make_field

pytest.importorskip("cutana", reason="writes the stores: pip install 'lensweep[bench]'")

SIDE_PX, N_LENSES = 600, 3
# A process of its own: Cutana starts others, and warns of primary headers without an image.
WRITE = """
import json, sys
from cutana import Orchestrator, get_default_config
if __name__ == "__main__":
    config = get_default_config()
    for key, value in json.loads(sys.argv[1]).items():
        setattr(config, key, value)
    assert Orchestrator(config).run()["status"] == "completed"
"""


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """A simulated mosaic, and where its lenses are."""
    path = tmp_path_factory.mktemp("cutana") / "field_f814w_drz.fits"
    return path, make_field(path, 3, SIDE_PX, N_LENSES)


def written(mosaic, folder, diameters, **options):
    """Cutana's output folder: a cutout about each lens."""
    path, lenses = mosaic
    catalogue = folder / "catalogue.csv"
    pd.DataFrame(
        {"SourceID": [f"s{row}" for row in range(len(lenses))], "RA": lenses["ra_deg"],
         "Dec": lenses["dec_deg"], "diameter_pixel": diameters,
         "fits_file_paths": json.dumps([str(path)])}
    ).to_csv(catalogue, index=False)  # fmt: skip
    asked = {
        "source_catalogue": str(catalogue), "output_dir": str(folder / "out"), "max_workers": 1,
        "selected_extensions": [{"name": "SCI", "ext": "SCI"}], "fits_extensions": ["SCI"],
        "channel_weights": {"SCI": [1.0]}, "apply_flux_conversion": False,
    }  # fmt: skip
    script = folder / "write.py"
    script.write_text(WRITE)
    subprocess.run(
        [sys.executable, script, json.dumps(asked | options)],
        check=True, capture_output=True, cwd=folder, timeout=300,
    )  # fmt: skip
    return folder / "out"


def about(mosaic, row, side):
    """The mosaic's own pixels about a lens, from the pixel that Cutana begins at."""
    path, lenses = mosaic
    x, y = lenses.loc[row, ["x_pix", "y_pix"]]
    x, y = int(x - side / 2), int(y - side / 2)
    return fits.getdata(path, "SCI")[y : y + side, x : x + side]


def test_a_store_of_flux(mosaic, tiny_bundle, tmp_path):
    """What is written without a stretch and without resizing is the mosaic's pixels, by name."""
    out = written(mosaic, tmp_path, 120, normalisation_method="none", target_resolution=120)
    (store,) = find_stamps([str(out)])
    assert names_of(store) == ["s0", "s1", "s2"]
    np.testing.assert_allclose(scales_of(store, None), 0.05, rtol=1e-6)
    for row, stamp in enumerate(read_stack(store, 0, N_LENSES)):
        np.testing.assert_array_equal(np.nan_to_num(stamp), about(mosaic, row, 120))
    table = lensweep.score(out, str(tiny_bundle), units="electrons/s")
    assert table["message"].isna().all()
    assert table["name"].tolist() == ["s0", "s1", "s2"]


def test_resized_cutouts_have_a_scale_each(mosaic, tmp_path):
    sides = np.array([100, 120, 150])
    out = written(mosaic, tmp_path, sides, normalisation_method="none", target_resolution=120)
    (store,) = find_stamps([str(out)])
    np.testing.assert_allclose(scales_of(store, None), 0.05 * sides / 120, rtol=1e-4)


def test_files(mosaic, tiny_bundle, tmp_path):
    """FITS, with the mosaic's scale in the header, are scored as the store is."""
    out = written(mosaic, tmp_path, 120, do_only_cutout_extraction=True, output_format="fits")
    table = lensweep.score(out, str(tiny_bundle), units="electrons/s", band="F814W")
    assert table["message"].isna().all()
    stamps = np.stack([about(mosaic, row, 120) for row in range(N_LENSES)])
    expected = lensweep.score(
        stamps, str(tiny_bundle), units="electrons/s", pixel_scale_arcsec=0.05
    )
    assert sorted(table["logit_mean"]) == pytest.approx(sorted(expected["logit_mean"]), abs=1e-3)
