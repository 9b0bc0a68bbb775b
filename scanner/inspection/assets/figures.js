// What stands above the candidates: map, scores, purity, recall, completeness, where it came from.

// Cividis (Nuñez, Anderton & Renslow 2018, PLoS ONE 13, e0199239): the same to all eyes.
const CIVIDIS = [[0, 32, 77], [49, 68, 107], [102, 105, 112], [149, 143, 120], [203, 186, 105], [255, 234, 70]];
const MARKS = { A: "★", B: "◆", C: "▲", X: "×", "": "•" };
const MARK_PX = { A: 17, B: 14, C: 13, X: 15, "": 17 };
let map = null;

function cividis(t) {
  const at = Math.min(Math.max(t, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return `rgb(${CIVIDIS[low].map((value, i) => Math.round(value + (at - low) * (CIVIDIS[low + 1][i] - value))).join(",")})`;
}

function figure(title, note, ...parts) {
  return make("figure", {}, make("figcaption", {}, title, make("small", {}, note)), ...parts);
}

function ledgerText() {
  const { planned, scored, screened, masked, failed, mosaics, failed_mosaics: lost } = contents.overview.ledger;
  const parts = [`${count(scored)} scored`, `${count(screened)} screened`, `${count(masked)} without enough data`, `${count(failed)} failed`];
  const gone = Object.keys(lost).length;
  return `${several(planned, "window")} on ${several(mosaics, "mosaic")}: ${parts.join(", ")}${gone ? `; ${several(gone, "mosaic")} could not be scanned` : ""}`;
}

// --- the map ---

function mapFigure() {
  const { maps } = contents.overview;
  if (!maps.length) return null;
  const canvas = make("canvas", { role: "img", width: 10, height: 10, onclick: clickMap });
  const choice = make("select", { "aria-label": "Field", onchange: () => showMap(Number(choice.value)) },
    ...maps.map((one, i) => make("option", { value: i }, `field ${i + 1}: ${one.ra_deg.toFixed(2)} ${one.dec_deg.toFixed(2)}`)));
  choice.hidden = maps.length === 1;
  map = { canvas, choice, shown: 0, masks: [], note: make("small") };
  canvas.className = "map";
  const legend = make("div", { class: "legend" },
    ...["A", "B", "C", "X", ""].map((grade) => make("span", { data: { mark: MARKS[grade] } }, grade === "X" ? "not a lens" : grade || "not graded")),
    make("span", { data: { mark: "◯" } }, "known"), make("span", {}, "blue to yellow: score"));
  const box = make("figure", {}, make("figcaption", {}, "Field", map.note, choice), canvas, legend);
  showMap(0);
  return box;
}

async function maskOf(number) {
  if (!map.masks[number]) {
    const bytes = Uint8Array.from(atob(contents.overview.maps[number].coverage), (letter) => letter.charCodeAt(0));
    map.masks[number] = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  }
  return map.masks[number];
}

async function showMap(number) {
  const mask = await maskOf(number);
  map.shown = number;
  map.choice.value = String(number);
  const one = contents.overview.maps[number];
  const scale = 236 / Math.max(one.width_arcmin, one.height_arcmin);
  [map.wide, map.high] = [Math.max(60, one.width_arcmin * scale), Math.max(60, one.height_arcmin * scale)];
  map.canvas.width = map.wide * 2;
  map.canvas.height = map.high * 2;
  map.canvas.style.width = `${map.wide}px`;
  map.canvas.style.height = `${map.high}px`;
  const ground = new OffscreenCanvas(mask.width, mask.height);
  const pen = ground.getContext("2d");
  pen.drawImage(mask, 0, 0);
  const pixels = pen.getImageData(0, 0, mask.width, mask.height);
  const seen = [128, 140, 152];
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([...seen, pixels.data[i] ? 90 : 0], i);
  pen.putImageData(pixels, 0, 0);
  map.ground = ground;
  drawMaps();
}

const onMap = () => contents.rows.filter((row) => row.map === map.shown);
const isSelected = (row) => selected >= 0 && contents.rows[order[selected]] === row;
let mapDue = false;

function drawMaps() {
  if (!map || !map.ground || mapDue) return;
  mapDue = true;
  requestAnimationFrame(() => { mapDue = false; drawMap(); });
}

function drawMap() {
  const one = contents.overview.maps[map.shown];
  const ink = getComputedStyle(document.documentElement);
  const [text, warn, sunken, rim] = ["--text", "--warn", "--sunken", "--rim"].map((name) => ink.getPropertyValue(name));
  const pen = map.canvas.getContext("2d");
  pen.setTransform(2, 0, 0, 2, 0, 0);
  pen.fillStyle = sunken;
  pen.fillRect(0, 0, map.wide, map.high);
  pen.drawImage(map.ground, 0, 0, map.wide, map.high);
  const rows = onMap();
  const logits = contents.rows.map((row) => row.logit_mean);
  const [low, high] = [Math.min(...logits), Math.max(...logits)];
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (const row of [...rows].reverse()) {
    const [x, y] = [row.map_x * map.wide, row.map_y * map.high];
    const { grade } = gradeOf(row.key);
    pen.font = `${MARK_PX[grade]}px system-ui`;
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeStyle = rim;
    pen.strokeText(MARKS[grade], x, y);
    pen.fillStyle = cividis((row.logit_mean - low) / (high - low || 1));
    pen.fillText(MARKS[grade], x, y);
    if (row.known.length || isSelected(row)) {
      pen.strokeStyle = isSelected(row) ? warn : text;
      pen.lineWidth = isSelected(row) ? 2.5 : 1;
      pen.beginPath();
      pen.arc(x, y, isSelected(row) ? 10 : 8, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
  const side = [30, 10, 5, 2, 1, 0.5, 0.2].find((length) => length < one.width_arcmin / 3) || 0.1;
  const bar = (side / one.width_arcmin) * map.wide;
  pen.strokeStyle = pen.fillStyle = text;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(8, map.high - 8);
  pen.lineTo(8 + bar, map.high - 8);
  pen.stroke();
  pen.textAlign = "left";
  pen.font = "11px system-ui";
  pen.fillText(`${side}′`, 12 + bar, map.high - 9);
  pen.fillText("N ↑  E ←", map.wide - 54, map.high - 9);
  map.note.textContent = `${several(rows.length, "candidate")} about ${one.ra_deg.toFixed(3)} ${one.dec_deg.toFixed(3)}`;
  map.canvas.setAttribute("aria-label", `Map of ${map.note.textContent}; the list below has all of them`);
}

function clickMap(event) {
  const [x, y] = [event.offsetX, event.offsetY];
  const away = (row) => Math.hypot(row.map_x * map.wide - x, row.map_y * map.high - y);
  const near = onMap().sort((one, two) => away(one) - away(two))[0];
  if (near && away(near) < 12) goTo(near.key);
}

function goTo(key) {
  const find = () => order.findIndex((index) => contents.rows[index].key === key);
  if (find() < 0) { clearFilters(); filter(); }
  select(find());
}

function markOnFigures(row) {
  if (contents.blind) return;
  if (row && map && map.ground && row.map !== map.shown) showMap(row.map);
  else drawMaps();
  for (const [line, place] of marked) {
    const at = row ? place(row) : NaN;
    line.setAttribute("visibility", Number.isFinite(at) ? "visible" : "hidden");
    if (Number.isFinite(at)) { line.setAttribute("x1", at); line.setAttribute("x2", at); }
  }
}

// --- curves ---

const marked = [];
const [WIDE, HIGH, LEFT, FOOT] = [330, 236, 34, 28];

function axes(label, xs, ys, title) {
  const svg = drawn("svg", { width: WIDE, height: HIGH, viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title });
  const foot = HIGH - FOOT;
  for (const [at, text] of ys) {
    svg.append(drawn("line", { class: "axis", x1: LEFT, x2: WIDE, y1: at, y2: at }), drawn("text", { x: LEFT - 5, y: at + 4, "text-anchor": "end" }, text));
  }
  for (const [at, text] of xs) svg.append(drawn("text", { x: at, y: foot + 13, "text-anchor": "middle" }, text));
  svg.append(drawn("text", { x: (LEFT + WIDE) / 2, y: HIGH - 2, "text-anchor": "middle" }, label));
  return svg;
}

function mark(svg, place) {
  const line = drawn("line", { class: "here", x1: 0, x2: 0, y1: 4, y2: HIGH - FOOT, visibility: "hidden" });
  svg.append(line);
  marked.push([line, place]);
}

function histogramFigure() {
  const { edges, counts } = contents.overview.histogram;
  if (!counts.length) return null;
  const most = Math.max(...counts);
  const foot = HIGH - FOOT;
  const up = (n) => foot - (Math.log1p(n) / Math.log1p(most)) * (foot - 8);
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const across = (value) => LEFT + ((value - low) / (high - low || 1)) * (WIDE - LEFT - 4);
  const whole = Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
  const step = Math.ceil(whole.length / 7) || 1;
  const xs = whole.filter((value) => value % step === 0).map((value) => [across(value), value]);
  const ys = [0, 1, 10, 100, 1000, 1e4, 1e5].filter((n) => n <= most).map((n) => [up(n), count(n)]);
  const svg = axes("mean logit of the members", xs, ys, `Histogram of the mean logits of ${several(contents.n_all, "candidate")}, from ${low} to ${high}`);
  counts.forEach((n, i) => {
    const [x, next] = [across(edges[i]), across(edges[i + 1])];
    svg.append(drawn("rect", { class: "fill", x, y: up(n), width: Math.max(0.5, next - x - 0.7), height: foot - up(n) }));
  });
  mark(svg, (row) => across(row.logit_mean));
  return figure("Scores", `${several(contents.n_all, "candidate")}, logarithmic`, svg);
}

function purityFigure() {
  const { purity } = contents.overview;
  if (!purity) return null;
  const foot = HIGH - FOOT;
  const last = purity.rank[purity.rank.length - 1];
  const across = (rank) => LEFT + (Math.log(rank) / Math.log(Math.max(last, 2))) * (WIDE - LEFT - 6);
  const up = (value) => foot - value * (foot - 8);
  const xs = [1, 10, 100, 1000, 1e4, 1e5].filter((rank) => rank <= last).map((rank) => [across(rank), count(rank)]);
  const svg = axes("rank", xs, [0, 0.5, 1].map((value) => [up(value), value.toFixed(1)]), `Expected purity of the list by rank: ${purity.value[0].toFixed(2)} at the first, ${purity.value[purity.value.length - 1].toFixed(2)} at the last`);
  const points = (values) => purity.rank.map((rank, i) => `${across(rank).toFixed(1)},${up(values[i]).toFixed(1)}`);
  if (purity.low && purity.high) svg.append(drawn("polygon", { class: "band", points: [...points(purity.low), ...points(purity.high).reverse()].join(" ") }));
  svg.append(drawn("polyline", { class: "line", points: points(purity.value).join(" ") }));
  mark(svg, (row) => across(row.rank));
  return figure("Expected purity", "share of lenses down to a rank", svg);
}

// --- tables ---

const table = (heads, rows) => make("table", {},
  make("thead", {}, make("tr", {}, ...heads.map((head, i) => make("th", { scope: "col", class: i ? "number" : null }, head)))),
  make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, i) => make("td", { class: i ? "number" : null }, cell))))));

