"""The page in a real browser, from a file: looking, filtering, grading, keeping, handing on."""

import base64
import csv
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from axe_playwright_python.sync_playwright import Axe
from chromium import open_chromium, watched
from conftest import scan_here, write_field
from drizzled_files import add_star, sky_cards
from PIL import Image

from lensweep.__main__ import main
from lensweep.catalogs.known_lenses import lensflow92
from lensweep.scanner.inspection.contents import Card
from lensweep.scanner.inspection.page import Heading, write_page
from lensweep.scanner.inspection.pictures import draw_picture
from lensweep.scanner.inspection.writing import write_inspection
from lensweep.scanner.run.paths import RunPaths

MARKUP = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(client, measured_bundle, tmp_path_factory):
    """A run on a small mosaic about LensFlow 1, in a folder whose name is markup."""
    folder, lens = tmp_path_factory.mktemp("inspected"), lensflow92().iloc[0]
    sky = sky_cards((420, 730), crval=(lens["ra_deg"], lens["dec_deg"]))
    mosaic = write_field(folder / "one_<b>_f814w_drz.fits", 4, sky=sky)
    out = folder / "<i>run & co"
    return scan_here(client, measured_bundle, [mosaic], out, merge_radius_arcsec=2.5).paths.root


@pytest.fixture(scope="module")
def written(run):
    return write_inspection(run, 300)


@pytest.fixture(scope="module")
def candidates(run):
    return pd.read_parquet(RunPaths(run).candidates)


@pytest.fixture
def page(browser, written):
    with watched(browser) as opened:
        opened.goto(written.as_uri())
        opened.wait_for_selector("#card-0 canvas[data-drawn]")
        yield opened


def shown(page):
    """Names of the cards that are in view, in order."""
    cards = page.locator("#grid .card").all()
    return [page.evaluate("i => contents.rows[i].key", int(c.get_attribute("data-index")))
            for c in cards]  # fmt: skip


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def grade_of(page, number):
    return page.get_attribute(f"#card-{number} .stamp", "data-grade")


def saved(page, button="#export-csv"):
    page.click("#menu summary")
    with page.expect_download() as download:
        page.click(button)
    return download.value


def rows_of(text):
    table = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return list(csv.DictReader(io.StringIO(table)))


def test_everything_of_a_candidate_is_on_the_page(page, candidates):
    first = candidates.iloc[0]
    facts = page.inner_text("#detail")
    assert first["candidate_id"] in facts
    assert f"{first['ra_deg']:.6f}" in facts
    assert first["mosaic"] in facts
    names = ["Aladin Lite", "ESASky", "Legacy Survey", "SIMBAD", "NED", "MAST"]
    assert [link.inner_text() for link in page.locator("#detail .links a").all()] == names
    for link in page.locator("#detail .links a").all():
        assert f"{first['ra_deg']:.6f}" in link.get_attribute("href")
        assert "noopener" in link.get_attribute("rel")
    assert "scored" in page.inner_text("#ledger")
    assert "LensFlow 1" in page.inner_text("#figures")
    # The columns of calibrated lists are shown where the catalogue has them, and only there.
    assert ("expected_purity" in candidates) == ("Expected purity" in page.inner_text("#figures"))


def test_what_is_drawn_are_the_pixels_in_three_stretches(page):
    read = "canvas => canvas.toDataURL().split(',')[1]"
    pictures = {}
    for stretch in ("asinh", "linear", "unsharp"):
        page.wait_for_selector(f"#card-0 canvas[data-drawn='0 {stretch}']")
        png = base64.b64decode(page.locator("#card-0 canvas").evaluate(read))
        pictures[stretch] = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
        press(page, "s")
    assert len({picture.tobytes() for picture in pictures.values()}) == 3
    # Of one stamp: the brightest pixels of one are bright in the others.
    bright = pictures["linear"] > 200
    assert bright.any()
    assert pictures["asinh"][bright].mean() > 2 * pictures["asinh"].mean()


def test_names_with_markup_are_text(page):
    assert page.inner_text("#title") == "<i>run & co"
    assert page.title().startswith("<i>run & co")
    assert page.locator("#grid b b, h1 i, img").count() == 0


