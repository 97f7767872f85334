// Retained messages as a list: by age and size, with who wrote them; deleted one by one, or many that are old.
// @ts-check
import { useAnswer, useSettled } from "./asking.js";
import { size, visible } from "./format.js";
import { html, useState } from "./html.js";
import { ClientLink, may, More, Name, Needs, Nothing, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { Prune } from "./pruning.js";
import { Ago, deleted } from "./topic.js";
import { t } from "./words.js";

const PAGE = 100;

export const Retained = () => {
  const { search = "", sort = "topic" } = place.value.query;
  const said = useSettled(search);
  const [rows, show] = useState(PAGE);
  const { data, why, again } = useAnswer("/topics", { search: said, sort, limit: Math.min(rows, 500), preview: 0 }, 5);
  const orders = /** @type {[string, string][]} */ ([["topic", t("by topic")], ["newest", t("newest first")], ["oldest", t("oldest first")], ["size", t("largest first")]]);
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Part of a topic")} aria-label=${t("Search")} value=${search} onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      <select aria-label=${t("Order")} value=${sort} onChange=${(/** @type {any} */ event) => settle({ sort: event.target.value })}>
        ${orders.map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}</select>
    </div>
    <${Why} why=${why} />
    ${data && (data.found === 0 ? html`<${Nothing}>${search ? t("No retained message is on such a topic.") : t("Nothing is retained. Try: curier pub -r -t home/kitchen/temp -m 21.5")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Retained messages")}><table>
        <thead><tr><th scope="col">${t("Topic")}</th><th scope="col" class="figure">${t("Size")}</th><th scope="col" class="wide">QoS</th><th scope="col">${t("Written")}</th><th scope="col" class="wide">${t("Written by")}</th><td></td></tr></thead>
        <tbody>${data.topics.map((/** @type {any} */ row) => html`
          <tr key=${row.topic}><td><a href=${address("topics", { topic: row.topic })}><${Name} text=${row.topic} /></a></td>
            <td class="figure">${size(row.payload.size)}</td><td class="wide">${row.qos}</td>
            <td>${row.written_at ? html`<${Ago} time=${row.written_at} />` : html`<span class="dim">${t("before the broker started")}</span>`}</td>
            <td class="wide">${row.client ? html`<${ClientLink} id=${row.client} />` : html`<span class="dim">${t("not known")}</span>`}</td>
            <td>${may("operator") && html`<button class="danger" aria-label=${`${t("Delete")} ${visible(row.topic)}`} onClick=${() => deleted(row.topic, again)}>${t("Delete")}</button>`}</td></tr>`)}</tbody>
      </table></div>
      <${More} shown=${data.topics.length} found=${data.found} next=${data.next && rows < 500} more=${() => show(Math.min(rows * 2, 500))} />
      ${rows >= 500 && data.next ? html`<p class="dim">${t("The first 500: say what you look for.")}</p>` : null}`)}
    <${Needs} role="operator" />
    ${may("operator") && html`<${Prune} again=${again} />`}`;
};
