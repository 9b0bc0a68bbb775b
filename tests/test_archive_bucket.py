"""Files in a bucket: a real server on loopback that speaks S3."""

import dataclasses
import io
import math
import time
from pathlib import Path

import numpy as np
import pytest
from archive_on_loopback import File, archive_on_loopback
from drizzled_files import write_hla

from lensweep.ground.progress import PlainProgress
from lensweep.scanner.archive.addresses import bring, product_of, way_to_read
from lensweep.scanner.archive.answers import UnfitFileError
from lensweep.scanner.archive.cloud import in_the_cloud
from lensweep.scanner.archive.mirror import fetch
from lensweep.scanner.archive.services import Services
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.sky import remote
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import read_region

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'lensweep[s3]'")
NAME = "hst_10092_01_acs_wfc_f814w_j8pu01_drc.fits"
KEY = f"hst/public/{NAME}"


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    flux = np.random.default_rng(4).normal(0.0, 0.01, (1600, 400)).astype(np.float32)
    path = tmp_path_factory.mktemp("fits") / NAME
    return write_hla(path, flux, np.ones_like(flux)).read_bytes()


@pytest.fixture
def bucket(server, content, monkeypatch):
    """STScI's public bucket: anybody may read it, and nobody has an account."""
    import boto3

    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    owner = boto3.client("s3", aws_access_key_id="x", aws_secret_access_key="y")
    owner.create_bucket(Bucket="stpubdata", ACL="public-read")
    owner.put_object(Bucket="stpubdata", Key=KEY, Body=content, ACL="public-read")
    return owner


def get(folder, product):
    return fetch([product], folder, Services(tries=2), PlainProgress(io.StringIO(), time.monotonic))


def test_a_file_is_fetched_and_checked(bucket, content, tmp_path):
    product = product_of(f"s3://stpubdata/{KEY}")
    fetched = get(tmp_path, product)
    assert (tmp_path / NAME).read_bytes() == content
    assert fetched.origins[NAME].address == f"s3://stpubdata/{KEY}"
    assert fetched.origins[NAME].collection == "HAP-SVM"
    assert get(tmp_path, product).n_new == 0


def test_it_goes_on_where_it_was(bucket, content, tmp_path):
    product = product_of(f"s3://stpubdata/{KEY}")
    version = remote.stat_address(product.address).version
    # The start is another's, so that it shows whether it was asked for again.
    (tmp_path / f".{NAME}.part").write_bytes(b"X" * 1000)
    (tmp_path / f".{NAME}.part.version").write_text(version)
    # Its MD5 is not the one that the server states, so that all of it is fetched anew.
    assert get(tmp_path, product).n_new == 1
    assert (tmp_path / NAME).read_bytes() == content
    (tmp_path / NAME).unlink()
    (tmp_path / f".{NAME}.part").write_bytes(content[:1_000_000])
    (tmp_path / f".{NAME}.part.version").write_text(version)
    assert get(tmp_path, product).n_new == 1
    assert (tmp_path / NAME).read_bytes() == content


def test_another_length_and_none(bucket, tmp_path):
    product = dataclasses.replace(product_of(f"s3://stpubdata/{KEY}"), size_bytes=7)
    assert isinstance(get(tmp_path, product).failed[NAME], UnfitFileError)
    gone = product_of(f"s3://stpubdata/hst/public/gone_{NAME}")
    assert isinstance(get(tmp_path, gone).failed[gone.name], remote.RemoteError)


def test_sections_of_a_mosaic_in_a_bucket(bucket, content, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    there, here = (
        inspect_mosaic(path, HeaderOverrides(), "F814W", "tiny", tmp_path)
        for path in (f"s3://stpubdata/{KEY}", tmp_path / NAME)
    )
    rows, cols = slice(700, 800), slice(100, 200)
    np.testing.assert_array_equal(read_region(there, rows, cols), read_region(here, rows, cols))


def test_which_way_is_cheaper(bucket, content, tmp_path):
    (tmp_path / "one.csv").write_text("ra_deg,dec_deg\n150.1163213,2.2009731\n")
    address = f"s3://stpubdata/{KEY}"
    one = ScanConfig((address,), str(tmp_path / "run"), centres=str(tmp_path / "one.csv"))
    assert "read by section" in way_to_read(address, one, "F814W", one.out)
    grid = ScanConfig((address,), str(tmp_path / "run"))
    assert way_to_read(address, grid, "F814W", grid.out) is None
    assert Path(bring(address, grid, grid.out).path).read_bytes() == content


def test_what_is_in_the_cloud_is_found_there(bucket, monkeypatch, tmp_path):
    with archive_on_loopback(monkeypatch, tmp_path) as archive:
        here = product_of(
            f"https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:HST/product/{NAME}"
        )
        other = dataclasses.replace(
            here, name=NAME.replace("_01_", "_02_"), address=here.address.replace("_01_", "_02_")
        )
        hlsp = dataclasses.replace(
            here, name="b.fits", address="https://mast.stsci.edu/x?uri=mast:HLSP/cosmos/b.fits"
        )
        found = in_the_cloud([here, other, hlsp], Services(tries=1))
        assert [product.address for product in found] == [
            f"s3://stpubdata/{KEY}", other.address, hlsp.address,
        ]  # fmt: skip
        assert len(archive.requests("path_lookup")) == 1
        assert File(NAME, 1.0, 2.0).data_uri == f"mast:HST/product/{NAME}"
    assert math.isnan(found[0].depth_s)
