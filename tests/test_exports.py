import csv
import json
import shutil
import subprocess
import time

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from conftest import scan_here, write_field
from drizzled_files import sky_cards
from mocpy import MOC

from lensweep.catalogs.known_lenses import lensflow92
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.files import place
from lensweep.scanner.exports.export import KINDS, export
from lensweep.scanner.exports.table_files import latex

NASTY = r'<script>"x"</script> & \input{a} $1_2^3 100% #~'


@pytest.fixture(scope="module")
def run(client, measured_bundle, tmp_path_factory):
    """A run about LensFlow 1, whose first candidate has a known name full of markup."""
    folder, lens = tmp_path_factory.mktemp("exports"), lensflow92().iloc[0]
    sky = sky_cards((300, 400), crval=(lens["ra_deg"], lens["dec_deg"]))
    mosaic = write_field(folder / "one_f814w_drz.fits", 4, (300, 400), 50, sky=sky)
    root = scan_here(client, measured_bundle, [mosaic], folder / "run", merge_radius_arcsec=2.5)
    root = root.paths.root
    table = pq.read_table(root / "candidates.parquet")
    names = pa.array([NASTY] + [None] * (len(table) - 1))
    index = table.column_names.index("castles_name")
    write_parquet(table.set_column(index, CANDIDATES.field("castles_name"), names),
                  root / "candidates.parquet")  # fmt: skip
    return root


@pytest.fixture(scope="module")
def catalogue(run):
    return pd.read_parquet(run / "candidates.parquet")


def same(read, catalogue, digits=12):
    """Whether an astropy table holds a run's candidates."""
    assert len(read) == len(catalogue) > 4
    for name in ("ra_deg", "dec_deg", "p_lens", "rank", "window"):
        np.testing.assert_allclose(read[name], catalogue[name], rtol=10.0**-digits)
    assert list(map(str, read["candidate_id"])) == list(catalogue["candidate_id"])
    assert str(read["castles_name"][0]) == NASTY
    return read


def test_a_votable(run, catalogue):
    path = export(run, "votable")
    assert path == run / "export" / "candidates.vot"
    read = same(Table.read(path), catalogue)
    assert str(read["ra_deg"].unit) == "deg"
    assert read["ra_deg"].meta["ucd"] == "pos.eq.ra;meta.main"


def test_a_fits_table(run, catalogue):
    path = export(run, "fits")
    read = same(Table.read(path), catalogue)
    assert str(read["castles_separation_arcsec"].unit) == "arcsec"
    known = catalogue["lensflow_id"].notna()
    assert (~read["lensflow_id"].mask).tolist() == known.tolist()
    assert known.any()
    header = fits.getheader(path, "CANDIDATES")
    assert header["TUCD3"] == "pos.eq.ra;meta.main"
    assert header["TCOMM1"] == "1 for the highest logit_mean."
    assert "ensemble: tiny-3fold" in str(header["HISTORY"])


def test_csv_and_ecsv(run, catalogue):
    path = export(run, "csv")
    same(pd.read_csv(path), catalogue)
    # 1, not 1.0: an identifier is no measurement.
    assert set(pd.read_csv(path, dtype="str")["lensflow_id"].dropna()) == {"1"}
    read = same(Table.read(export(run, "ecsv")), catalogue)
    assert read["castles_name"].mask.tolist() == [False] + [True] * (len(catalogue) - 1)
    assert (str(read["ra_deg"].unit), read.meta["ensemble"]) == ("deg", "tiny-3fold")


def test_ds9_regions(run, catalogue):
    regions = pytest.importorskip("regions")
    found = regions.Regions.read(export(run, "ds9"), format="ds9")
    assert [int(one.meta["text"]) for one in found] == list(catalogue["rank"])
    centres = SkyCoord([one.center for one in found])
    listed = SkyCoord(catalogue["ra_deg"], catalogue["dec_deg"], unit="deg")
    assert centres.separation(listed).max() < 0.001 * u.arcsec
    assert found[0].radius.to_value("arcsec") == pytest.approx(2.5, abs=1e-3)


def test_the_searched_sky(run, catalogue):
    moc = MOC.load(str(export(run, "moc")), format="fits")
    assert moc == MOC.load(str(run / "coverage.fits"), format="fits")
    inside = moc.contains_lonlat(
        catalogue["ra_deg"].to_numpy() * u.deg, catalogue["dec_deg"].to_numpy() * u.deg
    )
    # Some lie at the very edge, in cells whose centres do not.
    assert inside.mean() > 0.7
    with pytest.raises(InputError, match="leave --top and --where out"):
        export(run, "moc", top=3)


