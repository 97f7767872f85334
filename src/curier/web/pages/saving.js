// A flow as a file: a drawing, the text of one, a capture of its packets, or all that is known of it.
// @ts-check
import { act } from "./api.js";
import { html } from "./html.js";
import { notice } from "./parts.js";
import { t } from "./words.js";

/** @typedef {"svg" | "mermaid" | "pcapng" | "json"} Format */

const FORMATS = /** @type {[Format, string, string, string][]} */ ([
  ["svg", "SVG", "svg", "image/svg+xml"], ["mermaid", "Mermaid", "mmd", "text/plain"],
  ["pcapng", "pcapng", "pcapng", "application/octet-stream"], ["json", "JSON", "json", "application/json"],
]);

/** @param {{flow: import("./diagram.js").Flow}} about */
export const SaveAs = ({ flow }) => html`
  <p class="row" role="group" aria-label=${t("Save")}><span class="dim">${t("Save as")}</span>
    ${FORMATS.map(([format, label, ending, kind]) => html`<button key=${format} onClick=${() => save(flow, format, ending, kind)}>${label}</button>`)}</p>`;

/** @param {import("./diagram.js").Flow} flow @param {Format} format @param {string} ending @param {string} kind */
async function save(flow, format, ending, kind) {
  try {
    const content = format === "json" ? JSON.stringify(flow, null, 2) : await asked(flow, format);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: kind }));
    link.download = `flow-${flow.number}.${ending}`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    notice.value = { text: /** @type {Error} */ (error).message, bad: true };
  }
}

/** What the broker makes of it. @param {import("./diagram.js").Flow} flow @param {Format} format @returns {Promise<BlobPart>} */
async function asked(flow, format) {
  const cut = (/** @type {string} */ text) => (text.length > 1000 ? `${text.slice(0, 999)}…` : text);
  const short = (/** @type {any} */ of) => Object.fromEntries(Object.entries(of).map(([name, value]) => [name, typeof value === "string" && name !== "bytes" ? cut(value) : value]));
  const { title, began, lanes, rows, below } = flow;
  const sent = { title: cut(title), began, lanes: lanes.map(short), rows: rows.map(short), below: below.map(cut) };
  const { text, base64 } = await act("/drawing", { flow: sent, format });
  return base64 ? Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)) : text;
}
