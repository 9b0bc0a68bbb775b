// What all parts of the page share.

const contents = JSON.parse(document.getElementById("contents").textContent);
const byId = (id) => document.getElementById(id);

// An element with its attributes and children; text is never markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const count = (n) => n.toLocaleString("en");
const several = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const isNumber = (value) => typeof value === "number";
// Null where the ensemble was not measured on fields.
const probability = (p) => (p == null ? "?" : p >= 0.001 ? p.toPrecision(2) : p.toExponential(1));

function say(text) { byId("said").textContent = text; }

function sexagesimal(ra, dec) {
  const parts = (value, digits) => {
    const scale = 10 ** digits;
    const steps = Math.round(Math.abs(value) * 3600 * scale);
    const seconds = (steps % (60 * scale)) / scale;
    const minutes = Math.floor(steps / (60 * scale));
    const two = (n) => String(n).padStart(2, "0");
    return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${seconds.toFixed(digits).padStart(digits + 3, "0")}`;
  };
  return `${parts((ra / 15) % 24, 3)} ${dec < 0 ? "-" : "+"}${parts(dec, 2)}`;
}

const degrees = (row) => `${row.ra_deg.toFixed(6)} ${row.dec_deg >= 0 ? "+" : ""}${row.dec_deg.toFixed(6)}`;

const LINKS = {
  "Aladin Lite": (ra, dec) => `https://aladin.cds.unistra.fr/AladinLite/?target=${ra}%20${dec}&fov=0.01`,
  ESASky: (ra, dec) => `https://sky.esa.int/esasky/?target=${ra}%20${dec}&fov=0.01&cooframe=J2000&sci=true`,
  "Legacy Survey": (ra, dec) => `https://www.legacysurvey.org/viewer?ra=${ra}&dec=${dec}&zoom=16&mark=${ra},${dec}`,
  SIMBAD: (ra, dec) => `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${ra}%20${dec}&CooFrame=ICRS&CooEpoch=2000&CooEqui=2000&Radius=10&Radius.unit=arcsec`,
  NED: (ra, dec) => `https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search&in_csys=Equatorial&in_equinox=J2000&coordinates=${ra}d%20${dec}d&radius=0.2`,
  MAST: (ra, dec) => `https://mast.stsci.edu/portal/Mashup/Clients/Mast/Portal.html?searchQuery=${ra}%2C${dec}`,
};
