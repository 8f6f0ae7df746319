// Which words made the score, painted on the sentence; and the training sentences nearby.

const MARKED = 5; // tokens that carry their number
const LISTED = 8;

// The text in parts: those of tokens, and what lies between.
const parts = (t) => {
  const all = letters(t.text), found = [];
  let done = 0;
  t.tokens.forEach(({ start, end, special }, i) => {
    if (special || end <= done) return; // bytes of one letter share its place
    if (start > done) found.push([null, all.slice(done, start).join("")]);
    found.push([i, all.slice(Math.max(start, done), end).join("")]);
    done = end;
  });
  const lost = all.slice(done, done + 160).join("");
  return [found, lost + (all.length > done + 160 ? "…" : "")];
};

// A short word needs room for its number; a piece within a word gets none, as that would tear the word.
const whole = (t, i) => t.tokens.filter(({ word }) => word === t.tokens[i].word).length === 1;

const painted = (t, values) => {
  const most = largest(values) || 1, [found, lost] = parts(t);
  const strongest = new Set(found.filter(([i, text]) => i !== null && /[\p{L}\p{N}]/u.test(text)).map(([i]) => i).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, MARKED));
  const spans = found.map(([i, text]) => i === null ? text : make("span", {
    class: `word ${values[i] < 0 ? "against" : "for"}${strongest.has(i) ? " strong" : ""}${strongest.has(i) && whole(t, i) && text.length < 3 ? " short" : ""}`,
    style: { "--s": (Math.abs(values[i]) / most).toFixed(3) }, title: signed(values[i], 3),
    "data-n": strongest.has(i) ? signed(values[i]) : null,
  }, text));
  return make("p", { class: letters(t.text).length > 180 ? "painted long" : "painted", dir: "auto" }, spans, lost ? make("s", {}, lost) : null);
};

const tokenRow = (t, i, value, most) =>
  make("tr", {}, make("th", { scope: "row" }, make("bdi", { class: "piece" }, t.tokens[i].token)), make("td", { class: "num" }, signed(value, 3)),
    make("td", { class: "push" }, push(value, most)));

const push = (value, most) =>
  make("span", { class: value < 0 ? "against" : "for", "aria-hidden": "true", style: { "--w": `${((50 * Math.abs(value)) / most).toFixed(2)}%` } });

const drawShares = (t, label) => {
  const values = t.contributions.tokens[label], exact = t.contributions.method === "exact";
  const { score } = t.labels.find((each) => each.label === label);
  const order = range(values.length).filter((i) => exact || !t.tokens[i].special).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const shown = order.slice(0, LISTED), rest = order.slice(LISTED), others = sum(rest.map((i) => values[i]));
  const most = largest(shown.map((i) => values[i])) || 1;
  const rows = shown.map((i) => tokenRow(t, i, values[i], most));
  if (exact && rest.length)
    rows.push(make("tr", {}, make("th", { scope: "row" }, `the other ${rest.length}`), make("td", { class: "num" }, signed(others, 3)), make("td", {})));
  if (exact)
    rows.push(make("tr", { class: "total" }, make("th", { scope: "row" }, "together: the score"), make("td", { class: "num" }, figure("contributions/sum", sum(values) + t.contributions.base[label], signed(sum(values) + t.contributions.base[label], 3))), make("td", {})));
  const every = order.length > LISTED ? fold(`All ${order.length} tokens`, () =>
    scroller("All tokens with their shares", table(["token", exact ? ">share" : ">falls by"], range(values.length).map((i) =>
      make("tr", {}, make("th", { scope: "row" }, make("bdi", { class: "piece" }, t.tokens[i].token)), make("td", { class: "num" }, signed(values[i], 3)))), { class: "terms" }))) : null;
  const note = exact
    ? `${first(t)} and ${last(t)} have shares too, and the bias is dealt out evenly. `
    : `With all its words the score of ${quoted(label)} is ${signed(score)}. `;
  return [
    painted(t, values),
    legend("pushes", `against ${quoted(label)}`, `for ${quoted(label)}`),
    table(["strongest tokens", exact ? ">share" : ">score falls by", ""], rows, { class: "shares" }), every,
    make("p", { class: "note" }, note, "The stronger a colour, the larger the share, beside the largest of this sentence."),
  ];
};

const drawWords = (t) => {
  const into = make("div", { class: "shown" });
  const turn = (label) => into.replaceChildren(...drawShares(t, label).filter(Boolean));
  turn(t.shown);
  const order = [...t.labels].sort((a, b) => b.probability - a.probability);
  if (order.length < 3 && !t.model.many_labels) return into;
  const choose = make("select", { id: "label", onchange: (event) => turn(event.target.value) }, order.map(({ label, probability }) =>
    make("option", { value: label, selected: label === t.shown }, `${clip(label, 40)} (${percent(probability)})`)));
  return [make("p", { class: "choose" }, make("label", { for: "label" }, "What speaks for "), choose), into];
};

const drawNeighbours = (t) => {
  if (t.neighbours === null)
    return make("p", { class: "note" }, "To see them here, train with ", make("code", {}, "firstbert train … --neighbours"), ", which puts the training sentences into the model’s folder.");
  const rows = t.neighbours.map(({ text, label, similarity }) =>
    make("li", {}, make("p", { class: "said", dir: "auto" }, clip(text, 280)),
      make("p", { class: "about" }, [label].flat().length ? [label].flat().map((each) => make("b", {}, own(String(each)), " ")) : "no label ",
        make("span", { class: "n" }, "similarity ", figure("neighbours/similarity", similarity, number(similarity))), bar(similarity, "other"))));
  return make("ol", { class: "near" }, rows);
};
