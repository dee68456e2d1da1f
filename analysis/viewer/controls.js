// Controls: mouse, keyboard, fields, and the state in the page's address.

/** Pixel of the first tile under a pointer over any tile; null outside of the patch. */
function under(tile, event) {
  const box = tile.canvas.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / box.height * tile.rows);
  const col = Math.floor((event.clientX - box.left) / box.width * tile.cols);
  const [r, c] = pixel(tiles[0], ...place(tile, row, col)).map(Math.round);
  const inside = r >= 0 && c >= 0 && r < rows() && c < cols();
  return { inside, at: [within(r, 0, rows() - 1), within(c, 0, cols() - 1)] };
}

/** Pointer on a tile: move for the crosshair, drag for the window or a region, click to hold. */
function listen(tile) {
  let drag = null;
  tile.frame.addEventListener("pointerdown", (event) => {
    if (event.button === 1) return;
    const tool = event.button === 2 ? "window" : event.shiftKey ? "region" : view.tool;
    drag = { x: event.clientX, y: event.clientY, from: under(tile, event).at, tool, moved: false,
      before: { ...view } };
    tile.frame.setPointerCapture(event.pointerId);
  });
  tile.frame.addEventListener("pointermove", (event) => {
    const { inside, at } = under(tile, event);
    if (drag) {
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag.moved ||= Math.hypot(dx, dy) > 3;
      if (drag.moved && drag.tool === "region") {
        const [[r, c], [s, d]] = [drag.from, at];
        view.region = { r0: Math.min(r, s), c0: Math.min(c, d), r1: Math.max(r, s),
          c1: Math.max(c, d) };
        measure();
      } else if (drag.moved) {
        rewindow(tile, drag.before, dx, dy);
      }
    } else if (!view.pinned && inside) {
      view.probe = at;
      measure();
    }
  });
  tile.frame.addEventListener("pointerup", (event) => {
    const { inside, at } = under(tile, event);
    if (drag && !drag.moved && inside && event.button === 0) {
      const again = view.pinned && String(view.probe) === String(at);
      [view.pinned, view.probe] = [!again, at];
      measure();
    }
    drag = null;
    touch();
  });
  tile.frame.addEventListener("pointercancel", () => { drag = null; });
  tile.frame.addEventListener("dblclick", () => enlarge(view.large ? "" : tile.label));
  tile.frame.addEventListener("contextmenu", (event) => event.preventDefault());
}

let turned = 0; // of the wheel, since the last step

/** The wheel steps through the samples; beyond the first and the last one it moves the page. */
part("tiles").addEventListener("wheel", (event) => {
  if (event.ctrlKey || event.shiftKey || !event.deltaY) return;
  const slider = part("sample"), way = Math.sign(event.deltaY);
  if (+slider.max === 0 || +slider.value === (way > 0 ? +slider.max : 0)) return;
  event.preventDefault();
  const pixels = event.deltaMode ? 50 : Math.abs(event.deltaY);
  turned = Math.sign(turned) === way ? turned + way * pixels : way * pixels;
  if (Math.abs(turned) < 50) return;
  turned = 0;
  step("sample", way);
}, { passive: false });

/** Change the window of a tile's look: right is wider, up is brighter. */
function rewindow(tile, before, dx, dy) {
  const wider = (value) => Math.max(1, Math.round(value * Math.exp(dx / 150)));
  if (tile.look === "difference") view.difference = wider(before.difference);
  else if (tile.look === "sd") view.spread = wider(before.spread);
  else {
    view.width = wider(before.width);
    view.level = Math.round(before.level + dy * before.width / 400);
  }
  paintAll();
}

/** A change by hand: from now on the address says what is shown. */
function touch() {
  touched = true;
  remember();
}

let waiting = 0;

/** Write the state into the address, so that a link leads back to this view. */
function remember() {
  clearTimeout(waiting);
  if (!touched) return;
  waiting = setTimeout(() => {
    const words = new URLSearchParams();
    for (const name of CHOICES) words.set(name, view[name]);
    words.set("sample", view.sample);
    words.set("window", `${view.level},${view.width}`);
    words.set("difference", view.difference);
    words.set("sd", view.spread);
    if (view.probe && view.pinned) words.set("probe", view.probe.join(","));
    const r = view.region;
    if (r) words.set("roi", [r.r0, r.c0, r.r1, r.c1].join(","));
    history.replaceState(null, "", `#${words}`);
  }, 250);
}

/** Take a choice; another question starts with its first sample. */
function choose(name, value) {
  if (name === "kind" && value !== view.kind) view.sample = 0;
  view[name] = value;
}

