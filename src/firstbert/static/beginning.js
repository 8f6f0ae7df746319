// The answer, and the first two steps: tokens, and the matrix they stand in.

const COLUMNS = 11; // of a matrix, as many as are seen at once

const verdict = (t) => {
  const labels = answered(t), { score, unsure } = t.answer, { accept, many_labels: many } = t.model;
  const told = make("p", { class: "verdict" },
    labels.length ? labels.map((label, i) => [i ? ", " : null, make("b", {}, own(label))]) : make("b", { class: "none" }, "no label"),
    " ", figure("answer/score", score, percent(score)), unsure ? make("span", { class: "flag" }, "unsure") : null);
  const notes = [];
  if (many) notes.push("The probability that this set of labels is right as a whole, as if each were decided apart from the others.");
  if (unsure) {
    notes.push(accept > 1
      ? "Unsure, as every answer of this model: for none of them could it be shown that few enough are wrong."
      : `Unsure: answers below ${percent(accept)} are not to be relied on. This model keeps its promise about errors only above that.`);
  }
  if (t.answer.truncated) {
    notes.push(`Cut: this is longer than the ${t.model.max_length} tokens that the model reads, so only its beginning counts; what is struck through was never seen.`);
  }
  const meter = make("div", { class: "meter", "aria-hidden": "true" }, bar(score), accept > 0 && accept < 1 ? make("span", { class: "edge", style: { "--at": `${100 * accept}%` } }) : null);
  return [told, meter, notes.map((note) => make("p", { class: "note" }, note))];
};

const sentence = (t) => {
  const all = letters(t.text), seen = all.slice(0, t.answer.truncated ? t.read_to : all.length);
  const lost = all.slice(seen.length, seen.length + 160).join("");
  return make("blockquote", { class: all.length > 180 ? "said long" : "said", dir: "auto" }, seen.join(""),
    lost ? make("s", {}, lost, all.length > seen.length + 160 ? "…" : "") : null);
};

const drawAnswer = (t) => [
  sentence(t),
  verdict(t),
  make("p", { class: "facts" }, "Answered by ", make("b", {}, own(t.model.name)), `: ${encoderName(t)} read at ${layersTold(t)}, ` +
    `${isMean(t) ? "as the mean over all tokens" : `at its first token, ${first(t)}`}.`),
];

const chip = (t, i) => {
  const { token, id, special, word } = t.tokens[i];
  const joined = i > 0 && !special && word === t.tokens[i - 1].word;
  return make("li", { class: [special ? "special" : "", joined ? "joined" : ""].join(" ").trim() || null },
    make("bdi", { class: "piece" }, token), make("span", { class: "id" }, String(id)));
};

const drawTokens = (t) => {
  const [chips, more] = folding(t.tokens.map((_, i) => chip(t, i)), 46, "tokens");
  return [
    make("ol", { class: "chips", "aria-label": `${t.tokens.length} tokens with their ids` }, chips), more,
    aboutPieces(t) ? make("p", { class: "note" }, aboutPieces(t)) : null,
  ];
};

const beginning = (tokens) => {
  const words = tokens.slice(1, -1).join(" ").replaceAll(" ##", "").replace(/ ([.,!?])/g, "$1");
  return clip(words, 18) || "(nothing)";
};

const drawBatch = (t) => {
  const { ids, lengths, tokens } = t.batch, T = ids[0].length, seen = Math.min(T, COLUMNS);
  const rest = T > seen ? make("td", { class: "rest" }, `… ${T - seen} more`) : null;
  const row = (i, cell) =>
    make("tr", { class: i ? null : "this" }, make("th", { scope: "row" }, i ? own(beginning(tokens[i])) : "this one"),
      range(seen).map((place) => cell(i, place, place < lengths[i])), rest && rest.cloneNode(true));
  const id = (i, place, real) =>
    make("td", { class: real ? "real" : "filling", title: real ? tokens[i][place] : "filling" }, String(ids[i][place]));
  const mask = (i, place, real) => make("td", { class: real ? "on" : "off" }, real ? "1" : "0");
  const part = (name, cell) => [
    make("tr", { class: "part" }, make("th", { colspan: seen + 1 + (rest ? 1 : 0), scope: "rowgroup" }, name)),
    ids.map((_, i) => row(i, cell)),
  ];
  return scroller("Ids and mask of four sentences", make("table", { class: "matrix" },
    make("caption", { class: "unseen" }, "Four sentences as rows of ids, then their mask"),
    make("tbody", {}, part("ids", id)), make("tbody", {}, part("mask", mask))));
};
