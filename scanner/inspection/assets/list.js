// The list: what is shown in which order, where one is in it, and the two ways to go through it.

let order = [];
let selected = -1;
let brush = "";
let single = false;
let stale = false;
const cardsInView = new Map();
const CAPTION_PX = contents.blind ? 30 : 48;
const GAP_PX = 8;
const ROWS_BEYOND = 2;

const grid = byId("grid");

function wanted() {
  const find = byId("find").value.trim().toLowerCase();
  const grade = byId("by-grade").value;
  const least = parseFloat(byId("by-p").value);
  const [mosaic, match] = [byId("by-mosaic").value, byId("by-match").value];
  return (row) => {
    const entry = gradeOf(row.key);
    if (grade === "none" ? entry.grade : grade === "flag" ? !entry.flag : grade && !(entry.grade && grade.includes(entry.grade))) return false;
    if (find && !textOf(row, entry).includes(find)) return false;
    if (contents.blind) return true;
    if (row.p_lens < least || (mosaic && row.mosaic !== mosaic)) return false;
    return !match || (match === "known") === row.known.length > 0;
  };
}

function textOf(row, entry) {
  const words = contents.blind ? [titleOf(row), row.key] : [
    row.rank, row.candidate_id, row.mosaic, degrees(row), sexagesimal(row.ra_deg, row.dec_deg),
    ...row.flags, ...row.known.map((one) => one.name)];
  return [...words, entry.comment].join(" ").toLowerCase();
}

const BACKWARDS = ["p_lens", "p_std"];
function sorted(rows) {
  const by = contents.blind ? "number" : byId("sort").value;
  const value = (index) => {
    const row = contents.rows[index];
    return by === "grade" ? gradeOf(row.key).grade || "~" : row[by];
  };
  const sign = BACKWARDS.includes(by) ? -1 : 1;
  return rows.sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    return a < b ? -sign : a > b ? sign : one - two;
  });
}

function filter() {
  const keep = wanted();
  const at = order[selected];
  order = sorted([...contents.rows.keys()].filter((index) => keep(contents.rows[index])));
  stale = false;
  byId("refresh").hidden = true;
  for (const card of cardsInView.values()) card.remove();
  cardsInView.clear();
  selected = Math.max(order.indexOf(at), order.length ? 0 : -1);
  const none = byId("none");
  none.hidden = order.length > 0;
  none.textContent = contents.rows.length ? "No candidate passes this filter." : "This run has no candidates.";
  layOut();
  select(selected, false);
}

function announceCount() {
  const graded = contents.rows.filter((row) => gradeOf(row.key).grade).length;
  const shown = order.length === contents.rows.length ? "" : `${count(order.length)} shown · `;
  byId("count").textContent = `${shown}${count(graded)} of ${count(contents.rows.length)} graded`;
}

// --- the triage: only cards in view are there ---

let shape = { columns: 1, side: 170, high: 218 };

function layOut() {
  const least = Number(byId("size").value);
  const width = grid.clientWidth;
  const columns = Math.max(1, Math.floor((width + GAP_PX) / (least + GAP_PX)));
  const side = Math.floor((width - (columns - 1) * GAP_PX) / columns);
  shape = { columns, side, high: side - 8 + CAPTION_PX };
  grid.style.height = `${Math.max(40, Math.ceil(order.length / columns) * (shape.high + GAP_PX))}px`;
  for (const [at, card] of cardsInView) put(card, at);
  showInView();
}

function put(card, at) {
  const { columns, side, high } = shape;
  card.style.width = `${side}px`;
  card.style.height = `${high}px`;
  card.style.transform = `translate(${(at % columns) * (side + GAP_PX)}px, ${Math.floor(at / columns) * (high + GAP_PX)}px)`;
}

// While a page is printed, all of its cards are there.
let everything = false;

function showEverything(wanted) {
  everything = wanted;
  showInView();
}

function showInView() {
  if (single) return;
  const pitch = shape.high + GAP_PX;
  const top = -grid.getBoundingClientRect().top;
  const first = everything ? 0 : Math.max(0, (Math.floor(top / pitch) - ROWS_BEYOND) * shape.columns);
  const last = everything ? order.length : Math.min(order.length, (Math.ceil((top + innerHeight) / pitch) + ROWS_BEYOND) * shape.columns);
  for (const [at, card] of cardsInView) {
    if ((at < first || at >= last) && at !== selected) { card.remove(); cardsInView.delete(at); }
  }
  for (let at = first; at < last; at += 1) showCard(at);
  if (selected >= 0) showCard(selected);
}

function showCard(at) {
  if (cardsInView.has(at)) return;
  const card = makeCard(order[at]);
  card.setAttribute("aria-setsize", order.length);
  card.setAttribute("aria-posinset", at + 1);
  card.setAttribute("aria-selected", String(at === selected));
  put(card, at);
  // Screen readers go by the order of the document.
  const next = [...cardsInView.keys()].filter((other) => other > at).sort((a, b) => a - b)[0];
  grid.insertBefore(card, next === undefined ? null : cardsInView.get(next));
  cardsInView.set(at, card);
  paint(card.querySelector("canvas"), order[at], view.stretch);
}

function select(at, scroll = true) {
  const before = cardsInView.get(selected);
  if (before) before.setAttribute("aria-selected", "false");
  selected = order.length ? Math.min(Math.max(at, 0), order.length - 1) : -1;
  if (selected >= 0) {
    if (!single) {
      showCard(selected);
      const card = cardsInView.get(selected);
      card.setAttribute("aria-selected", "true");
      grid.setAttribute("aria-activedescendant", card.id);
      if (scroll) bringIntoView(selected);
    }
  } else grid.removeAttribute("aria-activedescendant");
  showSelected();
}

