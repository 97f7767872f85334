// What a payload says, whatever form it has: one kind of tree for JSON, CBOR, MessagePack and Sparkplug B.
// Numbers are kept as they are written, and keys that are there twice are there twice.
// @ts-check

/**
 * The third part of an entry is how its key is written, where it is no text.
 * @typedef {{is: "map", of: [string, Node, string?][]} | {is: "list", of: Node[]} | {is: "number", said: string}
 *   | {is: "text", said: string} | {is: "word", said: string} | {is: "bytes", bytes: Uint8Array}
 *   | {is: "tagged", said: string, of: Node}} Node
 */

export const DEEPEST = 100; // levels
export const MOST_NODES = 50_000;
const MOST_BYTES = 1024; // of one string of bytes that are written
const MOST_CHARACTERS = 300_000; // of a value that is written

/** Bytes that are not what they were taken for. `reason` is one of those that `why` of payload.js has words for. */
export class Unreadable extends Error {
  /** @param {"ends" | "wrong" | "more" | "deep" | "many"} reason @param {number} at which byte */
  constructor(reason, at) {
    super(reason);
    this.reason = reason;
    this.at = at;
  }
}

/** @param {string} said @returns {Node} */
export const word = (said) => ({ is: "word", said });

/** @param {string} said @returns {Node} */
export const text = (said) => ({ is: "text", said });

/** @param {bigint | number} value a whole number @returns {Node} */
export const whole = (value) => ({ is: "number", said: String(value) });

/** A number with a point, or what is none. @param {number} value @param {boolean} [single] of 32 bits @returns {Node} */
export function fraction(value, single = false) {
  if (!Number.isFinite(value)) return word(String(value));
  let said = Object.is(value, -0) ? "-0" : String(value);
  for (let digits = 1; single && digits < 10; digits += 1) {
    if (Math.fround(Number(value.toPrecision(digits))) !== value) continue;
    said = Object.is(value, -0) ? "-0" : String(Number(value.toPrecision(digits)));
    break;
  }
  return { is: "number", said: /[.e]/.test(said) ? said : `${said}.0` };
}

/** Bytes from the first on, each looked at once; it counts what it finds. */
export class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = 0;
    this.nodes = 0;
  }

  /** One more value. @param {number} depth */
  node(depth) {
    this.nodes += 1;
    if (depth > DEEPEST) throw new Unreadable("deep", this.at);
    if (this.nodes > MOST_NODES) throw new Unreadable("many", this.at);
  }

  /** Where so many bytes begin, behind which it goes on. @param {number | bigint} length */
  skip(length) {
    if (length > this.data.length - this.at) throw new Unreadable("ends", this.data.length);
    const { at } = this;
    this.at += Number(length);
    return at;
  }

  /** @param {number | bigint} length */
  take(length) {
    const at = this.skip(length);
    return this.data.subarray(at, this.at);
  }

  byte() {
    return this.data[this.skip(1)];
  }

  /** A number of 1, 2, 4 or 8 bytes without a sign, the highest first. @param {number} length */
  unsigned(length) {
    const at = this.skip(length);
    if (length === 8) return this.view.getBigUint64(at);
    return length === 4 ? this.view.getUint32(at) : length === 2 ? this.view.getUint16(at) : this.data[at];
  }

  /** It must end here. */
  end() {
    if (this.at < this.data.length) throw new Unreadable("more", this.at);
  }
}

/** @typedef {{size: number, shown: number, text: string | null, base64: string | null}} Payload */

