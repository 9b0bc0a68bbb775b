// Grades: kept in the browser at once, one entry each; and with the server, where there is one.

const GRADES = ["A", "B", "C", "X"];
const SAID = { A: "A, sure", B: "B, probable", C: "C, possible", X: "not a lens", "": "no grade" };
const served = location.protocol.startsWith("http");
const RETRY_MS = 1500;

const grades = new Map();
const undone = [];
let grader = "";
let storageFails = false;
let sending = null;
let refused = false;

const place = (key = "") => `lensweep/${contents.page_id}/${grader}/${key}`;
const gradeOf = (key) => grades.get(key) || { grade: "", flag: false, comment: "", graded_at: "" };

function store(key, entry) {
  grades.set(key, entry);
  try {
    localStorage.setItem(place(key), JSON.stringify(entry));
  } catch (error) {
    storageFails = true;
  }
}

function storedGrades() {
  const found = new Map();
  try {
    for (let i = 0; i < localStorage.length; i += 1) {
      const name = localStorage.key(i);
      if (name.startsWith(place())) found.set(name.slice(place().length), JSON.parse(localStorage.getItem(name)));
    }
  } catch (error) {
    storageFails = true;
  }
  return found;
}

// Change what is said of one row; `change` has some of grade, flag and comment.
function regrade(key, change, undoable = true) {
  const before = gradeOf(key);
  if (Object.keys(change).every((name) => before[name] === change[name])) return false;
  if (undoable) undone.push([[key, before]]);
  store(key, { ...before, ...change, graded_at: new Date().toISOString(), sent: false });
  send();
  return true;
}

function undo() {
  const last = undone.pop();
  if (!last) return null;
  for (const [key, { grade, flag, comment }] of last) regrade(key, { grade, flag, comment }, false);
  return last[0][0];
}

// Another grader sits down: what was graded without a name goes with the first name that is given.
function changeGrader(name) {
  const nameless = grader === "" && name !== "" ? new Map(grades) : new Map();
  const before = place();
  grader = name;
  grades.clear();
  undone.length = 0;
  refused = false;
  for (const [key, entry] of storedGrades()) grades.set(key, entry);
  for (const [key, entry] of nameless) {
    if (!grades.has(key)) store(key, { ...entry, sent: false });
    try { localStorage.removeItem(before + key); } catch (error) { storageFails = true; }
  }
  try { localStorage.setItem("lensweep/grader", name); } catch (error) { storageFails = true; }
  return served && name ? fetchGrades() : Promise.resolve();
}

function clientId() {
  try {
    let id = localStorage.getItem("lensweep/client");
    if (!id) { id = crypto.randomUUID(); localStorage.setItem("lensweep/client", id); }
    return id;
  } catch (error) {
    storageFails = true;
    return "without-storage";
  }
}

// --- the server ---

const waitingGrades = () => [...grades].filter(([, entry]) => !entry.sent);
const address = () => `grades/${encodeURIComponent(contents.page_id)}/${encodeURIComponent(grader)}`;

// Of two entries of one row the later one counts.
function adopt(key, entry) {
  const mine = grades.get(key);
  if (!mine || mine.graded_at < entry.graded_at) store(key, { ...entry, sent: true });
  else if (mine.graded_at === entry.graded_at) store(key, { ...mine, sent: true });
}

async function fetchGrades() {
  const asked = grader;
  try {
    const answer = await fetch(address(), { cache: "no-store" });
    if (!answer.ok || asked !== grader) return;
    for (const [key, entry] of Object.entries((await answer.json()).rows)) adopt(key, entry);
  } catch (error) {
    // The server is away: what it has, it keeps; what it has not, is sent when it is back.
  }
  send();
}

function send() {
  announceKept();
  if (!served || !grader || sending || refused || !waitingGrades().length) return;
  sending = deliver().finally(() => {
    sending = null;
    announceKept();
    if (waitingGrades().length && !refused) setTimeout(send, lastFailed ? RETRY_MS : 0);
  });
}

let lastFailed = false;
async function deliver(take = false) {
  const asked = grader;
  const rows = Object.fromEntries(waitingGrades().slice(0, 500)
    .map(([key, { grade, flag, comment, graded_at }]) => [key, { grade, flag, comment, graded_at }]));
  lastFailed = true;
  try {
    const answer = await fetch(address(), {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ client: clientId(), take, rows }),
    });
    if (answer.status === 409) { refused = true; announceTaken(); return; }
    if (!answer.ok || asked !== grader) { lastFailed = asked === grader; return; }
    lastFailed = false;
    for (const [key, entry] of Object.entries(rows)) {
      const now = grades.get(key);
      if (now && now.graded_at === entry.graded_at) store(key, { ...now, sent: true });
    }
  } catch (error) {
    // Tried again by `send`.
  }
}