function bringIntoView(at) {
  const pitch = shape.high + GAP_PX;
  const top = grid.getBoundingClientRect().top + Math.floor(at / shape.columns) * pitch;
  const under = byId("tools").getBoundingClientRect().bottom;
  if (top < under + 4) scrollBy(0, top - under - 8);
  else if (top + pitch > innerHeight) scrollBy(0, top + pitch - innerHeight + 4);
}

function showSelected() {
  announceCount();
  if (single) showSingle(); else showDetail();
  markOnFigures(selected >= 0 ? contents.rows[order[selected]] : null);
}

function showDetail() {
  const detail = byId("detail");
  if (selected < 0) { detail.replaceChildren(); return; }
  const index = order[selected];
  const row = contents.rows[index];
  const stamp = stampOf(index, view.stretch, true);
  detail.replaceChildren(stamp, make("p", { class: "name" }, contents.blind ? titleOf(row) : `${row.rank} · ${row.candidate_id}`), gradeButtons(row),
    ...(contents.blind ? [] : [factsOf(row), linksOf(row)]), commentOf(row));
  paint(stamp.querySelector("canvas"), index, view.stretch);
}

function showSingle() {
  const section = byId("single");
  if (selected < 0) { section.replaceChildren(make("p", {}, byId("none").textContent)); return; }
  const index = order[selected];
  const row = contents.rows[index];
  const trio = make("div", { class: "trio" }, ...STRETCHES.map((stretch) => make("figure", { data: { chosen: stretch === view.stretch } },
    stampOf(index, stretch, true), make("figcaption", {}, NAMES[stretch]))));
  const done = order.filter((one) => gradeOf(contents.rows[one].key).grade).length;
  section.replaceChildren(
    make("div", { class: "progress" },
      make("button", { type: "button", onclick: () => select(selected - 1), "aria-label": "Previous" }, "←"),
      make("span", {}, `${count(selected + 1)} of ${count(order.length)}`),
      make("progress", { max: order.length, value: done, "aria-label": `${done} graded` }),
      make("span", {}, `${count(done)} graded`),
      make("button", { type: "button", onclick: () => select(selected + 1), "aria-label": "Next" }, "→")),
    trio,
    make("div", { class: "under" },
      make("div", {}, make("h2", { class: "name" }, contents.blind ? titleOf(row) : `${row.rank} · ${row.candidate_id}`), gradeButtons(row), commentOf(row)),
      make("div", {}, ...(contents.blind ? [] : [factsOf(row), linksOf(row)]))));
  for (const canvas of trio.querySelectorAll("canvas")) paint(canvas, index, canvas.dataset.stretch);
  // The next ones are ready when they are asked for.
  for (const ahead of [1, 2]) if (order[selected + ahead] !== undefined) decode(order[selected + ahead]);
}

function showView(one) {
  single = one;
  byId("triage").hidden = one;
  byId("detail").hidden = one;
  byId("single").hidden = !one;
  byId("size-label").hidden = one;
  byId("view-grid").setAttribute("aria-pressed", String(!one));
  byId("view-single").setAttribute("aria-pressed", String(one));
  if (!one) layOut();
  select(selected);
  if (one) { byId("single").focus({ preventScroll: true }); byId("main").scrollIntoView({ block: "start" }); } else grid.focus({ preventScroll: true });
}

// --- grading ---

function refreshCard(key) {
  for (const [at, card] of cardsInView) if (contents.rows[order[at]].key === key) showGrade(card, contents.rows[order[at]]);
  stale = true;
  byId("refresh").hidden = order.length === contents.rows.length && byId("sort").value !== "grade";
  drawMaps();
}

function gradeSelected(grade, advance = true) {
  if (selected < 0) return;
  const row = contents.rows[order[selected]];
  regrade(row.key, { grade });
  refreshCard(row.key);
  if (advance && selected < order.length - 1) {
    select(selected + 1);
    say(`${SAID[grade]}. Now ${describe(contents.rows[order[selected]])}`);
  } else {
    showSelected();
    say(SAID[grade]);
  }
}

function flagSelected() {
  if (selected < 0) return;
  const row = contents.rows[order[selected]];
  regrade(row.key, { flag: !gradeOf(row.key).flag });
  refreshCard(row.key);
  showSelected();
  say(gradeOf(row.key).flag ? "flagged" : "no flag");
}

function undoLast() {
  const key = undo();
  if (key === null) { say("nothing to undo"); return; }
  refreshAll();
  const at = order.findIndex((index) => contents.rows[index].key === key);
  if (at >= 0) select(at); else showSelected();
  say(`undone: ${SAID[gradeOf(key).grade]}`);
}

function refreshAll() {
  for (const [at, card] of cardsInView) showGrade(card, contents.rows[order[at]]);
  stale = true;
  showSelected();
  drawMaps();
}

function restAreNone() {
  const rest = order.map((index) => contents.rows[index].key).filter((key) => !gradeOf(key).grade);
  if (!rest.length || !confirm(`Grade ${several(rest.length, "candidate")} as not a lens? U takes it back.`)) return;
  const before = rest.map((key) => [key, gradeOf(key)]);
  for (const key of rest) regrade(key, { grade: "X" }, false);
  undone.push(before);
  refreshAll();
}

function restretch() {
  for (const [at, card] of cardsInView) paint(card.querySelector("canvas"), order[at], view.stretch);
  for (const button of byId("stretches").children) button.setAttribute("aria-pressed", String(button.dataset.stretch === view.stretch));
  showSelected();
}
