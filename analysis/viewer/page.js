// The page: controls, linked tiles, crosshair, region, keyboard, and the state in the address.

const root = document.getElementById("viewer");
const part = (name) => document.getElementById(`viewer-${name}`);
const known = JSON.parse(part("data").textContent);
const PRESETS = {
  "soft tissue": [40, 400], lung: [-600, 1500], bone: [450, 1800], narrow: [40, 150],
  brain: [40, 80],
};

const view = {
  kind: "", denoiser: "", sampler: "", mas: 0, layer: "",
  sample: 0, // its number in the run, from 1; 0 is the first that is shown
  ...known.view, // level, width, difference and spread: the windows to start with [HU]
  probe: null, pinned: false, region: null, tool: "window",
  large: "", // label of the tile that is shown alone
};
const stacks = new Map(); // key → promise of an inflated stack
let tiles = [], shownSet = null, turnNumber = 0, touched = false;

const stackOf = (key) => {
  if (!stacks.has(key)) stacks.set(key, inflate(known.stacks[key]));
  return stacks.get(key);
};
const unique = (values) => [...new Set(values)];
const signed = (value, digits = 1) => value.toFixed(digits).replace("-", "−");
const rows = () => tiles[0].rows, cols = () => tiles[0].cols;
const whole = () => ({ r0: 0, c0: 0, r1: rows() - 1, c1: cols() - 1 });
const region = () => view.region || whole();
const within = (value, low, high) => Math.min(Math.max(value, low), high);

// ---- which set is shown -------------------------------------------------------------------

const CHOICES = ["kind", "denoiser", "sampler", "mas", "layer"];
const offered = {}; // choice → its options in the order of its control

/** The set that the choices name; a choice that is not there gives way to the first that is. */
function chosen() {
  let left = known.sets;
  for (const name of CHOICES) {
    const options = unique(left.map((set) => set[name]));
    if (name === "mas") options.sort((a, b) => a - b);
    if (!options.includes(view[name])) view[name] = options[0];
    fill(name, options, left);
    left = left.filter((set) => set[name] === view[name]);
  }
  return left[0];
}

/** Offer the options of one choice: a list of words, or a slider over them. */
function fill(name, options, sets) {
  const control = part(name);
  if (control.tagName === "SELECT") {
    const word = (value) => sets.find((set) => set[name] === value)[`${name}_word`] || value;
    control.replaceChildren(...options.map((value) => new Option(word(value), value)));
    control.value = view[name];
  } else {
    control.max = options.length - 1;
    control.value = options.indexOf(view[name]);
    const text = name === "mas" ? `${view.mas} mAs` :
      /^(out|in)put/.test(view.layer) ? view.layer : `layer ${view.layer}`;
    const only = options.length === 1 ? " (the only one)" : ` (${+control.value + 1} of ` +
      `${options.length})`;
    control.setAttribute("aria-valuetext", text);
    part(`${name}-word`).textContent = text + only;
  }
  control.disabled = options.length === 1;
  offered[name] = options;
}

// ---- tiles --------------------------------------------------------------------------------

/** What lies at the four edges of an axial image, in the patient: R, L, A, P, H or F. */
function letters() {
  return Object.entries(known.letters).map(([edge, letter]) => {
    const made = document.createElement("span");
    made.className = `letter ${edge}`;
    made.textContent = letter;
    return made;
  });
}

