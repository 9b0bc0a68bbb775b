import hashlib

import numpy as np
import pandas as pd
import pytest
from conftest import write_field
from test_lens_parameters import TINY, rings

from lensweep.catalogs.schemas import MODELS, read_provenance
from lensweep.ground.errors import InputError
from lensweep.ground.progress import open_progress
from lensweep.scanner.exports.export import export
from lensweep.scanner.network.lens_parameters import Estimates, load_parameter_network
from lensweep.scanner.results.modelling import describe_estimates, model_candidates
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.training.published.lens_parameters import LensParameterRegressor


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    flux, truth = rings(64, seed=1)
    folder = tmp_path_factory.mktemp("networks") / "rings"
    LensParameterRegressor(**TINY | {"epochs": 1}).fit(flux, truth).save(folder)
    return str(folder)


@pytest.fixture
def run(scan, tmp_path):
    scan([write_field(tmp_path / "field_f814w_drz.fits", seed=3)], tmp_path / "run")
    return tmp_path / "run"


def model(run, network, top=500):
    with open_progress() as progress:
        return model_candidates(run, network, top, progress)


def test_candidates_get_what_the_network_says_of_their_cutouts(run, network):
    before = hashlib.sha256((run / "candidates.parquet").read_bytes()).hexdigest()
    table = model(run, network)
    candidates = pd.read_parquet(run / "candidates.parquet").sort_values("rank")
    assert table.columns.tolist() == MODELS.names
    assert table["candidate_id"].tolist() == candidates["candidate_id"].tolist()
    first = table.iloc[0]
    store = RunPaths(run).cutouts(first["mosaic"])
    cutouts = cutout_store.read(store, first["window"], first["window"] + 1)
    loaded = load_parameter_network(network)
    alone = loaded.estimate(cutouts.flux)
    assert first["theta_e_arcsec"] == pytest.approx(alone.mean[0, 0], rel=1e-3)
    assert first["theta_e_err_arcsec"] == pytest.approx(alone.error[0, 0], rel=1e-3)
    # West is along x: a lens to the right of the middle lies at a smaller right ascension.
    shrunk = np.cos(np.deg2rad(cutouts.dec_deg[0]))
    east = (first["lens_ra_deg"] - cutouts.ra_deg[0]) * 3600 * shrunk
    north = (first["lens_dec_deg"] - cutouts.dec_deg[0]) * 3600
    # The window's own position is that of its pixel 50, not of its middle.
    np.testing.assert_allclose([-east, north], alone.mean[0, 3:], atol=0.05)
    assert hashlib.sha256((run / "candidates.parquet").read_bytes()).hexdigest() == before
    assert read_provenance(run / "models.parquet")["network_sha256"] == loaded.sha256


def test_exports_have_what_was_modelled_and_nothing_else(run, network, tmp_path):
    plain = pd.read_csv(export(run, "csv", out=tmp_path / "plain.csv"))
    assert "theta_e_arcsec" not in plain
    table = model(run, network, top=2)
    listed = pd.read_csv(export(run, "csv", out=tmp_path / "more.csv"))
    assert listed.columns[: len(plain.columns)].tolist() == plain.columns.tolist()
    assert listed["theta_e_arcsec"].notna().sum() == 2
    np.testing.assert_allclose(listed["theta_e_arcsec"][:2], table["theta_e_arcsec"])
    limit = table["theta_e_arcsec"].mean()
    chosen = export(run, "csv", where=f"theta_e_arcsec > {limit}", out=tmp_path / "chosen.csv")
    assert len(pd.read_csv(chosen)) == 1
    assert export(run, "votable", out=tmp_path / "more.vot").is_file()


def test_the_command_prints_and_writes(run, network, command):
    status, printed = command("model", run, "--network", network, "--top", 3)[:2]
    assert status == 0
    assert "as if lenses" in printed
    assert len(pd.read_parquet(run / "models.parquet")) == 3


@pytest.mark.parametrize(
    ("top", "what"),
    [
        (0, "top = 0: must be at least 1"),
        (5, "parameter network nowhere: neither a folder"),
    ],
)
def test_what_cannot_be_is_refused(run, top, what):
    with pytest.raises(InputError, match=what):
        model(run, "nowhere", top)


def test_a_folder_without_a_catalogue_is_refused(tmp_path, network):
    with pytest.raises(InputError, match="finish its scan first"):
        model(tmp_path, network)


@pytest.mark.parametrize(
    ("e1", "e2", "angle"),
    [
        (0.2, 0.0, 90.0),  # along x: west and east
        (-0.2, 0.0, 0.0),  # along y: north
        (0.0, 0.2, 135.0),  # between west and north
        (0.0, -0.2, 45.0),  # between north and east
    ],
)
def test_position_angles_run_from_north_to_east(e1, e2, angle):
    row = describe_estimates(Estimates(np.array([[1, e1, e2, 0, 0]]), np.ones((1, 5)))).iloc[0]
    assert row["position_angle_deg"] == pytest.approx(angle)
    assert row["ellipticity"] == pytest.approx(0.2)
