"""What becomes of the rows of a table of positions: every one is told of, under its own name."""

import io
import shutil
import time
from functools import partial

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from conftest import scan_here, write_field

import lensweep
from lensweep.catalogs.schemas import TARGETS
from lensweep.catalogs.target_lists import read_targets
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.target_list import give_targets
from lensweep.scanner.sky.grid import grid_to_sky, scan_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.work.scan import run_scan

# On the small mosaic: x, y, and what becomes of a window there; the first 150 columns have no data.
PLACES = {
    "good": (300.0, 200.0), "007": (600.0, 300.0), "no data": (60.0, 200.0),
    "corner": (728.0, 418.0), "beside good": (310.0, 204.0), "good again": (300.0, 200.0),
}  # fmt: skip


def sky_of(path, folder, places=PLACES):
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "", folder)
    return grid_to_sky(scan_grid(mosaic), *np.array(list(places.values())).T)


@pytest.fixture
def table(field, tmp_path):
    """Some places on the mosaic, and one far off, in no order that a scan would have."""
    ra, dec = sky_of(field, tmp_path)
    rows = pd.DataFrame({"id": list(PLACES), "RA": ra, "DEC": dec, "mag": np.arange(6) + 0.5})
    off = pd.DataFrame({"id": ["off"], "RA": [10.0], "DEC": [-20.0], "mag": [np.nan]})
    return pd.concat([rows[:2], off, rows[2:]], ignore_index=True)


def targets_of(outcome):
    return pd.read_parquet(outcome.paths.targets)


@pytest.fixture
def measured_scan(client, measured_bundle):
    """`scan` with an ensemble that says what a score is worth."""
    return partial(scan_here, client, measured_bundle)


def test_every_row_is_told_of_in_its_order(measured_scan, field, table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = measured_scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"),
                            merge_radius_arcsec=2.0)  # fmt: skip
    found = targets_of(outcome).set_index("id")
    assert found["row"].tolist() == list(range(7))
    assert found.index.tolist() == found["target_id"].tolist() == table["id"].tolist()
    states = {"no data": "masked", "corner": "masked", "off": "off the mosaic"}
    assert found["state"].tolist() == [states.get(name, "scored") for name in found.index]
    assert found["reason"].isna().tolist() == [name not in states for name in found.index]
    assert found["reason"]["off"] == "not on the mosaic"
    assert found["n_mosaics"].tolist() == [int(name != "off") for name in found.index]
    np.testing.assert_array_equal(found["ra_deg"], table["RA"])
    # The table's own columns, in its own types.
    np.testing.assert_array_equal(found["mag"], table["mag"])
    scored = found[found["state"] == "scored"]
    assert scored[["p_lens", "logit_mean", "p_mean", "candidate_rank"]].notna().all(axis=None)
    assert found.drop(scored.index)[["p_lens", "logit_mean", "candidate_id"]].isna().all(axis=None)
    written = pq.read_schema(outcome.paths.targets)
    assert written.names == [*TARGETS.names, "id", "RA", "DEC", "mag"]
    assert written.field("p_lens").metadata == TARGETS.field("p_lens").metadata


def test_targets_are_the_candidates_that_they_became(measured_scan, field, table, tmp_path):
    """A target that a brighter neighbour absorbs is that neighbour's candidate."""
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = measured_scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"),
                            merge_radius_arcsec=2.0)  # fmt: skip
    found = targets_of(outcome).set_index("id")
    candidates = pd.read_parquet(outcome.paths.candidates).set_index("rank")
    assert len(candidates) == 2
    ranks = found["candidate_rank"].dropna().astype(int)
    assert ranks["good"] == ranks["good again"] == ranks["beside good"] != ranks["007"]
    for name, rank in ranks.items():
        assert candidates["candidate_id"][rank] == found["candidate_id"][name]
        assert candidates["logit_mean"][rank] >= found["logit_mean"][name]
    best = found[found["window"] == candidates["window"][ranks["good"]]].iloc[0]
    assert best["p_lens"] == candidates["p_lens"][ranks["good"]]
    assert best["logit_mean"] == candidates["logit_mean"][ranks["good"]]
    np.testing.assert_allclose(
        best[["x_pix", "y_pix"]].astype(float),
        candidates.loc[ranks["good"], ["x_pix", "y_pix"]].astype(float),
    )


