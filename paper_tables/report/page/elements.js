// Elements of the page. Text is put on it as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
const place = (id) => document.getElementById(id);

// choices: [value, text]. chosen: called with the value.
function selection(label, choices, chosen, value) {
  const options = choices.map(([each, text]) => make("option", { value: each, selected: each === value }, text));
  const select = make("select", { name: label, onchange: () => chosen(select.value) }, options);
  return make("label", {}, label, select);
}

const tip = place("tip");
let told = null; // what the tip is about
function showTip(target) {
  told = target;
  tip.textContent = target.dataset.tip;
  tip.hidden = false;
  const at = target.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), window.innerWidth - own.width - 8);
  const above = at.top - own.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
}
function hideTip() {
  told = null;
  tip.hidden = true;
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
window.addEventListener("scroll", () => { if (told) showTip(told); }, { passive: true });
