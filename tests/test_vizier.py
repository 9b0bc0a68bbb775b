import io
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import trustme
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table

from lensweep.catalogs.known_lenses import lensflow92, match_known
from lensweep.catalogs.lens_lists import known_lenses
from lensweep.catalogs.lensflow_grades import (
    TWO_LEVEL_SCHEME,
    GradeError,
    LensFlowGrades,
    grades_path,
    lensflow_scheme,
    store_grades,
    stored_grades,
)
from lensweep.catalogs.vizier import VizierError, update_grades

ARCSEC = 1.0 / 3600.0
# Invented letters: the published grades are not known here.
INVENTED = ["ABC"[number % 3] for number in range(92)]


def vizier_table(grades=INVENTED, rows=92, shift_arcsec=0.0, order=None, grade="InventedGrade"):
    """Table 2 as VizieR would send it, with invented grades, in another order than ours."""
    lenses = lensflow92()
    order = np.random.default_rng(1).permutation(92) if order is None else order
    table = Table()
    table["recno"] = np.arange(1, 93)
    table["Name"] = [f"LF{number}" for number in lenses["lensflow_id"].iloc[order]]
    table["_RAJ2000"] = lenses["ra_deg"].to_numpy()[order]
    table["_DEJ2000"] = lenses["dec_deg"].to_numpy()[order] + shift_arcsec * ARCSEC
    for name in ("_RAJ2000", "_DEJ2000"):
        table[name].unit = "deg"
    if grade:
        letters = np.array(grades)[order]
        table[grade] = MaskedColumn(letters, mask=letters == "")
    return table[:rows]


def votable(table):
    sent, tree = io.BytesIO(), from_table(table)
    # As VizieR names it.
    tree.get_first_table().ID = "J_ApJ_856_68_table2"
    tree.get_first_table().name = "J/ApJ/856/68/table2"
    tree.to_xml(sent)
    return sent.getvalue()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority of our own, and what it issued to localhost: astroquery speaks https only."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path, authority.issue_cert("localhost")


@pytest.fixture
def vizier(certificates, monkeypatch):
    """A VizieR on loopback, which answers ``answer``: status, type, body and delay in seconds."""
    bundle, issued = certificates

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.asked.append((self.path, asked))
            status, kind, body, delay = server.answer
            server.released.wait(delay)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.released = [], threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that stopped waiting is what we test
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("NO_PROXY", "localhost")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.address = f"localhost:{server.server_address[1]}"
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path / "data"))


def answer(table):
    return 200, "text/xml", votable(table), 0.0


def test_grades_are_fetched_checked_kept_and_used(vizier):
    vizier.answer = answer(vizier_table())
    assert stored_grades() is None
    grades, path = update_grades(vizier.address, 30.0)
    ((asked_path, asked),) = vizier.asked
    assert asked_path == "/viz-bin/votable"
    assert "-source=J/ApJ/856/68/table2" in asked.splitlines()
    assert "-out.max=unlimited" in asked.splitlines()
    # All columns, and not those alone that VizieR shows by default.
    assert "-out.all" in asked.splitlines()
    assert "-out.add=_RAJ2000,_DEJ2000" in asked.splitlines()
    assert path == grades_path()
    kept = json.loads(path.read_text())
    assert kept["source"] == "VizieR J/ApJ/856/68/table2"
    assert kept["date"].startswith("20")
    assert grades.grades == dict(zip(range(1, 93), INVENTED, strict=True))
    # From now on they are used, wherever a LensFlow grade is shown.
    assert lensflow92()["grade"].tolist() == INVENTED
    lens = lensflow92().iloc[40]
    assert match_known([lens["ra_deg"]], [lens["dec_deg"]])["lensflow_grade"][0] == INVENTED[40]
    listed = known_lenses().query("catalogue == 'LensFlow'")
    assert listed["grade"].tolist() == INVENTED
    assert set(listed["grade_scheme"]) == {
        f"LensFlow A/B/C (VizieR J/ApJ/856/68/table2, fetched {kept['date'][:10]})"
    }


