// What is pinned: the topics of which the broker keeps the last values.
// @ts-check
import { useAnswer } from "./asking.js";
import { count, size, visible } from "./format.js";
import { html, useState } from "./html.js";
import { attempt, may, Name, Nothing, Why } from "./parts.js";
import { address } from "./place.js";
import { Ago } from "./topic.js";
import { t } from "./words.js";

const KEPT = 100; // values of each topic, where a filter is pinned

export const Pins = () => {
  const { data, why, again } = useAnswer("/pins", {}, 5);
  const [filter, type] = useState("");
  const pin = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!(await attempt("/pins", { topic_filter: filter, values: KEPT }))) return;
    type("");
    again();
  };
  const remove = async (/** @type {string} */ topic_filter) => (await attempt("/pins/remove", { topic_filter })) && again();
  return html`
    <section class="pins"><h2>${t("Pinned topics")}</h2>
      <${Why} why=${why} />
      ${data && (data.pins.length === 0 ? html`<${Nothing}>${t("None. Of a pinned topic the broker keeps the last values, to compare and to draw.")}</${Nothing}>` : html`
        <div class="scroll" tabindex="0" role="region" aria-label=${t("Pinned topics")}><table>
          <thead><tr><th scope="col">${t("Topic Filter")}</th><th scope="col" class="figure">${t("Values")}</th><th scope="col">${t("Since")}</th><th scope="col" class="wide">${t("By")}</th><td></td></tr></thead>
          <tbody>${data.pins.map((/** @type {any} */ one) => html`<tr key=${one.topic_filter}>
            <td>${/(^|\/)[+#](\/|$)/.test(one.topic_filter) ? html`<${Name} text=${one.topic_filter} />` : html`<a href=${address("topics", { topic: one.topic_filter })}><${Name} text=${one.topic_filter} /></a>`}</td>
            <td class="figure">${count(one.values)}</td><td><${Ago} time=${one.since} /></td><td class="wide"><${Name} text=${one.who} /></td>
            <td>${may("operator") && html`<button aria-label=${`${t("Remove")} ${visible(one.topic_filter)}`} onClick=${() => void remove(one.topic_filter)}>${t("Remove")}</button>`}</td></tr>`)}</tbody>
        </table></div>
        <p class="more">${t("{n} {n:value|values} of {m} {m:topic|topics}, {size}", { n: data.values, m: data.topics, size: size(data.bytes) })}
          ${data.left_out ? html` · <span class="bad">${t("{n} {n:message|messages} left out: too many topics", { n: data.left_out })}</span>` : null}</p>`)}
      ${may("operator") && html`<form class="row" onSubmit=${pin}>
        <label class="inline grow">${t("Topic Filter")} <input class="grow" required placeholder="home/#" value=${filter} onInput=${(/** @type {any} */ event) => type(event.target.value)} /></label>
        <button>${t("Pin")}</button></form>`}
    </section>`;
};
