// The table of numbers: as in the paper, a line for each method and sparsity, or a number a line with all that is known.
const PAGE = 50;
const SHORT = 18; // letters of a name that is not broken
const FILTERS = [
  ["model", (row) => modelOf(rows, row)],
  ["method", (row) => methodOf(rows, row)],
  ["sparsity", (row) => rows.sparsity[row]],
  ["task", (row) => content.columns[rows.column[row]][0]],
  ["bits", (row) => String(rows.bits[row])],
];
const LINE = [
  { key: "model", title: "model", text: (row) => modelOf(rows, row), isName: true },
  { key: "method", title: "method", text: (row) => methodOf(rows, row), isName: true },
  { key: "sparsity", title: "sparsity", text: (row) => rows.sparsity[row], order: (row) => Number(rows.sparsity[row]) },
  { key: "kd", title: "KD", text: (row) => rows.kd[row] },
  { key: "bits", title: "bits", text: (row) => String(rows.bits[row]), order: (row) => rows.bits[row] },
];
const view = { form: "wide", filters: {}, sort: null, descending: false, page: 0, whole: false };

const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

function valueCell(row) {
  if (row === undefined) return make("td", { class: "number none" }, "–");
  const seeds = seedsOf(rows, row);
  const done = seeds.filter((seed) => seed.value !== null).length;
  const mean = rows.value[row];
  const text = mean === null ? "missing" : twoDecimals(mean);
  const name = `${columnTitle(rows.column[row])} of ${lineTitle(rows, row)}: ${text}`;
  const paper = rows.published[row];
  return make("td", { class: "number" },
    make("button", { type: "button", class: mean === null ? "value missing" : "value", "aria-label": name, onclick: () => showProvenance(row) }, text),
    rows.spread[row] === null ? null : make("span", { class: "spread" }, ` ±${twoDecimals(rows.spread[row])}`),
    done && done < seeds.length ? make("small", { class: "missing" }, `${done} of ${seeds.length} seeds`) : null,
    paper === null ? null : make("small", {}, `paper ${twoDecimals(paper)}` + (mean === null ? "" : `, ${signed(mean - paper)}`)));
}
// What rounds to nothing is above by nothing, as in the tables.
const signed = (value) => {
  const size = twoDecimals(Math.abs(value));
  return `${value < 0 && Number(size) ? "−" : "+"}${size}`;
};

// A line of the wide table: the numbers of its rows by column.
function wideLines(found) {
  const lines = new Map();
  for (const row of found) {
    const key = `${rows.model[row]} ${rows.method[row]} ${rows.sparsity[row]} ${rows.kd[row]} ${rows.bits[row]}`;
    if (!lines.has(key)) lines.set(key, { row, cells: {} });
    lines.get(key).cells[rows.column[row]] = row;
  }
  return [...lines.values()];
}

function wideTable(found) {
  const present = [...new Set(found.map((row) => rows.column[row]))].sort((one, other) => one - other);
  const lead = split(found).lead.map((column) => ({ ...column, order: (line) => (column.order || column.text)(line.row), cell: (line) => nameCell(column, line.row) }));
  const values = present.map((column) => ({
    key: `column ${column}`, title: columnTitle(column), isNumber: true,
    order: (line) => (line.cells[column] === undefined ? null : rows.value[line.cells[column]]),
    cell: (line) => valueCell(line.cells[column]),
  }));
  return { columns: [...lead, ...values], lines: wideLines(found) };
}

function longTable(found) {
  const number = (key, title, value, text = (each) => twoDecimals(each)) => ({
    key, title, isNumber: true, order: value, cell: (row) => make("td", { class: "number" }, value(row) === null ? "" : text(value(row))),
  });
  const done = (row) => seedsOf(rows, row).map((seed) => seed.value).filter((value) => value !== null);
  const edge = (pick) => (row) => (done(row).length ? pick(...done(row)) : null);
  const end = (which) => (row) => (rows.interval[row] === null ? null : rows.interval[row][which]);
  const lead = split(found).lead.map((column) => ({ ...column, order: column.order || column.text, cell: (row) => nameCell(column, row) }));
  return {
    lines: found,
    columns: [
      ...lead,
      { key: "task", title: "task", order: (row) => rows.column[row], cell: (row) => make("td", {}, columnTitle(rows.column[row])) },
      { key: "value", title: "mean", isNumber: true, order: (row) => rows.value[row], cell: valueCell },
      number("n", "seeds", (row) => done(row).length, String),
      number("from", "95 % from", end(0)),
      number("to", "to", end(1)),
      number("lowest", "lowest", edge(Math.min)),
      number("highest", "highest", edge(Math.max)),
      number("published", "paper", (row) => rows.published[row]),
      number("difference", "ours − paper", (row) => (rows.published[row] === null || rows.value[row] === null ? null : rows.value[row] - rows.published[row]), signed),
    ],
  };
}

