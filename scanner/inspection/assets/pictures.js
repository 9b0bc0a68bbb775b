// Pictures: from text in the page to numbers, and from numbers to greys.

const SIDE = 200;
const SOFTENING_SIGMA = 3;
const STRETCHES = ["asinh", "linear", "unsharp"];
const KEPT_DECODED = 400;
const DECODED_AT_ONCE = 6;
// Of a frame, so that scrolling stays smooth.
const BUDGET_MS = 7;

const view = { stretch: "asinh", contrast: 0 };

const blocks = new Map();
const decoded = new Map();
const decoding = new Map();
const waiting = new Map();
const reader = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });

function kept(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
  return value;
}

function sourceOf(index) {
  const number = Math.floor(index / contents.block);
  let lines = blocks.get(number);
  if (!lines) {
    lines = document.getElementById(`pictures-${number}`).textContent.split("\n");
    kept(blocks, number, lines, 6);
  }
  return lines[index % contents.block].split(" ");
}

async function pixelsOf(base64, type) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type }), { colorSpaceConversion: "none" });
  // Nothing is awaited between drawing and reading: there is one canvas for all.
  reader.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = reader.getImageData(0, 0, SIDE, SIDE).data;
  const grey = new Uint8Array(SIDE * SIDE);
  for (let i = 0; i < grey.length; i += 1) grey[i] = rgba[4 * i];
  return grey;
}

function decode(index) {
  if (decoded.has(index)) return kept(decoded, index, decoded.get(index), KEPT_DECODED);
  if (!decoding.has(index)) {
    const [jpeg, mask] = sourceOf(index);
    const both = Promise.all([
      pixelsOf(jpeg, "image/jpeg"), mask ? pixelsOf(mask, "image/png") : null,
    ]).then(([codes, holes]) => {
      decoding.delete(index);
      return kept(decoded, index, { codes, holes }, KEPT_DECODED);
    });
    decoding.set(index, both);
  }
  return decoding.get(index);
}

// What a code stands for, in sigma above the sky.
function valuesOfCodes(row) {
  const step = (row.high - row.low) / 255;
  return Float32Array.from({ length: 256 }, (_, code) => SOFTENING_SIGMA * Math.sinh(row.low + code * step));
}

// The white of a stamp: its brightest pixels but for two in a thousand, and no less than 25 sigma.
function whiteOf(codes, holes, values) {
  const counts = new Uint32Array(256);
  let n = 0;
  for (let i = 0; i < codes.length; i += 1) if (!holes || !holes[i]) { counts[codes[i]] += 1; n += 1; }
  let code = 255;
  for (let above = counts[255]; code > 0 && above < 0.002 * n; above += counts[code]) code -= 1;
  return Math.max(25, values[code]);
}

function smoothed(image) {
  // Three running means are a Gaussian of 5.5 pixels, nearly.
  const reach = 5;
  let from = image;
  let to = new Float32Array(image.length);
  const pass = (stride, across) => {
    for (let line = 0; line < SIDE; line += 1) {
      const first = line * across;
      const at = (k) => from[first + stride * Math.min(Math.max(k, 0), SIDE - 1)];
      let sum = 0;
      for (let k = -reach; k <= reach; k += 1) sum += at(k);
      for (let k = 0; k < SIDE; k += 1) {
        to[first + stride * k] = sum / (2 * reach + 1);
        sum += at(k + reach + 1) - at(k - reach);
      }
    }
    if (from === image) { from = to; to = new Float32Array(image.length); } else [from, to] = [to, from];
  };
  for (let round = 0; round < 3; round += 1) { pass(1, SIDE); pass(SIDE, 1); }
  return from;
}

// Greys of one stamp: linear and asinh by a table of 256, unsharp pixel by pixel.
function greysOf(index, { codes, holes }, stretch) {
  const values = valuesOfCodes(contents.rows[index]);
  const white = whiteOf(codes, holes, values) * 2 ** -view.contrast;
  const level = (value, low, high) => 255 * Math.min(Math.max((value - low) / (high - low), 0), 1);
  if (stretch === "unsharp") {
    const image = Float32Array.from(codes, (code, i) => (holes && holes[i] ? 0 : values[code]));
    const smooth = smoothed(image);
    const [low, high] = [Math.asinh(-2), Math.asinh(12 * 2 ** -view.contrast)];
    return Float32Array.from(image, (value, i) =>
      level(Math.asinh((value - smooth[i]) / (1 + 0.05 * Math.abs(smooth[i]))), low, high));
  }
  const scale = (value) => (stretch === "linear" ? value : Math.asinh(value / SOFTENING_SIGMA));
  const table = values.map((value) => level(scale(value), scale(-2), scale(white)));
  return Float32Array.from(codes, (code) => table[code]);
}

function draw(canvas, index, pixels, stretch) {
  const greys = greysOf(index, pixels, stretch);
  const picture = new ImageData(SIDE, SIDE);
  for (let i = 0; i < greys.length; i += 1) {
    const hole = pixels.holes && pixels.holes[i];
    picture.data[4 * i] = hole ? 56 : greys[i];
    picture.data[4 * i + 1] = hole ? 43 : greys[i];
    picture.data[4 * i + 2] = hole ? 66 : greys[i];
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.dataset.drawn = `${index} ${stretch}`;
}

// Draw a stamp as soon as there is time: what is asked of a canvas last, counts.
function paint(canvas, index, stretch) {
  waiting.set(canvas, [index, stretch]);
  if (waiting.size === 1) requestAnimationFrame(work);
}

function work() {
  const until = performance.now() + BUDGET_MS;
  for (const [canvas, [index, stretch]] of waiting) {
    if (performance.now() > until) break;
    if (!canvas.isConnected) { waiting.delete(canvas); continue; }
    const pixels = decoded.get(index);
    if (pixels) { waiting.delete(canvas); draw(canvas, index, pixels, stretch); }
    else if (decoding.size < DECODED_AT_ONCE) decode(index);
  }
  if (waiting.size) requestAnimationFrame(work);
}

async function paintNow(canvas, index, stretch) {
  draw(canvas, index, await decode(index), stretch);
}