def test_filters_and_orders(page, candidates):
    assert shown(page)[:3] == candidates["candidate_id"][:3].tolist()
    page.select_option("#sort", "dec_deg")
    assert shown(page)[0] == candidates.sort_values("dec_deg")["candidate_id"].iloc[0]
    page.select_option("#sort", "p_lens")
    press(page, "/")
    page.keyboard.type(candidates["candidate_id"].iloc[4][-9:])
    assert shown(page) == [candidates["candidate_id"].iloc[4]]
    assert page.inner_text("#count").startswith("1 shown")
    page.fill("#find", "no such thing")
    assert page.inner_text("#none") == "No candidate passes this filter."
    page.fill("#find", "")
    # Neighbours may have one probability: a higher score is never worth less, and may not be more.
    # The page has six digits of it.
    p_lens = candidates["p_lens"].map(lambda p: float(f"{p:.6g}"))
    page.fill("#by-p", str(p_lens.iloc[2]))
    passed = candidates["candidate_id"][p_lens >= p_lens.iloc[2]]
    assert set(shown(page)) == set(passed)
    assert len(passed) < len(candidates)
    page.fill("#by-p", "")
    page.select_option("#by-match", "known")
    assert len(shown(page)) == candidates["lensflow_id"].notna().sum()
    page.select_option("#by-match", "")
    page.select_option("#by-mosaic", candidates["mosaic"].iloc[0])
    assert page.inner_text("#count").startswith("0 of")


def test_grading_by_keys_in_the_triage(page):
    press(page, "1", "2", "3", "0")
    assert [grade_of(page, number) for number in range(5)] == ["A", "B", "C", "X", ""]
    press(page, "f", "u", "u")
    assert [grade_of(page, number) for number in range(5)] == ["A", "B", "C", "", ""]
    press(page, "ArrowLeft", "Backspace")
    assert grade_of(page, 2) == ""
    page.select_option("#by-grade", "none")
    n = page.evaluate("contents.rows.length")
    assert page.inner_text("#count") == f"{n - 2} shown · 2 of {n} graded"
    page.select_option("#by-grade", "ABC")
    assert len(shown(page)) == 2


def test_grading_by_clicks_in_the_triage(page):
    page.click("#brushes [data-brush='B']")
    page.click("#card-1")
    page.click("#card-3")
    page.click("#card-3")
    assert [grade_of(page, number) for number in range(4)] == ["", "B", "", ""]
    page.click("#brushes [data-brush='']")
    page.click("#card-2")
    assert grade_of(page, 2) == ""
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#menu summary")
    page.click("#rest")
    assert page.inner_text("#count").startswith(f"{page.evaluate('contents.rows.length')} of")
    assert grade_of(page, 1) == "B"
    press(page, "u")
    assert page.inner_text("#count").startswith("1 of")


def test_one_by_one(page):
    press(page, "Enter")
    assert page.is_visible("#single")
    assert not page.is_visible("#grid")
    for stretch in ("asinh", "linear", "unsharp"):
        page.wait_for_selector(f"#single canvas[data-drawn='0 {stretch}']")
    press(page, "1", "f", "ArrowLeft")
    assert "graded" in page.inner_text("#single .progress")
    assert page.get_attribute("#single [data-to='A']", "aria-pressed") == "true"
    page.click("#single [data-to='C']")
    press(page, "ArrowRight", "c")
    page.keyboard.type('an arc, "maybe"')
    press(page, "Enter", "2", "Escape")
    assert page.is_visible("#grid")
    assert [grade_of(page, number) for number in range(3)] == ["C", "B", ""]
    assert page.locator("#card-1 .flagged").count() == 1
    assert page.evaluate("gradeOf(contents.rows[1].key).comment") == 'an arc, "maybe"'


def test_grades_outlive_the_page_and_leave_it_as_files(page, candidates):
    page.fill("#grader", "Ada")
    press(page, "Tab")
    page.click("#card-0")
    press(page, "1", "0", "f", "c")
    page.keyboard.type('é, "x" # y')
    page.reload()
    page.wait_for_selector("#card-1 .grade")
    assert [grade_of(page, number) for number in range(3)] == ["A", "X", ""]
    download = saved(page)
    assert download.suggested_filename.startswith("grades-")
    text = download.path().read_text()
    rows = rows_of(text)
    assert text.startswith("# lensweep grades\n")
    assert [row["candidate_id"] for row in rows] == candidates["candidate_id"].tolist()
    assert [row["grade"] for row in rows[:3]] == ["A", "X", ""]
    assert {row["grader"] for row in rows} == {"Ada"}
    assert (rows[2]["flag"], rows[2]["comment"], rows[3]["flag"]) == ("1", 'é, "x" # y', "0")
    assert float(rows[0]["ra_deg"]) == pytest.approx(candidates["ra_deg"].iloc[0], abs=1e-7)
    ecsv = saved(page, "#export-ecsv").path()
    table = Table.read(ecsv, format="ascii.ecsv")
    assert table["ra_deg"].unit == "deg"
    assert table["flag"].tolist()[:4] == [False, False, True, False]
    assert table["comment"][2] == 'é, "x" # y'


