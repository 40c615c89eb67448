// Accuracy over compression: means with their interval, every seed a small point, the paper's numbers hollow.
const AVERAGE = "average";
const chosen = { model: 0, panel: AVERAGE };

// Marks of a radius of about r round the origin, as paths.
const MARKS = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  (r) => `M${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  (r) => `M0,${-r * 1.15}L${r * 1.1},${r * 0.85}H${-r * 1.1}Z`,
  (r) => `M0,${-r * 1.3}L${r * 1.05},0L0,${r * 1.3}L${-r * 1.05},0Z`,
  (r) => `M0,${r * 1.15}L${r * 1.1},${-r * 0.85}H${-r * 1.1}Z`,
  (r) => `M${-r},${-r * 0.4}h${r * 0.6}v${-r * 0.6}h${r * 0.8}v${r * 0.6}h${r * 0.6}v${r * 0.8}h${-r * 0.6}v${r * 0.6}h${-r * 0.8}v${-r * 0.6}h${-r * 0.6}Z`,
  (r) => `M${-r},0L${-r * 0.5},${-r}H${r * 0.5}L${r},0L${r * 0.5},${r}H${-r * 0.5}Z`,
];
const markOf = (method, r) => MARKS[content.looks[method][1] % MARKS.length](r);
const colorOf = (method) => `c${content.looks[method][0]}`;

// What a panel shows: the rows of a model and a column, or the averages of a model.
function panelOf(model, panel) {
  const isAverage = panel === AVERAGE;
  const group = isAverage ? averages : rows;
  const shown = numbers(group).filter((index) => group.model[index] === model && (isAverage || rows.column[index] === panel));
  const baselines = isAverage ? averages.baselines[content.models[model]] || [] : content.baselines[panel];
  return { group, isAverage, shown, baselines, unit: isAverage ? "% of dense" : "%" };
}
const panelTitle = (panel) => (panel === AVERAGE ? "average over tasks, relative to dense" : columnTitle(panel));

function pointsOf({ group, isAverage, shown, unit }) {
  const points = [];
  for (const index of shown) {
    const mean = group.value[index];
    const seeds = seedsOf(group, index);
    const done = seeds.filter((seed) => seed.value !== null);
    const title = lineTitle(group, index);
    const open = isAverage ? () => showAverage(index) : (number) => showProvenance(index, number);
    const base = { index, method: group.method[index], bits: group.bits[index], x: group.compression[index], open };
    seeds.forEach((seed, number) => {
      if (seed.value === null) return;
      const record = seed.stage === null ? "" : `\nrecord ${stageId(seed.stage)}`;
      points.push({ ...base, kind: "seed", y: seed.value, number, tip: `${title}\n${seedText(seed)}: ${twoDecimals(seed.value)} ${unit}${record}` });
    });
    if (mean !== null) {
      const interval = group.interval[index];
      const range = interval === null ? "" : `\n95 % interval ${twoDecimals(interval[0])} to ${twoDecimals(interval[1])}`;
      const records = isAverage ? "" : `\n${done.length === 1 ? "record" : "records"} ${done.map((seed) => stageId(seed.stage).slice(0, 8)).slice(0, 8).join(", ")}`;
      points.push({ ...base, kind: "mean", y: mean, interval, tip: `${title}\nmean of ${counted(done.length, "seed")}: ${twoDecimals(mean)} ${unit}${range}${records}` });
    }
    if (group.published[index] !== null) {
      points.push({ ...base, kind: "paper", y: group.published[index], tip: `${title}\nthe paper's number: ${twoDecimals(group.published[index])} ${unit}` });
    }
  }
  return points;
}

