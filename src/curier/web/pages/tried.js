// What went by in a trial, as rows of a sequence diagram.
// @ts-check
import { t } from "./words.js";

/** @typedef {import("./diagram.js").Row} Row */

const BROKER = 1;

/** @type {Row} */
const NONE = { row: "note", time: 0, after: 0, from: 0, to: 0, lane: 0, label: "", note: "", text: "", style: "solid", trouble: false, count: 1 };

/** A packet. @param {import("./mqttclient.js").Gone} gone @param {number} lane @param {number} version @returns {Row} */
export function labelled({ packet, bytes, to_server, fault }, lane, version) {
  const lost = fault?.act === "lose";
  const words = [packet.name];
  if (packet.name === "PUBLISH") words.push(`q${packet.qos}`);
  if (packet.id) words.push(`#${packet.id}`);
  if (packet.dup) words.push("DUP");
  if (packet.topic) words.push(packet.topic);
  const notes = [];
  if (lost) notes.push(t("lost, on purpose"));
  if (fault?.act === "delay") notes.push(t("delayed by {n} s", { n: fault.seconds }));
  if (packet.dup) notes.push(t("sent again"));
  if (packet.name === "CONNACK" && packet.code === 0) notes.push(packet.sessionPresent ? t("its session goes on") : t("a new session"));
  for (const code of [packet.code, ...packet.codes]) if (code >= 0x80 || (packet.name === "CONNACK" && code)) notes.push(`0x${code.toString(16).padStart(2, "0")}`);
  const figures = [...bytes.slice(0, 4096)].map((one) => one.toString(16).padStart(2, "0")).join("");
  return {
    ...NONE, row: "arrow", from: to_server ? lane : BROKER, to: to_server ? BROKER : lane, label: words.join(" "), note: notes.join(", "),
    style: lost ? "lost" : "solid", trouble: lost || packet.dup, bytes: figures, cut: Math.max(0, bytes.length - 4096), version, to_server,
  };
}

/** Something that is no packet, such as the end of a connection. @param {string} text @param {number} lane @returns {Row} */
export function noted(text, lane) {
  return { ...NONE, lane, text, trouble: true };
}
