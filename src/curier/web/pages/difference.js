// What is different from the value before.
// @ts-check
import { changes, lines, MOST_CHANGES, rows } from "./diff.js";
import { visible } from "./format.js";
import { html } from "./html.js";
import { readMessageOf } from "./recognising.js";
import { brief, bytesOf, pointer } from "./values.js";
import { t } from "./words.js";

/** @typedef {import("./payload.js").Message} Message @typedef {import("./recognising.js").Form} Form */

/** @param {{before: Message, after: Message, chosen: Form | ""}} about */
export const Difference = ({ before, after, chosen }) => {
  const [one, other] = [readMessageOf(before, chosen), readMessageOf(after, chosen)];
  const is_whole = before.payload.shown === before.payload.size && after.payload.shown === after.payload.size;
  let shown;
  if (one.node && other.node) shown = html`<${Parts} found=${changes(one.node, other.node)} />`;
  else if (one.text !== undefined && other.text !== undefined) shown = html`<${Lines} found=${lines(one.text, other.text)} />`;
  else shown = html`<${Rows} found=${rows(bytesOf(before.payload), bytesOf(after.payload))} />`;
  return html`${shown}${is_whole ? null : html`<p class="dim">${t("Only the beginnings are compared.")}</p>`}`;
};

const CLASSES = { "+": "come", "-": "lost", " ": "" };

const Same = () => html`<p class="nothing">${t("It says the same as the value before.")}</p>`;

/** @param {{found: import("./diff.js").Change[]}} about */
const Parts = ({ found }) => (found.length === 0 ? html`<${Same} />` : html`
  <div class="scroll" tabindex="0" role="region" aria-label=${t("Changed since the value before")}><table class="changes">
    <thead><tr><th scope="col">${t("Where")}</th><th scope="col">${t("Before")}</th><th scope="col">${t("After")}</th></tr></thead>
    <tbody>${found.map(({ path, before, after }) => html`
      <tr><td><code><bdi>${visible(pointer(path)) || t("the value")}</bdi></code></td>
        <td>${before ? html`<code class="gone"><bdi>${visible(brief(before))}</bdi></code>` : html`<span class="dim">${t("not there")}</span>`}</td>
        <td>${after ? html`<code class="come"><bdi>${visible(brief(after))}</bdi></code>` : html`<span class="dim">${t("not there")}</span>`}</td></tr>`)}</tbody>
  </table></div>
  ${found.length >= MOST_CHANGES ? html`<p class="dim">${t("These are the first {n}; there are more.", { n: found.length })}</p>` : null}`);

/** @param {{found: import("./diff.js").Line[]}} about */
const Lines = ({ found }) => (found.every((line) => line.mark !== "+" && line.mark !== "-") ? html`<${Same} />` : html`
  <pre tabindex="0" aria-label=${t("Changed since the value before")}>${found.map((line) => (line.mark === "…"
    ? html`<span class="dim">… ${(line.stays ? t("{n} {n:line|lines} as before", { n: line.count }) : t("{n} more", { n: line.count }))}${"\n"}</span>`
    : html`<span class=${CLASSES[line.mark]}><b>${line.mark}</b> <span>${visible(line.said.slice(0, 1000))}</span>${"\n"}</span>`))}</pre>`);

/** @param {{found: import("./diff.js").Row[]}} about */
const Rows = ({ found }) => (found.length === 0 ? html`<${Same} />` : html`
  <div class="scroll" tabindex="0" role="region" aria-label=${t("Changed since the value before")}><table class="changes">
    <thead><tr><th scope="col">${t("Where")}</th><th scope="col">${t("Before")}</th><th scope="col">${t("After")}</th></tr></thead>
    <tbody>${found.map(({ at, before, after }) => html`
      <tr><td><code>${at.toString(16).padStart(6, "0")}</code></td>
        <td><code>${figures(before, after, "gone")}</code></td><td><code>${figures(after, before, "come")}</code></td></tr>`)}</tbody>
  </table></div>`);

/** @param {Uint8Array} bytes @param {Uint8Array} others @param {string} of */
const figures = (bytes, others, of) => [...bytes].map((byte, at) => {
  const said = byte.toString(16).padStart(2, "0");
  return byte === others[at] ? `${said} ` : html`<span class=${of}>${said}</span> `;
});