def test_each_grader_has_grades_of_their_own(page, tmp_path):
    press(page, "1")
    # What was given before the name, goes with it.
    page.fill("#grader", "Ada")
    press(page, "Tab")
    assert grade_of(page, 0) == "A"
    text = saved(page).path().read_text()
    page.fill("#grader", "Ben")
    press(page, "Tab")
    assert grade_of(page, 0) == ""
    page.set_input_files("#import-file", {"name": "a.csv", "mimeType": "text/csv",
                                          "buffer": text.encode()})  # fmt: skip
    page.wait_for_selector("#card-0 .grade")
    assert page.inner_text("#trouble").startswith("1 grades loaded.")
    page.fill("#grader", "Ada")
    press(page, "Tab")
    assert grade_of(page, 0) == "A"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(",A,", ",Q,"), "has grade Q; grades are A, B, C and X"),
        (lambda text: text.replace("candidate_id", "name"), "no column candidate_id"),
        (lambda text: "", "no column candidate_id"),
        (lambda text: text[:-13] + "0123456789ab\n", "grades of another run"),
    ],
)
def test_files_that_are_no_grades_of_this_run_are_refused(page, change, said):
    press(page, "1")
    text = change(saved(page).path().read_text())
    press(page, "u")
    page.set_input_files("#import-file", {"name": "a.csv", "mimeType": "text/csv",
                                          "buffer": text.encode()})  # fmt: skip
    page.wait_for_selector("#trouble:not([hidden])")
    assert said in page.inner_text("#trouble")
    assert grade_of(page, 0) == ""


