// Sparkplug B: its published messages (sparkplug_b.proto, version 3 of the specification), metrics by their names.
// @ts-check
import { readMessage } from "./protobuf.js";
import { fraction, text, utf8, whole, word } from "./values.js";

/** @typedef {import("./values.js").Node} Node @typedef {import("./protobuf.js").Found} Found */

/** The kinds of values, from the field `from` on: all messages have them in this order. @param {number} from @param {string[]} more @returns {import("./protobuf.js").Fields} */
function values(from, ...more) {
  const kinds = ["integer", "integer", "float", "double", "truth", "string", ...more];
  return Object.fromEntries(kinds.map((kind, at) => [from + at, ["value", kind]]));
}

/** @type {Record<string, import("./protobuf.js").Fields>} */
const SCHEMA = {
  Payload: { 1: ["timestamp", "integer"], 2: ["metrics", "Metric"], 3: ["seq", "integer"], 4: ["uuid", "string"], 5: ["body", "bytes"] },
  Metric: {
    1: ["name", "string"], 2: ["alias", "integer"], 3: ["timestamp", "integer"], 4: ["type", "integer"],
    5: ["is_historical", "truth"], 6: ["is_transient", "truth"], 7: ["is_null", "truth"], 8: ["metadata", "MetaData"],
    9: ["properties", "PropertySet"], ...values(10, "bytes", "DataSet", "Template"),
  },
  MetaData: {
    1: ["is_multi_part", "truth"], 2: ["content_type", "string"], 3: ["size", "integer"], 4: ["seq", "integer"],
    5: ["file_name", "string"], 6: ["file_type", "string"], 7: ["md5", "string"], 8: ["description", "string"],
  },
  PropertySet: { 1: ["keys", "string"], 2: ["values", "PropertyValue"] },
  PropertyValue: { 1: ["type", "integer"], 2: ["is_null", "truth"], ...values(3, "PropertySet", "PropertySetList") },
  PropertySetList: { 1: ["sets", "PropertySet"] },
  DataSet: { 1: ["num_of_columns", "integer"], 2: ["columns", "string"], 3: ["types", "integer"], 4: ["rows", "Row"] },
  Row: { 1: ["elements", "DataSetValue"] },
  DataSetValue: values(1),
  Template: {
    1: ["version", "string"], 2: ["metrics", "Metric"], 3: ["parameters", "Parameter"], 4: ["template_ref", "string"],
    5: ["is_definition", "truth"],
  },
  Parameter: { 1: ["name", "string"], 2: ["type", "integer"], ...values(3) },
};

const TYPES = ["Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double",
  "Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet",
  "PropertySetList", "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array",
  "UInt64Array", "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray"];
const LONGEST_ARRAY = 4096; // bytes
const BITS = [0, 8, 16, 32, 64]; // of the types with a sign
const TOPIC = /^spBv1\.0\/[^/]+\/(?:[ND](?:BIRTH|DEATH|DATA|CMD))\/[^/]+(?:\/[^/]+)?$/;

/** Whether its topic says that a message is one of Sparkplug B; STATE is JSON. @param {string} topic */
export const isSparkplug = (topic) => TOPIC.test(topic);

/** @param {Uint8Array} data @returns {Node} */
export function readSparkplug(data) {
  return shaped(readMessage(SCHEMA, "Payload", data));
}

/** A message whose fields stand for themselves. @param {Found} found @returns {Node} */
function shaped(found) {
  /** @type {[string, Node][]} */
  const of = [];
  /** @type {Map<string, any[]>} */
  const lists = new Map();
  for (const one of found) {
    const shape = SHAPES[one.name];
    if (!shape) of.push([one.name, one.inner ? shaped(one.inner) : one.node]);
    else if (lists.has(one.name)) lists.get(one.name)?.push(shape(one));
    else {
      lists.set(one.name, [shape(one)]);
      const is = one.name === "metrics" || one.name === "parameters" ? "map" : "list";
      of.push([one.name, /** @type {Node} */ ({ is, of: lists.get(one.name) })]);
    }
  }
  return { is: "map", of };
}

/** What there are many of: each as it is shown. @type {Record<string, (one: Found[number]) => any>} */
const SHAPES = {
  metrics: (one) => metric(one),
  parameters: (one) => metric(one),
  columns: (one) => one.node,
  types: (one) => typeName(one.raw),
  rows: (one) => row(one),
  sets: (one) => properties(one.inner ?? []),
};