const share = (row, name) => (isNumber(row[name]) ? `${row[name].toFixed(2)} (${row[`${name}_low`].toFixed(2)}–${row[`${name}_high`].toFixed(2)})` : "");

function recallFigure() {
  const { summary, lenses, radius_arcsec: radius } = contents.overview.recall;
  const box = make("section", { class: summary.length ? "wide" : "narrow", tabindex: "0", "aria-label": "Known lenses" }, make("h2", {}, "Known lenses in the footprint"));
  if (!summary.length) { box.append(make("p", { class: "note" }, "None of the shipped lists lies in it.")); return box; }
  box.append(table(["list", "found", "recall"], summary.map((row) =>
    [row.grade === "all" ? row.catalogue : `${row.catalogue} ${row.grade}`, `${row.n_candidates} of ${row.n_observed}`, share(row, "recall")])));
  const shown = new Set(contents.rows.map((row) => row.key));
  box.append(table(["lens", "rank"], lenses.map((lens) => [
    `${lens.catalogue} ${lens.known_name}${lens.grade ? ` (${lens.grade})` : ""}`,
    lens.rank === null ? "no candidate" : shown.has(lens.candidate_id)
      ? make("button", { type: "button", class: "link", onclick: () => goTo(lens.candidate_id) }, count(lens.rank)) : count(lens.rank)])));
  box.append(make("p", { class: "note" }, `within ${radius}″; Wilson 95 % intervals`));
  return box;
}

