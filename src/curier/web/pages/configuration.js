// The broker's settings, its listeners, and how much it logs.
// @ts-check
import { useAnswer } from "./asking.js";
import { count, moment, size } from "./format.js";
import { html, useState } from "./html.js";
import { attempt, may, Name, Needs, Why } from "./parts.js";
import { place, settle } from "./place.js";
import { t } from "./words.js";

export const Listeners = () => {
  const { data, why } = useAnswer("/listeners", {}, 3);
  if (!data) return html`<${Why} why=${why} />`;
  return html`
    <${Why} why=${why} />
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Listeners")}><table>
      <thead><tr><th scope="col">${t("Address")}</th><th scope="col" class="wide">${t("Name")}</th><th scope="col" class="figure">${t("Connected")}</th>
        <th scope="col" class="figure wide">${t("Accepted")}</th><th scope="col" class="figure wide">${t("In")}</th><th scope="col" class="figure wide">${t("Out")}</th><th scope="col">${t("Certificate ends")}</th></tr></thead>
      <tbody>${data.listeners.map((/** @type {any} */ one) => html`
        <tr key=${one.url}><td><${Name} text=${one.url} /></td><td class="wide">${one.name}${one.mount && html` <span class="dim">${t("mount")} <${Name} text=${one.mount} /></span>`}</td>
          <td class="figure">${count(one.connected)}${one.connected_maximum ? html`<span class="dim"> / ${count(one.connected_maximum)}</span>` : null}</td>
          <td class="figure wide">${count(one.accepted)}</td><td class="figure wide">${size(one.bytes_received)}</td><td class="figure wide">${size(one.bytes_sent)}</td>
          <td>${one.certificate_ends ? moment(one.certificate_ends) : html`<span class="dim">–</span>`}</td></tr>`)}</tbody>
    </table></div>`;
};

export const Configuration = () => {
  if (!may("admin")) return html`<${Needs} role="admin" />`;
  return html`<${Settings} /><${Levels} />`;
};

const Settings = () => {
  const search = place.value.query.search ?? "";
  const { data, why, again } = useAnswer("/config", {}, 0);
  const [wrong, put] = useState(/** @type {string[] | null} */ (null));
  const check = async () => put((await attempt("/config/check", {}))?.wrong ?? null);
  const reload = async () => {
    if (await attempt("/config/reload", {})) again();
  };
  const wanted = (data?.settings ?? []).filter((/** @type {any} */ one) => `${one.key} ${one.about} ${one.value}`.toLowerCase().includes(search.toLowerCase()));
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Part of a setting")} aria-label=${t("Search")} value=${search}
        onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      <button onClick=${check}>${t("Check files")}</button><button class="first" onClick=${reload}>${t("Read again")}</button>
    </div>
    <${Why} why=${why} />
    ${wrong && (wrong.length ? html`<ul class="troubles">${wrong.map((one) => html`<li class="error">${one}</li>`)}</ul>` : html`<p class="good"><b>✓</b> ${t("Nothing is wrong with the files.")}</p>`)}
    ${data && html`<div class="scroll" tabindex="0" role="region" aria-label=${t("Configuration")}><table class="settings">
      <thead><tr><th scope="col">${t("Setting")}</th><th scope="col">${t("Value")}</th><th scope="col">${t("From")}</th><th scope="col" class="wide">${t("About")}</th></tr></thead>
      <tbody>${wanted.map((/** @type {any} */ one) => html`
        <tr key=${one.key}><td><code>${one.key}</code></td><td><code>${one.value}</code></td><td class=${/default/.test(one.origin) ? "dim" : ""}>${one.origin}</td><td class="wide dim">${one.about}</td></tr>`)}</tbody>
    </table></div>`}`;
};

const Levels = () => {
  const { data, why, again } = useAnswer("/log/levels", {}, 0);
  if (!data) return html`<${Why} why=${why} />`;
  const set = (/** @type {string} */ topic) => (/** @type {any} */ event) => void attempt("/log/levels", { topic, level: event.target.value }).then(again);
  return html`
    <h2>${t("Log")}</h2><p class="dim">${t("For now: until the broker ends or reads its settings again.")}</p>
    <div class="row levels">${Object.entries(data.levels).map(([topic, level]) => html`
      <label class="inline">${topic || t("all")} <select value=${level} onChange=${set(topic)}>
        ${["debug", "info", "warning", "error"].map((one) => html`<option value=${one}>${one}</option>`)}</select></label>`)}</div>`;
};
