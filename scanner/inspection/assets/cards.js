// What is shown of one candidate: its card, and all that is known of it.

const NAMES = { asinh: "asinh", linear: "linear", unsharp: "unsharp: fine structure" };

// Scale bar and compass. A stamp is 10 arcsec wide; letters keep their size on large ones.
function overlay(large) {
  const side = large ? 320 : 200;
  const [arcsec, foot, right] = [side / 10, side - 10, side - 10];
  return drawn("svg", { class: "overlay", viewBox: `0 0 ${side} ${side}`, "aria-hidden": "true" },
    drawn("path", { d: `M8 ${foot - 4} v4 h${arcsec} v-4` }), drawn("text", { x: arcsec + 12, y: foot + 2 }, "1″"),
    drawn("path", { d: `M${right} ${foot} v-12 m-2.5 3.5 l2.5 -3.5 l2.5 3.5 M${right} ${foot} h-12 m3.5 -2.5 l-3.5 2.5 l3.5 2.5` }),
    drawn("text", { x: right - 3.2, y: foot - 15 }, "N"), drawn("text", { x: right - 21, y: foot + 3.2 }, "E"));
}

const titleOf = (row) => (contents.blind ? `No. ${row.number}` : `${row.rank}`);
const nameOf = (row) => (contents.blind ? row.key : row.candidate_id);

function knownText(known) {
  const grade = known.grade ? ` (${known.grade})` : "";
  return `${known.name}${grade} at ${known.separation_arcsec.toFixed(2)}″`;
}

function describe(row) {
  const { grade, flag } = gradeOf(row.key);
  const said = contents.blind ? [titleOf(row)] : [
    `rank ${row.rank}`, row.candidate_id, `p lens ${probability(row.p_lens)}`,
    ...row.known.map(knownText), ...row.flags,
  ];
  return [...said, SAID[grade], flag ? "flagged" : ""].filter(Boolean).join(", ");
}

function stampOf(index, stretch, large = false) {
  const canvas = make("canvas", { width: SIDE, height: SIDE, data: { index, stretch } });
  if (large) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `10 arcseconds about ${nameOf(contents.rows[index])}, stretch ${stretch}`);
  } else canvas.setAttribute("aria-hidden", "true");
  return make("div", { class: "stamp" }, canvas, overlay(large));
}

function makeCard(index) {
  const row = contents.rows[index];
  const stamp = stampOf(index, view.stretch);
  const card = make("div", { role: "option", class: "card", id: `card-${index}`, data: { index } }, stamp);
  const right = contents.blind ? "" : `p ${probability(row.p_lens)}`;
  card.append(make("div", { class: "caption" }, make("b", {}, titleOf(row)), make("span", {}, right)));
  const second = make("div", { class: "second" });
  if (contents.blind) second.append("");
  else if (row.known.length) second.append(make("span", { class: "known" }, knownText(row.known[0])));
  else second.append([...row.flags, ...(isNumber(row.expected_purity) ? [`purity ${row.expected_purity.toFixed(2)}`] : [])].join(" · ") || row.candidate_id);
  card.append(second);
  showGrade(card, row);
  return card;
}

function showGrade(card, row) {
  const { grade, flag } = gradeOf(row.key);
  const stamp = card.querySelector(".stamp");
  stamp.dataset.grade = grade;
  for (const old of stamp.querySelectorAll(".grade, .flagged")) old.remove();
  if (grade) stamp.append(make("span", { class: "grade", "aria-hidden": "true" }, grade === "X" ? "✕" : grade));
  if (flag) stamp.append(make("span", { class: "flagged", "aria-hidden": "true" }, "⚑"));
  card.setAttribute("aria-label", describe(row));
}

async function copy(event) {
  const button = event.currentTarget;
  const text = button.dataset.text;
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    // A browser that gives pages of files no clipboard: the text is selected for the keyboard.
    getSelection().selectAllChildren(button);
    document.execCommand("copy");
  }
  button.classList.add("done");
  say(`copied ${text}`);
  setTimeout(() => button.classList.remove("done"), 1500);
}

const copied = (text, what) => make("button", { type: "button", class: "copy", title: `Copy ${what}`, "aria-label": `Copy ${what} ${text}`, data: { text }, onclick: copy }, text);

function interval(row, name, digits) {
  const [value, low, high] = [row[name], row[`${name}_low`], row[`${name}_high`]];
  const ends = isNumber(low) && isNumber(high) ? ` (${low.toFixed(digits)}–${high.toFixed(digits)})` : "";
  return value.toFixed(digits) + ends;
}

function factsOf(row) {
  const list = make("dl", { class: "facts" });
  const add = (term, ...values) => list.append(make("dt", {}, term), make("dd", {}, ...values));
  add("position", copied(degrees(row), "degrees"), document.createElement("br"), copied(sexagesimal(row.ra_deg, row.dec_deg), "sexagesimal"));
  add("p lens", probability(row.p_lens));
  add("members", `mean ${row.p_mean.toFixed(3)}, spread ${row.p_std.toFixed(3)}, logit ${row.logit_mean.toFixed(2)}`);
  if (isNumber(row.expected_purity)) add("purity to here", interval(row, "expected_purity", 2));
  if (isNumber(row.false_per_deg2)) add("false per deg²", row.false_per_deg2.toPrecision(3));
  if (row.known.length) add("known as", ...row.known.flatMap((one, i) => [i ? make("br") : null, make("span", { class: "known" }, knownText(one))]));
  if (row.flags.length) add("flags", ...row.flags.map((flag) => make("span", { class: "mark" }, flag)));
  add("mosaic", row.mosaic);
  add("data", `${(100 * row.valid_fraction).toFixed(0)} % of its window; ${several(row.n_windows, "window")} merged`);
  if (row.stamp !== "mosaic") add("stamp", row.stamp === "gone" ? "its pixels are gone" : `from ${row.stamp}: the mosaic is gone or has changed`);
  return list;
}

function linksOf(row) {
  const place = [row.ra_deg.toFixed(6), row.dec_deg.toFixed(6)];
  return make("nav", { class: "links", "aria-label": "This position elsewhere" }, ...Object.entries(LINKS).map(([name, to]) =>
    make("a", { href: to(...place), target: "_blank", rel: "noopener noreferrer" }, name)));
}

function gradeButtons(row) {
  const { grade, flag } = gradeOf(row.key);
  const words = { A: ["1", "A"], B: ["2", "B"], C: ["3", "C"], X: ["0", "not a lens"] };
  return make("div", { class: "grades", role: "group", "aria-label": "Grade" },
    ...GRADES.map((to) => make("button", { type: "button", data: { to }, "aria-pressed": String(grade === to), onclick: () => gradeSelected(grade === to ? "" : to, false) },
      make("kbd", { "aria-hidden": "true" }, words[to][0]), words[to][1])),
    make("button", { type: "button", data: { to: "flag" }, "aria-pressed": String(flag), onclick: flagSelected }, make("kbd", { "aria-hidden": "true" }, "F"), "⚑ flag"));
}

function commentOf(row) {
  const area = make("textarea", { rows: "1", class: "words", maxlength: "1000" });
  area.value = gradeOf(row.key).comment;
  // Every letter is kept; to take back is to take back all that was written since.
  area.addEventListener("focus", () => { area.before = gradeOf(row.key); });
  area.addEventListener("input", () => regrade(row.key, { comment: area.value.trim() }, false));
  area.addEventListener("change", () => { undone.push([[row.key, area.before]]); refreshCard(row.key); });
  return make("label", { class: "comment" }, "Comment (C)", area);
}
