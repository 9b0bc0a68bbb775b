"""The page's server: real processes on the loopback, killed, lied to, and used by two at once."""

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import requests
from chromium import open_chromium
from conftest import scan_here, write_field
from forked_programs import Forked

from lensweep.scanner.inspection.grade_files import read_grades
from lensweep.scanner.inspection.server import MOST_BYTES
from lensweep.scanner.inspection.serving import open_shelf
from lensweep.scanner.inspection.writing import write_inspection
from lensweep.scanner.run.paths import RunPaths

# Without it `lensweep inspect` would scan for and open the user's browser.
QUIET = {"BROWSER": "true"}


@pytest.fixture(scope="module")
def run(client, tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    mosaic = write_field(folder / "one_f814w_drz.fits", 4)
    out = folder / "run"
    return scan_here(client, tiny_bundle, [mosaic], out, merge_radius_arcsec=2.5).paths.root


@pytest.fixture(scope="module")
def keys(run):
    return pd.read_parquet(RunPaths(run).candidates)["candidate_id"].tolist()


@contextlib.contextmanager
def serving(run):
    """The server in a process of its own; its address, and the process."""
    if not RunPaths(run).page.is_file():
        write_inspection(run, 300)
    command = [sys.executable, "-m", "served_page", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parent, env=os.environ | QUIET)  # fmt: skip
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield url, process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def server(run):
    with serving(run) as (url, _):
        yield url


def page_id(run):
    return open_shelf(run, None)[0]


def address(server, run, grader):
    return f"{server}grades/{page_id(run)}/{grader}"


def row(grade, second=0, comment=""):
    return {"grade": grade, "flag": False, "comment": comment,
            "graded_at": f"2026-01-01T00:00:{second:02d}.000Z"}  # fmt: skip


def post(server, run, grader, rows, client="one", take=False, **options):
    body = {"client": client, "take": take, "rows": rows}
    return requests.post(address(server, run, grader), json=body, timeout=60, **options)


def on_disk(run, grader):
    table = read_grades(RunPaths(run).grades / page_id(run) / f"{grader}.csv").rows
    return dict(zip(table["candidate_id"], table["grade"], strict=True))


def test_grades_are_on_disk_when_the_answer_comes(server, run, keys):
    assert post(server, run, "Ada", {keys[0]: row("A", 1, 'an "arc", #1')}).json() == {"saved": 1}
    assert on_disk(run, "Ada") == {keys[0]: "A"}
    # Later ones count, whatever the order in which they come.
    post(server, run, "Ada", {keys[0]: row("B", 3), keys[1]: row("X", 3)})
    post(server, run, "Ada", {keys[0]: row("C", 2)})
    assert on_disk(run, "Ada") == {keys[0]: "B", keys[1]: "X"}
    table = read_grades(RunPaths(run).grades / page_id(run) / "Ada.csv").rows
    candidates = pd.read_parquet(RunPaths(run).candidates)
    assert float(table["ra_deg"].iloc[0]) == pytest.approx(candidates["ra_deg"].iloc[0], abs=1e-7)
    assert table["grader"].tolist() == ["Ada", "Ada"]
    found = requests.get(address(server, run, "Ada"), timeout=60).json()["rows"]
    assert found[keys[0]]["grade"] == "B"
    assert requests.get(address(server, run, "Nobody"), timeout=60).json() == {"rows": {}}


def test_two_graders_at_once(server, run, keys):
    def grade(who, grade):
        for number, key in enumerate(keys):
            assert post(server, run, who, {key: row(grade, number % 60)}, who).ok

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(grade, ("Ben", "Cleo"), ("A", "X")))
    assert on_disk(run, "Ben") == dict.fromkeys(keys, "A")
    assert on_disk(run, "Cleo") == dict.fromkeys(keys, "X")


