// CBOR (RFC 8949): one well-formed value, and nothing behind it.
// @ts-check
import { brief, fraction, Reader, text, Unreadable, utf8, whole, word } from "./values.js";

/** @typedef {import("./values.js").Node} Node */

const SELF_DESCRIBED = 55799; // section 3.4.6
const LARGEST_INTEGER = 64; // bytes of one that is shown in figures
const ENDLESS = -1;
const WORDS = ["false", "true", "null", "undefined"];
/** @type {Node} */
const BREAK = word("break");

/** @param {Uint8Array} data @returns {Node} */
export function readCbor(data) {
  const reader = new Reader(data);
  const node = value(reader, 0);
  if (node === BREAK) throw new Unreadable("wrong", 0);
  reader.end();
  return node;
}

/** A value that is no break. @param {Reader} reader @param {number} depth */
function inner(reader, depth) {
  const { at } = reader;
  const node = value(reader, depth);
  if (node === BREAK) throw new Unreadable("wrong", at);
  return node;
}

/** Section 3: the first three bits are the kind, the other five a number or how long that is. @param {Reader} reader @param {number} depth @returns {Node} */
function value(reader, depth) {
  reader.node(depth);
  const { at } = reader;
  const first = reader.byte();
  const kind = first >> 5;
  if (kind === 7) return simple(reader, first & 31);
  const number = argument(reader, first & 31);
  if (number === ENDLESS && (kind < 2 || kind === 6)) throw new Unreadable("wrong", at);
  if (kind === 0) return whole(number);
  if (kind === 1) return whole(-1n - BigInt(number));
  if (kind === 2) return { is: "bytes", bytes: string(reader, kind, number) };
  if (kind === 3) return text(utf8(string(reader, kind, number)) ?? wrong(at));
  if (kind === 4) return { is: "list", of: [...items(reader, number, depth)] };
  if (kind === 5) return { is: "map", of: [...entries(reader, number, depth)] };
  return tagged(number, inner(reader, depth + 1));
}

/** @param {number} at @returns {never} */
function wrong(at) {
  throw new Unreadable("wrong", at);
}

/** @param {Reader} reader @param {number} bits @returns {number | bigint} */
function argument(reader, bits) {
  if (bits < 24) return bits;
  if (bits === 31) return ENDLESS;
  if (bits > 27) return wrong(reader.at - 1);
  return reader.unsigned(2 ** (bits - 24));
}

/** Section 3.2.3: an endless string is pieces of its own kind, each with a length. @param {Reader} reader @param {number} kind @param {number | bigint} length @returns {Uint8Array} */
function string(reader, kind, length) {
  if (length !== ENDLESS) return reader.take(length);
  /** @type {Uint8Array[]} */
  const pieces = [];
  for (let first = reader.byte(); first !== 0xff; first = reader.byte()) {
    reader.node(0);
    const size = first >> 5 === kind ? argument(reader, first & 31) : ENDLESS;
    if (size === ENDLESS) wrong(reader.at - 1);
    const piece = reader.take(size);
    if (kind === 3 && utf8(piece) === null) wrong(reader.at - piece.length);
    pieces.push(piece);
  }
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** @param {Reader} reader @param {number | bigint} count @param {number} depth */
function* items(reader, count, depth) {
  for (let number = 0; count === ENDLESS || number < count; number += 1) {
    const node = count === ENDLESS ? value(reader, depth + 1) : inner(reader, depth + 1);
    if (node === BREAK) return;
    yield node;
  }
}

/** @param {Reader} reader @param {number | bigint} count @param {number} depth @returns {Generator<[string, Node, string?]>} */
function* entries(reader, count, depth) {
  for (const key of items(reader, count, depth)) {
    const one = inner(reader, depth + 1);
    yield key.is === "text" ? [key.said, one] : [brief(key, 200), one, brief(key, 200)];
  }
}

/** @param {number | bigint} number @param {Node} node @returns {Node} */
function tagged(number, node) {
  const tag = Number(number);
  if (tag === SELF_DESCRIBED) return node;
  if ((tag === 2 || tag === 3) && node.is === "bytes" && node.bytes.length <= LARGEST_INTEGER) {
    let integer = 0n; // section 3.4.3
    for (const byte of node.bytes) integer = (integer << 8n) | BigInt(byte);
    return whole(tag === 2 ? integer : -1n - integer);
  }
  return { is: "tagged", said: String(number), of: node };
}

/** Section 3.3. @param {Reader} reader @param {number} bits @returns {Node} */
function simple(reader, bits) {
  if (bits === 31) return BREAK;
  if (bits === 27) return fraction(reader.view.getFloat64(reader.skip(8)));
  if (bits === 26) return fraction(reader.view.getFloat32(reader.skip(4)), true);
  if (bits === 25) return fraction(half(reader.view.getUint16(reader.skip(2))), true);
  if (bits > 27) return wrong(reader.at - 1);
  const number = bits === 24 ? reader.byte() : bits;
  if (bits === 24 && number < 32) return wrong(reader.at - 1);
  return word(WORDS[number - 20] ?? `simple(${number})`);
}

/** A number of 16 bits, after appendix D. @param {number} bits */
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const rest = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * rest * 2 ** -24;
  if (exponent === 31) return rest ? NaN : sign * Infinity;
  return sign * (rest + 1024) * 2 ** (exponent - 25);
}