# LSDB 0.11 on pandas 3.1 calls set_index(inplace=True) and others of that kind.
@pytest.mark.filterwarnings("ignore:.*[Ii]nplace.*", "ignore:The 'mode.chained_assignment'")
def test_hats_is_opened_and_matched_by_lsdb(run, catalogue):
    lsdb = pytest.importorskip("lsdb", reason="LSDB is not installed")
    opened = lsdb.open_catalog(export(run, "hats"), columns="all")
    read = opened.compute().sort_values("rank")
    assert read["candidate_id"].tolist() == catalogue["candidate_id"].tolist()
    assert read["castles_name"].iloc[0] == NASTY
    assert read["castles_name"].isna().sum() == len(catalogue) - 1
    # A survey with a source 1 arcsec north of the third candidate.
    third = catalogue.iloc[2]
    survey = lsdb.from_dataframe(
        pd.DataFrame({"ra": [third["ra_deg"]], "dec": [third["dec_deg"] + 1 / 3600]})
    )
    pairs = survey.crossmatch(opened, radius_arcsec=1.5, suffix_method="overlapping_columns")
    assert pairs.compute()["rank"].tolist() == [3]
    assert export(run, "hats", top=2) == run / "export" / "hats"
    assert len(lsdb.open_catalog(run / "export" / "hats").compute()) == 2


def test_stamps(run, catalogue):
    folder = export(run, "stamps", top=3)
    with (folder / "manifest.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    assert [row["rank"] for row in manifest] == ["1", "2", "3"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [row["png"] for row in manifest] + [row["fits"] for row in manifest] + ["manifest.csv"]
    )
    for row, listed in zip(manifest, catalogue.itertuples(), strict=False):
        assert row["fits"].startswith(f"{listed.rank:05d}_LSWPJ")
        with fits.open(folder / row["fits"]) as (hdu,):
            # The candidate is in the middle, on the sky and in the picture.
            x, y = WCS(hdu.header).world_to_pixel_values(listed.ra_deg, listed.dec_deg)
            assert abs(x - 99.5) <= 0.51
            assert abs(y - 99.5) <= 0.51
            assert hdu.data.shape == (200, 200)
            mosaic = fits.getdata(run.parent / "one_f814w_drz.fits", "SCI")
            here = mosaic[round(listed.y_pix), round(listed.x_pix)]
            middle = hdu.data[round(float(y)), round(float(x))]
            assert middle == pytest.approx(here)
        assert (folder / row["png"]).read_bytes()[:4] == b"\x89PNG"