def test_a_second_update_asks_again(vizier):
    # astroquery keeps answers of a week ago unless it is told not to.
    vizier.answer = answer(vizier_table())
    update_grades(vizier.address, 30.0)
    vizier.answer = answer(vizier_table(grades=INVENTED[::-1]))
    assert update_grades(vizier.address, 30.0)[0].grades[1] == INVENTED[-1]
    assert len(vizier.asked) == 2


HTML = b"<!DOCTYPE html><html><body>Service unavailable</body></html>"
XHTML = b"<?xml version='1.0'?><html><body>Service unavailable</body></html>"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda: answer(vizier_table(rows=91)), "91 rows, but LensFlow has 92"),
        (lambda: answer(vizier_table(shift_arcsec=2.0)), r"LensFlow 1 \(92 such candidates\)"),
        (lambda: answer(vizier_table(grades=["", *INVENTED[1:]])), "0 columns hold an A, B or C"),
        (lambda: answer(vizier_table(grades=[*INVENTED[1:], "D"])), "0 columns hold an A, B or C"),
        (lambda: answer(vizier_table(grade="")), "0 columns hold an A, B or C"),
        (lambda: answer(vizier_table(order=np.r_[0:91, 90])), "no row within 1 arcsec"),
        (lambda: answer(vizier_table(rows=0)), "no table J/ApJ/856/68/table2"),
        (lambda: (503, "text/html", HTML, 0.0), "HTTPError: 503"),
        (lambda: (200, "text/html", HTML, 0.0), "no table J/ApJ/856/68/table2"),
        (lambda: (200, "text/xml", XHTML, 0.0), "VizieR at localhost"),
        (lambda: (200, "text/xml", b"", 0.0), "no table J/ApJ/856/68/table2"),
    ],
)
def test_another_answer_changes_nothing(vizier, reply, message):
    before = LensFlowGrades(dict.fromkeys(range(1, 93), "B"), "a test", "2026-01-01T00:00:00")
    path = store_grades(before)
    kept = path.read_bytes()
    vizier.answer = reply()
    with pytest.raises(VizierError, match=message):
        update_grades(vizier.address, 30.0)
    assert path.read_bytes() == kept
    assert stored_grades() == before


def test_no_answer_in_time(vizier):
    vizier.answer = (200, "text/xml", b"", 60.0)
    begin = time.monotonic()
    with pytest.raises(VizierError, match="Timeout"):
        update_grades(vizier.address, 0.5)
    # Not a measure of speed: only that it was we who stopped waiting.
    assert time.monotonic() - begin < 60.0
    assert stored_grades() is None


def test_nobody_there():
    with pytest.raises(VizierError, match="VizieR at localhost:9: ConnectionError"):
        update_grades("localhost:9", 5.0)


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"format": "other"}', "[]",
     '{"format": "lensweep-lensflow-grades", "grades": {"1": "A"}, "source": "x", "date": "y"}'],
)  # fmt: skip
def test_a_damaged_file_of_grades_is_named(content):
    grades_path().parent.mkdir(parents=True)
    grades_path().write_text(content)
    with pytest.raises(GradeError, match=r"lensflow92_grades\.json: cannot be used"):
        lensflow92()


def test_inferred_grades_cannot_be_stored():
    with pytest.raises(GradeError, match=r"candidate 92 has 'A\?'"):
        LensFlowGrades({**dict.fromkeys(range(1, 92), "A"), 92: "A?"}, "x", "y")


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path / "file"))
    with pytest.raises(GradeError, match="set LENSWEEP_DATA"):
        store_grades(LensFlowGrades(dict.fromkeys(range(1, 93), "C"), "x", "y"))


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_time_out_that_cannot_be_waited_for(timeout_s):
    with pytest.raises(VizierError, match="must be above 0"):
        update_grades("localhost:9", timeout_s)


def test_the_scheme_in_use(vizier):
    assert lensflow_scheme() == TWO_LEVEL_SCHEME
    vizier.answer = answer(vizier_table())
    grades, _ = update_grades(vizier.address, 30.0)
    assert lensflow_scheme() == grades.scheme