/** A metric or parameter, by its name, or by the alias that stands for it. @param {Found[number]} one @returns {[string, Node]} */
function metric(one) {
  const found = one.inner ?? [];
  const last = (/** @type {string} */ name) => found.findLast((part) => part.name === name);
  const name = last("name")?.node;
  const alias = last("alias")?.raw;
  const type = Number(last("type")?.raw ?? 0n);
  const [set, value] = [last("properties"), last("value")];
  /** @type {[string, Node][]} */
  const of = [["value", last("is_null")?.raw || !value ? word("null") : typed(value, type)]];
  if (type) of.push(["type", typeName(BigInt(type))]);
  for (const part of found) {
    if (["name", "type", "value", "is_null", "properties"].includes(part.name)) continue;
    of.push([part.name, part.inner ? shaped(part.inner) : part.node]);
  }
  if (set) of.push(["properties", properties(set.inner ?? [])]);
  return [name?.is === "text" ? name.said : alias === undefined ? "" : `alias ${alias}`, { is: "map", of }];
}

/** @param {bigint} type @returns {Node} */
const typeName = (type) => text(TYPES[Number(type)] ?? String(type));

/** A value as its type has it: those with a sign are sent without one. @param {Found[number]} one @param {number} type @returns {Node} */
function typed(one, type) {
  if (one.inner) return one.inner.some((part) => part.name === "keys") ? properties(one.inner) : shaped(one.inner);
  if (one.node.is === "number" && !/[.e]/.test(one.node.said) && BITS[type]) return whole(BigInt.asIntN(BITS[type], one.raw));
  return one.node.is === "bytes" ? (array(one.node.bytes, TYPES[type] ?? "") ?? one.node) : one.node;
}

/** A set of Properties: their names, and in the same order their values. @param {Found} found @returns {Node} */
function properties(found) {
  const values = found.filter((one) => one.name === "values").map((one) => one.inner ?? []);
  const keys = found.filter((one) => one.name === "keys");
  return { is: "map", of: keys.map((key, at) => [key.node.is === "text" ? key.node.said : "", property(values[at] ?? [])]) };
}

/** @param {Found} found @returns {Node} */
function property(found) {
  const value = found.findLast((part) => part.name === "value");
  if (!value || found.some((part) => part.name === "is_null" && part.raw)) return word("null");
  return typed(value, Number(found.findLast((part) => part.name === "type")?.raw ?? 0n));
}

/** @param {Found[number]} one @returns {Node} */
const row = (one) => ({ is: "list", of: (one.inner ?? []).map((element) => property(element.inner ?? [])) });

/** @type {Record<string, [number, (view: DataView, at: number) => Node]>} */
const ARRAYS = {
  Int8Array: [1, (view, at) => whole(view.getInt8(at))],
  Int16Array: [2, (view, at) => whole(view.getInt16(at, true))],
  Int32Array: [4, (view, at) => whole(view.getInt32(at, true))],
  Int64Array: [8, (view, at) => whole(view.getBigInt64(at, true))],
  UInt8Array: [1, (view, at) => whole(view.getUint8(at))],
  UInt16Array: [2, (view, at) => whole(view.getUint16(at, true))],
  UInt32Array: [4, (view, at) => whole(view.getUint32(at, true))],
  UInt64Array: [8, (view, at) => whole(view.getBigUint64(at, true))],
  DateTimeArray: [8, (view, at) => whole(view.getBigInt64(at, true))],
  FloatArray: [4, (view, at) => fraction(view.getFloat32(at, true), true)],
  DoubleArray: [8, (view, at) => fraction(view.getFloat64(at, true))],
};

/** Section 6.4.17 of the specification; null where it is no array. @param {Uint8Array} bytes @param {string} type @returns {Node | null} */
function array(bytes, type) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type in ARRAYS) {
    const [length, read] = ARRAYS[type];
    if (bytes.length % length || bytes.length > LONGEST_ARRAY) return null;
    return { is: "list", of: Array.from({ length: bytes.length / length }, (unused, at) => read(view, at * length)) };
  }
  if (type === "BooleanArray" && bytes.length >= 4) {
    const count = view.getUint32(0, true);
    if (bytes.length - 4 !== Math.ceil(count / 8) || count > LONGEST_ARRAY) return null;
    const bit = (/** @type {number} */ at) => (bytes[4 + (at >> 3)] >> (7 - (at & 7))) & 1;
    return { is: "list", of: Array.from({ length: count }, (unused, at) => word(bit(at) ? "true" : "false")) };
  }
  const said = type === "StringArray" && bytes.at(-1) === 0 && bytes.length <= LONGEST_ARRAY ? utf8(bytes) : null;
  return said === null ? null : { is: "list", of: said.slice(0, -1).split("\0").map(text) };
}
