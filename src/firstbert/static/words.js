// What each step says: two sentences for someone who sees this for the first time, true for the model at hand.

const isMean = (t) => t.model.pooling === "mean";
const first = (t) => t.tokens[0].token;
const last = (t) => t.tokens[t.tokens.length - 1].token;
const readLayers = (t) => [t.model.layer].flat();
const topLayer = (t) => Math.max(...readLayers(t));
const shownLabel = (t) => t.labels.find((each) => each.label === t.shown);
const answered = (t) => [t.answer.label].flat().map(String);
const quoted = (label) => `“${clip(label, 40)}”`;
const encoderName = (t) => t.model.encoder.split(/[\\/]/).slice(-2).join("/");
const inWords = (values) => (values.length > 1 ? `${values.slice(0, -1).join(", ")} and ${values[values.length - 1]}` : `${values[0]}`);

const layersTold = (t) => {
  const read = readLayers(t), { layers } = t.model;
  if (read.length > 1) return `layers ${inWords(read)} of ${layers}, side by side`;
  return read[0] === layers ? `layer ${layers}, its last` : `layer ${read[0]} of ${layers}`;
};

const WORDS = {
  tokens: (t) => {
    const cased = t.tokens.some((each) => each.token.startsWith("##"));
    return `The encoder knows a fixed list of ${t.model.vocabulary.toLocaleString("en")} pieces of text, so the sentence is ` +
      `taken apart into those${cased ? ", rare words into several" : ""}; the number below each piece is its place in ` +
      `the list, its id. ${first(t)} and ${last(t)} are put around it to mark where it begins and where it ends.`;
  },
  batch: () =>
    "Sentences are worked on together, as the rows of one matrix, and shorter ones are filled up to the length of the " +
    "longest. The mask says which places hold tokens (1) and which mere filling (0), so that the filling is never looked at.",
  layers: (t) => {
    const place = isMean(t) ? "the mean over all its tokens" : `the token ${first(t)}, which gathers what the others say`;
    const read = readLayers(t);
    const reads = read.length > 1 ? `after layers ${inWords(read)}` : `after layer ${read[0]}`;
    const above = topLayer(t) < t.model.layers ? ", so what lies above is never run" : ", the last";
    return "In every layer each token looks at all the others and takes on some of what they mean; a strip shows what has " +
      `become of ${place}: ${t.model.width} numbers, as colours. The encoder has ${t.model.layers} layers, and this ` +
      `model reads it ${reads}${above}.`;
  },
  vector: (t) => {
    const read = readLayers(t);
    const joined = read.length > 1 ? `, ${t.model.width} from each of the layers ${inWords(read)}` : "";
    return `This is all that is left of the sentence: ${t.vector.length} numbers${joined}, green above zero and purple ` +
      "below. None of them means anything alone, but sentences of like meaning give like pictures.";
  },
  head: (t) => {
    const each = t.labels.length > 2 || t.model.many_labels ? `for ${quoted(t.shown)} it has one weight for each number` : "it has one weight for each number";
    return `The second model, the head, learned from labelled sentences, and ${each}: the two are multiplied, and all ` +
      `${t.vector.length} products are added to a constant, the bias. Their sum is the score of ${quoted(t.shown)}; blue products raise it, ` +
      "orange ones lower it.";
  },
  probability: (t) => {
    const { temperature, many_labels: many } = t.model;
    const how = many
      ? "A score can be any number, and the sigmoid, 1 / (1 + e^−score), turns each by itself into a probability; a label is answered where that reaches its threshold."
      : "A score can be any number, so e is raised to each of them, which leaves only positive ones, and these are divided by their sum: together they make 100 %.";
    return temperature === 1
      ? `${how} Some models are too sure of themselves, and have their scores divided by a temperature first; this one’s is 1, which changes nothing.`
      : `${how} Before that, scores are divided by a temperature, here ${number(temperature, 2)}, learned so that of answers given with 80 % about 80 % are right.`;
  },
  words: (t) =>
    t.contributions.method === "exact"
      ? "As the sentence’s vector is a mean and the head only multiplies and adds, the score is a sum with one share for each token: blue ones raise it, orange ones lower it. A share is that of the word in this very sentence, as every token has taken in what the others mean."
      : "Each token in turn is left out and the rest goes through the model again: the further the score falls without it, the bluer it is, and orange means that the score rose. As words work together, these falls don’t add up to the score.",
  neighbours: (t) =>
    t.neighbours
      ? "These are the sentences, of those that the head learned from, whose vectors point most nearly the same way. A similarity of 1 would be the very same direction, and at 0 they have nothing in common."
      : "Sentences of like meaning have vectors that point the same way, so the training sentences nearest to this one often tell why it is answered so. This model keeps none of them, as they are its owner’s texts.",
};

// What the marks on pieces mean, where there are any.
const aboutPieces = (t) => {
  const words = t.tokens;
  if (words.some((each) => each.token.startsWith("##"))) {
    const of = (word) => words.filter((each) => each.word === word && !each.special).map((each) => each.token);
    const pieces = words.map((each) => of(each.word)).reduce((best, each) => (each.length > best.length ? each : best));
    const whole = pieces.map((piece) => piece.replace(/^##/, "")).join("");
    return `## goes on with the piece before it: “${whole}” is not in the list, so it is put together from ${pieces.join(" ")}.`;
  }
  for (const mark of ["Ġ", "▁"])
    if (words.some((each) => each.token.startsWith(mark)))
      return `${mark} stands for the space before a word; a piece without it goes on with the one before.`;
  return null;
};

const caveat = (t) => {
  if (t.layers.every((each) => each.probabilities === null))
    return `This model’s head reads layers ${inWords(readLayers(t))} together, so there is nothing it could say of one alone.`;
  return `The head has learned on layer ${topLayer(t)} alone. What it would say of the others is a reading with the ` +
    "wrong glasses on, better the nearer they are, and often wildly sure.";
};
