import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from lensweep.ground.errors import InputError
from lensweep.scanner.run import cutout_store
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.data.requests import SimulationConfig
from lensweep.training.data.simulated_set import open_simulation
from lensweep.training.simulation.lenses import BRIGHT_QUASARS_MAG
from lensweep.training.simulation.psf_file import fingerprint, read_psf
from lensweep.training.simulation.simulate import LENS_KINDS, VERSION, simulate

N, SEED = 24, 11


@pytest.fixture(scope="module")
def psf_path(tmp_path_factory):
    """Gaussian, 0.1 arcsec across: a drawn bank of 96 takes seconds."""
    y, x = (np.mgrid[:81, :81] - 40) * 0.025
    path = tmp_path_factory.mktemp("psf") / "psf.fits"
    header = fits.Header({"PIXELSCL": 0.025})
    fits.PrimaryHDU(np.exp(-(x**2 + y**2) / (2 * 0.0425**2)), header).writeto(path)
    return path


def test_simulate(command, psf_path, tmp_path):
    arguments = ["--n", N, "--seed", SEED, "--lens-fraction", 0.25, "--psf", psf_path, "--out",
                 tmp_path / "set", "--workers", 1]  # fmt: skip
    status, shown = command("simulate", *arguments)
    assert status == 0
    assert f"{N} cutouts: 6 lenses, 18 others" in shown
    truth, cutouts = read_truth(tmp_path / "set"), cutout_store.read(tmp_path / "set/cutouts.zarr")
    assert len(truth) == len(cutouts) == N
    assert truth["is_lens"].equals(truth["kind"].isin(LENS_KINDS))
    assert truth.loc[truth["is_lens"], "theta_e_arcsec"].notna().all()
    # The same cutouts as in Python, with the PSF of the file.
    first = next(simulate([truth["kind"].iloc[0]], SEED, 0, (read_psf(psf_path),)))
    np.testing.assert_array_equal(cutouts.flux[0], first.flux)
    status, shown = command("simulate", *arguments, "--lens-fraction", 0.5)
    assert (status, "another data set (lens_fraction was 0.25" in shown) == (2, True)


def test_a_set_of_chosen_kinds(command, psf_path, tmp_path):
    arguments = ["--n", 6, "--kind", "lensed_quasar", "--kind", "bright_star", "--bright-quasars",
                 "--psf", psf_path, "--out", tmp_path / "set", "--workers", 1]  # fmt: skip
    assert command("simulate", *arguments)[0] == 0
    truth = read_truth(tmp_path / "set")
    assert truth["kind"].value_counts().to_dict() == {"lensed_quasar": 3, "bright_star": 3}
    low, high = BRIGHT_QUASARS_MAG
    assert truth.loc[truth["is_lens"], "source_magnitude"].between(low, high).all()
    # The same choice goes on, in whatever order; another one is another set.
    swapped = ["--n", 6, "--kind", "bright_star", "--kind", "lensed_quasar", *arguments[6:]]
    assert command("simulate", *swapped)[0] == 0
    for change, said in ((("--kind", "merger"), "kinds was"), (("--even-radii",), "even_radii")):
        status, shown = command("simulate", *arguments, *change)
        assert (status, f"another data set ({said}" in shown) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "0"], "0 cutouts"),
        (["--n", "9", "--lens-fraction", "2"], "lens fraction 2.0"),
        (["--n", "9", "--seed", "-1"], "seed = -1: must lie within 0 and"),
        (["--n", "9", "--psf", "none.fits"], "PSF none.fits"),
        (["--n", "9", "--kind", "spiral"], "kind = spiral: must be one of lensed_galaxy"),
    ],
)
def test_unusable_requests_are_one_message(command, arguments, message, tmp_path):
    status, shown = command("simulate", *arguments, "--out", tmp_path / "out")
    assert status == 2
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_a_set_of_an_older_simulation_is_not_continued(tmp_path):
    open_simulation(SimulationConfig(N), tmp_path / "set")
    said = tmp_path / "set" / "dataset.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"simulation": VERSION - 1}))
    message = rf"another data set \(simulation was {VERSION - 1}, now {VERSION}\)"
    with pytest.raises(InputError, match=message):
        open_simulation(SimulationConfig(N), tmp_path / "set")


def test_another_psf_is_another_data_set(psf_path, tmp_path):
    open_simulation(SimulationConfig(N, psf=str(psf_path)), tmp_path / "set")
    with pytest.raises(InputError, match=r"another data set \(psf was"):
        open_simulation(SimulationConfig(N), tmp_path / "set")
    assert len(fingerprint(read_psf(psf_path))) == 64


@pytest.mark.parametrize("name", ["simulate", "inject", "collect"])
def test_help_imports_little(name):
    code = (
        "import sys\nfrom lensweep.__main__ import main\n"
        f"sys.argv = ['lensweep', '{name}', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint(' '.join(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "pandas", "astropy", "distributed", "lenstronomy", "tensorflow"}
    assert "--out" in ran.stdout


def test_truth_lies_beside_every_cutout(psf_path, tmp_path):
    kinds = ["lensed_quasar", "ring_galaxy"]
    drawn = list(simulate(kinds, SEED, 0, (read_psf(psf_path),)))
    table = pd.DataFrame([one.truth for one in drawn])
    assert {"x_px", "y_px", "exposure_time_s"} <= set(table.columns)
    assert table["theta_e_arcsec"].notna().tolist() == [True, False]