/** Take the state from the address; what it does not say, or says wrongly, stays. */
function recall() {
  if (!location.hash.includes("=")) return;
  const words = new URLSearchParams(location.hash.slice(1));
  const numbers = (name, count) => {
    const found = (words.get(name) || "").split(",").filter((word) => word.trim()).map(Number);
    return found.length === count && found.every(Number.isFinite) ? found : null;
  };
  for (const name of CHOICES)
    if (words.has(name)) choose(name, name === "mas" ? Number(words.get(name)) : words.get(name));
  const set = chosen(), { rows: high, cols: wide } = known.stacks[set.columns[0][0].of];
  const row = (value) => within(Math.round(value), 0, high - 1);
  const col = (value) => within(Math.round(value), 0, wide - 1);
  const sample = numbers("sample", 1), window_ = numbers("window", 2), probe = numbers("probe", 2);
  const roi = numbers("roi", 4), difference = numbers("difference", 1), sd = numbers("sd", 1);
  if (sample) [view.sample] = sample;
  if (window_ && window_[1] >= 1) [view.level, view.width] = window_;
  if (difference && difference[0] >= 1) [view.difference] = difference;
  if (sd && sd[0] >= 1) [view.spread] = sd;
  if (probe) [view.probe, view.pinned] = [[row(probe[0]), col(probe[1])], true];
  if (roi) {
    const [r, s] = [row(roi[0]), row(roi[2])], [c, d] = [col(roi[1]), col(roi[3])];
    view.region = { r0: Math.min(r, s), c0: Math.min(c, d), r1: Math.max(r, s),
      c1: Math.max(c, d) };
  }
}

/** One step of a slider. */
function step(name, by) {
  const control = part(name), to = within(+control.value + by, 0, +control.max);
  view[name] = name === "sample" ? shownSet.numbers[to] : offered[name][to];
  touch();
  show();
}

/** Use a preset of the image window, by its number from 0. */
function preset(number) {
  [view.level, view.width] = Object.values(PRESETS)[number];
  paintAll();
  touch();
}

/** What dragging does: "window" or "region". */
function tool(name) {
  view.tool = name;
  for (const radio of root.querySelectorAll("input[name=tool]")) radio.checked = radio.value === name;
  part("tiles").dataset.tool = name;
}

const KEYS = {
  ArrowRight: () => step("sample", 1), ArrowLeft: () => step("sample", -1),
  ArrowDown: () => step("layer", 1), ArrowUp: () => step("layer", -1),
  m: () => step("mas", 1), n: () => step("mas", -1),
  w: () => tool("window"), r: () => tool("region"),
  Escape: () => {
    if (view.large) return enlarge("");
    view.region = null; view.pinned = false; view.probe = null;
    measure();
  },
};
Object.keys(PRESETS).forEach((_, k) => { KEYS[k + 1] = () => preset(k); });
const MOVES = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

root.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName) && event.target.type !== "radio") return;
  if (event.shiftKey && MOVES[event.key]) {
    const [r, c] = view.probe || [Math.floor(rows() / 2), Math.floor(cols() / 2)];
    const [dr, dc] = view.probe ? MOVES[event.key] : [0, 0];
    [view.probe, view.pinned] = [[within(r + dr, 0, rows() - 1), within(c + dc, 0, cols() - 1)], true];
    measure();
  } else if (event.key === "Enter" && tiles.some((tile) => tile.frame === event.target)) {
    const tile = tiles.find((one) => one.frame === event.target);
    enlarge(view.large ? "" : tile.label);
  } else if (KEYS[event.key] && event.target.type !== "radio") {
    KEYS[event.key]();
  } else return;
  touch();
  event.preventDefault();
});

for (const name of CHOICES)
  part(name).addEventListener("input", (event) => {
    const control = event.target;
    choose(name, control.tagName === "SELECT" ? control.value : offered[name][control.value]);
    touch();
    show();
  });
part("sample").addEventListener("input", (event) => {
  view.sample = shownSet.numbers[event.target.value];
  touch();
  show();
});
for (const name of ["level", "width", "difference", "spread"])
  part(name).addEventListener("input", (event) => {
    const value = event.target.valueAsNumber;
    if (!Number.isFinite(value) || (name !== "level" && value < 1)) return;
    view[name] = value;
    paintAll();
    touch();
  });
Object.keys(PRESETS).forEach((name, k) => {
  const button = document.createElement("button");
  const [level, width] = PRESETS[name];
  button.type = "button";
  button.dataset.preset = name;
  button.textContent = name;
  button.title = `W ${width} / L ${signed(level, 0)} HU (key ${k + 1})`;
  button.addEventListener("click", () => preset(k));
  part("presets").append(button);
});
for (const radio of root.querySelectorAll("input[name=tool]"))
  radio.addEventListener("change", () => tool(radio.value));
part("whole").addEventListener("click", () => {
  view.region = null; view.pinned = false; view.probe = null;
  measure();
  touch();
});
window.addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // a place in the page, not a view
  recall();
  show();
  root.scrollIntoView();
});

tool("window");
recall();
root.classList.add("live");
show().catch((error) => {
  root.classList.remove("live");
  root.dataset.state = "failed";
  part("failed").textContent = `The viewer does not run in this browser (${error.message}). ` +
    "The pictures below show the same images in fixed windows.";
});
