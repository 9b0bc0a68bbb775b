"""The shipped ensemble on what a user would scan: the example, and real Hubble pixels."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from conftest import run_command

import lensweep
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.scanner.network.bundle_store import check_bundle

SHIPPED = "xception-7fold"
# Crops of HLA drizzles with their own headers: two north-up, two turned, one snapshot.
HLA_CROPS = ["SDSSJ0029-0055", "SDSSJ0737+3216", "SDSSJ0753+3416", "SDSSJ1051+4439",
             "SDSSJ1627-0053"]  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    status, said = run_command("example", folder)
    assert status == 0, said
    mosaic, truth = (next(folder.glob(f"*_{end}")) for end in ("drz.fits", "truth.csv"))
    status, said = run_command("scan", mosaic, "--out", folder / "run", "--truth", truth,
                               "--workers", 1)  # fmt: skip
    assert status == 0, said
    assert "planted lenses among the top 30" in said
    return folder


def test_ten_of_the_twelve_planted_lenses_are_among_the_top_thirty(example):
    truth = pd.read_csv(next(example.glob("*_truth.csv")))
    top = lensweep.read_candidates(example / "run").head(30)
    planted = SkyCoord(truth["ra_deg"], truth["dec_deg"], unit=u.deg)
    found = SkyCoord(top["ra_deg"], top["dec_deg"], unit=u.deg)
    _, separation, _ = planted.match_to_catalog_sky(found)
    assert len(truth) == 12
    assert (separation < 2.5 * u.arcsec).sum() >= 10


def test_the_example_catalogue_is_whole(example):
    table = pq.read_table(example / "run" / "candidates.parquet")
    assert table.schema.names == CANDIDATES.names
    frame = table.to_pandas()
    assert frame["rank"].tolist() == list(range(1, len(frame) + 1))
    assert (np.diff(frame["logit_mean"]) <= 0).all()
    # Known where the ensemble was measured on fields, and nowhere else.
    measured = check_bundle(SHIPPED).description.fields is not None
    assert frame["p_lens"].notna().all() if measured else frame["p_lens"].isna().all()
    assert frame["p_lens"].dropna().between(0, 1).all()
    # The field lies far from COSMOS and from every CASTLES system.
    assert frame["castles_name"].isna().all()
    assert frame["lensflow_id"].isna().all()
    provenance = table.schema.metadata
    assert provenance[b"lensweep.ensemble"] == SHIPPED.encode()
    assert float(provenance[b"lensweep.lens_density_per_deg2"]) == 10.0


def test_every_window_of_the_example_is_in_the_ledger(example):
    ledger = pd.read_parquet(example / "run" / "ledger.parquet")
    counts = ledger["state"].value_counts()
    assert len(ledger) == 59**2
    assert counts["scored"] + counts["screened"] + counts["masked"] == len(ledger)
    reasons = ledger.loc[ledger["state"] == "masked", "reason"]
    assert reasons.str.match(r"no data$|valid fraction 0\.\d+ < 0\.5$").all()


def test_real_hla_crops_are_scanned_and_their_lenses_located(real_data, tmp_path):
    manifest = pd.read_csv(real_data / "MANIFEST.csv").set_index("object").loc[HLA_CROPS]
    mosaics = [str(real_data / file) for file in manifest["file"]]
    status, said = run_command("scan", *mosaics, "--out", tmp_path / "run", "--min-logit=-1000",
                               "--workers", 1)  # fmt: skip
    assert status == 0, said
    candidates = lensweep.read_candidates(tmp_path / "run")
    assert set(candidates["mosaic"]) == {Path(file).stem for file in manifest["file"]}
    for file, row in zip(manifest["file"], manifest.itertuples(), strict=True):
        best = candidates[candidates["mosaic"] == Path(file).stem].iloc[0]
        centre = SkyCoord(row.ra_deg, row.dec_deg, unit=u.deg)
        found = SkyCoord(best["ra_deg"], best["dec_deg"], unit=u.deg)
        # Raw HLA astrometry is good to 1-2 arcsec (HLA help), and an arc may outshine the host.
        assert centre.separation(found) < 3.5 * u.arcsec, row.Index


def test_scores_of_real_stamps(real_data):
    """At most one of six SLACS lenses and four of the quads are missed, and one galaxy passes."""
    manifest = pd.read_csv(real_data / "MANIFEST.csv")
    chosen = manifest[manifest["filter"] == "F814W"]
    slacs = chosen[chosen["file"].str.contains("SDSSJ") & chosen["file"].str.contains("_acs_")]
    quads = chosen[chosen["notes"].str.contains("lensed quasar quad", na=False)]
    galaxies = chosen[chosen["label"] == "nonlens"]
    cut = check_bundle(SHIPPED).description.thresholds["fpr_0.01"]

    def above(rows: pd.DataFrame) -> int:
        passed = 0
        for scale, group in rows.groupby("pixel_scale_arcsec"):
            paths = [str(real_data / file) for file in group["file"]]
            scores = lensweep.score(paths, SHIPPED)
            again = scores["message"].notna()
            if again.any():
                refused = scores.loc[again, "file"].tolist()
                scores.loc[again] = lensweep.score(
                    refused, SHIPPED, "F814W", scale, "electrons/s"
                ).set_index(scores.index[again])
            assert scores["message"].isna().all()
            passed += int((scores["logit_mean"] > cut).sum())
        return passed

    assert (len(slacs), len(quads)) == (6, 14)
    assert above(slacs) >= 5
    assert above(quads) >= len(quads) - 4
    assert above(galaxies) <= 1
