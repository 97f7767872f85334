// Streams of events, as long as the page is seen.
// @ts-check
import { look, refused } from "./api.js";
import { useEffect, useRef, useState } from "./html.js";
import { t } from "./words.js";

const AGAIN = 2000; // milliseconds until a stream that has ended is asked for again

/**
 * Hear a stream. A tab that nobody sees has none: a browser keeps six connections to a place, for all its tabs, and
 * where streams have them all the next tab waits for ever. It is asked for again whatever it ended by, which the
 * browser would not do behind every proxy. `hear` is told of "hello" first, whenever it begins anew.
 * @param {string} path with its query @param {string[]} names of events
 * @param {(name: string, data: any) => void} hear
 * @returns {string} why there is none now, or ""
 */
export function useStream(path, names, hear) {
  const [why, because] = useState("");
  const heard = useRef(hear);
  heard.current = hear;
  useEffect(() => {
    /** @type {EventSource | null} */
    let source = null;
    let timer = 0;
    let over = false;
    const close = () => {
      window.clearTimeout(timer);
      source?.close();
      source = null;
    };
    const ended = async () => {
      close();
      if (over || document.hidden) return;
      timer = window.setTimeout(open, AGAIN);
      because(t("The stream has ended. It is asked for again."));
      const told = await look("/self").then(() => refused(path)).catch(() => "");
      if (told && !over && !source) because(told);
    };
    const open = () => {
      if (source || over) return;
      source = new EventSource(`api/v1${path}`);
      source.addEventListener("hello", (event) => {
        because("");
        heard.current("hello", JSON.parse(event.data));
      });
      for (const name of names) source.addEventListener(name, (event) => heard.current(name, JSON.parse(event.data)));
      source.addEventListener("bye", ended);
      source.addEventListener("error", ended);
    };
    const seen = () => (document.hidden ? close() : open());
    seen();
    document.addEventListener("visibilitychange", seen);
    return () => {
      over = true;
      document.removeEventListener("visibilitychange", seen);
      close();
    };
  }, [path]);
  return why;
}