def test_the_ledger_says_where(scan, field, table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"))
    ledger = pd.read_parquet(outcome.paths.ledger)
    targets = targets_of(outcome)
    there = targets[targets["mosaic"].notna()]
    rows = ledger.set_index("window").loc[there["window"]]
    np.testing.assert_allclose(rows["ra_deg"], there["ra_deg"], atol=1e-9)
    np.testing.assert_allclose(rows["dec_deg"], there["dec_deg"], atol=1e-9)
    grid = scan([field], tmp_path / "grid")
    rows = pd.read_parquet(grid.paths.ledger)
    assert not grid.paths.targets.exists()
    plan = read_plan(grid.paths.root, rows["mosaic"][0])
    ra, dec = grid_to_sky(plan.grid, rows["x0"] + 49.5, rows["y0"] + 49.5)
    np.testing.assert_allclose(rows["ra_deg"], ra, atol=1e-9)
    np.testing.assert_allclose(rows["dec_deg"], dec, atol=1e-9)


def test_of_two_mosaics_the_better_one_serves(scan, field, table, tmp_path):
    """The same sky once more, without data where the first has some."""
    other = write_field(tmp_path / "other_f814w_drz.fits", seed=8, blank_columns=400)
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = scan([field, other], tmp_path / "run", centres=str(tmp_path / "t.csv"),
                   merge_radius_arcsec=2.0)  # fmt: skip
    found = targets_of(outcome).set_index("id")
    assert found["n_mosaics"].drop("off").eq(2).all()
    assert found["reason"]["off"] == "on none of the 2 mosaics"
    assert found["mosaic"]["good"] == "field_f814w_drz"
    assert found["state"]["good"] == "scored"
    ledger = pd.read_parquet(outcome.paths.ledger)
    assert set(ledger["state"]) == {"scored", "masked"}
    # Both have looked at it: the higher score counts.
    alone = {
        name: targets_of(scan([path], tmp_path / name, centres=str(tmp_path / "t.csv")))
        for name, path in (("first", field), ("second", other))
    }
    logits = [one.set_index("id")["logit_mean"]["007"] for one in alone.values()]
    assert found["logit_mean"]["007"] == max(logits)


def test_a_mosaic_that_cannot_be_read_leaves_its_targets_open(scan, field, table, tmp_path):
    (tmp_path / "torn_f814w_drz.fits").write_text("no image")
    mosaics = [field, tmp_path / "torn_f814w_drz.fits"]
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = scan(mosaics, tmp_path / "run", centres=str(tmp_path / "t.csv"))
    assert outcome.exit_status == 3
    found = targets_of(outcome).set_index("id")
    assert found["state"]["good"] == "scored"
    assert found["state"]["off"] == "failed"
    assert "not read: torn_f814w_drz" in found["reason"]["off"]
    # Mended, and asked for again.
    shutil.copy(field, mosaics[1])
    found = targets_of(scan(mosaics, tmp_path / "run", centres=str(tmp_path / "t.csv")))
    found = found.set_index("id")
    assert found["state"]["off"] == "off the mosaic"
    assert found["n_mosaics"]["good"] == 2


def test_shards_that_fail_are_told_of(client, tiny_bundle, field, table, tmp_path):
    """Its pixels are torn off between planning and cutting."""
    table.to_csv(tmp_path / "t.csv", index=False)
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(tiny_bundle), screen="off",
                        centres=str(tmp_path / "t.csv"), windows_per_shard=16)  # fmt: skip
    bundle, paths = open_run(config)
    whole = field.read_bytes()

    class Tears(PlainProgress):
        def stage(self, name, total, done=0, unit="windows"):
            if name == "cutting":
                field.write_bytes(whole[:6000])
            return super().stage(name, total, done, unit)

    outcome = run_scan(config, bundle, paths, client, Tears(io.StringIO(), time.monotonic))
    found = targets_of(outcome).set_index("id")
    assert found["state"].drop("off").eq("failed").all()
    assert found["reason"].notna().all()
    assert found["state"]["off"] == "off the mosaic"
    field.write_bytes(whole)
    again = scan_here(client, tiny_bundle, [field], tmp_path / "run", centres=config.centres,
                      merge_radius_arcsec=config.merge_radius_arcsec)  # fmt: skip
    assert targets_of(again).set_index("id")["state"]["good"] == "scored"


