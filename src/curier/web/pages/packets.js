// Control Packets of MQTT 3.1.1 and 5.0, as far as a client needs them that somebody tries things out with.
// @ts-check

export const NAMES = ["", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
  "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"];

/**
 * @typedef {{name: string, id: number, qos: number, dup: boolean, retain: boolean, topic: string, payload: Uint8Array,
 *   code: number, codes: number[], sessionPresent: boolean}} Packet what a packet does not have is 0, "" or empty
 * @typedef {{clientId: string, user: string, password: string, version: number, expiry: number, keepAlive: number}} Connect
 */

const SESSION_EXPIRY = 0x11;
const utf8 = new TextEncoder();
const text = new TextDecoder();

/** @param {number} value */
const two = (value) => [value >> 8, value & 255];

/** @param {number} value a Variable Byte Integer */
export function varint(value) {
  const bytes = [];
  let rest = value;
  do {
    bytes.push((rest % 128) | (rest > 127 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest);
  return bytes;
}

/** @param {string} said with its length in front */
function string(said) {
  const bytes = utf8.encode(said);
  return [...two(bytes.length), ...bytes];
}

/** @param {number} first @param {number[]} head @param {Uint8Array} [rest] */
function packet(first, head, rest = new Uint8Array(0)) {
  return Uint8Array.from([first, ...varint(head.length + rest.length), ...head, ...rest]);
}

/**
 * A CONNECT that keeps its session: Clean Start is 0, in 5.0 with a Session Expiry Interval.
 * @param {Connect} about @param {boolean} [hidden] with zeros for the password
 */
export function connect({ clientId, user, password, version, expiry, keepAlive }, hidden = false) {
  const flags = (user ? 0x80 : 0) | (password ? 0x40 : 0);
  const properties = version === 5 ? [5, SESSION_EXPIRY, ...two(expiry >>> 16), ...two(expiry & 65535)] : [];
  const secret = string(password);
  return packet(0x10, [
    ...string("MQTT"), version, flags, ...two(keepAlive), ...properties, ...string(clientId),
    ...(user ? string(user) : []), ...(password ? (hidden ? secret.map((one, at) => (at < 2 ? one : 0)) : secret) : []),
  ]);
}

/** @param {{id: number, qos: number, dup?: boolean, retain: boolean, topic: string, payload: Uint8Array}} message @param {number} version */
export function publish({ id, qos, dup = false, retain, topic, payload }, version) {
  const head = [...string(topic), ...(qos ? two(id) : []), ...(version === 5 ? [0] : [])];
  return packet(0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0), head, payload);
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP. @param {string} name @param {number} id @param {number} code @param {number} version */
export function acknowledge(name, id, code, version) {
  return packet((NAMES.indexOf(name) << 4) | (name === "PUBREL" ? 2 : 0), [...two(id), ...(code && version === 5 ? [code] : [])]);
}

/** @param {number} id @param {string} filter @param {number} qos @param {number} version */
export function subscribe(id, filter, qos, version) {
  return packet(0x82, [...two(id), ...(version === 5 ? [0] : []), ...string(filter), qos]);
}

export const PINGREQ = packet(0xc0, []);
export const DISCONNECT = packet(0xe0, []);

/**
 * The first packet of some bytes, and where it ends; null where it is not whole. Raises `Error` for what is none.
 * @param {Uint8Array} bytes @returns {{first: number, start: number, end: number} | null}
 */
export function framed(bytes) {
  let size = 0;
  for (let at = 1; at < 5; at += 1) {
    if (at >= bytes.length) return null;
    size += (bytes[at] & 127) * 128 ** (at - 1);
    if (bytes[at] < 128) return at + 1 + size > bytes.length ? null : { first: bytes[0], start: at + 1, end: at + 1 + size };
  }
  throw new Error("a Remaining Length of more than four bytes");
}

/** A packet of a server, or of a client, as far as it is of interest here. @param {Uint8Array} bytes one whole packet @param {number} version @returns {Packet} */
export function parsed(bytes, version) {
  const at = framed(bytes);
  if (!at) throw new Error("a packet is not whole");
  const { first, start, end } = at;
  const name = NAMES[first >> 4];
  /** @type {Packet} */
  const found = { name, id: 0, qos: 0, dup: false, retain: false, topic: "", payload: new Uint8Array(0), code: 0, codes: [], sessionPresent: false };
  const number = (/** @type {number} */ where) => (bytes[where] << 8) | bytes[where + 1];
  const behind = (/** @type {number} */ where) => { // the Properties there
    if (version !== 5 || where >= end) return where;
    let size = 0;
    let from = where;
    do size += (bytes[from] & 127) * 128 ** (from - where); while (bytes[from++] > 127);
    return from + size;
  };
  if (name === "CONNACK") {
    found.sessionPresent = (bytes[start] & 1) === 1;
    found.code = bytes[start + 1];
  } else if (name === "PUBLISH") {
    found.qos = (first >> 1) & 3;
    found.dup = (first & 8) > 0;
    found.retain = (first & 1) > 0;
    let from = start + 2 + number(start);
    found.topic = text.decode(bytes.slice(start + 2, from));
    if (found.qos) {
      found.id = number(from);
      from += 2;
    }
    found.payload = bytes.slice(behind(from), end);
  } else if (["PUBACK", "PUBREC", "PUBREL", "PUBCOMP"].includes(name)) {
    found.id = number(start);
    found.code = end > start + 2 ? bytes[start + 2] : 0;
  } else if (name === "SUBSCRIBE") found.id = number(start);
  else if (name === "SUBACK" || name === "UNSUBACK") {
    found.id = number(start);
    found.codes = [...bytes.slice(behind(start + 2), end)];
  } else if (name === "DISCONNECT") found.code = end > start ? bytes[start] : 0;
  return found;
}
