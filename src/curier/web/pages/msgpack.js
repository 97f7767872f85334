// MessagePack, by its published specification: one value, and nothing behind it.
// @ts-check
import { brief, fraction, Reader, text, Unreadable, utf8, whole, word } from "./values.js";

/** @typedef {import("./values.js").Node} Node */

const TIMESTAMP = -1; // a type that the specification has given a meaning to

/** @param {Uint8Array} data @returns {Node} */
export function readMessagePack(data) {
  const reader = new Reader(data);
  const node = value(reader, 0);
  reader.end();
  return node;
}

/** @param {Reader} reader @param {number} depth @returns {Node} */
function value(reader, depth) {
  reader.node(depth);
  const first = reader.byte();
  if (first < 0x80) return whole(first);
  if (first < 0x90) return map(reader, first & 15, depth);
  if (first < 0xa0) return list(reader, first & 15, depth);
  if (first < 0xc0) return string(reader.take(first & 31));
  if (first >= 0xe0) return whole(first - 256);
  if (first >= 0xdc) {
    const count = reader.unsigned(first & 1 ? 4 : 2);
    return first < 0xde ? list(reader, count, depth) : map(reader, count, depth);
  }
  if (first >= 0xd9) return string(reader.take(reader.unsigned(2 ** (first - 0xd9))));
  if (first >= 0xd4) return extension(reader, 2 ** (first - 0xd4));
  if (first >= 0xca) return number(reader, first);
  if (first >= 0xc7) return extension(reader, reader.unsigned(2 ** (first - 0xc7)));
  if (first >= 0xc4) return { is: "bytes", bytes: reader.take(reader.unsigned(2 ** (first - 0xc4))) };
  if (first === 0xc1) throw new Unreadable("wrong", reader.at - 1); // never used
  return word(first === 0xc0 ? "null" : first === 0xc2 ? "false" : "true");
}

/** @param {Reader} reader @param {number} first @returns {Node} */
function number(reader, first) {
  if (first === 0xca) return fraction(reader.view.getFloat32(reader.skip(4)), true);
  if (first === 0xcb) return fraction(reader.view.getFloat64(reader.skip(8)));
  if (first < 0xd0) return whole(reader.unsigned(2 ** (first - 0xcc)));
  const bytes = 2 ** (first - 0xd0);
  return whole(BigInt.asIntN(8 * bytes, BigInt(reader.unsigned(bytes))));
}

/** A string need not be text: then it is shown as what it is. @param {Uint8Array} bytes @returns {Node} */
function string(bytes) {
  const said = utf8(bytes);
  return said === null ? { is: "bytes", bytes } : text(said);
}

/** @param {Reader} reader @param {number | bigint} count @param {number} depth @returns {Node} */
function list(reader, count, depth) {
  /** @type {Node[]} */
  const of = [];
  for (let at = 0; at < count; at += 1) of.push(value(reader, depth + 1));
  return { is: "list", of };
}

/** @param {Reader} reader @param {number | bigint} count @param {number} depth @returns {Node} */
function map(reader, count, depth) {
  /** @type {[string, Node, string?][]} */
  const of = [];
  for (let at = 0; at < count; at += 1) {
    const key = value(reader, depth + 1);
    const one = value(reader, depth + 1);
    of.push(key.is === "text" ? [key.said, one] : [brief(key, 200), one, brief(key, 200)]);
  }
  return { is: "map", of };
}

/** @param {Reader} reader @param {number | bigint} length @returns {Node} */
function extension(reader, length) {
  const type = reader.view.getInt8(reader.skip(1));
  const bytes = reader.take(length);
  const time = type === TIMESTAMP ? timestamp(bytes) : null;
  return time ? { is: "tagged", said: "time", of: text(time) } : { is: "tagged", said: `ext ${type}, `, of: { is: "bytes", bytes } };
}

/** A point in time, to the nanosecond; null where it is none. @param {Uint8Array} bytes */
function timestamp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let seconds;
  let nanoseconds = 0;
  if (bytes.length === 4) seconds = BigInt(view.getUint32(0));
  else if (bytes.length === 8) {
    nanoseconds = view.getUint32(0) >>> 2;
    seconds = view.getBigUint64(0) & 0x3_ffff_ffffn;
  } else if (bytes.length === 12) {
    nanoseconds = view.getUint32(0);
    seconds = view.getBigInt64(4);
  } else return null;
  const date = new Date(Number(seconds) * 1000);
  if (nanoseconds > 999_999_999 || Number.isNaN(date.getTime())) return null;
  const part = nanoseconds ? `.${String(nanoseconds).padStart(9, "0").replace(/0+$/, "")}` : "";
  return date.toISOString().replace(/\.000Z$/, `${part}Z`);
}
