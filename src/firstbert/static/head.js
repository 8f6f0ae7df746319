// The head's one multiplication and sum; then scores → probabilities → the answer.

const TERMS = 8; // of the sum, shown one by one
const LABELS = 8; // shown before the rest is folded

const drawHead = (t) => {
  const products = t.vector.map((value, i) => value * t.weight[i]);
  const strips = [
    ["the numbers", strip(t.vector, strength(t.vector), `The sentence’s ${t.vector.length} numbers`)],
    ["× weights", strip(t.weight, strength(t.weight), "The head’s weights")],
    ["= products", strip(products, strength(products), "Their products", PUSHES)],
  ];
  return [
    make("dl", { class: "product" }, strips.map(([name, picture]) => [make("dt", {}, name), make("dd", {}, picture)])),
    make("h3", {}, "How the sum builds"),
    drawSum(t, products),
    legend("pushes", "lowers the score", "raises it"),
  ];
};

const drawSum = (t, products) => {
  const { score, bias } = shownLabel(t);
  const order = range(products.length).sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, TERMS);
  const others = score - bias - sum(order.map((i) => products[i])); // exact: numbers of pictures are rounded
  const steps = [
    ["bias", "", bias],
    ...order.map((i) => [`number ${i + 1}`, `${number(t.vector[i])} × ${number(t.weight[i])}`, products[i]]),
    [`the other ${products.length - order.length}`, "", others],
  ].filter((step, i) => i < TERMS + 1 || products.length > order.length);
  let running = 0;
  const ends = steps.map(([, , value]) => (running += value));
  const low = Math.min(0, ...ends), span = Math.max(0, ...ends) - low || 1;
  const place = (value) => `${((100 * (value - low)) / span).toFixed(3)}%`;
  const track = (from, to) => make("td", { class: "track", "aria-hidden": "true", style: { "--zero": place(0) } },
    make("span", { class: to < from ? "against" : "for", style: { "--from": place(Math.min(from, to)), "--to": place(Math.max(from, to)) } }));
  const row = ([name, how, value], i) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "how num" }, how),
    make("td", { class: "num" }, signed(value)), track(i ? ends[i - 1] : 0, ends[i]));
  const end = make("tr", { class: "total" }, make("th", { scope: "row" }, "score of ", own(clip(t.shown, 24))), make("td", { class: "how" }),
    make("td", { class: "num" }, figure("score", score, signed(score))), track(0, score));
  return table(["term", ">value × weight", ">adds", ""], [steps.map(row), end], { class: "sum" });
};

const bound = (t, c) => (t.model.thresholds ? t.model.thresholds[c] : 0.5);

const labelRow = (t, c, columns) => {
  const { label, score, probability } = t.labels[c], scaled = score / t.model.temperature;
  const cells = {
    score: () => signed(score),
    scaled: () => signed(scaled),
    power: () => number(Math.exp(scaled)),
    raw: () => percent(t.labels[c].raw_probability),
    threshold: () => percent(bound(t, c)),
    rated: () => number(probability / bound(t, c)),
  };
  return make("tr", { class: answered(t).includes(label) ? "chosen" : null },
    make("th", { scope: "row" }, own(clip(label, 40))),
    columns.map(([key, name]) => make("td", { class: "num", "data-name": name }, cells[key]())),
    make("td", { class: "num chance" }, figure(`labels/${c}/probability`, probability, percent(probability)), bar(probability, answered(t).includes(label) ? "for" : "other")));
};

const drawProbability = (t) => {
  const { temperature, thresholds, many_labels: many } = t.model;
  const columns = [["score", "score"]];
  if (temperature !== 1) columns.push(["scaled", `÷ ${number(temperature)}`]);
  if (!many) columns.push(["power", temperature === 1 ? "e^score" : "e^that"]);
  if (temperature !== 1) columns.push(["raw", "undivided"]);
  if (many) columns.push(["threshold", "threshold"]);
  if (!many && thresholds) columns.push(["rated", "÷ threshold"]);
  const order = range(t.labels.length).sort((a, b) => t.labels[b].probability - t.labels[a].probability);
  const [rows, more] = folding(order.map((c) => labelRow(t, c, columns)), LABELS, "labels");
  const notes = [];
  if (temperature !== 1) notes.push("“Undivided” is the probability as it would be without the temperature.");
  if (!many && thresholds) notes.push("This model has a threshold for each label: the answer is the label whose probability is the largest multiple of its own.");
  return [
    table(["label", ...columns.map(([, name]) => ">" + name), ">probability"], rows, { class: "chances" }), more,
    notes.length ? make("p", { class: "note" }, notes.join(" ")) : null,
    drawBand(t),
  ];
};

const drawBand = (t) => {
  const { accept } = t.model, { score, unsure } = t.answer;
  if (accept === null || accept === undefined)
    return make("p", { class: "note" }, "This model answers whatever comes. Trained with --max-error 0.05, it calls an answer unsure where it can’t keep to so few errors.");
  const edge = Math.min(1, accept);
  const told = accept > 1
    ? "No threshold could be shown to keep this model’s promise about errors, so every answer is unsure."
    : `Answers below ${percent(accept)} are unsure, and the model makes no promise about them; this one is ${unsure ? "among them" : "above, one to rely on"}.`;
  return make("figure", { class: "band" },
    make("div", { class: "axis", "aria-hidden": "true", style: { "--edge": `${100 * edge}%`, "--at": `${100 * score}%` } },
      make("span", { class: "unsure" }, "unsure"), make("span", { class: "at" }), make("span", { class: "ends" }, make("span", {}, "0 %"), make("span", {}, "100 %"))),
    make("figcaption", {}, told));
};
