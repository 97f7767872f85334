// Numbers, sizes, times, and what strangers have chosen: names, topics and payloads.
// @ts-check
import { language } from "./words.js";

export { count } from "./words.js";

/** A rate: three figures are enough. @param {number} value per second */
export function rate(value) {
  const digits = value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : 2;
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]; // of 1024, as everywhere in curier

/** @param {number} bytes */
export function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value)} ${UNITS[unit]}`;
}

/** A length of time: its two largest parts. @param {number} seconds */
export function length(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  /** @type {[number, string][]} */
  const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
  const first = parts.findIndex(([value]) => value > 0);
  return parts.slice(first, first + 2).filter(([value]) => value > 0).map(([value, unit]) => `${value} ${unit}`).join(" ");
}

/** A moment in this browser's zone, which is named. @param {number} time seconds since 1970 */
export function moment(time) {
  return new Intl.DateTimeFormat(language.value, {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZoneName: "short",
  }).format(new Date(time * 1000));
}

// What cannot be seen, or turns the text around it: control characters, those of direction, of no width (but
// what joins emoji), and halves of characters.
const UNSEEN = /(?<!\p{Extended_Pictographic}\ufe0f?)\u200d|[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]/gu;

/** A name as it can be read: what cannot be seen is said in figures. @param {string} text */
export function visible(text) {
  return text.replace(UNSEEN, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Bytes beside their places and what they are as letters. @param {Uint8Array} bytes */
export function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.slice(at, at + 16)];
    const figures = row.map((one) => one.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const letters = row.map((one) => (one >= 32 && one < 127 ? String.fromCharCode(one) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${figures}  ${letters}`);
  }
  return lines.join("\n");
}
