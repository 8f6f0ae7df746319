// The steps in their order, put into the page.

const STEPS = [
  ["tokens", "Words become tokens", drawTokens, (t) => plural(t.tokens.length, "token")],
  ["batch", "A matrix of ids, and a mask", drawBatch, (t) => `${t.batch.ids.length} × ${t.batch.ids[0].length} ids`],
  ["layers", "Layer by layer", drawLayers, (t) => `${topLayer(t)} of ${plural(t.model.layers, "layer")}`],
  ["vector", "What is left: a vector", drawVector, (t) => `${t.vector.length} numbers`],
  ["head", "The head: one weight for each number", drawHead, (t) => `score ${signed(shownLabel(t).score)}`],
  ["probability", "From a score to a probability", drawProbability, (t) => percent(t.answer.score)],
  ["words", "Which words made the difference", drawWords, () => "word by word"],
  ["neighbours", "Sentences like it", drawNeighbours, (t) => (t.neighbours ? `${t.neighbours.length} nearby` : "none kept")],
];

const at = (id) => document.getElementById(id);

const section = (t, [id, title, draw], i) =>
  make("section", { id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, make("span", { class: "step" }, String(i + 1)), " ", title),
    make("p", { class: "lead" }, WORDS[id](t)), draw(t));

const show = (t) => {
  at("answer").replaceChildren(...drawAnswer(t).flat(Infinity));
  at("way").replaceChildren(...STEPS.map((step, i) => section(t, step, i)));
  at("stations").replaceChildren(make("ol", {}, STEPS.map(([id, title, , reached]) =>
    make("li", {}, make("a", { href: `#${id}` }, make("span", { class: "unseen" }, `${title}: `), reached(t))))));
  at("end").replaceChildren(make("p", {}, "Drawn by firstbert from the values of this very sentence; nothing here is made up.",
    t.neighbours ? " It shows sentences of the training data: pass it on as you would those." : ""));
  at("stations").hidden = at("end").hidden = false;
};

const kept = at("trace");
if (kept) show(JSON.parse(kept.textContent));