function niceStep(span, most) {
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

// What is reached without the model is in sight where that takes no more than as much room again as the points.
function scaleOf(points, baselines, size) {
  const values = points.flatMap((point) => [point.y, ...(point.interval || [])]);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const near = baselines.map(([, value]) => value).filter((value) => value < low && low - value <= high - low);
  low = Math.min(low, ...near);
  const room = Math.max((high - low) * 0.06, 0.5);
  [low, high] = [low - room, high + room];
  const step = niceStep(high - low, size.large ? 7 : 4);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  const xs = points.map((point) => Math.log(point.x));
  let [left, right] = [Math.min(...xs), Math.max(...xs)];
  const margin = Math.max((right - left) * 0.07, 0.15);
  [left, right] = [left - margin, right + margin];
  return {
    ticks, step, low, high,
    x: (value) => size.left + ((Math.log(value) - left) / (right - left)) * (size.width - size.left - size.right),
    y: (value) => size.top + ((high - value) / (high - low)) * (size.height - size.top - size.bottom),
  };
}

// Marks that would cover each other stand side by side: a place for each line at a compression, in it the mean and,
// beside it, its seeds.
function sideSteps(points, step) {
  const at = new Map();
  for (const point of points) {
    if (!at.has(point.x)) at.set(point.x, []);
    if (!at.get(point.x).includes(point.index)) at.get(point.x).push(point.index);
  }
  return (point) => {
    const order = at.get(point.x);
    const middle = (order.indexOf(point.index) - (order.length - 1) / 2) * step;
    return middle + (point.kind === "seed" ? 0.28 : -0.14) * step;
  };
}

const shortNumber = (value) => String(Math.round(value * 10) / 10);

function axes(scale, size, points, group) {
  const parts = scale.ticks.map((tick) => [
    draw("line", { class: "grid", x1: size.left, x2: size.width - size.right, y1: scale.y(tick), y2: scale.y(tick) }),
    draw("text", { class: "faint", x: size.left - 8, y: scale.y(tick) + 4, "text-anchor": "end" }, scale.step < 1 ? tick.toFixed(1) : String(Math.round(tick))),
  ]);
  const bottom = size.height - size.bottom;
  parts.push(draw("line", { class: "axis", x1: size.left, x2: size.width - size.right, y1: bottom, y2: bottom }));
  const at = new Map(points.map((point) => [point.x, point.index]));
  let free = -Infinity;
  for (const [x, index] of [...at].sort((one, other) => one[0] - other[0])) {
    const middle = scale.x(x);
    parts.push(draw("line", { class: "axis", x1: middle, x2: middle, y1: bottom, y2: bottom + 5 }));
    const [times, zeros] = [`${shortNumber(x)}×`, `${shortNumber(100 * Number(group.sparsity[index]))} %`];
    const half = 4.4 * Math.max(times.length, size.large ? zeros.length : 0) + 2;
    if (middle - half < free) continue;
    free = middle + half;
    parts.push(draw("text", { x: middle, y: bottom + 19, "text-anchor": "middle" }, times));
    if (size.large) parts.push(draw("text", { class: "faint", x: middle, y: bottom + 35, "text-anchor": "middle" }, zeros));
    if (size.large && group.bits[index] !== 32) parts.push(draw("text", { class: "faint", x: middle, y: bottom + 50, "text-anchor": "middle" }, `int${group.bits[index]}`));
  }
  return parts.flat();
}

function baselineLines(baselines, scale, size) {
  return baselines.filter(([, value]) => value > scale.low && value < scale.high).flatMap(([name, value]) => [
    draw("line", { class: "baseline", x1: size.left, x2: size.width - size.right, y1: scale.y(value), y2: scale.y(value) }),
    size.large ? draw("text", { class: "faint", x: size.left + 6, y: scale.y(value) - 5 }, `${name} ${twoDecimals(value)}`) : null,
  ]).filter((part) => part !== null);
}

function paths(points, scale, aside) {
  const lines = new Map();
  for (const point of points.filter((each) => each.kind === "mean")) {
    const key = `${point.method} ${point.bits}`;
    if (!lines.has(key)) lines.set(key, []);
    lines.get(key).push(point);
  }
  return [...lines.values()].filter((line) => line.length > 1).map((line) => draw("path", {
    class: `path ${colorOf(line[0].method)}`,
    d: "M" + line.sort((one, other) => one.x - other.x).map((point) => `${scale.x(point.x) + aside(point)},${scale.y(point.y)}`).join("L"),
  }));
}

function markFor(point, scale, aside, size) {
  const radius = { seed: size.large ? 3.2 : 2, mean: size.large ? 6.5 : 4, paper: size.large ? 9 : 6 }[point.kind];
  const at = [scale.x(point.x) + aside(point), scale.y(point.y)];
  const attributes = { class: `${point.kind} ${colorOf(point.method)}`, d: markOf(point.method, radius), transform: `translate(${at.join(",")})` };
  if (size.large) {
    Object.assign(attributes, { "data-tip": point.tip, "aria-label": point.tip.replaceAll("\n", ", "), role: "img", tabindex: "-1" });
  }
  const mark = draw("path", attributes);
  if (size.large) mark.addEventListener("click", () => point.open(point.number));
  if (point.kind !== "mean" || !point.interval) return [mark];
  const [low, high] = point.interval.map(scale.y);
  return [draw("line", { class: `whisker ${colorOf(point.method)}`, x1: at[0], x2: at[0], y1: low, y2: high }), mark];
}

function chart(panel, size, title) {
  const points = pointsOf(panel);
  if (!points.length) return make("p", { class: "small" }, "No result yet.");
  const scale = scaleOf(points, panel.baselines, size);
  const aside = sideSteps(points, size.step);
  const order = { seed: 0, paper: 1, mean: 2 };
  const inFront = [...points].sort((one, other) => order[one.kind] - order[other.kind]);
  const reference = panel.isAverage ? draw("line", { class: "reference", x1: size.left, x2: size.width - size.right, y1: scale.y(100), y2: scale.y(100) }) : null;
  return draw("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: size.large ? "group" : "img", "aria-label": title },
    axes(scale, size, points, panel.group), reference, baselineLines(panel.baselines, scale, size), paths(points, scale, aside),
    inFront.flatMap((point) => markFor(point, scale, aside, size)));
}

// One stop of the Tab key for the whole picture; arrows go from mark to mark, left to right.
function walkable(svg) {
  const marks = [...svg.querySelectorAll("[data-tip]")];
  const place = (mark) => { const at = mark.getBoundingClientRect(); return at.left + at.width / 2 + (at.top + at.height / 2) / 10000; };
  const inOrder = () => [...marks].sort((one, other) => place(one) - place(other));
  marks.forEach((mark) => {
    mark.addEventListener("pointerenter", () => showTip(mark));
    mark.addEventListener("pointerleave", hideTip);
    mark.addEventListener("focus", () => showTip(mark));
    mark.addEventListener("blur", hideTip);
  });
  if (!marks.length) return;
  (marks.find((mark) => mark.classList.contains("mean")) || marks[0]).setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.target.dispatchEvent(new MouseEvent("click"));
    } else if (steps[event.key]) {
      event.preventDefault();
      const order = inOrder();
      const next = order[(order.indexOf(event.target) + steps[event.key] + order.length) % order.length];
      marks.forEach((mark) => mark.setAttribute("tabindex", mark === next ? "0" : "-1"));
      next.focus();
    }
  });
}

