// What a sentence becomes from layer to layer, and the numbers that are left in the end.

const says = (t, stage) => {
  const all = stage.probabilities;
  if (all === null) return [null, null];
  const label = t.model.many_labels ? t.shown : Object.keys(all).reduce((best, each) => (all[each] > all[best] ? each : best));
  return [label, all[label]];
};

const stageRow = (t, stage, most) => {
  const read = readLayers(t).includes(stage.layer), [label, p] = says(t, stage);
  const name = stage.layer ? `layer ${stage.layer}` : "words alone";
  return make("tr", { class: read ? "read" : null },
    make("th", { scope: "row" }, name, read ? make("span", { class: "here" }, "read here") : null),
    make("td", { class: "wide" }, strip(stage.vector, most, `The ${stage.vector.length} numbers after ${stage.layer ? name : "looking up the words"}, as a strip of colours`)),
    make("td", { class: "num", "data-name": "length" }, figure(`layers/${stage.layer}/norm`, stage.norm, number(stage.norm, 1))),
    make("td", { class: "num", "data-name": "moved" }, stage.layer ? figure(`layers/${stage.layer}/change`, stage.change, `${Math.round(100 * stage.change)} %`) : "–"),
    label === null ? null : make("td", { class: "says", "data-name": "head" },
      make("span", { class: "line" }, own(clip(label, 16)), " ", figure(`layers/${stage.layer}/probability`, p, percent(p))),
      bar(p, label === t.shown ? "for" : "against")));
};

const drawLayers = (t) => {
  const most = strength(...t.layers.map((each) => each.vector)), top = topLayer(t);
  const one = t.layers[0].probabilities !== null;
  const never = range(t.model.layers - top).map((i) =>
    make("tr", { class: "never" }, make("th", { scope: "row" }, `layer ${top + 1 + i}`), make("td", { class: "wide" }, make("span", {}, "never run")),
      make("td", {}), make("td", {}), one ? make("td", {}) : null));
  return [
    table(["after", "", ">length", ">moved", ...(one ? ["what the head would say"] : [])], [t.layers.map((stage) => stageRow(t, stage, most)), never], { class: "stages" }),
    legend("numbers", `−${number(most, 1)}`, `+${number(most, 1)}`),
    make("p", { class: "note" }, "Length: of the vector, the root of the sum of its squares. Moved: the length of the step from the layer before, as a share of that layer’s length. ", caveat(t)),
  ];
};

const drawVector = (t) => {
  const out = make("p", { class: "readout", "aria-hidden": "true" });
  const width = t.model.width, read = readLayers(t);
  const tell = (i) => {
    const where = read.length > 1 ? ` (layer ${read[Math.floor(i / width)]})` : "";
    const told = `Number ${i + 1} of ${t.vector.length}${where} is ${number(t.vector[i], 4)}`;
    out.textContent = told;
    return told;
  };
  return [
    grid(t.vector, `The ${t.vector.length} numbers; arrow keys go from one to the next`, tell), out,
    legend("numbers", "below zero", "above zero"),
    fold(`All ${t.vector.length} numbers with their weights`, () => allTerms(t)),
  ];
};

const allTerms = (t) =>
  scroller("All numbers with their weights", table([">number", ">value", ">weight", ">product"],
    t.vector.map((value, i) => make("tr", {}, make("td", { class: "num" }, String(i + 1)),
      [value, t.weight[i], value * t.weight[i]].map((each) => make("td", { class: "num" }, signed(each, 4))))), { class: "terms" }));
