// What happens, as it happens: lines of the log, clients that come and go, and messages that are dropped.
// @ts-check
import { useAnswer } from "./asking.js";
import { count, moment, visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { ClientLink, Name, Nothing, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { useStream } from "./stream.js";
import { t } from "./words.js";

const MOST = 300; // lines, and kinds of drops, that are kept here
const TOPICS = ["log", "connects", "drops"];

/**
 * @typedef {{number: number, time: number, kind: string, level: string, client: string | null, text: string}} Line
 * @typedef {{client_id: string, topic: string, why: string, count: number}} Drop
 * @typedef {{lines: Line[], drops: Drop[], others: number, missed: number, next: number}} Past
 */

/** @type {Past} */
const NOTHING = { lines: [], drops: [], others: 0, missed: 0, next: 0 };

/** The past with one event more. @param {Past} past @param {string} name @param {any} data @returns {Past} */
function after(past, name, data) {
  if (name === "missed") return { ...past, missed: past.missed + data.count };
  if (name === "drops") {
    const drops = new Map(past.drops.map((one) => [JSON.stringify([one.client_id, one.topic, one.why]), one]));
    let { others } = past;
    others += data.others;
    for (const one of /** @type {Drop[]} */ (data.drops)) {
      const key = JSON.stringify([one.client_id, one.topic, one.why]);
      const before = drops.get(key);
      if (before || drops.size < MOST) drops.set(key, { ...one, count: one.count + (before?.count ?? 0) });
      else others += one.count;
    }
    return { ...past, others, drops: [...drops.values()].sort((a, b) => b.count - a.count) };
  }
  if (name !== "log" && name !== "connects") return past;
  const line = name === "log"
    ? { kind: "log", level: data.level, client: null, text: `${data.logger}: ${data.text}` }
    : { kind: "connects", level: data.what === "refused" ? "warning" : "info", client: data.client_id,
        text: [data.what, data.address, data.reason_code ? `0x${data.reason_code.toString(16).padStart(2, "0")}` : "", data.why].filter(Boolean).join(" · ") };
  return { ...past, next: past.next + 1, lines: [{ ...line, number: past.next, time: data.time }, ...past.lines].slice(0, MOST) };
}

export const Log = () => {
  const { kind = "log", search = "" } = place.value.query;
  const [past, put] = useState(NOTHING);
  const [frozen, freeze] = useState(/** @type {Past | null} */ (null));
  const why = useStream(`/events?topics=${TOPICS.join(",")}`, [...TOPICS, "missed"], (name, data) => put((now) => after(now, name, data)));
  const overview = useAnswer("/overview", {}, 5);
  const [began, begin] = useState(0);
  useEffect(() => {
    if (overview.data && !began) begin(overview.data.time);
  }, [overview.data]);
  const shown = frozen ?? past;
  const wanted = (/** @type {(string | null)[]} */ ...texts) => texts.some((text) => text?.toLowerCase().includes(search.toLowerCase()));
  const lines = shown.lines.filter((one) => one.kind === kind && wanted(one.client, one.text));
  const drops = shown.drops.filter((one) => wanted(one.client_id, one.topic, one.why));
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Part of a line")} aria-label=${t("Search")} value=${search} onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      ${[["log", t("Log")], ["connects", t("Clients")], ["drops", t("Drops")]].map(([name, label]) => html`
        <button class="tab" aria-pressed=${name === kind} onClick=${() => settle({ kind: name })}>${label}</button>`)}
      <button aria-pressed=${frozen !== null} onClick=${() => freeze(frozen ? null : past)}>${frozen ? t("Go on ({n} new)", { n: past.next - frozen.next }) : t("Freeze")}</button>
    </div>
    <${Why} why=${why} />
    <p class="dim">${began ? t("Since {time}, when you began to look.", { time: moment(began) }) : ""} ${shown.missed ? t("{n} {n:event was|events were} left out: more happens than one can look at.", { n: shown.missed }) : ""}</p>
    ${kind === "drops" ? html`<${Drops} drops=${drops} others=${shown.others} />` : lines.length === 0 ? html`<${Nothing}>${t("Nothing has happened.")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Log")}><table>
        <thead><tr><th scope="col">${t("Time")}</th><th scope="col">${t("Level")}</th><th scope="col">${t("What")}</th></tr></thead>
        <tbody>${lines.map((one) => html`
          <tr key=${one.number}><td class="address">${moment(one.time)}</td><td class=${one.level === "error" ? "bad" : "dim"}>${one.level}</td>
            <td>${one.client !== null && html`<${ClientLink} id=${one.client} /> `}<span class="said">${visible(one.text)}</span></td></tr>`)}</tbody>
      </table></div>`}`;
};

/** @param {{drops: Drop[], others: number}} about */
const Drops = ({ drops, others }) => {
  if (drops.length === 0 && !others) return html`<${Nothing}>${t("Nothing was dropped.")}</${Nothing}>`;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Drops")}><table>
      <thead><tr><th scope="col" class="figure">${t("Dropped")}</th><th scope="col">${t("Client")}</th><th scope="col">${t("Topic")}</th><th scope="col">${t("Why")}</th></tr></thead>
      <tbody>${drops.map((one) => html`
        <tr key=${JSON.stringify(one)}><td class="figure bad">${count(one.count)}</td><td><${ClientLink} id=${one.client_id} /></td><td><a href=${address("fate", { topic: one.topic, asked: "1" })}><${Name} text=${one.topic} /></a></td><td>${one.why}</td></tr>`)}</tbody>
    </table></div>
    ${others ? html`<p class="dim">${t("{n} more, of further kinds", { n: others })}</p>` : null}`;
};
