// The values of a pinned topic, which the broker keeps.
// @ts-check
import { look, Refusal } from "./api.js";
import { repeated } from "./asking.js";
import { useEffect, useState } from "./html.js";
import { merge } from "./past.js";

/** @typedef {import("./payload.js").Message} Message @typedef {import("./past.js").Value} Value */

const EVERY = 1; // seconds
const SELDOM = 10; // where it is not pinned
export const AT_ONCE = 100; // values
const PREVIEW = 16384; // bytes of each

/** @param {string} topic @param {any} one @returns {Value} */
const value = (topic, { time, number: unused, ...one }) => ({ time, message: { ...one, topic, written_at: time }, is_later: false });

/**
 * By which Topic Filters a topic is pinned, asked again as long as the page is seen; values that have come since are
 * put to those that were seen. Where so many came that not all can be shown, there is a gap.
 * @param {string} topic @returns {{pinned: string[], ask: () => void}}
 */
export function usePinned(topic) {
  const [state, set] = useState({ pinned: /** @type {string[]} */ ([]) });
  const [turn, next] = useState(0);
  useEffect(() => {
    let after = 0;
    return repeated(async (over) => {
      try {
        const { pinned, values, missed } = await look("/topic/past", { topic, after, limit: AT_ONCE, preview: PREVIEW });
        if (over()) return 0;
        if (values.length) {
          const kept = values.map((/** @type {any} */ one) => value(topic, one));
          kept[0].is_later = missed;
          merge(topic, kept, after === 0);
          after = values.at(-1).number;
        }
        set((now) => (values.length || now.pinned.join() !== pinned.join() ? { pinned } : now));
      } catch (error) {
        if (over()) return 0;
        after = 0; // a broker that was started again numbers them anew
        if (error instanceof Refusal && error.status === 404) {
          set((now) => (now.pinned.length ? { pinned: [] } : now));
          return SELDOM;
        }
      }
      return EVERY;
    });
  }, [topic, turn]);
  return { pinned: state.pinned, ask: () => next(turn + 1) };
}
