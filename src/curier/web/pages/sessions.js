// Sessions whose clients are away, by what waits for them; and one session: what waits in it, and what is sent.
// @ts-check
import { look } from "./api.js";
import { useAnswer, useSettled } from "./asking.js";
import { count, size, visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { attempt, ClientLink, may, More, Name, Needs, Nothing, say, Sorted, Sure, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { Ago } from "./topic.js";
import { t } from "./words.js";

const PAGE = 100;

/** @typedef {{number: string, topic: string, payload: import("./values.js").Payload, qos: number, retain: boolean, state: "waits" | "sent" | "received",
 *   since: number, expires_at: number, group: string, packet_id: number}} Message */

export const Sessions = () => {
  const { search = "", sort = "queued", state = "away" } = place.value.query;
  const [rows, show] = useState(PAGE);
  const said = useSettled(search);
  const { data, why, again } = useAnswer("/clients", { search: said, sort, connected: state === "away" ? false : null, limit: Math.min(rows, 500) }, 3);
  const by = (/** @type {string} */ name) => settle({ sort: name });
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Client, user or address")} aria-label=${t("Search")} value=${search} onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      <select aria-label=${t("Which")} value=${state} onChange=${(/** @type {any} */ event) => settle({ state: event.target.value })}>
        <option value="away">${t("away")}</option><option value="all">${t("all")}</option></select>
    </div>
    <${Why} why=${why} />
    ${data && (data.found === 0 ? html`<${Nothing}>${search ? t("No client is like that.") : t("No session waits for its client.")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Sessions")}><table>
        <thead><tr><${Sorted} label=${t("Client")} by="client_id" sort=${sort} to=${by} />
          <th scope="col" class="wide">${t("State")}</th>
          <${Sorted} label=${t("Waiting")} by="queued" sort=${sort} to=${by} of="figure" />
          <${Sorted} label=${t("Bytes")} by="queued_bytes" sort=${sort} to=${by} of="figure wide" />
          <th scope="col" class="figure wide">${t("Unacknowledged")}</th>
          <${Sorted} label=${t("Dropped")} by="dropped" sort=${sort} to=${by} of="figure wide" />
          <${Sorted} label=${t("Subscriptions")} by="subscriptions" sort=${sort} to=${by} of="figure wide" /><td></td></tr></thead>
        <tbody>${data.clients.map((/** @type {any} */ row) => html`
          <tr key=${row.client_id}><td><a href=${address("session", { client_id: row.client_id })}><${Name} text=${row.client_id} /></a></td>
            <td class="wide">${row.connected ? html`<span class="on">● ${t("connected")}</span>` : html`<span class="dim">○ ${t("away")}</span>`}</td>
            <td class="figure">${count(row.queued)}</td><td class="figure wide">${size(row.queued_bytes)}</td><td class="figure wide">${count(row.inflight)}</td>
            <td class=${row.dropped ? "figure wide bad" : "figure wide"}>${count(row.dropped)}</td><td class="figure wide">${count(row.subscriptions)}</td>
            <td class="figure"><${Acts} id=${row.client_id} queued=${row.queued} again=${again} /></td></tr>`)}</tbody>
      </table></div>
      <${More} shown=${data.clients.length} found=${data.found} next=${data.next && rows < 500} more=${() => show(Math.min(rows * 2, 500))} />
      ${rows >= 500 && data.next ? html`<p class="dim">${t("The first 500: say what you look for.")}</p>` : null}`)}
    <${Needs} role="operator" />`;
};

/** What can be done with a session. @param {{id: string, queued: number, again: () => void}} about */
const Acts = ({ id, queued, again }) => {
  if (!may("operator")) return null;
  const purge = async () => {
    const answer = await attempt("/session/purge", { client_id: id });
    if (answer) say(t("{n} {n:message waits|messages wait} no more, of {size}.", { n: answer.messages, size: size(answer.bytes) }));
    again();
  };
  return html`<span class="row acts">
    <${Sure} label=${t("Purge")} of=${visible(id)} disabled=${queued === 0} question=${t("What waits for it is dropped. That cannot be undone.")} does=${purge} />
    <${Sure} label=${t("Forget")} of=${visible(id)} question=${t("Its subscriptions and all that waits for it are lost. That cannot be undone.")}
      does=${() => attempt("/client/forget", { client_id: id }).then(again)} /></span>`;
};

export const Session = () => {
  const id = place.value.query.client_id ?? "";
  const { data, why, gone, again } = useAnswer("/session/queue", { client_id: id, limit: PAGE }, 3);
  const [later, put] = useState(/** @type {{messages: Message[], next: string} | null} */ (null));
  const [trouble, because] = useState("");
  useEffect(() => put(null), [id]);
  const more = async () => {
    try {
      const page = await look("/session/queue", { client_id: id, limit: PAGE, cursor: later ? later.next : data.next });
      put({ messages: [...(later?.messages ?? []), ...page.messages], next: page.next });
      because("");
    } catch (error) {
      because(/** @type {Error} */ (error).message);
    }
  };
  const heading = html`<div class="row"><h2><${Name} text=${id} /></h2><span class="grow"></span>${data && html`<${Acts} id=${id} queued=${data.queued} again=${() => { put(null); again(); }} />`}</div>`;
  if (!data) return html`${heading}${gone ? html`<${Nothing}>${t("There is no such session.")}</${Nothing}>` : html`<${Why} why=${why} />`}`;
  const messages = [...data.messages, ...(later?.messages ?? [])];
  return html`
    ${heading}<${Why} why=${why || trouble} />
    <p>${data.connected ? html`<span class="on">● ${t("connected")}</span>` : html`<span class="dim">○ ${t("away")}</span>`} · ${t("{n} {n:message waits|messages wait}, {size} in all", { n: data.queued, size: size(data.queued_bytes) })} · <${ClientLink} id=${id} /></p>
    ${data.sent.length ? html`<h3>${t("Sent, and not over")}</h3><${Messages} id=${id} rows=${data.sent} again=${again} label=${t("Sent, and not over")} />` : null}
    <h3>${t("Waiting")}</h3>
    ${messages.length === 0 ? html`<${Nothing}>${t("Nothing waits.")}</${Nothing}>` : html`<${Messages} id=${id} rows=${messages} again=${() => { put(null); again(); }} label=${t("Waiting")} />
      <${More} shown=${messages.length} found=${data.queued} next=${later ? later.next : data.next} more=${more} />`}`;
};

const STATES = /** @type {Record<Message["state"], string>} */ ({ waits: "waits", sent: "waits for PUBACK or PUBREC", received: "waits for PUBCOMP" });

/** @param {{id: string, rows: Message[], again: () => void, label: string}} about */
const Messages = ({ id, rows, again, label }) => html`
  <div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
    <thead><tr><th scope="col">${t("Topic")}</th><th scope="col" class="wide">${t("Payload")}</th><th scope="col" class="figure">${t("Size")}</th><th scope="col">QoS</th><th scope="col">${t("Since")}</th><th scope="col" class="wide">${t("State")}</th><td></td></tr></thead>
    <tbody>${rows.map((one, number) => html`
      <tr key=${one.number || number}><td><a href=${address("topics", { topic: one.topic })}><${Name} text=${one.topic} /></a>${one.group && html` <span class="dim">${t("one of a group")}</span>`}</td>
        <td class="wide"><code class="name">${visible((one.payload.text ?? "").slice(0, 60))}</code></td><td class="figure">${size(one.payload.size)}</td>
        <td>${one.qos}${one.packet_id ? ` #${one.packet_id}` : ""}</td><td>${one.since ? html`<${Ago} time=${one.since} />` : t("before the broker started")}</td><td class="wide">${t(STATES[one.state])}</td>
        <td class="figure">${one.number && may("operator") && html`<${Sure} label=${t("Purge")} of=${visible(one.topic)} question=${t("This message is dropped. That cannot be undone.")} does=${() => attempt("/session/purge", { client_id: id, number: one.number }).then(again)} />`}</td></tr>`)}</tbody>
  </table></div>`;
