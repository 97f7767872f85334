// Protocol Buffers, as much as Sparkplug B needs: messages, by a table of their fields.
// @ts-check
import { fraction, Reader, text, Unreadable, utf8, whole, word } from "./values.js";

/** @typedef {import("./values.js").Node} Node */

/** By the number of a field: its name, and its kind. What is no kind of NATURES is the name of another message.
 * @typedef {Record<number, [string, string]>} Fields */

/** What was found, in order; `is_known`: the schema has the field. @typedef {{name: string, node: Node, raw: bigint, inner?: Found}[]} Found */

const VARINT = 0;
const LONG = 1;
const BYTES = 2;
const SHORT = 5;
/** @type {Record<string, number>} */
const NATURES = { integer: VARINT, truth: VARINT, float: SHORT, double: LONG, string: BYTES, bytes: BYTES };
const LONGEST_VARINT = 10; // bytes

/**
 * A message; fields that the schema has not are there by their numbers.
 * @param {Record<string, Fields>} schema @param {string} name @param {Uint8Array} data @returns {Found}
 */
export function readMessage(schema, name, data) {
  return message(schema, name, new Reader(data), data.length, 0);
}

/** @param {Record<string, Fields>} schema @param {string} name @param {Reader} reader @param {number} end @param {number} depth @returns {Found} */
function message(schema, name, reader, end, depth) {
  /** @type {Found} */
  const found = [];
  while (reader.at < end) {
    reader.node(depth);
    const { at } = reader;
    const key = varint(reader);
    const number = Number(key >> 3n);
    const type = Number(key & 7n);
    if (number === 0 || number > 0x1fff_ffff) throw new Unreadable("wrong", at);
    const [called, kind] = schema[name][number] ?? [`? ${number}`, ""];
    const length = type === BYTES ? varint(reader) : 0n;
    if (type === BYTES && length > end - reader.at) throw new Unreadable("ends", reader.at);
    if (type === BYTES && kind in schema) {
      const inner = message(schema, kind, reader, reader.at + Number(length), depth + 1);
      found.push({ name: called, node: word("null"), raw: 0n, inner });
    } else if (type === BYTES && kind === "integer") {
      for (const last = reader.at + Number(length); reader.at < last; ) { // many in one, which readers have to take
        reader.node(depth);
        const raw = varint(reader);
        found.push({ name: called, node: whole(raw), raw });
      }
    } else found.push({ name: NATURES[kind] === type ? called : `? ${number}`, ...single(reader, type, NATURES[kind] === type ? kind : "", length) });
  }
  if (reader.at > end) throw new Unreadable("wrong", end);
  return found;
}

/** @param {Reader} reader @param {number} type @param {string} kind @param {bigint} length @returns {{node: Node, raw: bigint}} */
function single(reader, type, kind, length) {
  if (type === VARINT) {
    const raw = varint(reader);
    return { node: kind === "truth" ? word(raw ? "true" : "false") : whole(raw), raw };
  }
  if (type === LONG) {
    const at = reader.skip(8);
    return { node: kind ? fraction(reader.view.getFloat64(at, true)) : whole(reader.view.getBigUint64(at, true)), raw: 0n };
  }
  if (type === SHORT) {
    const at = reader.skip(4);
    return { node: kind ? fraction(reader.view.getFloat32(at, true), true) : whole(reader.view.getUint32(at, true)), raw: 0n };
  }
  if (type !== BYTES) throw new Unreadable("wrong", reader.at - 1); // groups, which nobody writes any more
  const bytes = reader.take(length);
  const said = kind === "string" ? utf8(bytes) : null;
  return { node: said === null ? { is: "bytes", bytes } : text(said), raw: 0n };
}

/** @param {Reader} reader @returns {bigint} of 64 bits */
function varint(reader) {
  let value = 0n;
  for (let at = 0; at < LONGEST_VARINT; at += 1) {
    const byte = reader.byte();
    value |= BigInt(byte & 127) << BigInt(7 * at);
    if (byte < 128) return BigInt.asUintN(64, value);
  }
  throw new Unreadable("wrong", reader.at - 1);
}
