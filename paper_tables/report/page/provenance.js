// What stands behind a number: its seeds with their records, and of one of them every stage from the corpus on.
const dialog = place("provenance");
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function factList(found, form = "") {
  return make("dl", { class: `facts-of ${form}` },
    Object.entries(found).filter(([, value]) => value !== "").flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function frame(title, ...children) {
  const close = make("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(close, make("h2", { id: "provenance-title" }, title), ...children);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function stageItem(stage, roles) {
  const record = recordDigest(stage);
  const made = stages.made[stage];
  const began = stages.began[stage];
  const told = {
    "record": record ? stageId(stage) : "none yet",
    "record's digest": record,
    "artifact's digest": artifactDigest(stage),
    "began": began === null ? "" : moment(stages.since + began),
    "took": stages.took[stage] === null ? "" : duration(stages.took[stage]),
    "made from": roles.map((each) => `${each.role}: ${stageLabel(each.stage)} (${stageId(each.stage).slice(0, 8)})`).join("; "),
  };
  const inputs = stages.input_sets[stages.inputs[stage]];
  return make("li", {},
    make("b", {}, stageLabel(stage)),
    factList(told),
    make("details", {}, make("summary", {}, "settings, inputs, code and machine"),
      factList({ ...stages.parameter_sets[stages.parameters[stage]], ...(stages.seed[stage] === null ? {} : { seed: stages.seed[stage] }) }, "two"),
      factList(Object.fromEntries(Object.entries(inputs).map(([name, hash]) => [`input ${name}`, hash]))),
      made === null ? null : factList(stages.machines[made])));
}

function pathOf(seed) {
  const path = stagePath(seed.stage);
  const made = stages.made[seed.stage];
  return [
    make("h3", {}, `Code and machine of the evaluation, ${seedText(seed)}`),
    made === null ? make("p", {}, "Its record does not say.") : factList(stages.machines[made], "two"),
    make("h3", {}, `The ${path.length} stages that lead to it`),
    make("ol", { class: "path" }, path.map((stage) => stageItem(stage, stageParents(stage)))),
  ];
}

// index: of a row. chosen: the number of the seed whose path is shown.
function showProvenance(index, chosen) {
  const seeds = seedsOf(rows, index);
  const usable = seeds.findIndex((seed) => seed.value !== null);
  const shown = chosen === undefined ? Math.max(usable, 0) : chosen;
  const interval = rows.interval[index];
  const mean = rows.value[index];
  const told = {
    "mean": mean === null ? "missing" : `${twoDecimals(mean)} over ${seeds.filter((seed) => seed.value !== null).length} of ${seeds.length} seeds`,
    "standard deviation": rows.spread[index] === null ? "" : twoDecimals(rows.spread[index]),
    "95 % interval of the mean": interval === null ? "" : `${twoDecimals(interval[0])} to ${twoDecimals(interval[1])} (Student's t)`,
    "the paper's number": rows.published[index] === null ? "" : twoDecimals(rows.published[index]),
    "about the paper's number": rows.remark[index] || "",
    "distilled in transfer": rows.kd[index],
    "counted zeros": rows.zeros[index] === null ? "" : [...new Set(rows.zeros[index])].map((share) => `${(100 * share).toFixed(3)} %`).join(" to "),
  };
  const line = (seed, number) => make("tr", { class: number === shown ? "chosen" : null },
    make("td", {}, make("button", { type: "button", class: "value", "aria-pressed": String(number === shown), onclick: () => showProvenance(index, number) }, seedText(seed))),
    make("td", { class: "number" }, seed.value === null ? "missing" : twoDecimals(seed.value)),
    make("td", {}, make("code", {}, stageId(seed.stage))),
    make("td", {}, make("code", {}, recordDigest(seed.stage).slice(0, 16))));
  frame(`${columnTitle(rows.column[index])}: ${lineTitle(rows, index)}`,
    factList(told),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Seeds" },
      make("table", { id: "seeds" },
        make("caption", {}, "Its seeds; choose one to see its path"),
        make("thead", {}, make("tr", {}, ["seed", "value", "record", "digest"].map((name) => make("th", { scope: "col", class: name === "value" ? "number" : null }, name)))),
        make("tbody", {}, seeds.map(line)))),
    ...pathOf(seeds[shown]));
}

// An average: the rows that it is over, each of which opens.
function showAverage(index) {
  const same = ["model", "method", "sparsity", "kd", "bits"];
  const tasks = averages.tasks[modelOf(averages, index)];
  const behind = numbers(rows).filter((row) => same.every((name) => rows[name][row] === averages[name][index])
    && tasks.includes(content.columns[rows.column[row]][0]));
  const seeds = seedsOf(averages, index);
  frame(`Average relative to dense: ${lineTitle(averages, index)}`,
    factList({
      "mean": `${twoDecimals(averages.value[index])} % of dense`,
      "95 % interval": averages.interval[index] === null ? "" : `${averages.interval[index].map(twoDecimals).join(" to ")} (bootstrap over the seeds of each task)`,
      "seeds": seeds.map((seed) => `${seedText(seed)}: ${twoDecimals(seed.value)}`).join("; "),
    }),
    make("h3", {}, "The numbers of its tasks"),
    make("ul", {}, behind.map((row) => make("li", {},
      `${columnTitle(rows.column[row])}: `,
      make("button", { type: "button", class: "value", onclick: () => showProvenance(row) }, rows.value[row] === null ? "missing" : twoDecimals(rows.value[row]))))));
}
