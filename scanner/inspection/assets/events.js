// What clicks and keys do, and how the page begins.

function announceKept() {
  const graded = [...grades.values()].filter((entry) => entry.grade || entry.flag || entry.comment).length;
  const line = byId("kept");
  const left = waitingGrades().length;
  if (storageFails) line.textContent = "This browser keeps nothing for this page: save the grades to a file before you close it.";
  else if (served && !grader) line.textContent = "Give your name: then grades are kept on the server's disk.";
  else if (served) line.textContent = left ? `${several(left, "grade")} on the way to the server; kept in this browser` : `${several(graded, "grade")} on the server's disk`;
  else line.textContent = graded ? `${several(graded, "grade")} kept in this browser; save them to a file to hand them on` : "Grades are kept in this browser as you give them.";
}

function announceTaken() {
  const box = byId("trouble");
  box.hidden = false;
  box.replaceChildren(`Somebody has graded here as ${grader}, from another browser.`,
    make("button", { type: "button", onclick: () => { box.hidden = true; takeName().then(refreshAll); } }, "That was me: go on"),
    make("button", { type: "button", onclick: () => { box.hidden = true; byId("grader").focus(); byId("grader").select(); } }, "Another name"));
}

function tell(text) {
  const box = byId("trouble");
  box.hidden = !text;
  box.replaceChildren(text, make("button", { type: "button", onclick: () => { box.hidden = true; } }, "OK"));
}

function clearFilters() {
  for (const id of ["find", "by-grade", "by-p", "by-mosaic", "by-match"]) byId(id).value = "";
}

function comment() {
  const area = document.querySelector(single ? "#single textarea.words" : "#detail textarea.words");
  if (area) area.focus();
}

function changeContrast(step) {
  view.contrast = Math.min(Math.max(view.contrast + step, -3), 4);
  byId("contrast").value = view.contrast;
  restretch();
}

const KEYS = {
  1: () => gradeSelected("A"), 2: () => gradeSelected("B"), 3: () => gradeSelected("C"), 0: () => gradeSelected("X"),
  Backspace: () => gradeSelected("", false), u: undoLast, f: flagSelected, c: comment,
  s: () => { view.stretch = STRETCHES[(STRETCHES.indexOf(view.stretch) + 1) % 3]; restretch(); say(`stretch ${view.stretch}`); },
  "+": () => changeContrast(0.5), "=": () => changeContrast(0.5), "-": () => changeContrast(-0.5),
  "/": () => byId("find").focus(), "?": () => byId("help-dialog").showModal(),
};
const pageful = () => Math.max(1, Math.floor(innerHeight / (shape.high + GAP_PX)) - 1) * shape.columns;
const MOVES = {
  ArrowRight: () => 1, ArrowLeft: () => -1,
  ArrowDown: () => (single ? 1 : shape.columns), ArrowUp: () => (single ? -1 : -shape.columns),
  PageDown: () => (single ? 10 : pageful()), PageUp: () => (single ? -10 : -pageful()),
  Home: () => -Infinity, End: () => Infinity,
};

function writes(element) {
  return element.matches("textarea, select, input:not([type=range]):not([type=checkbox])");
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help-dialog").open) return;
  const { target } = event;
  if (event.key === "Escape") {
    if (writes(target)) { target.blur(); grid.focus({ preventScroll: true }); } else if (byId("menu").open) byId("menu").open = false; else if (single) showView(false);
    return;
  }
  if (writes(target)) {
    if (event.key === "Enter" && target.matches("textarea") && !event.shiftKey) { event.preventDefault(); target.blur(); (single ? byId("single") : grid).focus({ preventScroll: true }); }
    return;
  }
  // Sliders, scrolling boxes and buttons have arrows, Enter and space of their own.
  const own = target.matches("input[type=range], .wide, summary");
  if (event.key in MOVES && !own) {
    event.preventDefault();
    select(selected + MOVES[event.key]());
    if (selected >= 0) say(describe(contents.rows[order[selected]]));
  } else if (event.key === "Enter" && (target === grid || target === document.body || target === byId("single"))) {
    event.preventDefault();
    showView(!single);
  } else if (byId("letters").checked) {
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(); }
  }
}

function onCard(event) {
  const card = event.target.closest(".card");
  if (!card) return;
  const at = [...cardsInView].find(([, one]) => one === card)[0];
  select(at, false);
  if (!brush) return;
  const { key } = contents.rows[order[at]];
  gradeSelected(gradeOf(key).grade === brush ? "" : brush, false);
}

let frame = 0;
function soon(act) {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(act);
}

function measure() {
  const heights = { top: document.querySelector("header"), tools: byId("tools") };
  for (const [name, element] of Object.entries(heights)) document.documentElement.style.setProperty(`--${name}`, `${element.offsetHeight}px`);
}