def test_a_name_is_of_one_browser_until_another_takes_it(server, run, keys):
    assert post(server, run, "Dora", {keys[0]: row("A")}).ok
    answer = post(server, run, "Dora", {keys[1]: row("B")}, client="two")
    assert answer.status_code == 409
    assert on_disk(run, "Dora") == {keys[0]: "A"}
    assert post(server, run, "Dora", {keys[1]: row("B")}, client="two", take=True).ok
    assert on_disk(run, "Dora") == {keys[0]: "A", keys[1]: "B"}
    # Of one file on disks that know no case.
    assert post(server, run, "dora", {keys[0]: row("A")}).status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/wrong-token/", 404),
        ("/wrong-token/grades/{page}/Ada", 404),
        ("{token}", 404),
        ("{token}grades/another-page/Ada", 404),
        # Ways out of the folder of grades; none of these is a name.
        ("{token}grades/{page}/..%2F..%2F..%2Frun.json", 404),
        ("{token}grades/{page}/%2e%2e", 400),
        ("{token}grades/{page}/..%5c..%5crun", 400),
        ("{token}grades/{page}/.hidden", 400),
        ("{token}grades/{page}/a%00b", 400),
        ("{token}grades/{page}/" + "a" * 41, 400),
        ("{token}../run.json", 404),
        ("{token}run.json", 404),
    ],
)
def test_nothing_else_is_handed_out(server, run, path, status):
    token = "/" + server.split("/", 3)[3]
    host = server[: -len(token)]
    if path == "{token}":
        token = token.rstrip("/") + "x/"
    request = requests.Request("GET", host).prepare()
    # As it is: requests would resolve dots by itself.
    request.url = host + path.format(token=token, page=page_id(run))
    answer = requests.Session().send(request, timeout=60)
    assert answer.status_code == status
    assert "asked" not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "evil.example:80"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        # What a form of another site can send without being asked.
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_other_sites_are_refused(server, run, keys, headers, status):
    answer = post(server, run, "Eve", {keys[0]: row("A")}, headers=headers)
    assert answer.status_code == status
    assert not (RunPaths(run).grades / page_id(run) / "Eve.csv").exists()
    if "Host" in headers:
        assert requests.get(server, headers=headers, timeout=60).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (MOST_BYTES + 1), 413),
        # Without a length in front.
        (iter([b"x" * 65536] * (MOST_BYTES // 65536 + 2)), 413),
        (b"not json", 400),
        (b"[]", 400),
        (b'{"client": "one", "take": false, "rows": []}', 400),
        (b'{"client": 1, "take": false, "rows": {}}', 400),
    ],
)
def test_bodies_that_cannot_be(server, run, body, status):
    answer = requests.post(address(server, run, "Eve"), data=body, timeout=60,
                           headers={"Content-Type": "application/json"})  # fmt: skip
    assert answer.status_code == status


@pytest.mark.parametrize(
    "change",
    [
        {"grade": "Q"}, {"grade": 1}, {"flag": "yes"}, {"comment": "x" * 1001}, {"comment": None},
        {"graded_at": "yesterday"}, {"more": 1},
    ],
)  # fmt: skip
def test_rows_that_cannot_be(server, run, keys, change):
    answer = post(server, run, "Eve", {keys[0]: row("A") | change})
    assert answer.status_code == 400
    assert post(server, run, "Eve", {"LSWP of another run": row("A")}).status_code == 400
    assert not (RunPaths(run).grades / page_id(run) / "Eve.csv").exists()


def test_what_is_handed_out_may_not_be_framed_or_kept(server):
    headers = requests.get(server, timeout=60).headers
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"


def test_a_second_server_of_a_page_is_refused(server, run, tmp_path):
    second = Forked("served_page", run, log=tmp_path / "log", environment=QUIET)
    assert second.wait() == 1
    assert "the page may be served already" in second.said()
    kept = RunPaths(run).page.with_suffix(".server.json")
    assert json.loads(kept.read_text())["token"] in server
    assert kept.stat().st_mode & 0o077 == 0


BURST = """async ([count]) => {
    for (let i = 0; i < count; i += 1) {
        regrade(contents.rows[i % contents.rows.length].key, { grade: "ABCX"[i % 4], comment: `${i}` });
        await new Promise((done) => setTimeout(done, 5));
    }
}"""  # noqa: E501


def test_killed_in_a_burst_of_grades_none_is_lost(finished_run, tmp_path):
    """The page's own way: it keeps what the server has not said to have, and sends it again."""
    run = shutil.copytree(finished_run, tmp_path / "run")
    n = len(pd.read_parquet(RunPaths(run).candidates))
    with open_chromium() as browser:
        context = browser.new_context()
        page = context.new_page()
        with serving(run) as (url, process):
            page.goto(url)
            page.fill("#grader", "Fay")
            page.keyboard.press("Tab")
            page.evaluate(BURST, [60])
            process.send_signal(signal.SIGKILL)
            page.evaluate(BURST, [200])
        if (RunPaths(run).grades / page_id(run) / "Fay.csv").is_file():
            on_disk(run, "Fay")  # whole, whenever it was killed
        # The page dies as well; a new one finds the same server, and has what was on its way.
        page.close()
        with serving(run) as (again, _):
            assert again == url
            page = context.new_page()
            page.goto(again)
            # As long as it does not know the name, it says that it would keep them there.
            page.wait_for_selector('#kept:text-matches("^[0-9]+ grades? on the server\'s disk")')
            table = read_grades(RunPaths(run).grades / page_id(run) / "Fay.csv").rows
        context.close()
    candidates = pd.read_parquet(RunPaths(run).candidates)["candidate_id"]
    last = {i % n: i for i in range(200)}
    expected = {candidates[row]: ("ABCX"[i % 4], str(i)) for row, i in last.items()}
    given = zip(table["grade"], table["comment"], strict=True)
    assert dict(zip(table["candidate_id"], given, strict=True)) == expected


def test_two_browsers_and_one_name(server, run, keys):
    with open_chromium() as browser, contextlib.ExitStack() as both:
        first, second = (both.enter_context(browser.new_context()).new_page() for _ in range(2))
        for page in (first, second):
            page.goto(server)
            page.fill("#grader", "Gus")
            page.keyboard.press("Tab")
            page.click("#card-0" if page is first else "#card-1")
            page.keyboard.press("1")
            if page is first:
                page.wait_for_selector('#kept:text-matches("^1 grade on the server\'s disk")')
        second.wait_for_selector("#trouble:not([hidden])")
        second.click("#trouble button >> nth=0")
        second.wait_for_selector('#kept:text-matches("^2 grades on the server\'s disk")')
        assert second.get_attribute("#card-0 .stamp", "data-grade") == "A"
    assert on_disk(run, "Gus") == {keys[0]: "A", keys[1]: "A"}


def test_the_command_says_where_it_is(run, monkeypatch):
    command = [sys.executable, "-m", "lensweep", "inspect", str(run), "--serve"]
    kept = RunPaths(run).page.with_suffix(".server.json")
    before = kept.read_text() if kept.is_file() else None
    kept.unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | QUIET)
    try:
        said = [process.stdout.readline() for _ in range(3)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if before is not None:
            kept.write_text(before)
    assert said[0].startswith(f"wrote {RunPaths(run).page}")
    assert said[1].startswith("http://127.0.0.1:")
    assert str(Path("inspect") / "grades") in said[2]
