// What stands behind the page: content.py writes it, in columns. `rows`, `averages` and `stages` are told by number.
const content = JSON.parse(document.getElementById("content").textContent);
const { rows, averages, stages } = content;
const NO_DIGEST = /^-+$/;

const piece = (text, place, length) => {
  const found = text.slice(place * length, (place + 1) * length);
  return NO_DIGEST.test(found) ? "" : found;
};
const stageId = (stage) => piece(stages.ids, stage, 32);
const recordDigest = (stage) => piece(stages.digests, stage, 64);
const artifactPlaces = (() => {
  let count = 0;
  return stages.bytes.map((bytes) => (bytes ? count++ : -1));
})();
const artifactDigest = (stage) => (artifactPlaces[stage] < 0 ? "" : piece(stages.artifacts, artifactPlaces[stage], 64));

function stageParents(stage) {
  const flat = stages.parents[stage];
  const found = [];
  for (let i = 0; i < flat.length; i += 2) found.push({ role: stages.roles[flat[i]], stage: flat[i + 1] });
  return found;
}

function stageLabel(stage) {
  if (stages.label[stage] !== null) return stages.labels[stages.label[stage]];
  const model = stageParents(stage).find((parent) => parent.role === "model");
  return `${stages.kinds[stages.kind[stage]]} of ${stageLabel(model.stage)}`;
}

// The stage and all that it rests on, parents first: a parent has a smaller number than what is made from it.
function stagePath(stage) {
  const found = new Set();
  const visit = (each) => {
    if (found.has(each)) return;
    found.add(each);
    stageParents(each).forEach((parent) => visit(parent.stage));
  };
  visit(stage);
  return [...found].sort((one, other) => one - other);
}

function seedsOf(group, index) {
  const { first, seed, pruning_seed: pruningSeed, value, stage } = group.seeds;
  const found = [];
  for (let i = first[index]; i < first[index + 1]; i++) {
    found.push({ seed: seed[i], pruningSeed: pruningSeed[i], value: value[i], stage: stage[i] });
  }
  return found;
}

const count = (group) => group.method.length;
const numbers = (group) => Array.from({ length: count(group) }, (_, index) => index);
const methodOf = (group, index) => content.methods[group.method[index]];
const modelOf = (group, index) => content.models[group.model[index]];
const columnTitle = (column) => content.columns[column].join(" ");
// As the tables write it: a value half-way between two, as 84.125 is, goes to the even one. Only eighths are such.
const isTieToOdd = (value) => Math.abs(value * 8) % 4 === 1;
const twoDecimals = (value) => (isTieToOdd(value) ? value - Math.sign(value) * 0.001 : value).toFixed(2);
const seedText = (seed) =>
  `seed ${seed.seed}` + (seed.pruningSeed === null ? "" : `, pruning seed ${seed.pruningSeed}`);

function lineTitle(group, index) {
  const zeros = Number(group.sparsity[index]) ? ` at ${group.sparsity[index]}` : "";
  return `${modelOf(group, index)}, ${methodOf(group, index)}${zeros}, ${group.bits[index]} bits`;
}