/** Build the tiles of a set: a column of two each. */
function build(set) {
  tiles = [];
  const columns = set.columns.map((column) => {
    const box = document.createElement("div");
    box.className = "column";
    box.append(...column.map((what) => {
      const { rows: high, cols: wide } = known.stacks[what.of];
      const figure = document.createElement("figure"), frame = document.createElement("div");
      const canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
      const value = document.createElement("output"), marks = shape("svg", {
        viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", "aria-hidden": "true" });
      [canvas.width, canvas.height] = [wide, high];
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", what.label);
      frame.className = `frame ${what.look}`;
      frame.tabIndex = 0; // so that Enter enlarges it
      frame.style.aspectRatio = what.look === "slice" ?
        `${wide * set.slice_spacing[1]} / ${high * set.slice_spacing[0]}` :
        `${wide * set.spacing[1]} / ${high * set.spacing[0]}`;
      frame.append(canvas, marks, ...letters());
      const name = document.createElement("span");
      name.textContent = what.label;
      caption.append(name, value);
      figure.append(frame, caption);
      const tile = { ...what, rows: high, cols: wide, canvas, marks, value, frame, values: null };
      value.dataset.view = what.label;
      listen(tile);
      tiles.push(tile);
      return figure;
    }));
    return box;
  });
  const wide = tiles[0].cols * set.spacing[1], length = 10 * Math.max(1, Math.round(wide / 64));
  const bar = document.createElement("div");
  bar.className = "length";
  bar.textContent = length < 100 ? `${length} mm` : `${length / 10} cm`;
  bar.style.width = `${100 * Math.min(1, length / wide)}%`;
  tiles[0].frame.append(bar);
  part("tiles").style.setProperty("--columns", columns.length);
  part("tiles").replaceChildren(...columns);
  enlarge(view.large);
}

/** Show one tile alone, as large as the window allows, by its label; "" shows all of them. */
function enlarge(label) {
  const large = tiles.find((tile) => tile.label === label);
  view.large = large ? label : "";
  part("tiles").classList.toggle("alone", Boolean(large));
  for (const tile of tiles) {
    tile.frame.parentElement.classList.toggle("large", tile === large);
    tile.frame.closest(".column").classList.toggle("holds", Boolean(large) &&
      tile.frame.closest(".column") === large.frame.closest(".column"));
  }
}

/** Values of a tile for the sample at a place of the slider. */
async function load(tile, at) {
  const values = imageOf(await stackOf(tile.of), at);
  return tile.minus ? minus(values, imageOf(await stackOf(tile.minus), at)) : values;
}

/** Show the state: everything, or only what a new window or crosshair changes. */
async function show() {
  const turn = ++turnNumber, set = chosen();
  if (set !== shownSet) {
    build(set);
    shownSet = set;
    const fits = ([r, c]) => r < rows() && c < cols();
    if (view.probe && !fits(view.probe)) view.probe = null;
    if (view.region && !fits([view.region.r1, view.region.c1])) view.region = null;
  }
  const at = Math.max(0, set.numbers.indexOf(view.sample));
  view.sample = set.numbers[at];
  const loaded = await Promise.all(tiles.map((tile) => load(tile, at)));
  if (turn !== turnNumber) return; // a newer state is on its way
  tiles.forEach((tile, k) => { tile.values = loaded[k]; });
  const slider = part("sample");
  slider.max = set.shown - 1;
  slider.value = at;
  slider.disabled = set.shown === 1;
  const far = set.distance[at], name = set.words[at];
  const counted = `${at + 1} of ${set.shown}${name ? `: ${name}` : ""}`;
  part("sample-word").textContent = counted;
  slider.setAttribute("aria-valuetext", `sample ${counted}`);
  part("said").textContent = [
    set.verdict,
    far === undefined ? "" : `Here: ${set.distance_word} ${far.toFixed(1)} HU rms.`,
    set.order_word,
    set.total > set.shown ? `All ${set.total} are in samples.zarr.` : "",
  ].filter(Boolean).join(" ");
  paintAll();
  measure();
  root.dataset.state = "ready";
  // since the page was asked for
  if (!root.dataset.milliseconds) root.dataset.milliseconds = Math.round(performance.now());
  remember();
}

/** Draw all tiles in the windows of the state. */
function paintAll() {
  for (const name of ["level", "width", "difference", "spread"]) {
    const field = part(name);
    if (document.activeElement !== field) field.value = view[name];
  }
  for (const tile of tiles) if (tile.values) paint(tile.canvas, tile.values, tile.look, view);
  const [low, high] = limits("image", view);
  part("bar-image").textContent = `${signed(low, 0)} to ${signed(high, 0)} HU`;
  part("bar-difference").textContent = `−${view.difference} to ${view.difference} HU`;
  part("bar-sd").textContent = `0 to ${view.spread} HU`;
  for (const button of part("presets").children) {
    const [level, width] = PRESETS[button.dataset.preset];
    button.setAttribute("aria-pressed", level === view.level && width === view.width);
  }
}

// ---- crosshair, region and what they measure ----------------------------------------------

/** Millimetres (x, y) of a pixel of a tile, from the middle of the slice. */
function place(tile, row, col) {
  const set = shownSet, slice = tile.look === "slice";
  const [sy, sx] = slice ? set.slice_spacing : set.spacing, [cx, cy] = slice ? [0, 0] : set.centre;
  return [(col - (tile.cols - 1) / 2) * sx + cx, (row - (tile.rows - 1) / 2) * sy + cy];
}

/** Pixel (row, col), not rounded, of a tile at millimetres (x, y). */
function pixel(tile, x, y) {
  const set = shownSet, slice = tile.look === "slice";
  const [sy, sx] = slice ? set.slice_spacing : set.spacing, [cx, cy] = slice ? [0, 0] : set.centre;
  return [(y - cy) / sy + (tile.rows - 1) / 2, (x - cx) / sx + (tile.cols - 1) / 2];
}

/** Crosshair and region on every tile, CT numbers below them, and the table. */
function measure() {
  const here = region(), first = tiles[0];
  for (const tile of tiles) {
    const marks = [], line = (attributes) => marks.push(shape("line", { class: "cross", ...attributes }));
    const corner = (row, col) => pixel(tile, ...place(first, row, col));
    if (tile.look === "slice") {
      const [top, left] = corner(-0.5, -0.5), [end, right] = corner(rows() - 0.5, cols() - 0.5);
      marks.push(shape("rect", { class: "patch", x: left + 0.5, y: top + 0.5,
        width: right - left, height: end - top }));
    }
    if (view.region) {
      const [top, left] = corner(here.r0 - 0.5, here.c0 - 0.5);
      const [end, right] = corner(here.r1 + 0.5, here.c1 + 0.5);
      marks.push(shape("rect", { class: "region", x: left + 0.5, y: top + 0.5,
        width: right - left, height: end - top }));
    }
    let value = "";
    if (view.probe) {
      const [row, col] = corner(...view.probe), gap = 0.03 * tile.cols;
      for (const [a, b] of [[0, col + 0.5 - gap], [col + 0.5 + gap, tile.cols]])
        line({ x1: a, x2: b, y1: row + 0.5, y2: row + 0.5 });
      for (const [a, b] of [[0, row + 0.5 - gap], [row + 0.5 + gap, tile.rows]])
        line({ x1: col + 0.5, x2: col + 0.5, y1: a, y2: b });
      const at = [Math.round(row), Math.round(col)];
      if (tile.values && at[0] >= 0 && at[1] >= 0 && at[0] < tile.rows && at[1] < tile.cols) {
        tile.value.dataset.hu = tile.values[at[0] * tile.cols + at[1]];
        value = `${signed(+tile.value.dataset.hu)} HU`;
      }
    }
    if (!value) delete tile.value.dataset.hu;
    tile.value.textContent = value;
    tile.marks.replaceChildren(...marks);
  }
  const [x, y] = view.probe ? place(first, ...view.probe) : [0, 0];
  part("place").textContent = view.probe ?
    `Crosshair at row ${view.probe[0]}, column ${view.probe[1]} of the patch ` +
    `(x ${signed(x)} mm, y ${signed(y)} mm)${view.pinned ? ", held" : ""}.` :
    "Point at an image: the crosshair stands at the same place in all of them.";
  tabulate();
}

/** Statistics and spectra of the region, for the whole patch without one. */
function tabulate() {
  const here = region(), set = shownSet, [sy, sx] = set.spacing;
  const high = here.r1 - here.r0 + 1, wide = here.c1 - here.c0 + 1;
  part("region-word").textContent = `${view.region ? "Region" : "Whole patch"}: rows ${here.r0} to ` +
    `${here.r1}, columns ${here.c0} to ${here.c1}; n = ${high * wide} pixels, ` +
    `${+(wide * sx).toFixed(2)} × ${+(high * sy).toFixed(2)} mm`;
  const cell = (text, header) => {
    const made = document.createElement(header ? "th" : "td");
    if (header) made.scope = "row"; else made.className = "number";
    made.textContent = text;
    return made;
  };
  const curves = [];
  part("statistics").replaceChildren(...tiles.filter((tile) => tile.look !== "slice").map((tile) => {
    const found = statistics(tile.values, tile.cols, here), row = document.createElement("tr");
    Object.assign(row.dataset, { view: tile.label, mean: found.mean, sd: found.sd, n: found.n });
    const header = cell(tile.label, true);
    if (tile.look === "difference") {
      const nps = spectrum(tile.values, tile.cols, here, set.spacing);
      const swatch = shape("svg", { viewBox: "0 0 26 8", class: "swatch", "aria-hidden": "true" });
      swatch.append(shape("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 2.5,
        stroke: LINES[curves.length % 6], "stroke-dasharray": DASHES[curves.length % 6] }));
      header.prepend(swatch);
      row.dataset.power = nps.power;
      curves.push({ label: tile.label, ...nps });
    }
    row.append(header, cell(view.probe ? signed(+tile.value.dataset.hu) : "–"),
      ...[found.mean, found.sd, found.least, found.largest].map((value) => cell(signed(value))));
    return row;
  }));
  plotSpectra(part("spectra"), curves);
}