// The method names the line. It stays in sight where the table is wider than the page.
const nameCell = (column, row) => make(column.key === "method" ? "th" : "td", column.key === "method" ? { scope: "row" } : {},
  column.isName ? make("span", { class: column.text(row).length <= SHORT ? "short" : "name" }, column.text(row)) : column.text(row));

// What all lines have in common is said once, above the table.
function split(found) {
  const common = LINE.filter((column) => column.key !== "method" && found.length && new Set(found.map(column.text)).size === 1);
  return { lead: LINE.filter((column) => !common.includes(column)), common };
}

// What has no value stands last, whichever way the others are sorted.
function sorted(lines, column) {
  if (!column) return lines;
  const sign = view.descending ? -1 : 1;
  const keyed = lines.map((line, number) => ({ line, number, value: column.order(line) }));
  keyed.sort((one, other) => {
    if (one.value === null || other.value === null) return (one.value === null) - (other.value === null) || one.number - other.number;
    const order = typeof one.value === "number" ? one.value - other.value : String(one.value).localeCompare(String(other.value), "en");
    return sign * order || one.number - other.number;
  });
  return keyed.map((each) => each.line);
}

function sortBy(key) {
  view.descending = view.sort === key ? !view.descending : false;
  view.sort = key;
  view.page = 0;
  showNumbers();
  document.querySelector(`#table th[data-key="${CSS.escape(key)}"] button`).focus();
}

function heading(column) {
  const order = view.sort !== column.key ? "none" : view.descending ? "descending" : "ascending";
  return make("th", { scope: "col", "data-key": column.key, "aria-sort": order, class: column.isNumber ? "number" : null },
    make("button", { type: "button", onclick: () => sortBy(column.key) }, column.title));
}

function showNumbers() {
  const chosen = FILTERS.filter(([name]) => view.filters[name] !== undefined);
  const found = numbers(rows).filter((row) => chosen.every(([name, text]) => text(row) === view.filters[name]));
  const { columns, lines } = view.form === "wide" ? wideTable(found) : longTable(found);
  const inOrder = sorted(lines, columns.find((column) => column.key === view.sort));
  const size = view.whole ? Math.max(inOrder.length, 1) : PAGE;
  const pages = Math.max(1, Math.ceil(inOrder.length / size));
  view.page = Math.min(view.page, pages - 1);
  const from = view.page * size;
  const page = inOrder.slice(from, from + size);
  place("table").replaceChildren(
    make("thead", {}, make("tr", {}, columns.map(heading))),
    make("tbody", {}, page.map((line) => make("tr", {}, columns.map((column) => column.cell(line))))));
  const hidden = count(rows) - found.length;
  const common = split(found).common.map((column) => `${column.title} ${column.text(found[0])}`).join(", ");
  place("shown").textContent = found.length
    ? `${counted(inOrder.length, "line")} of ${counted(found.length, "number")}` + (hidden ? `; ${counted(hidden, "number")} filtered out` : "") + (pages > 1 ? `; lines ${from + 1} to ${from + page.length} are shown` : "") + (common ? `; all of ${common}` : "")
    : count(rows) ? "No number matches these filters." : "There is no number in this study yet.";
  showPages(pages);
}

function showPages(pages) {
  const turn = (step, text) => make("button", {
    type: "button", disabled: view.page + step < 0 || view.page + step >= pages,
    onclick: () => { view.page += step; showNumbers(); place("shown").scrollIntoView({ block: "nearest" }); },
  }, text);
  place("pages").replaceChildren(...(pages > 1 ? [turn(-1, "Previous lines"), make("span", { class: "small" }, `page ${view.page + 1} of ${pages}`), turn(1, "Next lines")] : []));
}

function startNumbers() {
  const choose = (name) => (value) => {
    if (value === "") delete view.filters[name];
    else view.filters[name] = value;
    view.page = 0;
    showNumbers();
  };
  const all = numbers(rows);
  const controls = FILTERS.map(([name, text]) => {
    const values = [...new Set(all.map(text))];
    return selection(name, [["", `all (${values.length})`], ...values.map((value) => [value, value])], choose(name), "");
  });
  const forms = [["wide", "a column a task"], ["long", "a number a line"]];
  controls.push(selection("form", forms, (form) => { view.form = form; view.sort = null; view.page = 0; showNumbers(); }, view.form));
  controls.push(make("button", { type: "button", onclick: () => resetFilters() }, "Show all"));
  place("filters").replaceChildren(...controls);
  showNumbers();
}

function resetFilters() {
  view.filters = {};
  view.sort = null;
  view.descending = false;
  view.page = 0;
  for (const select of place("filters").querySelectorAll("select")) if (select.name !== "form") select.value = "";
  showNumbers();
}