/** The bytes of a payload, as far as they are here. @param {Payload} payload @returns {Uint8Array} */
export function bytesOf(payload) {
  if (payload.base64 === null || payload.base64 === undefined) return new TextEncoder().encode(payload.text ?? "");
  return Uint8Array.from(atob(payload.base64), (one) => one.charCodeAt(0));
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text; null where they are none. @param {Uint8Array} bytes */
export function utf8(bytes) {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}

/** @param {Uint8Array} bytes */
export function written(bytes) {
  const figures = [...bytes.subarray(0, MOST_BYTES)].map((one) => one.toString(16).padStart(2, "0")).join("");
  return bytes.length > MOST_BYTES ? `h'${figures}…' /* ${bytes.length} B */` : `h'${figures}'`;
}

/**
 * A value as JSON in lines; what JSON has not is written as section 8 of RFC 8949 writes it: h'00ff', 32("tag").
 * @param {Node} node @returns {{said: string, is_all: boolean}}
 */
export function laidOut(node) {
  /** @type {string[]} */
  const parts = [];
  let length = 0;
  const put = (/** @type {string} */ part) => {
    parts.push(part);
    length += part.length;
  };
  write(node, 0, put, () => length > MOST_CHARACTERS);
  return { said: parts.join(""), is_all: length <= MOST_CHARACTERS };
}

/** @param {Node} node @param {number} depth @param {(part: string) => void} put @param {() => boolean} full */
function write(node, depth, put, full) {
  if (node.is === "text") put(JSON.stringify(node.said));
  else if (node.is === "bytes") put(written(node.bytes));
  else if (node.is === "tagged") {
    put(`${node.said}(`);
    write(node.of, depth, put, full);
    put(")");
  } else if (node.is === "map" || node.is === "list") {
    const [first, last] = node.is === "map" ? "{}" : "[]";
    const indent = "  ".repeat(Math.min(depth, 40));
    put(first);
    for (let number = 0; number < node.of.length && !full(); number += 1) {
      put(`${number ? "," : ""}\n${indent}  `);
      const one = node.of[number];
      if (Array.isArray(one)) put(`${one[2] ?? JSON.stringify(one[0])}: `);
      write(Array.isArray(one) ? one[1] : one, depth + 1, put, full);
    }
    put(node.of.length ? `\n${indent}${last}` : last);
  } else put(node.said);
}

/** A value within a line. @param {Node | undefined} node @param {number} [most] characters */
export function brief(node, most = 60) {
  if (!node) return "";
  const said = laidOut(node).said.replace(/\n */g, " ");
  return said.length > most ? `${said.slice(0, most)}…` : said;
}

/** @typedef {string[]} Path keys of maps and places in lists, from the outermost on */

/** Where something stands, as RFC 6901 (JSON Pointer) writes it. @param {Path} path */
export const pointer = (path) => path.map((one) => `/${one.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** @param {string} said @returns {Path} */
export const pathOf = (said) => said.split("/").slice(1).map((one) => one.replaceAll("~1", "/").replaceAll("~0", "~"));

/** What stands there; of keys that are there twice, the first. @param {Node | undefined} node @param {Path} path @returns {Node | undefined} */
export function within(node, path) {
  let found = node;
  for (const key of path) {
    while (found?.is === "tagged") found = found.of;
    if (found?.is === "map") found = found.of.find((one) => one[0] === key)?.[1];
    else if (found?.is === "list") found = /^\d+$/.test(key) ? found.of[Number(key)] : undefined;
    else return undefined;
  }
  return found;
}

/** What stands below a value. @param {Node} node @returns {[string, Node][]} */
export function below(node) {
  if (node.is === "tagged") return below(node.of);
  if (node.is === "map") return node.of.map(([key, one]) => [key, one]);
  return node.is === "list" ? node.of.map((one, at) => [String(at), one]) : [];
}

const ON = ["true", "on", "open", "yes", "up", "online", "connected", "active", "home", "detected", "unlocked"];
const OFF = ["false", "off", "closed", "no", "down", "offline", "disconnected", "inactive", "away", "clear", "locked"];
const FIGURE = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\s*[^\d\s.,:;/-][^\d,:;]{0,7})?\s*$/u;

/**
 * What can be drawn of a value: a number, also one that is written as text or with its unit; or a state, as 0 or 1.
 * @param {Node | undefined} node @returns {{value: number, is_state: boolean} | null}
 */
export function figure(node) {
  if (!node) return null;
  if (node.is === "tagged") return figure(node.of);
  if (node.is === "number") return drawn(Number(node.said), false);
  if (node.is !== "text" && node.is !== "word") return null;
  const said = node.said.trim().toLowerCase();
  if (ON.includes(said)) return drawn(1, true);
  if (OFF.includes(said)) return drawn(0, true);
  const found = node.said.length < 64 ? FIGURE.exec(node.said) : null;
  return found ? drawn(Number(found[1]), false) : null;
}

/** @param {number} value @param {boolean} is_state */
const drawn = (value, is_state) => (Number.isFinite(value) ? { value, is_state } : null);

/** What can be drawn in a value, the first so many. @param {Node} node @param {number} most @returns {Path[]} */
export function drawable(node, most) {
  /** @type {Path[]} */
  const found = [];
  let looked = 0;
  const walk = (/** @type {Node} */ one, /** @type {Path} */ path) => {
    looked += 1;
    if (found.length >= most || looked > 5000) return;
    if (figure(one)) found.push(path);
    for (const [key, inner] of below(one)) {
      if (found.length >= most || looked > 5000) return;
      walk(inner, [...path, key]);
    }
  };
  walk(node, []);
  return found;
}
