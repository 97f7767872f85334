// What form a payload has, and what it says in it. Nothing here throws, whatever a stranger has sent.
// @ts-check
import { readCbor } from "./cbor.js";
import { readJson } from "./json.js";
import { readMessagePack } from "./msgpack.js";
import { isSparkplug, readSparkplug } from "./sparkplug.js";
import { bytesOf, Unreadable, utf8 } from "./values.js";

/** @typedef {import("./values.js").Node} Node @typedef {"json" | "text" | "hex" | "cbor" | "msgpack" | "sparkplug"} Form */

/** @type {Record<Form, string>} */
export const NAMES = { json: "JSON", text: "Text", hex: "Hex", cbor: "CBOR", msgpack: "MessagePack", sparkplug: "Sparkplug B" };

/** A payload in a form: what it says, or what is wrong with it, and where. @typedef {{form: Form, node?: Node, text?: string, fault?: Unreadable}} Read */

/** @type {[RegExp, Form][]} */
const TYPES = [
  [/^(application|text)\/([\w.-]+\+)?json\b/i, "json"],
  [/^application\/([\w.-]+\+)?cbor\b/i, "cbor"],
  [/^application\/(x-|vnd\.|[\w.-]+\+)?msgpack\b/i, "msgpack"],
  [/^text\//i, "text"],
];

/**
 * A whole payload in the form that was chosen, or in the one that it has most likely.
 * @param {{bytes: Uint8Array, topic: string, content_type: string}} payload @param {Form | ""} chosen
 * @returns {Read}
 */
export function read(payload, chosen) {
  if (chosen) return as(payload.bytes, chosen);
  const said = TYPES.find(([type]) => type.test(payload.content_type))?.[1] ?? (isSparkplug(payload.topic) ? "sparkplug" : "");
  const found = said ? as(payload.bytes, said) : guessed(payload.bytes);
  return found.fault ? guessed(payload.bytes) : found;
}

/** @param {Uint8Array} bytes @param {Form} form @returns {Read} */
export function as(bytes, form) {
  try {
    if (form === "hex") return { form };
    if (form === "cbor") return { form, node: readCbor(bytes) };
    if (form === "msgpack") return { form, node: readMessagePack(bytes) };
    if (form === "sparkplug") return { form, node: readSparkplug(bytes) };
    const text = utf8(bytes);
    if (text === null) throw new Unreadable("wrong", 0);
    return form === "text" ? { form, text } : { form, text, node: readJson(text) };
  } catch (error) {
    return { form, fault: error instanceof Unreadable ? error : new Unreadable("wrong", 0) };
  }
}

/** @param {Uint8Array} bytes @returns {Read} */
function guessed(bytes) {
  const text = utf8(bytes);
  if (text !== null && !/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) {
    const json = /^\s*[{[]/.test(text) ? as(bytes, "json") : null;
    return json?.node ? json : { form: "text", text };
  }
  // Almost any bytes are a number or a string of both: only what is a list or a map, to its last byte, is taken for one.
  const first = bytes[0];
  const marked = bytes[0] === 0xd9 && bytes[1] === 0xd9 && bytes[2] === 0xf7; // RFC 8949 section 3.4.6
  const cbor = marked || (first >= 0x80 && first <= 0xbf) ? as(bytes, "cbor") : null;
  const packed = (first >= 0x80 && first <= 0x9f) || (first >= 0xdc && first <= 0xdf) ? as(bytes, "msgpack") : null;
  if (packed?.node && (!cbor?.node || hasNames(packed.node))) return packed;
  return cbor?.node ? cbor : { form: "hex" };
}

/** @param {Node} node */
const hasNames = (node) => node.is === "map" && node.of.length > 0 && node.of.every((one) => one[2] === undefined);

/** The payload of an answer of the API, read; only what is there whole is more than text or bytes.
 * @param {{topic: string, content_type?: string, payload: import("./values.js").Payload}} message @param {Form | ""} chosen @returns {Read} */
export function readMessageOf(message, chosen) {
  const { payload } = message;
  const bytes = bytesOf(payload);
  if (payload.shown === payload.size) return read({ bytes, topic: message.topic, content_type: message.content_type ?? "" }, chosen);
  const is_text = payload.text !== null && payload.text !== undefined;
  if (chosen === "hex" || !is_text) return { form: "hex", fault: chosen && chosen !== "hex" ? new Unreadable("ends", payload.shown) : undefined };
  return { form: "text", text: payload.text ?? "", fault: chosen && chosen !== "text" ? new Unreadable("ends", payload.shown) : undefined };
}