def test_positions_are_copied(browser, written, candidates):
    with watched(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(written.as_uri())
        page.click("#detail .copy >> nth=1")
        page.wait_for_selector("#detail .copy.done")
        copied = page.evaluate("navigator.clipboard.readText()")
    from astropy.coordinates import SkyCoord

    first = candidates.iloc[0]
    place = SkyCoord(copied, unit=("hourangle", "deg"))
    assert place.separation(SkyCoord(first["ra_deg"], first["dec_deg"], unit="deg")).arcsec < 0.02


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("keys", [(), ("1", "Enter"), ("?",)])
def test_axe_finds_nothing(browser, written, scheme, keys):
    # Axe is put into the page, which the page's own policy forbids.
    with watched(browser, color_scheme=scheme, bypass_csp=True) as page:
        page.goto(written.as_uri())
        page.wait_for_selector("#card-0 canvas[data-drawn]")
        press(page, *keys)
        found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


def test_keyboard_and_screen_reader(page):
    grid = page.locator("#grid")
    assert grid.get_attribute("role") == "listbox"
    press(page, "ArrowRight")
    active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-posinset") == "2"
    assert "no grade" in active.get_attribute("aria-label")
    press(page, "1")
    assert page.inner_text("#said").startswith("A, sure. Now rank 3")
    page.click("#help")
    page.uncheck("#letters")
    press(page, "Escape")
    page.focus("#grid")
    press(page, "1")
    assert grade_of(page, 2) == ""


def test_prints_those_that_are_listed(page):
    page.evaluate("window.print = () => { document.documentElement.dataset.printed = "
                  "document.querySelectorAll('.card canvas[data-drawn]').length; }")  # fmt: skip
    page.click("#menu summary")
    page.click("#print")
    page.wait_for_selector("html[data-printed]")
    n = page.evaluate("contents.rows.length")
    assert page.get_attribute("html", "data-printed") == str(n)
    page.emulate_media(media="print")
    assert not page.is_visible("#tools")
    assert page.is_visible("#card-0")


def test_it_may_speak_to_nobody(browser, written):
    """Its policy refuses, whatever a name or a later change puts into it."""
    page = browser.new_page()
    page.goto(written.as_uri())
    refused = page.evaluate("""async () => {
        const said = [];
        document.addEventListener("securitypolicyviolation",
            (event) => said.push(event.effectiveDirective));
        await fetch("https://example.org/").catch(() => 0);
        const image = document.createElement("img");
        image.src = "https://example.org/x.png";
        const script = document.createElement("script");
        script.textContent = "window.broken = true";
        document.body.append(image, script);
        await new Promise((done) => setTimeout(done, 200));
        return [said.sort(), window.broken];
    }""")
    page.close()
    assert refused == [["connect-src", "img-src", "script-src-elem"], None]


def _card(number, picture):
    name = f"LSWP {number} {MARKUP}"
    return Card({
        "key": name, "candidate_id": name, "rank": number + 1, "ra_deg": 150.0 + 1e-4 * number,
        "dec_deg": 2.0, "p_lens": 0.5 / (number + 1), "p_mean": 0.5, "p_std": 0.1,
        "logit_mean": 5.0 - 1e-3 * number, "mosaic": f"tile_{number % 7}", "valid_fraction": 1.0,
        "n_windows": 4, "stamp": "mosaic", "known": [], "flags": ["edge"] if number % 5 else [],
        "expected_purity": 1.0 / (1 + number), "expected_purity_low": 0.0,
        "expected_purity_high": 1.0, "false_per_deg2": float(number), "map": 0,
        "map_x": (number % 100) / 100, "map_y": number / 5000,
    }, picture)  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A page of 5,000 candidates, with names that are markup."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(20):
        flux = rng.normal(0.0, 0.02, (200, 200)).astype(np.float32)
        add_star(flux, 100.0, 100.0, rng.uniform(5.0, 50.0), rng.uniform(2.0, 6.0))
        pictures.append(draw_picture(flux))
    cards = [_card(number, pictures[number % 20]) for number in range(5000)]
    overview = {
        "maps": [], "histogram": {"edges": [0.0, 1.0], "counts": [5000]},
        "completeness": {"depths": ["first_10"], "shares": [{
            "by": "kind", "value": "lensed_galaxy", "n": 10, "first_10": 0.5, "first_10_low": 0.2,
            "first_10_high": 0.8,
        }]},
        "purity": {"rank": [1, 5000], "value": [1.0, 0.1], "low": [0.9, 0.0], "high": [1.0, 0.2]},
        "ledger": dict.fromkeys(("planned", "scored", "screened", "masked", "failed"), 1)
        | {"mosaics": 7, "failed_mosaics": {"tile_9": f"lost {MARKUP}"}},
        "recall": {"radius_arcsec": 3.0, "summary": [], "lenses": []},
        "provenance": {"command": MARKUP},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("many") / "index.html"
    write_page(path, Heading(MARKUP, "0123456789ab", "many", False, 5000), overview, cards)
    return path


SCROLL = """async () => {
    let most = 0;
    const step = document.documentElement.scrollHeight / 60;
    for (let i = 0; i <= 60; i += 1) {
        window.scrollTo(0, i * step);
        await new Promise((done) => setTimeout(done, 30));
        most = Math.max(most, document.querySelectorAll(".card").length);
    }
    return [most, scrollY];
}"""


def task_times_ms(trace):
    """Of each task of the page's main thread the time it had the processor, as the trace says."""
    events = trace["traceEvents"]
    main = {(event["pid"], event["tid"]) for event in events
            if event["name"] == "thread_name"
            and event["args"]["name"] == "CrRendererMain"}  # fmt: skip
    return [event["tdur"] / 1000.0 for event in events
            if event["name"].endswith("RunTask") and "tdur" in event
            and (event["pid"], event["tid"]) in main]  # fmt: skip


def test_five_thousand_candidates_stay_smooth(browser, many):
    with watched(browser) as page:
        page.goto(many.as_uri())
        page.wait_for_selector("#card-0 canvas[data-drawn]")
        browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
        most, end = page.evaluate(SCROLL)
        tasks = task_times_ms(json.loads(browser.stop_tracing()))
        assert most < 200
        assert end > 50_000
        assert len(tasks) > 100
        assert max(tasks) < 200.0
        assert "0.50 (0.20–0.80)" in page.inner_text("#figures")
        assert "Expected purity" in page.inner_text("#figures")
        press(page, "End")
        page.wait_for_selector("#card-4999[aria-selected=true] canvas[data-drawn]")
        press(page, "1", "Enter", "ArrowLeft")
        assert "4,999 of 5,000" in page.inner_text("#single .progress")
        assert page.inner_text("#single .name").endswith(MARKUP)


def test_top_cuts_the_list(run, browser, candidates):
    path = write_inspection(run, 3)
    try:
        with watched(browser) as page:
            page.goto(path.as_uri())
            page.wait_for_selector("#card-2")
            expected = f"first 3 of {len(candidates)} candidates"
            assert page.inner_text("#subtitle").startswith(expected)
    finally:
        write_inspection(run, 300)


def test_a_run_without_candidates_has_a_page(client, measured_bundle, browser, tmp_path):
    mosaic = write_field(tmp_path / "a_f814w_drz.fits", 8, (200, 300), 20)
    run = scan_here(client, measured_bundle, [mosaic], tmp_path / "run", min_logit=1e6).paths.root
    with watched(browser) as page:
        page.goto(write_inspection(run, 300).as_uri())
        assert page.inner_text("#none") == "This run has no candidates."


@pytest.mark.parametrize(
    ("spoil", "top", "said"),
    [
        (lambda paths: [paths.run.unlink(), paths.candidates.unlink()], 300,
         "no run in this folder"),
        (lambda paths: [marker.unlink() for marker in paths.score_markers("field_f814w_drz")]
         + [paths.candidates.unlink()], 300, "planned windows wait"),
        (lambda paths: None, 0, "top = 0: must be at least 1"),
    ],
)  # fmt: skip
def test_what_is_no_finished_run_is_one_message(finished, monkeypatch, capsys, spoil, top, said):
    spoil(finished)
    monkeypatch.setattr(sys, "argv", ["lensweep", "inspect", str(finished.root), "--top", str(top)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not finished.page.exists()
