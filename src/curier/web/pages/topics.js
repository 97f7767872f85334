// The tree of topics with retained messages; one of them; and what can be published there.
// @ts-check
import { act, look } from "./api.js";
import { useAnswer, useSettled } from "./asking.js";
import { count, visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { attempt, ClientLink, Fact, may, More, Name, Needs, Nothing, notice, say, Sure, Why } from "./parts.js";
import { PayloadView, Properties } from "./payload.js";
import { address, place, settle } from "./place.js";
import { NAMES } from "./recognising.js";
import { t } from "./words.js";

const FIRST_BYTES = 65536;
const MOST_BYTES = 1048576;

export const Topics = () => {
  const { search = "", topic = "" } = place.value.query;
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Part of a topic")} aria-label=${t("Search")} value=${search}
        onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
    </div>
    <div class="two">
      <div class="tree" role="region" aria-label=${t("Topics with a retained message")}>
        ${search ? html`<${Found} search=${search} />` : html`<${Branch} prefix=${null} depth=${0} />`}
      </div>
      <div class="detail">${topic ? html`<${Topic} key=${topic} topic=${topic} />` : html`<${PublishBox} topic="" />`}</div>
    </div>`;
};

/** @param {{search: string}} about */
const Found = ({ search }) => {
  const said = useSettled(search);
  const [rows, show] = useState(100);
  const { data, why } = useAnswer("/topics", { search: said, limit: Math.min(rows, 500), preview: 0 }, 5);
  if (!data) return html`<${Why} why=${why} />`;
  if (!data.found) return html`<${Nothing}>${t("No retained message is on such a topic.")}</${Nothing}>`;
  return html`
    <ul>${data.topics.map((/** @type {any} */ one) => html`<li key=${one.topic}><${Leaf} topic=${one.topic} label=${one.topic} /></li>`)}</ul>
    <${More} shown=${data.topics.length} found=${data.found} next=${data.next && rows < 500} more=${() => show(rows + 200)} />`;
};

/** @param {{topic: string, label: string}} about */
const Leaf = ({ topic, label }) => html`
  <a href=${address("topics", { ...place.value.query, topic, form: "" })} aria-current=${topic === place.value.query.topic ? "true" : undefined}><${Name} text=${label} /></a>`;

/** The levels below a topic, fetched when they are opened. @param {{prefix: string | null, depth: number}} about */
const Branch = ({ prefix, depth }) => {
  const [levels, put] = useState(/** @type {any[]} */ ([]));
  const [next, at] = useState(0);
  const [why, because] = useState("");
  const [done, end] = useState(false);
  const fetchFrom = async (/** @type {number} */ cursor) => {
    try {
      const answer = await look("/topics/level", { prefix, cursor });
      put((/** @type {any[]} */ before) => (cursor ? [...before, ...answer.levels] : answer.levels));
      at(answer.next);
      because("");
    } catch (error) {
      because(/** @type {Error} */ (error).message);
    }
    end(true);
  };
  useEffect(() => void fetchFrom(0), [prefix]);
  if (done && !levels.length && !why) {
    return depth ? html`<p class="dim">${t("nothing below")}</p>` : html`<${Nothing}>${t("Nothing is retained. Try: curier pub -r -t home/kitchen/temp -m 21.5")}</${Nothing}>`;
  }
  return html`
    <${Why} why=${why} />
    <ul>${levels.map((/** @type {any} */ one) => html`<li key=${one.level}><${Level} one=${one} depth=${depth} /></li>`)}</ul>
    ${next ? html`<button onClick=${() => fetchFrom(next)}>${t("Show more")}</button>` : null}`;
};

/** @param {{one: any, depth: number}} about */
const Level = ({ one, depth }) => {
  const [open, turn] = useState(false);
  const label = one.level === "" ? "∅" : one.level;
  return html`
    <div class="level">
      ${one.has_more ? html`<button class="plain turn" aria-expanded=${open} aria-label=${`${t("Levels below")} ${visible(one.topic)}`} onClick=${() => turn(!open)}>${open ? "▾" : "▸"}</button>` : html`<span class="turn"></span>`}
      ${one.has_message ? html`<${Leaf} topic=${one.topic} label=${label} />` : html`<span class="dim"><${Name} text=${label} /></span>`}
    </div>
    ${open && html`<${Branch} prefix=${one.topic} depth=${depth + 1} />`}`;
};

/** @param {{topic: string}} about */
const Topic = ({ topic }) => {
  const [limit, allow] = useState(FIRST_BYTES);
  const { form = "" } = place.value.query;
  const chosen = form in NAMES ? form : "";
  const { data, why, gone: none, again } = useAnswer("/retained", { topic, limit }, 2);
  const gone = async () => {
    const before = await attempt("/retained/delete", { topic });
    if (!before) return;
    again();
    if (before.payload.shown < before.payload.size) say(t("Deleted. It is too large to be brought back from here."));
    else say(t("Deleted."), () => void bringBack(before).then(again));
  };
  return html`
    <h2><${Name} text=${topic} /></h2>
    ${none ? html`<${Nothing}>${t("Nothing is retained here.")}</${Nothing}>` : html`<${Why} why=${why} />`}
    ${data && html`
      <dl class="facts">
        <${Fact} label="QoS" value=${data.qos} />
        <${Fact} label=${t("Written by")} value=${data.client ? html`<${ClientLink} id=${data.client} />` : t("not known")} title=${data.source} />
        <${Properties} message=${data} />
      </dl>
      <${PayloadView} message=${data} chosen=${chosen} whole=${limit < MOST_BYTES ? () => allow(MOST_BYTES) : undefined}
        choose=${(/** @type {string} */ form) => settle({ form })} />
      ${may("operator") && html`<p><${Sure} label=${t("Delete")} question=${t("Who subscribes later will not get it. Who subscribes now is sent nothing.")} does=${gone} /></p>`}`}
    <${Receivers} topic=${topic} />
    <${PublishBox} topic=${topic} done=${again} />`;
};

/** Publish a message again that was deleted. @param {any} message */
async function bringBack(message) {
  const { payload, topic, qos, content_type, response_topic, correlation_data, payload_is_text, user_properties } = message;
  try {
    await act("/publish", {
      topic, qos, retain: true, payload_is_text, user_properties,
      ...(payload.base64 ? { base64: payload.base64 } : { text: payload.text ?? "" }),
      ...(content_type ? { content_type } : {}), ...(response_topic ? { response_topic } : {}),
      ...(correlation_data ? { correlation_data } : {}),
      ...(message.expires_at ? { expiry: Math.max(1, Math.round(message.expires_at - (await look("/overview")).time)) } : {}),
    });
    say(t("It is back."));
  } catch (error) {
    notice.value = { text: /** @type {Error} */ (error).message, bad: true };
  }
}

/** @param {{topic: string}} about */
const Receivers = ({ topic }) => {
  const { data, why } = useAnswer("/subscribers", { topic, limit: 100 }, 5);
  if (!data) return html`<${Why} why=${why} />`;
  return html`
    <h3>${t("Who would get a message here")}</h3>
    ${data.found === 0 ? html`<${Nothing}>${t("Nobody: no subscription matches.")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Who would get a message here")}><table>
        <thead><tr><th scope="col">${t("Client")}</th><th scope="col">QoS</th><th scope="col">${t("By")}</th><th scope="col">${t("State")}</th></tr></thead>
        <tbody>${data.subscribers.map((/** @type {any} */ one) => html`
          <tr key=${one.client_id + one.group}><td><${ClientLink} id=${one.client_id} /></td><td>${one.qos}</td>
            <td>${one.filters.map((/** @type {string} */ filter) => html`<${Name} text=${filter} /> `)}${one.group && html`<span class="dim">${t("one of a group")}</span>`}</td>
            <td>${!one.allowed ? html`<span class="bad">✗ ${t("rules forbid it")}</span>` : one.connected ? html`<span class="on">● ${t("connected")}</span>` : html`<span class="dim">○ ${t("away")}</span>`}</td></tr>`)}</tbody>
      </table></div><p class="more">${t("{n} of {m}", { n: count(data.subscribers.length), m: count(data.found) })}</p>`}`;
};

/** @param {{topic: string, done?: () => void}} about */
const PublishBox = ({ topic, done = () => undefined }) => {
  const [where, go] = useState(topic);
  const [text, write] = useState("");
  const [qos, choose] = useState(1);
  const [retain, keep] = useState(false);
  if (!may("operator")) return html`<${Needs} role="operator" />`;
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (await attempt("/publish", { topic: where, text, qos, retain })) done();
  };
  return html`
    <form class="publish" onSubmit=${send}>
      <h2>${t("Publish")}</h2>
      <label>${t("Topic")}<input required value=${where} onInput=${(/** @type {any} */ event) => go(event.target.value)} /></label>
      <label>${t("Payload")}<textarea rows="4" value=${text} onInput=${(/** @type {any} */ event) => write(event.target.value)}></textarea></label>
      <div class="row">
        <label class="inline">QoS <select value=${qos} onChange=${(/** @type {any} */ event) => choose(Number(event.target.value))}>
          <option value="0">0</option><option value="1">1</option><option value="2">2</option></select></label>
        <label class="inline"><input type="checkbox" checked=${retain} onChange=${(/** @type {any} */ event) => keep(event.target.checked)} /> ${t("retained")}</label>
        <span class="grow"></span><button class="first">${t("Publish")}</button>
      </div>
    </form>`;
};
