// Pictures: grey images in a window, differences from blue over white to red, maps of sd; a plot.

/** Table of 256 colours through some anchors, as RGBA words in the canvas's byte order. */
function colours(anchors) {
  const rgb = anchors.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const bytes = new Uint8ClampedArray(1024);
  for (let i = 0; i < 256; i++) {
    const at = i / 255 * (rgb.length - 1), low = Math.min(Math.floor(at), rgb.length - 2);
    for (let k = 0; k < 3; k++)
      bytes[4 * i + k] = rgb[low][k] + (at - low) * (rgb[low + 1][k] - rgb[low][k]);
    bytes[4 * i + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}

// ColorBrewer's RdBu, reversed, and matplotlib's magma: those of the fixed pictures
const TABLES = {
  image: colours(["#000000", "#ffffff"]),
  difference: colours(["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7",
    "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"]),
  sd: colours(["#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d",
    "#fd9668", "#feca8d", "#fcfdbf"]),
};
TABLES.slice = TABLES.image;

/** CT numbers shown first and last in the colours of a look. */
function limits(look, view) {
  if (look === "difference") return [-view.difference, view.difference];
  if (look === "sd") return [0, view.spread];
  return [view.level - view.width / 2, view.level + view.width / 2];
}

/** Draw CT numbers on a canvas of as many pixels. */
function paint(canvas, values, look, view) {
  const [low, high] = limits(look, view), table = TABLES[look], scale = 256 / (high - low);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const words = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < words.length; i++) {
    const at = (values[i] - low) * scale;
    words[i] = table[at < 0 ? 0 : at > 255 ? 255 : at | 0];
  }
  context.putImageData(picture, 0, 0);
}

const SVG = document.getElementById("viewer-spectra").namespaceURI;

/** A new SVG element with attributes, and a text if it has one. */
function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const LINES = ["#4c78a8", "#c2601a", "#2f8f6b", "#a8478f", "#8a7a1e", "#6b6b6b"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "12 3", "4 2"];

/** Plot spectra {label, frequency [1/mm], density [HU² mm²]} on a logarithmic axis. */
function plotSpectra(svg, curves) {
  const W = 520, H = 260, box = { left: 62, right: 12, top: 12, bottom: 44 };
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.replaceChildren();
  const seen = curves.flatMap((curve) => curve.density.filter((value) => value > 0));
  if (!seen.length) {
    svg.append(shape("text", { x: W / 2, y: H / 2, "text-anchor": "middle" },
      "The region is too small for a spectrum, or nothing varies in it."));
    return;
  }
  const most = Math.ceil(Math.log10(Math.max(...seen)));
  const least = Math.max(Math.floor(Math.log10(Math.min(...seen))), most - 5);
  const last = Math.max(...curves.flatMap((curve) => curve.frequency));
  const x = (f) => box.left + f / last * (W - box.left - box.right);
  const y = (p) => H - box.bottom -
    (Math.log10(p) - least) / Math.max(most - least, 1) * (H - box.top - box.bottom);
  for (let k = least; k <= most; k++) {
    const at = y(10 ** k);
    svg.append(shape("line", { x1: box.left, x2: W - box.right, y1: at, y2: at, class: "grid" }));
    const tick = shape("text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, "10");
    tick.append(shape("tspan", { dy: -5, "font-size": 9 }, String(k).replace("-", "−")));
    svg.append(tick);
  }
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((s) => last * 10 / s <= 6) || 20;
  for (let f = 0; f <= last * 10 + 1e-9; f += step) {
    const at = x(f / 10), base = H - box.bottom;
    svg.append(shape("line", { x1: at, x2: at, y1: base, y2: base + 4, class: "axis" }));
    svg.append(shape("text", { x: at, y: base + 17, "text-anchor": "middle" }, `${+f.toFixed(1)}`));
  }
  const base = H - box.bottom;
  svg.append(shape("line", { x1: box.left, x2: W - box.right, y1: base, y2: base, class: "axis" }));
  svg.append(shape("text", { x: (box.left + W) / 2, y: H - 8, "text-anchor": "middle" },
    "spatial frequency [lp/cm]"));
  svg.append(shape("text", { x: 14, y: (box.top + base) / 2, "text-anchor": "middle",
    transform: `rotate(-90 14 ${(box.top + base) / 2})` }, "NPS [HU² mm²]"));
  curves.forEach((curve, k) => {
    const points = curve.frequency.map((f, i) => [f, curve.density[i]])
      .filter(([, p]) => p >= 10 ** least).map(([f, p]) => `${x(f).toFixed(1)},${y(p).toFixed(1)}`);
    svg.append(shape("polyline", { points: points.join(" "), fill: "none",
      stroke: LINES[k % LINES.length], "stroke-width": 2,
      "stroke-dasharray": DASHES[k % DASHES.length] }));
  });
}
