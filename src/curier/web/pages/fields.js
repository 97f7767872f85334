// A packet, taken apart: its fields, and beside each its bytes and what the specification says.
// @ts-check
import { act } from "./api.js";
import { hex, visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { Why } from "./parts.js";
import { t } from "./words.js";

/** @typedef {{name: string, value: string, start: number, end: number, rule: string, fault: string, children: Field[]}} Field */

/** A packet: its fields, and beside each its bytes. @param {{row: import("./diagram.js").Row}} about */
export const Fields = ({ row }) => {
  const [told, tell] = useState(/** @type {any} */ (null));
  const [why, because] = useState("");
  useEffect(() => {
    act("/packet", { hex: row.bytes, version: row.version, to_server: row.to_server, cut: row.cut })
      .then(tell).catch((error) => because(error.message));
  }, [row.bytes]);
  if (!told) return html`<${Why} why=${why} />`;
  const data = Uint8Array.from(row.bytes?.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  /** @type {(fields: Field[], depth: number) => {one: Field, depth: number}[]} */
  const rows = (fields, depth) => fields.flatMap((one) => [{ one, depth }, ...rows(one.children, depth + 1)]);
  return html`
    <h3>${told.name} · ${told.size} B</h3>
    ${told.fault && html`<p class="why">${told.fault} ${told.rule && html`<code>[${told.rule}]</code>`}</p>`}
    <div class="scroll" tabindex="0" role="region" aria-label=${told.name}><table class="fields">
      <thead><tr><th scope="col">${t("Bytes")}</th><th scope="col">${t("Field")}</th><th scope="col">${t("Value")}</th><th scope="col" class="wide">${t("Rule")}</th></tr></thead>
      <tbody>${rows(told.fields, 0).map(({ one, depth }) => html`
        <tr class=${one.fault ? "bad" : ""}>
          <td><code>${one.start}–${one.end}</code> <code class="dim">${[...data.slice(one.start, Math.min(one.end, one.start + 8))].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}${one.end - one.start > 8 ? " …" : ""}</code></td>
          <td>${"  ".repeat(depth)}${one.name}</td><td class="value">${visible(one.value)}${one.fault && html`<br />${one.fault}`}</td><td class="wide dim">${one.rule}</td></tr>`)}</tbody>
    </table></div>
    <pre tabindex="0" aria-label=${t("Bytes")}>${hex(data)}${row.cut ? `\n… ${t("{n} {n:byte|bytes} more", { n: row.cut })}` : ""}</pre>`;
};
