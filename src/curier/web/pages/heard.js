// What is retained on a topic, and what can be drawn of it.
// @ts-check
import { now } from "./api.js";
import { useAnswer } from "./asking.js";
import { useRef } from "./html.js";
import { hear, past } from "./past.js";
import { usePinned } from "./pinned.js";
import { readMessageOf } from "./recognising.js";
import { brief, figure, pathOf, within } from "./values.js";

/** @typedef {import("./payload.js").Message} Message @typedef {import("./past.js").Value} Value */

const EVERY = 1; // seconds

/**
 * What is retained on a topic (`data`), the newest that is known there, and what came before: as pinned, or while somebody looked.
 * @param {string} topic @param {number} limit bytes of a payload
 */
export function useHeard(topic, limit) {
  const { data, why, gone, again } = useAnswer("/retained", { topic, limit }, EVERY);
  const { pinned, ask } = usePinned(topic);
  const last = useRef(data);
  if (pinned.length === 0 && (data ? data !== last.current : gone)) hear(topic, data, now());
  last.current = data;
  const { values } = past(topic);
  const newest = pinned.length ? values.at(-1)?.message : null;
  const is_retained = !newest || (data !== null && isThat(data, newest));
  return { data: /** @type {Message | null} */ (data), newest: is_retained ? data : newest, values, pinned, why, gone,
    again: () => { again(); ask(); } };
}

/** Whether what is retained is the newest that the broker has kept. @param {Message} data @param {Message} newest */
const isThat = (data, newest) => data.payload.size === newest.payload.size && Math.abs((data.written_at ?? 0) - (newest.written_at ?? 0)) < 0.05;

/** @typedef {{value: number | null, is_state: boolean, said: string}} Figure */

/** @type {WeakMap<Message, Map<string, Figure>>} */
const figures = new WeakMap();

/**
 * What can be drawn at each of some places of a value, and what is written there. It is read once for all of them; the
 * tree that they stand in is not kept, which would be many times as large as the payload.
 * @param {Message} message @param {string[]} places JSON Pointers @param {import("./recognising.js").Form | ""} chosen
 */
export function figuresAt(message, places, chosen) {
  const known = figures.get(message) ?? new Map();
  figures.set(message, known);
  const keys = places.map((one) => `${chosen} ${one}`);
  if (keys.some((key) => !known.has(key))) {
    const found = readMessageOf(message, chosen);
    const node = found.node ?? (found.text !== undefined ? { is: /** @type {const} */ ("text"), said: found.text } : undefined);
    places.forEach((one, at) => {
      const part = within(node, pathOf(one));
      const drawn = figure(part);
      known.set(keys[at], { value: drawn?.value ?? null, is_state: drawn?.is_state ?? false, said: brief(part, 40) });
    });
  }
  return keys.map((key) => /** @type {Figure} */ (known.get(key)));
}
