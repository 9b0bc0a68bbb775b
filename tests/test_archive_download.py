import base64
import dataclasses
import hashlib
import io
import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from archive_on_loopback import (
    archive_on_loopback,
    cut_after,
    html,
    redirect,
    stall_after,
    status,
)
from astropy.io import fits
from dask_nodes import wait_until
from drizzled_files import write_hla
from test_faults import small_disk

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.archive import mirror, services
from lensweep.scanner.archive.answers import CHUNK_BYTES, UnfitFileError
from lensweep.scanner.archive.mirror import NoRoomError, fetch
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services
from lensweep.scanner.sky.origins import origin_path, read_origin

NAME = "hst_10092_01_acs_wfc_f814w_j8pu01_drc.fits"
HALF = 1_500_000


@pytest.fixture
def archive(monkeypatch, tmp_path):
    with archive_on_loopback(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Between tries, tests wait a fiftieth of what users do."""
    monkeypatch.setattr(services, "_FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A drizzled file of 3 MB."""
    path = tmp_path_factory.mktemp("fits") / NAME
    flux = np.random.default_rng(1).normal(size=(500, 500)).astype(np.float32)
    return write_hla(path, flux, np.ones_like(flux)).read_bytes()


def product(address, size_bytes=0, name=NAME):
    return Product(
        name=name, collection="HAP-SVM", level="visit", camera="ACS/WFC", band="F814W",
        exposure_s=2028.0, depth_s=math.nan, observed="2003-12-27", calibration="",
        size_bytes=size_bytes, footprint="", address=address, programme="10092",
    )  # fmt: skip


def serve(archive, content, path=f"/{NAME}", **options):
    archive.files[path] = content
    return product(archive.address + path, **options)


def get(folder, *products, **options):
    settings = Services(**{"tries": 3, "timeout_s": 5.0} | options)
    return fetch(products, folder, settings, PlainProgress(io.StringIO(), time.monotonic))


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_a_file_and_where_it_came_from(archive, content, tmp_path):
    wanted = serve(archive, content, size_bytes=len(content))
    fetched = get(tmp_path / "mirror", wanted)
    path = tmp_path / "mirror" / NAME
    assert path.read_bytes() == content
    assert (fetched.n_new, fetched.failed) == (1, {})
    origin = read_origin(path)
    assert origin == fetched.origins[NAME]
    assert (origin.address, origin.final_address) == (wanted.address, wanted.address)
    assert origin.sha256 == hashlib.sha256(content).hexdigest()
    assert (origin.size_bytes, origin.programme) == (len(content), "10092")
    assert origin.fetched.endswith("+00:00")
    assert left_over(tmp_path / "mirror") == []


def test_a_second_call_downloads_nothing(archive, content, tmp_path):
    wanted = serve(archive, content)
    get(tmp_path, wanted)
    asked = len(archive.asked)
    again = get(tmp_path, wanted)
    assert (again.n_new, list(again.origins)) == (0, [NAME])
    assert len(archive.asked) == asked


def test_a_file_that_was_cut_later_is_fetched_again(archive, content, tmp_path):
    wanted = serve(archive, content)
    get(tmp_path, wanted)
    (tmp_path / NAME).write_bytes(content[:HALF])
    assert get(tmp_path, wanted).n_new == 1
    assert (tmp_path / NAME).read_bytes() == content


def test_a_broken_connection_goes_on_where_it_broke(archive, content, tmp_path):
    archive.faults[NAME] += [cut_after(HALF), cut_after(1_000_000)]
    get(tmp_path, serve(archive, content, size_bytes=len(content)))
    assert (tmp_path / NAME).read_bytes() == content
    ranges = [headers.get("Range") for _, _, headers in archive.requests(NAME)]
    starts = [int(one[6:-1]) for one in ranges[1:]]
    assert ranges[0] is None
    # Less than the last piece is asked for again.
    assert HALF - CHUNK_BYTES <= starts[0] <= HALF
    assert starts[0] + 1_000_000 - CHUNK_BYTES <= starts[1] <= starts[0] + 1_000_000


def test_a_server_that_always_cuts_at_the_same_place(archive, content, tmp_path):
    archive.ranges = False
    archive.faults[NAME] += [cut_after(HALF)] * 9
    fetched = get(tmp_path, serve(archive, content))
    assert isinstance(fetched.failed[NAME], ServiceError)
    assert "what came is kept" in str(fetched.failed[NAME])
    assert left_over(tmp_path) == [f".{NAME}.part", f".{NAME}.part.version"]


def test_a_killed_command_goes_on_where_it_was(archive, content, tmp_path):
    wanted = serve(archive, content, size_bytes=len(content))
    archive.faults[NAME].append(stall_after(HALF, 60.0))
    code = (
        "import sys, io, time, json\n"
        "from lensweep.ground.progress import PlainProgress\n"
        "from lensweep.scanner.archive.mirror import fetch\n"
        "from lensweep.scanner.archive.products import Product\n"
        "from lensweep.scanner.archive.services import Services\n"
        "from pathlib import Path\n"
        "fetch([Product(**json.loads(sys.argv[1]))], Path(sys.argv[2]), Services(),\n"
        "      PlainProgress(sys.stderr, time.monotonic))\n"
    )
    values = json.dumps(dataclasses.asdict(wanted))
    first = subprocess.Popen([sys.executable, "-c", code, values, str(tmp_path)])
    part = tmp_path / f".{NAME}.part"
    wait_until(lambda: part.is_file() and part.stat().st_size >= HALF - CHUNK_BYTES)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / NAME).exists()
    kept = part.stat().st_size
    get(tmp_path, wanted)
    assert (tmp_path / NAME).read_bytes() == content
    assert archive.requests(NAME)[-1][2]["Range"] == f"bytes={kept}-"