const PRINTED_WIDTH = 690;
function showFigure(wanted) {
  const host = place("figure-large");
  const width = wanted || Math.max(300, Math.min(1120, host.clientWidth || 900));
  const size = { large: true, width, height: width < 600 ? 360 : 430, left: 40, right: 12, top: 10, bottom: 58, step: width < 600 ? 17 : 26 };
  const panel = panelOf(chosen.model, chosen.panel);
  const title = `${content.models[chosen.model]}: ${panelTitle(chosen.panel)}`;
  const svg = chart(panel, size, title);
  host.replaceChildren(
    make("p", { class: "small axis-title" }, `${title}, in ${panel.unit}`), svg,
    make("p", { class: "small axis-title below" }, "nominal compression of the encoder (log axis), its zeros and precision"));
  if (svg.tagName === "svg") walkable(svg);
  showKey(panel);
  showNote(panel);
  if (place("figure-tasks").open) showPanels([chosen.model]);
}

function showKey(panel) {
  const methods = [...new Set(panel.shown.map((index) => panel.group.method[index]))].sort((one, other) => one - other);
  const sign = (kind, method, r) => draw("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, draw("path", { class: `${kind} ${colorOf(method)}`, d: markOf(method, r) }));
  const keys = methods.map((method) => make("span", {}, sign("mean", method, 6), content.methods[method]));
  const isPaper = panel.shown.some((index) => panel.group.published[index] !== null);
  const first = methods[0] ?? 0;
  keys.push(make("span", {}, sign("seed", first, 3.5), "one seed"));
  if (isPaper) keys.push(make("span", {}, sign("paper", first, 6), "the paper's number"));
  place("figure-key").replaceChildren(...keys);
}

function showNote(panel) {
  const said = [`Large mark: mean over seeds; line: its 95 % interval (${panel.isAverage ? "bootstrap over the seeds of each task" : "Student's t"}; three seeds or more), conditional on one pruning where there is one. Arrow keys go from mark to mark, Enter opens what is behind it.`];
  if (panel.isAverage) {
    const tasks = averages.tasks[content.models[chosen.model]] || [];
    said.unshift(`Mean over ${tasks.join(", ")} of each task's score (F1 of squad, accuracy of others) relative to the dense model's mean.`);
    const own = averages.left_out.filter((line) => line.startsWith(`${content.models[chosen.model]} `));
    if (own.length) said.push(`Not in the average, for a task has no result of them: ${own.slice(0, 8).join("; ")}${own.length > 8 ? `; and ${own.length - 8} more` : ""}.`);
  }
  place("figure-note").textContent = said.join(" ");
}

function panelsOf(model) {
  const columns = [...new Set(numbers(rows).filter((row) => rows.model[row] === model).map((row) => rows.column[row]))].sort((one, other) => one - other);
  const hasAverage = averages.model.includes(model);
  return [...(hasAverage ? [AVERAGE] : []), ...columns];
}

// Panels without marks that answer; their titles choose them.
function showPanels(models) {
  const size = { large: false, width: 320, height: 220, left: 38, right: 10, top: 10, bottom: 26, step: 9 };
  const shown = models.flatMap((model) => panelsOf(model).map((panel) => ({ model, panel }))).filter((each) => each.panel !== chosen.panel || each.model !== chosen.model);
  place("figure-small").replaceChildren(...shown.map(({ model, panel }) => {
    const title = `${content.models[model]}: ${panelTitle(panel)}`;
    const choose = make("button", { type: "button", class: "value", onclick: () => choosePanel(model, panel) }, models.length > 1 ? title : panelTitle(panel));
    return make("div", {}, make("h3", {}, choose), chart(panelOf(model, panel), size, title));
  }));
}

function choosePanel(model, panel) {
  chosen.model = model;
  chosen.panel = panel;
  startFigure();
  place("figure").scrollIntoView();
}

function startFigure() {
  const models = content.models.map((name, number) => [String(number), name]);
  const panels = panelsOf(chosen.model);
  if (!panels.includes(chosen.panel)) chosen.panel = panels[0];
  if (!panels.length) { place("figure").hidden = true; return; }
  place("figure-controls").replaceChildren(
    selection("model", models, (value) => { chosen.model = Number(value); startFigure(); }, String(chosen.model)),
    selection("panel", panels.map((panel) => [String(panel), panelTitle(panel)]), (value) => { chosen.panel = value === AVERAGE ? AVERAGE : Number(value); showFigure(); }, String(chosen.panel)));
  showFigure();
}
