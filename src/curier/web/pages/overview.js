// How the broker is: what is wrong first, then what goes by, with the past of a day.
// @ts-check
import { useAnswer } from "./asking.js";
import { Chart } from "./chart.js";
import { count, length, moment, rate, size } from "./format.js";
import { html, useState } from "./html.js";
import { Fact, Name, Why } from "./parts.js";
import { address } from "./place.js";
import { t } from "./words.js";

const SPANS = /** @type {[number, string][]} */ ([[300, "5 min"], [900, "15 min"], [21600, "6 h"], [86400, "24 h"]]);

export const Overview = () => {
  const [span, choose] = useState(900);
  const now = useAnswer("/overview", {}, 1);
  const past = useAnswer("/history", { seconds: span }, span <= 900 ? 2 : 30);
  const o = now.data;
  if (!o) return html`<${Why} why=${now.why} />`;
  const columns = past.data?.columns;
  const last = (/** @type {string} */ name) => columns?.[name]?.at(-1) ?? 0;
  return html`
    <section aria-label=${t("What is wrong")}>
      ${o.troubles.length === 0
        ? html`<p class="good"><b>✓</b> ${t("Nothing is wrong.")}</p>`
        : html`<ul class="troubles">${o.troubles.map((/** @type {any} */ one) => html`
            <li class=${one.level}><b>${one.level === "error" ? `✗ ${t("Error")}` : `! ${t("Warning")}`}</b> ${one.text}</li>`)}</ul>`}
    </section>
    <dl class="facts">
      <${Fact} label=${t("Clients")} value=${html`<a href=${address("clients", { state: "connected" })}>${count(o.clients)}</a>`}
        title=${t("at most {n}", { n: o.clients_maximum })} />
      <${Fact} label=${t("Sessions")} value=${html`<a href=${address("clients")}>${count(o.sessions)}</a>`} />
      <${Fact} label=${t("Subscriptions")} value=${count(o.subscriptions)} />
      <${Fact} label=${t("Retained")} value=${html`<a href=${address("topics")}>${count(o.retained)}</a>`} title=${size(o.retained_bytes)} />
      <${Fact} label=${t("In, messages/s")} value=${rate(last("received_rate"))} />
      <${Fact} label=${t("Out, messages/s")} value=${rate(last("sent_rate"))} />
      <${Fact} label=${t("Waiting")} value=${size(o.queued_bytes)} title=${t("messages in sessions")} />
      <${Fact} label=${t("Dropped")} value=${count(o.total_dropped)} title=${t("queues full {n}, expired {m}", { n: o.total_dropped_full, m: o.total_expired })} />
      <${Fact} label=${t("Memory")} value=${o.memory ? size(o.memory) : "–"} title=${o.memory_limit ? t("limit {n}", { n: size(o.memory_limit) }) : ""} />
      <${Fact} label=${t("Loop late by")} value=${length(o.loop_lag)} />
      <${Fact} label=${t("Running for")} value=${length(o.uptime)} title=${moment(o.started_at)} />
      <${Fact} label=${t("Version")} value=${o.version} />
    </dl>
    <${Bridges} />
    <div class="row">
      <h2>${t("The past")}</h2><span class="grow"></span>
      ${SPANS.map(([seconds, label]) => html`<button class="tab" aria-pressed=${seconds === span} onClick=${() => choose(seconds)}>${label}</button>`)}
    </div>
    <${Why} why=${past.why} />
    <div class="charts">
      <${Chart} title=${t("Messages a second")} columns=${columns} lines=${[["received_rate", t("in")], ["sent_rate", t("out")]]} format=${rate} />
      <${Chart} title=${t("Bytes a second")} columns=${columns} lines=${[["bytes_received_rate", t("in")], ["bytes_sent_rate", t("out")]]} format=${size} binary=${true} />
      <${Chart} title=${t("Clients and sessions")} columns=${columns} lines=${[["clients", t("clients")], ["sessions", t("sessions")]]} format=${count} />
      <${Chart} title=${t("Dropped a second")} columns=${columns} lines=${[["dropped_rate", t("dropped")]]} format=${rate} />
      <${Chart} title=${t("Waiting in sessions")} columns=${columns} lines=${[["queued_bytes", t("waiting")]]} format=${size} binary=${true} />
      <${Chart} title=${t("Memory")} columns=${columns} lines=${[["memory", t("memory")]]} format=${size} binary=${true} />
    </div>`;
};

// The words for each state of a bridge stand here, where the test of words finds them.
const state = (/** @type {string} */ name) => ({ connected: t("connected"), away: t("not connected"), idle: t("idle"), ended: t("ended") })[name] ?? name;

/** A line for each bridge, where there are any. */
const Bridges = () => {
  const { data, why } = useAnswer("/bridges", {}, 2);
  if (!data?.bridges.length) return html`<${Why} why=${why} />`;
  return html`
    <h2>${t("Bridges")}</h2>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Bridges")}><table>
      <thead><tr><th scope="col">${t("Name")}</th><th scope="col">${t("State")}</th><th scope="col">${t("Since")}</th><th scope="col" class="wide">${t("Server")}</th>
        <th scope="col" class="figure wide">${t("Out")}</th><th scope="col" class="figure wide">${t("In")}</th><th scope="col" class="figure wide">${t("Waiting")}</th></tr></thead>
      <tbody>${data.bridges.map((/** @type {any} */ one) => html`
        <tr key=${one.name}><td>${one.name}</td>
          <td>${one.state === "away" || one.state === "ended" ? "✗ " : ""}${state(one.state)}${one.why && html`<div class="dim">${one.why}</div>`}</td>
          <td>${moment(one.since)}</td><td class="wide"><${Name} text=${one.url} /></td>
          <td class="figure wide">${count(one.out)}</td><td class="figure wide">${count(one.into)}</td><td class="figure wide">${count(one.waiting)}</td></tr>`)}</tbody>
    </table></div>`;
};