const BY = { kind: "", theta_e_arcsec: "θE ″", source_magnitude: "source mag", signal_to_noise: "S/N" };

function completenessFigure() {
  const found = contents.overview.completeness;
  if (!found) return null;
  const rows = found.shares.map((row) => [`${BY[row.by] === undefined ? row.by : BY[row.by]} ${row.value.replace(/_/g, " ")}`.trim(), count(row.n), ...found.depths.map((depth) => share(row, depth))]);
  return make("section", { class: "wide", tabindex: "0", "aria-label": "Completeness" }, make("h2", {}, "Completeness of painted lenses"),
    table(["", "n", ...found.depths.map((depth) => depth.replace(/_/g, " "))], rows));
}

function provenanceFigure() {
  const list = make("dl", { class: "facts" });
  for (const [name, text] of Object.entries(contents.overview.provenance)) list.append(make("dt", {}, name.replace(/_/g, " ")), make("dd", {}, text));
  for (const [name, reason] of Object.entries(contents.overview.ledger.failed_mosaics)) list.append(make("dt", {}, `not scanned: ${name}`), make("dd", {}, reason));
  return make("details", { class: "whole" }, make("summary", {}, "How it was made"), list);
}

function showOverview() {
  byId("ledger").textContent = ledgerText();
  const parts = [mapFigure, histogramFigure, purityFigure, recallFigure, completenessFigure, provenanceFigure];
  byId("figures").append(...parts.map((part) => part()).filter(Boolean));
}