def test_what_changed_in_between_is_fetched_from_its_start(archive, content, tmp_path):
    (tmp_path / f".{NAME}.part").write_bytes(b"SIMPLE old" * 1000)
    (tmp_path / f".{NAME}.part.version").write_text('"an old one"')
    get(tmp_path, serve(archive, content))
    assert (tmp_path / NAME).read_bytes() == content


def test_a_part_longer_than_the_file_is_given_up(archive, content, tmp_path):
    (tmp_path / f".{NAME}.part").write_bytes(content + b"more")
    get(tmp_path, serve(archive, content))
    assert (tmp_path / NAME).read_bytes() == content


def test_a_part_that_is_whole_needs_no_byte(archive, content, tmp_path):
    (tmp_path / f".{NAME}.part").write_bytes(content)
    fetched = get(tmp_path, serve(archive, content))
    assert fetched.origins[NAME].sha256 == hashlib.sha256(content).hexdigest()


def test_a_busy_server_is_waited_for(archive, content, tmp_path):
    archive.faults[NAME] += [status(500), status(429, **{"Retry-After": "0"})]
    get(tmp_path, serve(archive, content))
    assert (tmp_path / NAME).read_bytes() == content
    assert len(archive.requests(NAME)) == 3


def test_a_server_is_waited_for_as_long_as_it_says(archive, content, tmp_path):
    archive.faults[NAME].append(status(429, **{"Retry-After": "1"}))
    begin = time.monotonic()
    get(tmp_path, serve(archive, content))
    # Not a measure of speed: that it did not ask before.
    assert time.monotonic() - begin >= 1.0


def test_a_server_that_stalls_is_asked_for_the_rest(archive, content, tmp_path):
    archive.faults[NAME].append(stall_after(HALF, 60.0))
    get(tmp_path, serve(archive, content), timeout_s=0.5)
    assert (tmp_path / NAME).read_bytes() == content
    assert "Range" in archive.requests(NAME)[1][2]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (status(404), UnfitFileError, "answers 404"),
        (status(403), UnfitFileError, "answers 403"),
        (html, UnfitFileError, "gives no FITS file, but text/html: 'Down for maintenance'"),
        (status(503, **{"Retry-After": "0"}), ServiceError, "answers 503"),
        (redirect("http://127.0.0.1:9/elsewhere"), ServiceError, "ConnectionError"),
        (redirect(f"/{NAME}"), ServiceError, "TooManyRedirects"),
        (redirect("file:///etc/passwd"), ServiceError, "InvalidSchema"),
        # A file that is FITS, and says so, and is not what was listed.
        (lambda handler, _: False, UnfitFileError, r"listed with 12 bytes, but .* has 3,0"),
    ],
    ids=["404", "403", "page", "503", "redirect to nobody", "redirect in a circle",
         "redirect to a file", "another length"],
)  # fmt: skip
def test_what_cannot_be_fetched_is_said(archive, content, tmp_path, fault, error, message):
    archive.faults[NAME] += [fault] * 40
    size = 12 if "listed" in message else 0
    fetched = get(tmp_path, serve(archive, content, size_bytes=size))
    assert fetched.origins == {}
    assert type(fetched.failed[NAME]) is error
    with pytest.raises(error, match=message):
        raise fetched.failed[NAME]
    assert not (tmp_path / NAME).exists()


def test_a_page_does_not_cost_what_is_here(archive, content, tmp_path):
    part = tmp_path / f".{NAME}.part"
    part.write_bytes(content[:HALF])
    archive.faults[NAME].append(html)
    wanted = serve(archive, content)
    assert NAME in get(tmp_path, wanted).failed
    assert part.read_bytes() == content[:HALF]
    assert get(tmp_path, wanted).n_new == 1


def test_a_redirect_to_another_host_is_followed_and_written_down(archive, content, tmp_path):
    archive.files["/elsewhere"] = content
    other = f"http://localhost:{archive.port}/elsewhere"
    archive.faults[NAME].append(redirect(other))
    wanted = serve(archive, content)
    origin = get(tmp_path, wanted).origins[NAME]
    assert (origin.address, origin.final_address) == (wanted.address, other)


def test_no_redirect_from_an_encrypted_address_to_one_that_is_not(archive, content, tmp_path):
    archive.files["/plain"] = content
    archive.faults["Download/file"].append(redirect(f"{archive.address}/plain"))
    wanted = product(f"https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:HST/product/{NAME}")
    fetched = get(tmp_path, wanted)
    with pytest.raises(UnfitFileError, match="which is not encrypted"):
        raise fetched.failed[NAME]


