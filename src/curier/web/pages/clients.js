// All clients, and one.
// @ts-check
import { useAnswer, useSettled } from "./asking.js";
import { count, length, moment, size, visible } from "./format.js";
import { html, useState } from "./html.js";
import { attempt, ClientLink, Fact, may, More, Name, Needs, Nothing, Sorted, Sure, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { t } from "./words.js";

const PAGE = 100;
const FOR_EVER = 4294967295;

export const Clients = () => {
  const { search = "", sort = "client_id", state = "" } = place.value.query;
  const [rows, show] = useState(PAGE);
  const [frozen, freeze] = useState(false);
  const said = useSettled(search);
  const connected = state === "connected" ? true : state === "away" ? false : null;
  const { data, why } = useAnswer("/clients", { search: said, sort, connected, limit: Math.min(rows, 500) }, 2, frozen);
  const by = (/** @type {string} */ name) => settle({ sort: name });
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Client, user or address")} aria-label=${t("Search")} value=${search}
        onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      <select aria-label=${t("Which")} value=${state} onChange=${(/** @type {any} */ event) => settle({ state: event.target.value })}>
        <option value="">${t("all")}</option><option value="connected">${t("connected")}</option><option value="away">${t("away")}</option>
      </select>
      <button aria-pressed=${frozen} onClick=${() => freeze(!frozen)}>${frozen ? t("Go on") : t("Freeze")}</button>
    </div>
    <${Why} why=${why} />
    ${data && (data.found === 0 ? html`<${Nothing}>${data.total ? t("No client is like that.") : t("No client has come yet. Try: curier sub -t 'test/#' -v")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Clients")}><table>
        <thead><tr>
          <${Sorted} label=${t("Client")} by="client_id" sort=${sort} to=${by} />
          <th scope="col">${t("State")}</th>
          <th scope="col" class="wide">${t("User")}</th>
          <th scope="col" class="wide">${t("Address")}</th>
          <${Sorted} label=${t("Waiting")} by="queued" sort=${sort} to=${by} of="figure" />
          <${Sorted} label=${t("Bytes")} by="queued_bytes" sort=${sort} to=${by} of="figure wide" />
          <th scope="col" class="figure wide">${t("Unacknowledged")}</th>
          <${Sorted} label=${t("Dropped")} by="dropped" sort=${sort} to=${by} of="figure" />
          <${Sorted} label=${t("Subscriptions")} by="subscriptions" sort=${sort} to=${by} of="figure wide" />
          <${Sorted} label=${t("Unsent")} by="unsent" sort=${sort} to=${by} of="figure wide" />
        </tr></thead>
        <tbody>${data.clients.map((/** @type {any} */ row) => html`
          <tr key=${row.client_id}>
            <td><${ClientLink} id=${row.client_id} /></td>
            <td>${row.connected ? html`<span class="on">● ${row.version}</span>` : html`<span class="dim">○ ${t("away")}</span>`}</td>
            <td class="wide">${row.user ? html`<${Name} text=${row.user} />` : html`<span class="dim">–</span>`}</td>
            <td class="wide"><${Name} text=${row.address || "–"} of="address" /></td>
            <td class="figure">${count(row.queued)}</td>
            <td class="figure wide">${size(row.queued_bytes)}</td>
            <td class="figure wide">${count(row.inflight)}</td>
            <td class=${row.dropped ? "figure bad" : "figure"}>${count(row.dropped)}</td>
            <td class="figure wide">${count(row.subscriptions)}</td>
            <td class="figure wide">${size(row.unsent)}</td>
          </tr>`)}</tbody>
      </table></div>
      <${More} shown=${data.clients.length} found=${data.found} next=${data.next && rows < 500} more=${() => show(Math.min(rows * 2, 500))} />
      ${rows >= 500 && data.next ? html`<p class="dim">${t("The first 500: say what you look for.")}</p>` : null}`)}`;
};

export const Client = () => {
  const id = place.value.query.client_id ?? "";
  const { data, why, again } = useAnswer("/client", { client_id: id }, 2);
  const subscriptions = useAnswer("/subscriptions", { client_id: id, limit: 500 }, 5);
  const endings = useAnswer("/client/endings", { client_id: id }, 5);
  const heading = html`<h2><${Name} text=${id} /></h2>`;
  if (!data) return html`${heading}<${Why} why=${why} />`;
  const row = data.row;
  const banned = async () => {
    await attempt("/bans", { client_id: id });
    again();
  };
  return html`
    <div class="row">${heading}<span class="grow"></span>
      ${may("operator") && html`
        <${Sure} label=${t("Disconnect")} disabled=${!row.connected} question=${t("It is told why (5.0) and may come again at once.")}
          does=${() => attempt("/client/disconnect", { client_id: id }).then(again)} />
        <${Sure} label=${t("Ban for an hour")} question=${t("Nobody of this Client Identifier gets in for an hour.")} does=${banned} />
        <${Sure} label=${t("Forget session")} question=${t("Its subscriptions and all that waits for it are lost. That cannot be undone.")}
          does=${() => attempt("/client/forget", { client_id: id }).then(again)} />`}
    </div>
    <${Needs} role="operator" />
    <${Why} why=${why} />
    <dl class="facts">
      <${Fact} label=${t("State")} value=${row.connected ? html`<span class="on">● ${t("connected")}</span>` : html`<span class="dim">○ ${t("away")}</span>`} />
      <${Fact} label=${t("Since")} value=${row.connected_at ? moment(row.connected_at) : "–"} />
      <${Fact} label=${t("Version")} value=${row.version || "–"} />
      <${Fact} label=${t("User")} value=${row.user ? html`<${Name} text=${row.user} />` : "–"} />
      <${Fact} label=${t("Address")} value=${html`<${Name} text=${row.address || "–"} />`} />
      <${Fact} label=${t("Listener")} value=${html`<${Name} text=${row.listener || "–"} />`} />
      <${Fact} label=${t("Keep Alive")} value=${data.keep_alive ? length(data.keep_alive) : "–"} />
      <${Fact} label=${t("Session stays")} value=${data.session_expiry >= FOR_EVER ? t("for ever") : data.session_expiry ? length(data.session_expiry) : t("not")} />
      <${Fact} label=${t("On disk")} value=${data.kept ? t("yes") : t("no")} />
      <${Fact} label=${t("Waiting")} value=${`${count(row.queued)} · ${size(row.queued_bytes)}`} />
      <${Fact} label=${t("Unacknowledged")} value=${`${count(row.inflight)} / ${count(data.receive_maximum)}`} title=${t("of its Receive Maximum")} />
      <${Fact} label=${t("Dropped")} value=${count(row.dropped)} />
      <${Fact} label=${t("Unsent")} value=${size(row.unsent)} />
      <${Fact} label=${t("Will")} value=${data.has_will ? html`<${Name} text=${data.will_topic} />` : t("none")} />
      ${data.groups.length ? html`<${Fact} label=${t("Groups")} value=${data.groups.join(", ")} />` : null}
    </dl>
    <p><a href=${address("fate", { client: id, asked: "1" })}>${t("What became of its messages?")}</a> · <a href=${address("wire", { client: id })}>${t("What goes by between it and the broker")}</a> · <a href=${address("session", { client_id: id })}>${t("What waits for it")}</a></p>
    <${Endings} data=${endings.data} />
    <h2>${t("Subscriptions")}</h2>
    <${Why} why=${subscriptions.why} />
    ${subscriptions.data && (subscriptions.data.found === 0 ? html`<${Nothing}>${t("It subscribes to nothing.")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Subscriptions")}><table>
        <thead><tr><th scope="col">${t("Topic Filter")}</th><th scope="col">QoS</th><th scope="col" class="wide">${t("Options")}</th></tr></thead>
        <tbody>${subscriptions.data.subscriptions.map((/** @type {any} */ one) => html`
          <tr key=${one.topic_filter}><td><${Name} text=${one.topic_filter} /></td><td>${one.qos}</td>
            <td class="wide dim">${[one.no_local && "No Local", one.retain_as_published && "Retain As Published", one.identifier && `#${one.identifier}`].filter(Boolean).join(", ")}</td></tr>`)}</tbody>
      </table></div>
      <${More} shown=${subscriptions.data.subscriptions.length} found=${subscriptions.data.found} next="" more=${() => undefined} />`)}`;
};

/** Why its last connections ended. @param {{data: any}} about */
const Endings = ({ data }) => (data === null ? null : html`
  <h2>${t("Last connections")}</h2>
  ${data.endings.length === 0 ? html`<${Nothing}>${t("None has ended since {time}.", { time: moment(data.since) })}</${Nothing}>` : html`
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Last connections")}><table>
      <thead><tr><th scope="col">${t("Ended")}</th><th scope="col">${t("Why")}</th><th scope="col">${t("Lasted")}</th><th scope="col" class="wide">${t("Address")}</th></tr></thead>
      <tbody>${data.endings.map((/** @type {any} */ one) => html`
        <tr key=${one.time + one.address}><td>${moment(one.time)}</td>
          <td><span class=${one.reason_code >= 0x80 ? "bad" : ""}>${hexadecimal(one.reason_code)}</span> ${visible(one.why)}</td>
          <td>${one.what === "refused" ? html`<span class="bad">${t("refused")}</span>` : length(one.lasted)}</td><td class="wide"><${Name} text=${one.address} /></td></tr>`)}</tbody>
    </table></div>`}`);

/** A Reason Code, as the specification writes it. @param {number} code */
const hexadecimal = (code) => `0x${code.toString(16).toUpperCase().padStart(2, "0")}`;
