// Streams of events, as long as the page is seen; one for all tabs that hear the same.
// @ts-check
import { look, refused } from "./api.js";
import { useEffect, useRef, useState } from "./html.js";
import { t } from "./words.js";

const AGAIN = 2000; // milliseconds until a stream that has ended is asked for again
const HERE = 10000; // between two words to the worker that the tab is there

/**
 * @typedef {{event: (name: string, data: any) => void, ended: () => void, full: () => void}} Hears
 * @typedef {() => void} Close
 */

/** A stream of this tab's own. @param {string} url @param {string[]} names @param {Hears} hears @returns {Close} */
function own(url, names, hears) {
  const source = new EventSource(url);
  for (const name of ["hello", ...names]) source.addEventListener(name, (event) => hears.event(name, JSON.parse(event.data)));
  source.addEventListener("bye", hears.ended);
  source.addEventListener("error", hears.ended);
  return () => source.close();
}

/** Whether tabs can share their streams: not every browser lets them, and where the worker fails, none does. */
let shares = typeof SharedWorker === "function";

/** A stream that tabs share. @param {string} url @param {string[]} names @param {Hears} hears @returns {Close} */
function shared(url, names, hears) {
  const worker = new SharedWorker("pages/streams.js", { type: "module", name: "curier" });
  const { port } = worker;
  const say = (/** @type {string} */ ask) => port.postMessage({ ask, url, names });
  worker.addEventListener("error", () => {
    shares = false;
    hears.ended();
  });
  port.addEventListener("message", ({ data }) => {
    if (data.told === "event") hears.event(data.name, JSON.parse(data.data));
    else if (data.told === "full") hears.full();
    else hears.ended();
  });
  port.start();
  say("join");
  const timer = window.setInterval(() => say("here"), HERE);
  return () => {
    window.clearInterval(timer);
    say("leave");
    port.close();
  };
}

/**
 * Hear a stream. A tab that nobody sees hears none. It is asked for again whatever it ended by, which the browser
 * would not do behind every proxy. `hear` is told of "hello" first, whenever it begins anew.
 * @param {string} path with its query @param {string[]} names of events
 * @param {(name: string, data: any) => void} hear
 * @returns {string} why there is none now, or ""
 */
export function useStream(path, names, hear) {
  const [why, because] = useState("");
  const heard = useRef(hear);
  heard.current = hear;
  useEffect(() => {
    let end = /** @type {Close | null} */ (null);
    let timer = 0;
    let over = false;
    const close = () => {
      window.clearTimeout(timer);
      end?.();
      end = null;
    };
    const later = (/** @type {string} */ words) => {
      close();
      if (over || document.hidden) return false;
      timer = window.setTimeout(open, AGAIN);
      because(words);
      return true;
    };
    const ended = async () => {
      if (!later(t("The stream has ended. It is asked for again."))) return;
      const told = await look("/self").then(() => refused(path)).catch(() => "");
      if (told && !over && !end) because(told);
    };
    const open = () => {
      if (end || over) return;
      const url = new URL(`api/v1${path}`, document.baseURI).href;
      end = (shares ? shared : own)(url, names, {
        event: (name, data) => {
          if (name === "hello") because("");
          heard.current(name, data);
        },
        ended: () => void ended(),
        full: () => later(t("Four other windows of this browser look at other things already, and a browser keeps six connections to a place. It goes on here as soon as one of them is closed.")),
      });
    };
    const seen = () => (document.hidden ? close() : open());
    seen();
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", seen);
    return () => {
      over = true;
      document.removeEventListener("visibilitychange", seen);
      window.removeEventListener("pagehide", close);
      window.removeEventListener("pageshow", seen);
      close();
    };
  }, [path]);
  return why;
}
