// The language of the pages: English is the key, so that a sentence without a translation still says something.
// @ts-check
import { filled } from "./filling.js";
import { signal } from "./html.js";
import { ro as views } from "./words.ro.js";
import { ro as cluster } from "./words.cluster.ro.js";
import { ro as keeping } from "./words.keeping.ro.js";
import { ro as topics } from "./words.topics.ro.js";
import { ro as trying } from "./words.try.ro.js";

/** @type {Record<string, string>} */
const ro = { ...views, ...cluster, ...keeping, ...topics, ...trying };

const KEPT = "curier.language";

/** "en" or "ro". */
export const language = signal(kept(KEPT) ?? (navigator.language.startsWith("ro") ? "ro" : "en"));

/** @param {string} chosen */
export function speak(chosen) {
  language.value = chosen;
  keep(KEPT, chosen);
  document.documentElement.lang = chosen;
}

/** 12 345 as the language has it. @param {number} value */
export function count(value) {
  return new Intl.NumberFormat(language.value).format(value);
}

/**
 * A sentence, with what stands in braces filled in.
 * @param {string} text @param {Record<string, string | number>} [fill]
 */
export function t(text, fill) {
  const said = language.value === "ro" ? (ro[text] ?? text) : text;
  return fill ? filled(said, fill, count) : said;
}

/** What this browser remembers, if it does. @param {string} name */
export function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // a browser that keeps nothing
  }
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // it is remembered until the page goes
  }
}
