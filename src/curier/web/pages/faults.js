// Rules by which a laboratory (curier broker --lab) breaks its own connections.
// @ts-check
import { useAnswer } from "./asking.js";
import { count, moment, visible } from "./format.js";
import { html, useState } from "./html.js";
import { attempt, ClientLink, may, Needs, Nothing, Sure } from "./parts.js";
import { t } from "./words.js";
import { Ways } from "./ways.js";

const EXAMPLES = ["lose 2nd PUBACK to dash-1", "delay PUBREC by 2s", "cut before PUBREL", "stop reading from dash-1 for 10s", "answer PUBLISH on a/# with 0x97"];

export const Faults = () => {
  const { data, why, again } = useAnswer("/faults", {}, 2);
  return html`<${Ways} />
    ${!data ? why && html`<${Nothing}>${visible(why)}</${Nothing}>` : html`
      <p class="why">${t("This broker is a laboratory: it breaks connections on purpose, by these rules, and is for tests alone.")}</p>
      ${data.rules.length === 0 ? html`<${Nothing}>${t("There is no rule, so nothing is broken.")}</${Nothing}>` : html`
        <div class="scroll" tabindex="0" role="region" aria-label=${t("Rules")}><table>
          <thead><tr><th scope="col">${t("Rule")}</th><th scope="col" class="figure">${t("Has acted")}</th><th scope="col" class="wide">${t("Since")}</th><td></td></tr></thead>
          <tbody>${data.rules.map((/** @type {any} */ one) => html`<tr key=${one.number}><td><code>${visible(one.rule)}</code></td><td class="figure">${count(one.fired)} ×</td>
            <td class="wide">${moment(one.added_at)}</td><td class="figure">${may("admin") && html`<button aria-label=${`${t("Remove")} ${visible(one.rule)}`} onClick=${() => attempt("/faults/remove", { number: one.number }).then(again)}>${t("Remove")}</button>`}</td></tr>`)}</tbody>
        </table></div>`}
      <${Needs} role="admin" />
      ${may("admin") && html`<${Add} again=${again} has=${data.rules.length > 0} />`}
      ${data.told.length ? html`<h2>${t("What they did")}</h2>
        <div class="scroll" tabindex="0" role="region" aria-label=${t("What they did")}><table>
          <thead><tr><th scope="col">${t("Time")}</th><th scope="col">${t("Client")}</th><th scope="col">${t("What")}</th></tr></thead>
          <tbody>${data.told.map((/** @type {any} */ one, /** @type {number} */ number) => html`<tr key=${number}><td>${moment(one.time)}</td><td><${ClientLink} id=${one.client_id} /></td><td>${visible(one.what)}</td></tr>`)}</tbody>
        </table></div>` : null}`}`;
};

/** @param {{again: () => void, has: boolean}} about */
const Add = ({ again, has }) => {
  const [rule, say] = useState("");
  const add = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (await attempt("/faults", { rule })) {
      say("");
      again();
    }
  };
  return html`
    <form class="row tools" onSubmit=${add}>
      <input class="grow" required list="rules" aria-label=${t("Rule")} placeholder=${EXAMPLES[0]} value=${rule} onInput=${(/** @type {any} */ event) => say(event.target.value)} />
      <datalist id="rules">${EXAMPLES.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
      <button class="first">${t("Add")}</button>
    </form>
    ${has && html`<p><${Sure} label=${t("Remove all")} question=${t("Nothing is broken any more then.")} does=${() => attempt("/faults/remove", {}).then(again)} /></p>`}`;
};