def test_stamps_without_the_mosaic_are_of_stored_windows(run, catalogue, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    mosaic = run.parent / "one_f814w_drz.fits"
    mosaic.rename(run.parent / "away")
    try:
        folder = export(tmp_path / "run", "stamps", top=1)
        assert pd.read_csv(folder / "manifest.csv")["pixels"].tolist() == ["stored windows"]
        shutil.rmtree(tmp_path / "run" / "cutouts.zarr")
        with pytest.raises(InputError, match="put the mosaic back"):
            export(tmp_path / "run", "stamps", top=1)
        # What was there stays.
        assert (folder / "manifest.csv").is_file()
    finally:
        (run.parent / "away").rename(mosaic)


def test_a_latex_table(run, catalogue):
    path = export(run, "latex", top=4)
    read = Table.read(path, format="ascii.latex")
    assert len(read) == 4
    assert read["Known lens"][0] == latex(NASTY)
    assert "<script>" not in path.read_text()


def test_latex_escapes_what_is_special():
    assert latex(r"a_b & 50% \x") == r"a\_b \& 50\% \textbackslash{}x"


def test_coolest_reads_its_templates(run, catalogue):
    pytest.importorskip("coolest", reason="coolest is not installed")
    from coolest.template.json import JSONSerializer

    folder = export(run, "coolest", top=1)
    (path,) = folder.glob("*.json")
    template = JSONSerializer(str(path.with_suffix(""))).load(verbose=False)
    where = SkyCoord(template.coordinates_origin.ra, template.coordinates_origin.dec)
    first = catalogue.iloc[0]
    listed = SkyCoord(first["ra_deg"], first["dec_deg"], unit="deg")
    assert where.separation(listed) < 0.01 * u.arcsec
    assert template.observation.pixels.get_pixels().shape == (200, 200)
    assert template.meta["candidate_id"] == first["candidate_id"]
    assert [one.name for one in template.lensing_entities] == ["lens", "source"]


@pytest.mark.skipif(not shutil.which("stilts"), reason="STILTS is not installed (Debian: stilts)")
@pytest.mark.parametrize("kind", ["votable", "fits"])
def test_stilts_reads_what_topcat_would(run, catalogue, kind):
    path = export(run, kind)
    said = subprocess.run(
        ["stilts", "tpipe", f"in={path}", "cmd=meta name units ucd", "ofmt=csv"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    columns = list(csv.DictReader(said.splitlines()))
    assert [row["Name"] for row in columns] == list(catalogue.columns)
    assert {(row["Units"], row["UCD"]) for row in columns} >= {
        ("deg", "pos.eq.ra;meta.main"), ("arcsec", "pos.angDistance")
    }  # fmt: skip
    said = subprocess.run(
        ["stilts", "tpipe", f"in={path}", "cmd=head 1; keepcols 'rank castles_name'", "ofmt=csv"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert list(csv.reader(said.splitlines()))[1] == ["1", NASTY]


def test_a_run_without_p_lens_is_exported_all_the_same(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "candidates.parquet"
    table = pq.read_table(path)
    for name in ("p_lens", "extrapolated"):
        where, field = table.column_names.index(name), table.schema.field(name)
        table = table.set_column(where, field, pa.nulls(len(table), field.type))
    write_parquet(table, path)
    for kind in KINDS.keys() - {"moc", "hats"}:
        assert export(tmp_path / "run", kind, top=2).exists()
    stamp = next((tmp_path / "run" / "export" / "stamps").glob("*.fits"))
    assert "PLENS" not in fits.getheader(stamp)
    assert Table.read(tmp_path / "run" / "export" / "candidates.fits")["rank"].tolist() == [1, 2]


def test_rows_are_chosen_then_counted(run, catalogue):
    chosen = pd.read_csv(export(run, "csv", 2, "castles_name is null", run / "some.csv"))
    assert chosen["rank"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "word"}, "export to word: none of votable, fits"),
        ({"kind": "csv", "top": 0}, "top = 0"),
        ({"kind": "csv", "where": "p_lens > 2"}, "true of none of"),
        ({"kind": "csv", "where": "logit > 1"}, "no column 'logit'"),
        ({"kind": "csv", "out": "/proc/no/c.csv"}, "cannot be written"),
        ({"kind": "stamps", "out": "{run}"}, "is no earlier export"),
    ],
)
def test_what_cannot_be_exported_is_refused(run, options, message):
    if "out" in options:
        options = options | {"out": place(options["out"].format(run=run))}
    with pytest.raises(InputError, match=message):
        export(run, **options)


def test_a_run_that_is_not_finished_says_what_is_missing(run, tmp_path):
    with pytest.raises(InputError, match="no run in this folder"):
        export(tmp_path, "csv")
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "candidates.parquet").unlink()
    marker = next((tmp_path / "run" / "done").rglob("*.score.json"))
    windows = sum(json.loads(marker.read_text())[key] for key in ("scored", "masked", "screened"))
    marker.unlink()
    with pytest.raises(InputError, match=rf"\({windows} of \d+ planned windows wait\)"):
        export(tmp_path / "run", "csv")


def test_a_run_without_candidates_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "candidates.parquet"
    write_parquet(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(InputError, match="has no candidates"):
        export(tmp_path / "run", "votable")
    # The sky that was searched is a result all the same.
    moc = export(tmp_path / "run", "moc", out=tmp_path / "moc.fits")
    assert MOC.load(str(moc), format="fits") == MOC.load(str(run / "coverage.fits"), format="fits")
    # It is lensweep's own, and replaced.
    assert export(tmp_path / "run", "moc", out=tmp_path / "moc.fits") == moc


def test_the_command(run, command, tmp_path):
    status, shown = command("export", run, "--to", "csv", "--top", 3, "--where", "p_lens > 0",
                            "--out", tmp_path / "x.csv")  # fmt: skip
    assert (status, len(pd.read_csv(tmp_path / "x.csv"))) == (0, 3)
    assert "x.csv" in shown
    status, shown = command("export", run, "--to", "csv", "--where", "nonsense(")
    assert (status, "not understood" in shown, "Traceback" in shown) == (2, True, False)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A SAMP hub on loopback that lensweep finds as it would Aladin's."""
    from pyvo.samp import SAMPHubServer, conf

    monkeypatch.setattr(conf, "use_internet", False)
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'samp').as_uri()}")
    server = SAMPHubServer(web_profile=False, addr="127.0.0.1", lockfile=str(tmp_path / "samp"))
    server.start()
    yield server
    server.stop()


def test_candidates_are_sent_to_what_is_running(run, hub, command, catalogue):
    from pyvo.samp import SAMPIntegratedClient

    client, received = SAMPIntegratedClient(name="Aladin", addr="127.0.0.1"), {}

    def keep(_key, _sender, kind, params, _extra):
        received[kind] = params

    client.connect()
    try:
        for kind in ("table.load.votable", "coverage.load.moc.fits"):
            client.bind_receive_notification(kind, keep)
        status, shown = command("send", run, "--top", 3)
        assert (status, shown.count("sent to Aladin")) == (0, 2)
        for _ in range(200):
            if len(received) == 2:
                break
            time.sleep(0.05)
        table = Table.read(received["table.load.votable"]["url"].removeprefix("file://"))
        assert list(table["rank"]) == [1, 2, 3]
        assert received["coverage.load.moc.fits"]["url"].endswith("footprint.moc.fits")
    finally:
        client.disconnect()


def test_nobody_to_send_to_is_for_later(run, command, monkeypatch, tmp_path, hub):
    status, shown = command("send", run)
    assert (status, "nobody at the SAMP hub loads tables" in shown) == (75, True)
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    status, shown = command("send", run)
    assert (status, "no SAMP hub is running" in shown) == (75, True)


def test_every_kind_is_tested_here():
    assert set(KINDS) == {"votable", "fits", "csv", "ecsv", "ds9", "moc", "hats", "stamps", "latex",
                          "coolest"}  # fmt: skip
