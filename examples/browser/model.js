// A file that `firstbert export` has written, in a browser or in Node: bytes → labels with probabilities.

import * as ort from "onnxruntime-web/wasm";
import { Tokenizer } from "@huggingface/tokenizers";

export class Model {
  static async open(bytes) {
    return new Model(await ort.InferenceSession.create(bytes), metadata(bytes));
  }

  constructor(session, facts) {
    this.session = session;
    this.labels = JSON.parse(facts.labels);
    this.maxLength = JSON.parse(facts.max_length);
    const written = JSON.parse(facts["tokenizer.json"]);
    this.padding = written.padding.pad_id;
    this.tokenizer = new Tokenizer(written, {});
    // The special tokens behind a text, which stay where a long one is cut: what follows where "" and "a" part.
    const [empty, one] = ["", "a"].map((text) => this.tokenizer.encode(text).ids);
    this.behind = empty.length - empty.findIndex((id, i) => id !== one[i]);
  }

  ids(text) {
    const ids = this.tokenizer.encode(text).ids;
    if (ids.length <= this.maxLength) return ids;
    return [...ids.slice(0, this.maxLength - this.behind), ...ids.slice(ids.length - this.behind)];
  }

  // One row for each text, one number for each label.
  async probabilities(texts) {
    const rows = texts.map((text) => this.ids(text));
    const longest = Math.max(...rows.map((row) => row.length));
    const fill = (value) => new ort.Tensor("int64", BigInt64Array.from(rows.flatMap(value)), [rows.length, longest]);
    const rest = (row, id) => Array(longest - row.length).fill(id);
    const { probabilities } = await this.session.run({
      input_ids: fill((row) => [...row, ...rest(row, this.padding)].map(BigInt)),
      attention_mask: fill((row) => [...row.map(() => 1n), ...rest(row, 0n)]),
    });
    const wide = this.labels.length;
    return rows.map((_, i) => Array.from(probabilities.data.slice(i * wide, (i + 1) * wide)));
  }
}

// What an ONNX file says of itself, which onnxruntime-web doesn't pass on: the entries of field 14 of its protobuf.
export const metadata = (bytes) => {
  const facts = {}, decoder = new TextDecoder();
  for (const [number, value] of fields(bytes)) {
    if (number !== 14) continue;
    const { 1: key, 2: text } = Object.fromEntries(fields(value));
    facts[decoder.decode(key)] = decoder.decode(text);
  }
  return facts;
};

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = varint(), number = Math.floor(tag / 8), kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield [number, bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error(`field ${number} is of kind ${kind}: this is no ONNX file`);
  }
}
