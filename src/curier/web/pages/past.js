// The values of topics that came while somebody looked: the last of them, within bounds.
// @ts-check

/** @typedef {import("./payload.js").Message} Message */

/** A value, and when it was written, in seconds since 1970. Without a message there was none from then on;
 * `is_later`: nobody looked just before, and there may have been others. @typedef {{time: number, message: Message | null, is_later: boolean}} Value */

const MOST_VALUES = 300; // of a topic
const MOST_BYTES = 2 ** 21; // of all
const MOST_TOPICS = 20;
const PAUSE = 5; // seconds without a look, in which values may have come

/** @type {Map<string, {values: Value[], looked: number}>} the topic that was looked at last is the last */
const heard = new Map();

/** @param {Message | null} message */
const sizeOf = (message) => 200 + (message?.payload.shown ?? 0) * (message?.payload.base64 ? 2 : 1);

/** What is known of a topic. @param {string} topic */
export function past(topic) {
  const found = heard.get(topic) ?? { values: [], looked: 0 };
  heard.delete(topic);
  heard.set(topic, found);
  if (heard.size > MOST_TOPICS) heard.delete([...heard.keys()][0]);
  return found;
}

/** What is there now, or that nothing is.
 * @param {string} topic @param {Message | null} message
 * @param {number} time of the look @returns {Value[]} a new list where it is another one */
export function hear(topic, message, time) {
  const found = past(topic);
  const last = found.values.at(-1);
  const is_later = found.values.length > 0 && time - found.looked > PAUSE;
  found.looked = time;
  if (!message && (!last || !last.message)) return found.values;
  const at = message?.written_at || time;
  if (message && last?.message && isSame(message, last.message)) {
    if (message.payload.shown > last.message.payload.shown) found.values = [...found.values.slice(0, -1), { ...last, message }];
    return found.values;
  }
  found.values = [...found.values, { time: at, message, is_later }].slice(-MOST_VALUES);
  trim(found);
  return found.values;
}

/**
 * Values that the broker has kept. The first ones stand in the place of what was seen here of the same time.
 * @param {string} topic @param {Value[]} values the oldest first @param {boolean} is_first
 */
export function merge(topic, values, is_first) {
  const found = past(topic);
  const before = is_first ? found.values.filter((one) => one.time < values[0].time) : found.values;
  const [first, ...rest] = values;
  found.values = [...before, { ...first, is_later: first.is_later || (is_first && before.length > 0) }, ...rest].slice(-MOST_VALUES);
  trim(found);
}

/** @param {Message} one @param {Message} other */
const isSame = (one, other) => (one.written_at || other.written_at
  ? one.written_at === other.written_at && one.payload.size === other.payload.size
  : one.payload.text === other.payload.text && one.payload.base64 === other.payload.base64 && one.payload.size === other.payload.size);

/** Forget what does not fit: other topics first. @param {{values: Value[]}} kept */
function trim(kept) {
  const size = (/** @type {Value[]} */ values) => values.reduce((sum, one) => sum + sizeOf(one.message), 0);
  let all = [...heard.values()].reduce((sum, one) => sum + size(one.values), 0);
  for (const [topic, one] of heard) {
    if (all <= MOST_BYTES) return;
    if (one === kept) continue;
    all -= size(one.values);
    heard.delete(topic);
  }
  while (all > MOST_BYTES && kept.values.length > 2) {
    all -= sizeOf(kept.values[0].message);
    kept.values = kept.values.slice(1);
  }
}
