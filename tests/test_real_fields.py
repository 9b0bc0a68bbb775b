"""Real Hubble files that nobody here had seen: each F814W field is scanned, each galaxy scored."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from conftest import scan_here

import lensweep
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.grid import grid_to_sky
from lensweep.scanner.sky.overrides import HeaderOverrides

MACS = "fields/MACSJ0717pos5_tidalgroup_acs_f814w.fits"


@pytest.fixture(scope="module")
def second_data(real_data) -> Path:
    """The second folder of real pixels, beside the first."""
    folder = real_data.parent / "hst2"
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.fixture(scope="module")
def listed(second_data):
    with (second_data / "MANIFEST.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["filter"].startswith("F814W")]
    assert len(rows) > 100
    return rows


def header_of(path):
    with fits.open(path) as hdus:
        images = [hdu.header for hdu in hdus if hdu.shape and hdu.name != "ERR"]
        return fits.Header([*images[0].cards, *hdus[0].header.cards])


def stated_of(row, header):
    """What a user has to say of a file, from the manifest: what its header does not."""
    silent = not {"FILTER", "FILTER1", "FILTNAM1", "PHOTMODE"} & set(header)
    total = row["units"] == "counts (DN)"
    # A constant gain cancels; ELECTRONS beside D001OUUN = cps contradict each other.
    units = "counts" if total else "electrons/s"
    scale = None if "CTYPE1" in header else float(row["pixel_scale_arcsec"])
    return HeaderOverrides("F814W" if silent else None, scale, units)


@pytest.fixture(scope="module")
def scanned(client, tiny_bundle, second_data, listed, tmp_path_factory):
    """The outcome of a scan of each field, by its name in the list."""
    folder = tmp_path_factory.mktemp("fields")
    return {
        row["file"]: scan_here(
            client, tiny_bundle, [second_data / row["file"]], folder / Path(row["file"]).stem,
            units="electrons/s", stride=100, min_logit=1e9,
        )
        for row in listed if row["label"] == "field"
    }  # fmt: skip


def test_every_field_is_scanned(scanned, listed):
    assert len(scanned) == 2
    for row in listed:
        if row["file"] not in scanned:
            continue
        outcome = scanned[row["file"]]
        assert outcome.exit_status == 0
        assert outcome.tally.planned == outcome.tally.scored + outcome.tally.masked > 10
        plan = read_plan(outcome.paths.root, Path(row["file"]).stem)
        scale = float(row["pixel_scale_arcsec"])
        assert plan.mosaic.pixel_scale_arcsec == pytest.approx(scale, rel=0.01)
        ny, nx = plan.grid.shape
        ra, dec = grid_to_sky(plan.grid, nx / 2, ny / 2)
        # Of what is in the middle, as the list names it.
        assert np.hypot(ra - float(row["ra_deg"]), dec - float(row["dec_deg"])) < 0.02


def test_a_real_left_over_polynomial_is_not_applied(scanned, second_data):
    mosaic = read_plan(scanned[MACS].paths.root, Path(MACS).stem).mosaic
    assert "left over beside CTYPE1 = RA---TAN" in mosaic.notes[0]
    cards = header_of(second_data / MACS).cards
    plain = fits.Header(card for card in cards if not card.keyword.startswith(("A_", "B_")))
    # WCS would warn of the dates that it mends.
    del plain["DATE-OBS"]
    expected = WCS(plain).pixel_to_world([0, 899], [0, 899])
    assert mosaic.wcs.pixel_to_world([0, 899], [0, 899]).separation(expected).arcsec.max() < 1e-3


def test_every_galaxy_is_scored(second_data, listed, tiny_bundle):
    galaxies = [row for row in listed if row["label"] != "field"]
    groups = {}
    for row in galaxies:
        path = str(second_data / row["file"])
        groups.setdefault(stated_of(row, header_of(path)), []).append(path)
    scores = pd.concat(
        lensweep.score(
            paths, str(tiny_bundle), stated.band, stated.pixel_scale_arcsec, stated.units
        )
        for stated, paths in groups.items()
    )
    assert len(scores) == len(galaxies)
    assert scores["message"].dropna().tolist() == []
    assert np.isfinite(scores["logit_mean"].astype(float)).all()
