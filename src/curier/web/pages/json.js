// JSON (RFC 8259), read without turning numbers into those of JavaScript: 9007199254740993 stays what it is.
// @ts-check
import { DEEPEST, MOST_NODES, text, Unreadable, word } from "./values.js";

/** @typedef {import("./values.js").Node} Node */

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;

/** @param {string} said @returns {Node} */
export function readJson(said) {
  const reader = new Json(said);
  const node = reader.value(0);
  reader.space();
  if (reader.at < said.length) throw new Unreadable("more", reader.at);
  return node;
}

class Json {
  /** @param {string} said */
  constructor(said) {
    this.said = said;
    this.at = 0;
    this.nodes = 0;
  }

  /** What stands here, by an expression that is sticky; "" where it is something else. @param {RegExp} kind */
  found(kind) {
    kind.lastIndex = this.at;
    const found = kind.exec(this.said)?.[0] ?? "";
    this.at += found.length;
    return found;
  }

  space() {
    this.found(SPACE);
  }

  /** @returns {never} */
  wrong() {
    throw new Unreadable(this.at < this.said.length ? "wrong" : "ends", this.at);
  }

  /** @param {number} depth @returns {Node} */
  value(depth) {
    this.nodes += 1;
    if (depth > DEEPEST) throw new Unreadable("deep", this.at);
    if (this.nodes > MOST_NODES) throw new Unreadable("many", this.at);
    this.space();
    const first = this.said[this.at];
    if (first === "{") return { is: "map", of: this.inner("}", () => this.entry(depth + 1)) };
    if (first === "[") return { is: "list", of: this.inner("]", () => this.value(depth + 1)) };
    if (first === '"') return text(this.string());
    const number = this.found(NUMBER);
    if (number) return { is: "number", said: number };
    return word(this.found(WORD) || this.wrong());
  }

  /** What stands between brackets. @template T @param {string} last @param {() => T} one @returns {T[]} */
  inner(last, one) {
    const all = [];
    this.at += 1;
    this.space();
    while (this.said[this.at] !== last) {
      if (all.length) {
        if (this.said[this.at] !== ",") this.wrong();
        this.at += 1;
      }
      all.push(one());
      this.space();
    }
    this.at += 1;
    return all;
  }

  /** @param {number} depth @returns {[string, Node]} */
  entry(depth) {
    this.space();
    const key = this.string();
    this.space();
    if (this.said[this.at] !== ":") this.wrong();
    this.at += 1;
    return [key, this.value(depth)];
  }

  string() {
    if (this.said[this.at] !== '"') this.wrong();
    let end = this.at + 1;
    while (end < this.said.length && this.said[end] !== '"') end += this.said[end] === "\\" ? 2 : 1;
    if (end >= this.said.length) throw new Unreadable("ends", this.said.length);
    try {
      const found = JSON.parse(this.said.slice(this.at, end + 1));
      this.at = end + 1;
      return /** @type {string} */ (found);
    } catch {
      return this.wrong();
    }
  }
}
