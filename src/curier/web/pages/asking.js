// Questions that are asked again as long as somebody looks.
// @ts-check
import { look, Refusal } from "./api.js";
import { useEffect, useState } from "./html.js";

/**
 * Do something now, and again so many seconds later as it says itself (0: no more), while the page is seen.
 * @param {(over: () => boolean) => Promise<number>} does told whether it has been ended meanwhile
 * @returns {() => void} ends it
 */
export function repeated(does) {
  let over = false;
  let busy = false; // or each look at the tab meanwhile would begin one more row of turns
  let timer = 0;
  const turn = async () => {
    window.clearTimeout(timer);
    if (document.hidden || busy) return;
    busy = true;
    const seconds = await does(() => over);
    busy = false;
    if (!over && seconds) timer = window.setTimeout(turn, seconds * 1000);
  };
  void turn();
  document.addEventListener("visibilitychange", turn);
  return () => {
    over = true;
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", turn);
  };
}

const SELDOM = 20; // times as long as an answer took until it is asked for again: who asks is no burden

/**
 * The answer to a question, asked every so many seconds while the page is seen. The last answer stays where a
 * later question has none, and goes where there is nothing any more (`gone`); `why` says why then.
 * @param {string} path @param {Record<string, any>} query @param {number} seconds 0: once
 * @param {boolean} [frozen] ask no more until this ends
 * @returns {{data: any, why: string, gone: boolean, again: () => void}}
 */
export function useAnswer(path, query, seconds, frozen = false) {
  const [state, set] = useState({ data: /** @type {any} */ (null), why: "", gone: false, of: "" });
  const [turn, next] = useState(0);
  const key = path + JSON.stringify(query);
  useEffect(() => {
    if (frozen && state.of === key) return undefined;
    return repeated(async (over) => {
      const began = performance.now();
      try {
        const data = await look(path, query);
        if (!over()) set({ data, why: "", gone: false, of: key });
      } catch (error) {
        const gone = error instanceof Refusal && error.status === 404;
        const { message } = /** @type {Error} */ (error);
        if (!over()) set((now) => (gone ? { data: null, why: message, gone, of: key } : { ...now, why: message }));
      }
      return seconds && Math.max(seconds, (SELDOM * (performance.now() - began)) / 1000);
    });
  }, [key, seconds, frozen, turn]);
  return { data: state.data, why: state.why, gone: state.gone, again: () => next(turn + 1) };
}

/** A value that has stayed the same for a moment, as while somebody types. @param {string} value */
export function useSettled(value) {
  const [settled, set] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => set(value), 200);
    return () => window.clearTimeout(timer);
  }, [value]);
  return settled;
}