def digest(name, data):
    return base64.b64encode(hashlib.new(name, data).digest()).decode()


CHECKS = {
    "Repr-Digest": lambda data: f"sha-256=:{digest('sha256', data)}:",
    "Digest": lambda data: f"SHA-256={digest('sha256', data)}",
    "Content-MD5": lambda data: digest("md5", data),
}


@pytest.mark.parametrize("header", CHECKS)
def test_checksums_that_a_server_states(archive, content, tmp_path, header):
    archive.headers[header] = CHECKS[header](content)
    wanted = serve(archive, content)
    get(tmp_path / "right", wanted)
    assert (tmp_path / "right" / NAME).read_bytes() == content
    archive.headers[header] = CHECKS[header](b"another")
    fetched = get(tmp_path / "wrong", wanted)
    assert "not the one that the server states" in str(fetched.failed[NAME])
    assert not (tmp_path / "wrong" / NAME).exists()


def test_checksums_that_a_file_states(archive, content, tmp_path):
    with fits.open(io.BytesIO(content)) as hdus:
        for hdu in hdus:
            hdu.add_checksum()
        written = io.BytesIO()
        hdus.writeto(written)
    good = bytearray(written.getvalue())
    assert get(tmp_path / "right", serve(archive, bytes(good))).n_new == 1
    good[1_000_000] ^= 1
    fetched = get(tmp_path / "wrong", serve(archive, bytes(good)))
    assert "its own checksums" in str(fetched.failed[NAME])


@pytest.mark.parametrize("name", ["../escaped.fits", "/etc/cron.d/x.fits", ".profile"])
def test_a_name_that_leads_out_of_the_folder(archive, content, tmp_path, name):
    folder = tmp_path / "mirror"
    folder.mkdir()
    with pytest.raises(InputError, match="no plain file name"):
        get(folder, serve(archive, content, name=name))
    assert list(folder.iterdir()) == []
    assert archive.asked == []


def test_a_file_that_somebody_else_put_there(archive, content, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UnfitFileError, match="is there, but was not fetched from"):
        get(tmp_path, serve(archive, content))
    assert (tmp_path / NAME).read_bytes() == content


def test_two_files_of_one_name(archive, content, tmp_path):
    first = serve(archive, content)
    second = serve(archive, content, path="/other", name=NAME.upper())
    with pytest.raises(InputError, match=r"one name, .* for two files"):
        get(tmp_path, first, second)


def test_a_few_at_a_time_and_what_fails_alone(archive, content, tmp_path):
    wanted = [
        serve(archive, content, path=f"/{number}.fits", name=f"{number}.fits")
        for number in range(6)
    ]
    for number in range(6):
        archive.faults[f"/{number}.fits"].append(stall_after(HALF, 0.2))
    archive.faults["/3.fits"][:] = [status(404)]
    fetched = get(tmp_path, *wanted, connections=2)
    assert sorted(fetched.failed) == ["3.fits"]
    assert sorted(fetched.origins) == ["0.fits", "1.fits", "2.fits", "4.fits", "5.fits"]
    assert archive.most_at_once == 2


def test_room_is_looked_for_first(archive, content, tmp_path, monkeypatch):
    wanted = serve(archive, content, size_bytes=10**16)
    with pytest.raises(NoRoomError, match=r"GB are free, but 10000000\.00 GB are to be fetched"):
        get(tmp_path, wanted)
    assert archive.asked == []


def test_a_disk_that_fills_up_keeps_what_came(archive, content, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "SPARE_BYTES", 0)
    with small_disk(tmp_path / "disk", "2m") as folder:
        with pytest.raises(NoRoomError, match="no room for the 3,0"):
            get(folder, serve(archive, content))
        assert not (folder / f".{NAME}.part").exists()
        # Its length is not stated, so that it is begun.
        archive.lengths = False
        with pytest.raises(NoRoomError, match="what came is kept: make room"):
            get(folder, serve(archive, content))
        kept = (folder / f".{NAME}.part").stat().st_size
        assert HALF / 2 < kept < len(content)
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        get(folder, serve(archive, content))
        assert (folder / NAME).read_bytes() == content
        assert archive.requests(NAME)[-1][2]["Range"] == f"bytes={kept}-"


def test_an_origin_that_is_damaged(archive, content, tmp_path):
    wanted = serve(archive, content)
    get(tmp_path, wanted)
    origin_path(tmp_path / NAME).write_text("{}")
    with pytest.raises(InputError, match=r"origin\.json: cannot be used"):
        get(tmp_path, wanted)


def test_progress_is_told_in_megabytes(archive, content, tmp_path):
    told = io.StringIO()
    fetch([serve(archive, content, size_bytes=len(content))], tmp_path, Services(),
          PlainProgress(told, time.monotonic))  # fmt: skip
    assert "fetching    3 / 3 MB" in told.getvalue()
    assert "done in" in told.getvalue()
