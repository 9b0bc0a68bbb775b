import dataclasses
from pathlib import Path

import pytest
from drizzled_files import write_hla

from lensweep.ground.errors import InputError
from lensweep.scanner.run.config import ScanConfig, make_config, mosaic_name
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides

GOOD = {"mosaics": ("a.fits",), "out": "run"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mosaics": ()}, "no mosaics: name at least one"),
        ({"mosaics": "a.fits"}, "must be a list of names"),
        ({"mosaics": (3,)}, "must be a list of names"),
        ({"stride": 0}, "stride = 0: must lie within 1 and 100"),
        ({"stride": 101}, "stride = 101"),
        ({"stride": 25.0}, r"stride = 25\.0: must be a whole number"),
        ({"stride": True}, "stride = True: must be a whole number"),
        ({"min_valid_fraction": 1.01}, r"min_valid_fraction = 1\.01: must lie within 0 and 1"),
        ({"min_valid_fraction": "0.5"}, "min_valid_fraction = '0.5': must be a number"),
        ({"min_logit": float("nan")}, "min_logit = nan: must be a finite number"),
        ({"lens_density": 0.0}, r"lens_density = 0\.0: must lie within 1e-06 and 1000000"),
        ({"merge_radius_arcsec": -1.0}, "merge_radius_arcsec = -1"),
        ({"merge_radius_arcsec": 0.0}, "merge_radius_arcsec = 0"),
        ({"match_radius_arcsec": float("inf")}, "match_radius_arcsec = inf"),
        ({"workers": 0}, "workers = 0"),
        ({"windows_per_shard": 0}, "windows_per_shard = 0"),
        ({"centres": "gird"}, "centres = gird: neither grid, sources, nor a file"),
        ({"band": 814}, "band = 814: must be text"),
        ({"mosaics": ("x/a.fits", "y/a.fits.gz")}, "x/a.fits and y/a.fits.gz: one name, a, for"),
    ],
)
def test_unfit_values_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        ScanConfig(**(GOOD | change))


def test_flags_win_over_the_file(tmp_path):
    toml = tmp_path / "scan.toml"
    toml.write_text('mosaics = ["b.fits"]\nout = "there"\nstride = 25\nlens_density = 25\n')
    config = make_config({"mosaics": (), "out": None, "stride": 40, "lens_density": None}, toml)
    assert config == ScanConfig(("b.fits",), "there", stride=40, lens_density=25)
    assert make_config({"mosaics": ("c.fits",)}, toml).mosaics == ("c.fits",)


def test_every_field_can_be_in_the_file(tmp_path):
    values = dataclasses.asdict(ScanConfig(**GOOD, lens_density=30.0, band="F814W"))
    lines = [f"{k} = {list(v) if isinstance(v, tuple) else v!r}" for k, v in values.items() if v]
    toml = tmp_path / "scan.toml"
    toml.write_text("\n".join(lines).replace("'", '"'))
    assert make_config({}, toml) == ScanConfig(**GOOD, lens_density=30.0, band="F814W")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("strid = 25\n", "unknown keys strid; known are band, centres"),
        ("stride 25\n", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        ('mosaics = ["a.fits"]\nstride = "25"\n', "stride = '25': must be a whole number"),
        ('mosaics = "a.fits"\n', "mosaics = 'a.fits': must be a list"),
        (None, "cannot be read"),  # no such file
    ],
)
def test_unfit_files_are_refused(tmp_path, content, message):
    toml = tmp_path / "scan.toml"
    if content is not None:
        toml.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        make_config({"mosaics": (), "out": "run"}, toml)


def test_an_output_folder_is_needed():
    with pytest.raises(InputError, match="give --out"):
        make_config({"mosaics": ("a.fits",)}, None)


@pytest.mark.parametrize("ending", [".fits", ".FITS", ".fit", ".fts"])
def test_names_are_those_of_the_mosaics(tmp_path, ending):
    """Two modules name mosaics: what the config refuses is what would collide on disk."""
    import numpy as np

    path = write_hla(tmp_path / f"a.b_drz{ending}", np.ones((120, 120), np.float32))
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "x", tmp_path)
    assert mosaic_name(str(path)) == mosaic.name == "a.b_drz"


def test_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.csv").touch()
    config = ScanConfig(("a.fits",), "run", centres="c.csv").absolute()
    assert config.mosaics == (str(tmp_path / "a.fits"),)
    assert config.centres == str(tmp_path / "c.csv")
    assert ScanConfig(("a.fits",), "run").absolute().centres == "grid"