async function printShown() {
  showView(false);
  // Whatever scrolls or changes size meanwhile takes no card away.
  showEverything(true);
  try {
    await Promise.all([...cardsInView].map(([at, card]) => paintNow(card.querySelector("canvas"), order[at], view.stretch)));
    print();
  } finally {
    showEverything(false);
  }
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
  drawMaps();
}

function listen() {
  document.addEventListener("keydown", onKey);
  grid.addEventListener("click", onCard);
  grid.addEventListener("dblclick", (event) => { if (!brush && event.target.closest(".card")) showView(true); });
  addEventListener("scroll", () => soon(() => showInView()), { passive: true });
  new ResizeObserver(() => soon(() => { measure(); if (!single) layOut(); })).observe(byId("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMaps);
  byId("view-grid").addEventListener("click", () => showView(false));
  byId("view-single").addEventListener("click", () => showView(true));
  byId("stretches").addEventListener("click", ({ target }) => { if (target.dataset.stretch) { view.stretch = target.dataset.stretch; restretch(); } });
  byId("brushes").addEventListener("click", ({ target }) => {
    if (target.dataset.brush === undefined) return;
    brush = target.dataset.brush;
    for (const button of byId("brushes").children) button.setAttribute("aria-pressed", String(button === target));
  });
  byId("contrast").addEventListener("input", ({ target }) => { view.contrast = Number(target.value); restretch(); });
  byId("size").addEventListener("input", () => { layOut(); if (selected >= 0) bringIntoView(selected); });
  for (const id of ["find", "by-grade", "by-p", "by-mosaic", "by-match", "sort"]) byId(id).addEventListener("input", filter);
  byId("refresh").addEventListener("click", filter);
  byId("grader").addEventListener("change", ({ target }) => { byId("trouble").hidden = true; changeGrader(target.value.trim()).then(() => { announceKept(); refreshAll(); }); });
  byId("export-csv").addEventListener("click", () => { saveGrades(false); byId("menu").open = false; });
  byId("export-ecsv").addEventListener("click", () => { saveGrades(true); byId("menu").open = false; });
  byId("import").addEventListener("click", () => byId("import-file").click());
  byId("import-file").addEventListener("change", async ({ target }) => {
    if (target.files.length) tell(loadGrades(await target.files[0].text()));
    target.value = "";
    byId("menu").open = false;
    refreshAll();
  });
  byId("rest").addEventListener("click", () => { byId("menu").open = false; restAreNone(); });
  byId("print").addEventListener("click", () => { byId("menu").open = false; printShown(); });
  byId("overview-details").addEventListener("toggle", ({ target }) => {
    remember("overview", target.open ? "open" : "closed");
    soon(() => showInView());
  });
  byId("theme").addEventListener("click", changeTheme);
  byId("help").addEventListener("click", () => byId("help-dialog").showModal());
  byId("help-close").addEventListener("click", () => byId("help-dialog").close());
}

function remembered(name) {
  try { return localStorage.getItem(`lensweep/${name}`); } catch (error) { storageFails = true; return null; }
}

function remember(name, value) {
  try { localStorage.setItem(`lensweep/${name}`, value); } catch (error) { storageFails = true; }
}

async function begin() {
  const theme = remembered("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  document.body.classList.toggle("blind", contents.blind);
  contents.rows.forEach((row, i) => { row.number = i + 1; });
  const all = contents.rows.length < contents.n_all ? `first ${count(contents.rows.length)} of ${several(contents.n_all, "candidate")}` : several(contents.n_all, "candidate");
  byId("subtitle").textContent = contents.blind ? `blind: ${several(contents.rows.length, "stamp")} in no order` : `${all} · lensweep ${contents.lensweep}`;
  byId("help-words").textContent = contents.blind
    ? "Among the stamps are simulated lenses, galaxies that are none, and some twice: they measure how you grade. North is up, east left; the bar is an arcsecond; violet has no data."
    : "p lens is the probability of a lens at the run's density of lenses, where it is known; the spread is that of the members. North is up, east left; the bar is an arcsecond; violet has no data.";
  for (const mosaic of [...new Set(contents.rows.map((row) => row.mosaic))].filter(Boolean).sort()) byId("by-mosaic").append(make("option", { value: mosaic }, mosaic));
  listen();
  byId("overview-details").open = remembered("overview") !== "closed";
  const name = remembered("grader") || "";
  byId("grader").value = name;
  const fetched = changeGrader(name);
  if (!contents.blind) showOverview();
  measure();
  filter();
  announceKept();
  grid.focus({ preventScroll: true });
  await fetched;
  refreshAll();
}

begin();
