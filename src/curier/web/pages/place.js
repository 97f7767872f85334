// Where in the pages one is: the part of the address behind "#", such as #/clients?search=dev.
// @ts-check
import { signal } from "./html.js";

/** @typedef {{view: string, query: Record<string, string>}} Place */

/** @returns {Place} */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || "overview", query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export const place = signal(read());
window.addEventListener("hashchange", () => {
  place.value = read();
});

/** @param {string} view @param {Record<string, string>} [query] what is "" is left out */
export function address(view, query = {}) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return `#/${view}${said ? `?${said}` : ""}`;
}

/** Change what the address says, without a step in the history. @param {Record<string, string>} query */
export function settle(query) {
  const now = place.value;
  history.replaceState(null, "", address(now.view, { ...now.query, ...query }));
  place.value = read();
}
