// What has changed between two payloads: parts of values, lines of text, bytes. Bounded, whatever they are.
// @ts-check
import { below, brief } from "./values.js";

/** @typedef {import("./values.js").Node} Node @typedef {import("./values.js").Path} Path */

export const MOST_CHANGES = 200;
const MOST_COMPARED = 400_000; // pairs of lines
const AROUND = 2; // lines that are the same, above and below
const ROW = 16; // bytes

/** What is there in only one of them has no other. @typedef {{path: Path, before?: Node, after?: Node}} Change */

/** The parts of a value that are others now, the first so many. @param {Node} before @param {Node} after @returns {Change[]} */
export function changes(before, after) {
  /** @type {Change[]} */
  const found = [];
  compare(before, after, [], found);
  return found;
}

/** @param {Node} before @param {Node} after @param {Path} path @param {Change[]} found */
function compare(before, after, path, found) {
  if (found.length >= MOST_CHANGES) return;
  if (before.is !== after.is || (before.is !== "map" && before.is !== "list")) {
    if (!same(before, after)) found.push({ path, before, after });
    return;
  }
  if (before.is === "list" && after.is === "list") {
    for (let at = 0; at < Math.max(before.of.length, after.of.length) && found.length < MOST_CHANGES; at += 1) {
      const [one, other] = [before.of[at], after.of[at]];
      if (one && other) compare(one, other, [...path, String(at)], found);
      else found.push({ path: [...path, String(at)], before: one, after: other });
    }
    return;
  }
  const one = numbered(before);
  const other = numbered(after);
  for (const [key, node] of one) {
    const now = other.get(key);
    if (found.length >= MOST_CHANGES) return;
    if (now) compare(node[1], now[1], [...path, node[0]], found);
    else found.push({ path: [...path, node[0]], before: node[1] });
  }
  for (const [key, node] of other) {
    if (!one.has(key) && found.length < MOST_CHANGES) found.push({ path: [...path, node[0]], after: node[1] });
  }
}

/** The parts of a value, a key that is there twice told apart. @param {Node} node */
function numbered(node) {
  /** @type {Map<string, [string, Node]>} */
  const found = new Map();
  /** @type {Map<string, number>} */
  const seen = new Map();
  for (const [key, one] of below(node)) {
    const before = seen.get(key) ?? 0;
    seen.set(key, before + 1);
    found.set(`${before} ${key}`, [key, one]);
  }
  return found;
}

/** @param {Node} one @param {Node} other */
function same(one, other) {
  if (one.is === "bytes" && other.is === "bytes") return one.bytes.length === other.bytes.length && one.bytes.every((byte, at) => byte === other.bytes[at]);
  if ("said" in one && "said" in other && one.is !== "tagged") return one.is === other.is && one.said === other.said;
  return brief(one, 10_000) === brief(other, 10_000);
}

/** A line that has come, has gone, or stays; or so many lines that are left out, which stay or are more of the others.
 * @typedef {{mark: "+" | "-" | " ", said: string} | {mark: "…", count: number, stays: boolean}} Line */

/** @param {string} before @param {string} after @returns {Line[]} */
export function lines(before, after) {
  const [one, other] = [before.split("\n"), after.split("\n")];
  if (before === after) return [left(one.length)];
  let head = 0;
  while (head < one.length && head < other.length && one[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < one.length - head && tail < other.length - head && one.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  const [from, to] = [Math.max(0, head - AROUND), Math.min(one.length, one.length - tail + AROUND)];
  const stay = (/** @type {string[]} */ all) => all.map((said) => /** @type {Line} */ ({ mark: " ", said }));
  const changed = folded(middle(one.slice(head, one.length - tail), other.slice(head, other.length - tail)));
  return [...(from ? [left(from)] : []), ...stay(one.slice(from, head)), ...changed,
    ...stay(one.slice(one.length - tail, to)), ...(to < one.length ? [left(one.length - to)] : [])];
}

/** @param {number} count @param {boolean} [stays] @returns {Line} */
const left = (count, stays = true) => ({ mark: "…", count, stays });

/** The first of many lines. @param {string[]} all @param {"+" | "-"} mark @returns {Line[]} */
const first = (all, mark) => [...all.slice(0, MOST_CHANGES).map((said) => /** @type {Line} */ ({ mark, said })),
  ...(all.length > MOST_CHANGES ? [left(all.length - MOST_CHANGES, false)] : [])];

/** Lines of which the first and the last are others: by the longest that they have in common. @param {string[]} one @param {string[]} other @returns {Line[]} */
function middle(one, other) {
  /** @type {Line[]} */
  const found = [];
  const [gone, come] = [(/** @type {string} */ said) => found.push({ mark: "-", said }), (/** @type {string} */ said) => found.push({ mark: "+", said })];
  if (one.length * other.length > MOST_COMPARED || !one.length || !other.length) return [...first(one, "-"), ...first(other, "+")];
  const width = other.length + 1;
  const common = new Uint32Array((one.length + 1) * width);
  for (let a = one.length - 1; a >= 0; a -= 1) {
    for (let b = other.length - 1; b >= 0; b -= 1) {
      common[a * width + b] = one[a] === other[b] ? common[(a + 1) * width + b + 1] + 1 : Math.max(common[(a + 1) * width + b], common[a * width + b + 1]);
    }
  }
  let [a, b] = [0, 0];
  while (a < one.length || b < other.length) {
    if (a < one.length && b < other.length && one[a] === other[b]) {
      found.push({ mark: " ", said: one[a] });
      [a, b] = [a + 1, b + 1];
    } else if (b >= other.length || (a < one.length && common[(a + 1) * width + b] >= common[a * width + b + 1])) gone(one[a++]);
    else come(other[b++]);
  }
  return found;
}

/** Without the lines far from any that has changed. @param {Line[]} all @returns {Line[]} */
function folded(all) {
  const near = new Set();
  all.forEach((line, at) => {
    for (let by = -AROUND; line.mark !== " " && by <= AROUND; by += 1) near.add(at + by);
  });
  /** @type {Line[]} */
  const found = [];
  for (const [at, line] of all.entries()) {
    const last = found.at(-1);
    if (near.has(at) || line.mark === "…") found.push(line);
    else if (last?.mark === "…") last.count += 1;
    else found.push(left(1));
    if (found.length > 2 * MOST_CHANGES && at < all.length - 1) return [...found, left(all.length - at - 1, false)];
  }
  return found;
}

/** A row of bytes, from the place `at` on, in which something has changed.
 * @typedef {{at: number, before: Uint8Array, after: Uint8Array}} Row */

/** @param {Uint8Array} before @param {Uint8Array} after @returns {Row[]} */
export function rows(before, after) {
  /** @type {Row[]} */
  const found = [];
  for (let at = 0; at < Math.max(before.length, after.length) && found.length < MOST_CHANGES / 4; at += ROW) {
    const [one, other] = [before.subarray(at, at + ROW), after.subarray(at, at + ROW)];
    if (one.length !== other.length || one.some((byte, place) => byte !== other[place])) found.push({ at, before: one, after: other });
  }
  return found;
}