def test_a_stopped_run_tells_the_same(scan, field, table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    options = {"centres": str(tmp_path / "t.csv"), "windows_per_shard": 2}
    whole = scan([field], tmp_path / "whole", **options)
    stopped = scan([field], tmp_path / "run", **options)
    paths = stopped.paths
    for file in (paths.targets, paths.centres, paths.ledger, *paths.score_markers(field.stem)[1:]):
        file.unlink()
    again = targets_of(scan([field], tmp_path / "run", **options))
    pd.testing.assert_frame_equal(again, targets_of(whole))


def test_a_run_of_an_older_version_is_continued(scan, field, table, tmp_path):
    """Its windows do not say which target they are for."""
    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"))
    before, windows = targets_of(outcome), outcome.paths.windows(field.stem)
    with np.load(windows) as arrays:
        old = {name: arrays[name] for name in ("corners", "x", "y")}
    np.savez(windows, **old)
    plan = outcome.paths.plan(field.stem)
    plan.write_text(plan.read_text().replace('"windows_file"', '"of_old"').replace(
        plan.read_text().split('"crc32c": ')[1].split('"')[1], ""))  # fmt: skip
    again = targets_of(scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv")))
    pd.testing.assert_frame_equal(again, before)


def test_a_table_of_none_on_the_mosaic(scan, field, tmp_path):
    (tmp_path / "t.csv").write_text("name,ra,dec\n007,10,20\n008,11,20\n")
    outcome = scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"))
    found = targets_of(outcome)
    assert found["target_id"].tolist() == ["007", "008"]
    assert found["state"].eq("off the mosaic").all()


# How each kind of table is given, and what becomes of its column of IDs.
def as_table(frame):
    return Table.from_pandas(frame)


def with_sky(frame):
    sky = SkyCoord(frame["RA"], frame["DEC"], unit="deg").transform_to("fk5")
    return QTable({"id": frame["id"], "sky": sky, "mag": frame["mag"].to_numpy() * u.mag})


def in_hours(frame):
    table = Table.from_pandas(frame)
    table["RA"] = table["RA"] / 15.0
    table["RA"].unit, table["DEC"].unit = "hourangle", "deg"
    return table


@pytest.mark.parametrize("give", [as_table, with_sky, in_hours, lambda frame: frame,
                                  lambda frame: frame.set_index("id")])  # fmt: skip
def test_tables_in_memory(table, give):
    found = read_targets(give(table)).to_pandas()
    assert found["target_id"].tolist() == table["id"].tolist()
    np.testing.assert_allclose(found["ra_deg"], table["RA"], atol=1e-7)
    np.testing.assert_array_equal(found["mag"], table["mag"])


def test_positions_in_memory_have_no_names():
    found = read_targets(SkyCoord([10.0, 11.0], [20.0, 21.0], unit="deg", frame="fk5")).to_pandas()
    assert found["target_id"].isna().all()
    np.testing.assert_allclose(found["ra_deg"], [10.0, 11.0], atol=1e-5)
    assert len(read_targets(SkyCoord(10.0, 20.0, unit="deg"))) == 1


@pytest.mark.parametrize("file", ["a.csv", "a.ecsv", "a.txt", "a.fits", "a.vot", "a.parquet"])
def test_every_format_keeps_names_and_columns(table, tmp_path, file):
    path = tmp_path / file
    rows = table.assign(RA=table["RA"].round(6), count=np.arange(len(table)),
                        note=["0", "00", "1", "a", "b", "c", "d"])  # fmt: skip
    rows.loc[2, "mag"] = 0.0
    if file == "a.csv":
        rows.to_csv(path, index=False)
    elif file == "a.parquet":
        rows.to_parquet(path)
    else:
        kinds = {".ecsv": "ascii.ecsv", ".txt": "ascii", ".vot": "votable"}
        Table.from_pandas(rows).write(path, format=kinds.get(path.suffix))
    found = read_targets(path).to_pandas()
    for name in ("id", "note"):
        assert found[name].tolist() == rows[name].tolist()
    for name in ("RA", "mag", "count"):
        np.testing.assert_array_equal(found[name], rows[name])
    assert found["count"].dtype.kind == "i"


def test_names_of_ours_in_the_given_table(tmp_path):
    """Such as a catalogue of another run."""
    path = tmp_path / "c.csv"
    path.write_text("candidate_id,ra_deg,dec_deg,p_lens,state\nx,1.5,2,0.5,new\ny,2.5,2,,old\n")
    table = read_targets(path)
    clashing = ("candidate_id", "ra_deg", "dec_deg", "p_lens", "state")
    assert table.column_names == [
        "row", "target_id", "ra_deg", "dec_deg", *(f"input_{name}" for name in clashing)
    ]  # fmt: skip
    assert table["target_id"].to_pylist() == ["x", "y"]
    assert table["input_p_lens"].to_pylist() == [0.5, None]


# LSDB 0.11 on pandas 3.1 calls set_index(inplace=True) and others of that kind.
@pytest.mark.filterwarnings("ignore:.*[Ii]nplace.*")
def test_a_hats_catalogue(table, tmp_path):
    lsdb = pytest.importorskip("lsdb")
    catalogue = lsdb.from_dataframe(
        table.rename(columns={"RA": "alpha", "DEC": "delta"}), ra_column="alpha",
        dec_column="delta", catalog_name="mine",
    )  # fmt: skip
    catalogue.write_catalog(
        tmp_path / "mine", catalog_name="mine", progress_bar=False, should_write_skymap=False,
        create_per_partition_statistics=False,
    )  # fmt: skip
    found = read_targets(tmp_path / "mine").to_pandas()
    assert sorted(found["target_id"]) == sorted(table["id"])
    by_id = found.set_index("target_id")
    np.testing.assert_allclose(by_id.loc[table["id"], "ra_deg"], table["RA"])
    assert ScanConfig(("a.fits",), "run", centres=str(tmp_path / "mine")).lists_targets


def test_a_scan_in_python_takes_a_table(tiny_bundle, field, table, tmp_path):
    """And continues with the same one, but with no other."""
    options = {"ensemble": str(tiny_bundle), "workers": 1, "screen": "off"}
    outcome = lensweep.scan(field, tmp_path / "run", centres=table, **options)
    found = targets_of(outcome)
    assert found["target_id"].tolist() == table["id"].tolist()
    paths = RunPaths.at(tmp_path / "run")
    with pytest.raises(InputError, match=r"another run \(of other centres\)"):
        give_targets(paths, table[1:])
    assert give_targets(paths, table) == str(paths.centres)
    pd.testing.assert_frame_equal(targets_of(outcome), found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([(1.0, 2.0)], "a path, an astropy Table, a SkyCoord or a DataFrame is needed, not list"),
        (pd.DataFrame({"x": [1.0]}), "DataFrame: no pair of RA and Dec columns among x"),
        (Table({"ra": [1.0, np.nan], "dec": [1.0, 2.0]}), "Table: row 1 .* has RA nan"),
        (QTable({"a": SkyCoord([1], [1], unit="deg"), "b": SkyCoord([1], [1], unit="deg")}),
         "2 columns of positions, a, b; keep one"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_positions(given, message, tmp_path):
    with pytest.raises(InputError, match=message):
        give_targets(RunPaths.at(tmp_path / "run"), given)
    assert not (tmp_path / "run").exists()


def test_a_new_calibration_tells_targets_too(
    measured_scan, field, table, tmp_path, measured_bundle
):
    from lensweep.scanner.results.ranking import rank_anew

    table.to_csv(tmp_path / "t.csv", index=False)
    outcome = measured_scan([field], tmp_path / "run", centres=str(tmp_path / "t.csv"))
    before = targets_of(outcome)
    rank_anew(outcome.paths.root, check_bundle(str(measured_bundle)), 1000.0)
    after = targets_of(outcome)
    scored = before["p_lens"].notna()
    assert scored.any()
    assert (after["p_lens"][scored] > before["p_lens"][scored]).all()
    pd.testing.assert_frame_equal(after.drop(columns="p_lens"), before.drop(columns="p_lens"))