async function takeName() {
  refused = false;
  await deliver(true);
  await fetchGrades();
}

// --- files ---

const COLUMNS = ["candidate_id", "ra_deg", "dec_deg", "grade", "grader", "graded_at", "flag", "comment", "mosaic", "rank", "run_id"];
const TYPES = { ra_deg: "float64", dec_deg: "float64", flag: "bool", rank: "int32" };

const quoted = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n#]|^\s|\s$/.test(text) ? `"${text.replace(/"/g, '""').replace(/\r?\n/g, " ")}"` : text;
};

function gradesAsText(ecsv) {
  const facts = [`run: ${contents.title.replace(/\s/g, " ")}`, `page: ${contents.page_id}`,
    "grades: A sure, B probable, C possible, X not a lens, empty for none"];
  const head = ecsv
    ? ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:",
      ...COLUMNS.map((name) => `# - {name: ${name}, ${name.endsWith("_deg") ? "unit: deg, " : ""}datatype: ${TYPES[name] || "string"}}`),
      `# meta: {lensweep: [${facts.map((fact) => JSON.stringify(fact)).join(", ")}]}`, "# schema: astropy-2.0"]
    : ["# lensweep grades", ...facts.map((fact) => `# ${fact}`)];
  const lines = contents.rows.map((row) => {
    const { grade, flag, comment, graded_at } = gradeOf(row.key);
    const flags = ecsv ? (flag ? "True" : "False") : (flag ? "1" : "0");
    return [row.key, row.ra_deg, row.dec_deg, grade, grader, graded_at, flags, comment, row.mosaic, row.rank, contents.run_id]
      .map(quoted).join(",");
  });
  return `${[...head, COLUMNS.join(","), ...lines].join("\n")}\n`;
}

function saveGrades(ecsv) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([gradesAsText(ecsv)], { type: "text/csv" }));
  const name = `grades-${contents.page_id}-${grader || "nameless"}`.replace(/[^\w.-]+/g, "_");
  link.download = `${name}.${ecsv ? "ecsv" : "csv"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Rows of CSV as RFC 4180 has them, comment lines at the beginning left out.
function parseCsv(text) {
  const body = text.replace(/^\uFEFF/, "").replace(/^(#.*\r?\n)+/, "");
  const rows = [];
  let cells = [];
  const cell = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|$)/gy;
  while (cell.lastIndex < body.length) {
    const [, raw, end] = cell.exec(body);
    cells.push(raw.startsWith('"') ? raw.slice(1, -1).replace(/""/g, '"') : raw);
    if (end !== ",") { rows.push(cells); cells = []; }
  }
  if (cells.length) rows.push([...cells, ""]);
  return rows;
}

// Take grades from a file; returns what is to be said of it.
function loadGrades(text) {
  const [names, ...rows] = parseCsv(text);
  const at = Object.fromEntries((names || []).map((name, i) => [name.trim(), i]));
  for (const name of ["candidate_id", "grade"]) {
    if (!(name in at)) return `Nothing loaded: the file has no column ${name}.`;
  }
  const known = new Set(contents.rows.map((row) => row.key));
  const changes = [];
  let strangers = 0;
  for (const row of rows) {
    const grade = (row[at.grade] || "").trim().toUpperCase();
    if (grade && !GRADES.includes(grade)) return `Nothing loaded: ${row[at.candidate_id]} has grade ${row[at.grade]}; grades are A, B, C and X.`;
    if (at.run_id !== undefined && row[at.run_id] && row[at.run_id] !== contents.run_id) return "Nothing loaded: these are grades of another run.";
    if (!known.has(row[at.candidate_id])) { strangers += 1; continue; }
    const flag = ["1", "true"].includes((row[at.flag] || "").trim().toLowerCase());
    changes.push([row[at.candidate_id], { grade, flag, comment: row[at.comment] || "" }]);
  }
  const before = changes.map(([key]) => [key, gradeOf(key)]);
  for (const [key, change] of changes) if (change.grade || change.flag || change.comment) regrade(key, change, false);
  undone.push(before);
  const graded = changes.filter(([, change]) => change.grade).length;
  return `${graded} grades loaded${strangers ? `; ${strangers} rows are not on this page` : ""}.`;
}
