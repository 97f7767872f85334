// What became of a message: who got it and when, who did not and why, and who is still waited for.
// @ts-check
import { look } from "./api.js";
import { count, length, moment, size, visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { ClientLink, Name, Nothing, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { t } from "./words.js";

const LOOK_SECONDS = 25;
const FIELDS = ["topic", "payload", "client", "identifier"];

/**
 * @typedef {{client_id: string, fate: "got it" | "waits" | "did not get it" | "not meant" | "not seen", qos: number, packet_id: number, sends: number, got_at: number, why: string}} Receiver
 * @typedef {{topic: string, payload: import("./values.js").Payload, qos: number, retain: boolean, publisher: string, origin: string, began: number,
 *   waits: boolean, words: string[], receivers: Receiver[], more_receivers: number, unseen: boolean}} One
 * @typedef {{fates: One[], seen: number, missed: number, refused: {time: number, why: string}[], unkept_since: number, unkept_until: number, unkept_clients: string[]}} Fates
 */

const FATES = /** @type {Record<Receiver["fate"], [string, string, string]>} */ ({
  "got it": ["✓", "on", "got it"], waits: ["…", "dim", "waits"], "did not get it": ["✗", "bad", "did not get it"], "not meant": ["–", "dim", "was not to get it"], "not seen": ["?", "dim", "was not seen"],
});

export const Fate = () => {
  const { query } = place.value;
  const asked = Object.fromEntries(FIELDS.map((name) => [name, query[name] ?? ""]));
  const key = JSON.stringify(asked);
  const [found, put] = useState(/** @type {Fates | null} */ (null));
  const [why, because] = useState("");
  const [looks, begin] = useState(false);
  const says = Object.values(asked).some(Boolean);
  const ask = async (/** @type {number} */ wait) => {
    begin(wait > 0);
    try {
      put(await look("/fate", { ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value)), wait }));
      because("");
    } catch (error) {
      because(/** @type {Error} */ (error).message);
    }
    begin(false);
  };
  useEffect(() => {
    put(null);
    because("");
    if (query.asked && says) void ask(0);
  }, [key, query.asked]);
  const field = (/** @type {string} */ name) => (/** @type {any} */ event) => settle({ [name]: event.target.value, asked: "" });
  return html`
    <form class="row tools" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); if (says) settle({ asked: String(Date.now()) }); }}>
      <label class="inline grow">${t("Topic Filter")} <input id="search" class="grow" placeholder="home/#" value=${asked.topic} onInput=${field("topic")} /></label>
      <label class="inline grow">${t("Publisher")} <input class="grow" value=${asked.client} onInput=${field("client")} /></label>
      <label class="inline">${t("Packet Identifier")} <input type="number" min="1" max="65535" value=${asked.identifier} onInput=${field("identifier")} /></label>
      <label class="inline grow">${t("Part of the payload")} <input class="grow" value=${asked.payload} onInput=${field("payload")} /></label>
      <button class="first" disabled=${!says || looks}>${t("Ask")}</button>
      <button type="button" disabled=${!says || looks} onClick=${() => ask(LOOK_SECONDS)}>${looks ? t("looks on …") : t("Look on for {n} s", { n: LOOK_SECONDS })}</button>
    </form>
    <p class="dim">${t("Of what is over, the broker keeps messages that were dropped or had expired, and what it refused. To know who got what, look on while it happens.")}</p>
    <${Why} why=${why} />
    ${looks && html`<p role="status">${t("It looks on, until there has been such a message and all of it is over.")}</p>`}
    ${found && !looks && html`<${Found} found=${found} of=${asked.client} />`}`;
};

/** @param {{found: Fates, of: string}} about */
const Found = ({ found, of }) => html`
  ${found.missed ? html`<p class="dim">${t("{n} {n:event was|events were} left out: more happens than one can look at.", { n: found.missed })}</p>` : null}
  ${found.unkept_until ? html`<p class="dim">${t("Between {since} and {until} there are gaps: more went by than is kept.", { since: moment(found.unkept_since), until: moment(found.unkept_until) })}
    ${found.unkept_clients.length ? t("They are of {clients}.", { clients: found.unkept_clients.map(visible).join(", ") }) : ""}</p>` : null}
  ${found.fates.length === 0 ? html`<${Nothing}>${t("No such message is known.")} ${found.seen ? t("{n} {n:other is|others are}.", { n: found.seen }) : ""}</${Nothing}>` : null}
  ${[...found.fates].reverse().map((one, number) => html`<${Told} key=${number} one=${one} />`)}
  ${found.refused.length ? html`
    <h2>${t("Refused to {client}", { client: visible(of) })}</h2>
    <ul>${found.refused.map((one) => html`<li key=${one.time}>${moment(one.time)}: ${visible(one.why)}</li>`)}</ul>` : null}`;

/** @param {{one: One}} about */
const Told = ({ one }) => html`
  <section class="fate" aria-label=${visible(one.topic)}>
    <h2><a href=${address("topics", { topic: one.topic })}><${Name} text=${one.topic} /></a></h2>
    <p>QoS ${one.qos}${one.retain ? `, ${t("retained")}` : ""}, ${size(one.payload.size)}, ${moment(one.began)}
      ${one.payload.text ? html` <code>${visible(one.payload.text.slice(0, 80))}${one.payload.text.length > 80 ? "…" : ""}</code>` : ""}</p>
    <p>${one.publisher ? html`${t("Publisher")}: <${ClientLink} id=${one.publisher} />` : t("Who published it was not seen.")} ${one.origin && html`<span class="dim">(${one.origin})</span>`}</p>
    <p class="dim">${visible(one.words[0] ?? "")}</p>
    ${one.receivers.length === 0 ? html`<p class=${one.unseen ? "dim" : "bad"}>${one.unseen ? "?" : "✗"} ${visible(one.words.at(-1) ?? "")}</p>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Receivers")}><table>
        <thead><tr><th scope="col">${t("Receiver")}</th><th scope="col">${t("What became of it")}</th><th scope="col">QoS</th><th scope="col" class="figure">${t("Sent")}</th><th scope="col">${t("Why")}</th></tr></thead>
        <tbody>${one.receivers.map((receiver, number) => html`<${Row} key=${number} receiver=${receiver} began=${one.began} />`)}</tbody>
      </table></div>`}
    ${one.unseen && one.receivers.length ? html`<p class="dim">${visible(one.words.at(-1) ?? "")}</p>` : null}
    ${one.more_receivers ? html`<p class="more">${t("{n} more {n:receiver|receivers}", { n: one.more_receivers })}</p>` : null}
  </section>`;

/** @param {{receiver: Receiver, began: number}} about */
const Row = ({ receiver, began }) => {
  const [mark, of, words] = FATES[receiver.fate];
  return html`
    <tr><td><${ClientLink} id=${receiver.client_id} /></td>
      <td class=${of} title=${receiver.got_at ? moment(receiver.got_at) : ""}>${mark} ${t(words)}${receiver.got_at ? ` +${length(Math.max(0, receiver.got_at - began))}` : ""}</td>
      <td>${receiver.qos}${receiver.packet_id ? ` #${receiver.packet_id}` : ""}</td><td class="figure">${receiver.sends > 1 ? html`<span class="bad">${count(receiver.sends)} ×</span>` : count(receiver.sends)}</td>
      <td>${visible(receiver.why)}</td></tr>`;
};
