// One topic: what is retained there, what it was before, who would get a message, and what can be published.
// @ts-check
import { act, now } from "./api.js";
import { useAnswer } from "./asking.js";
import { Difference } from "./difference.js";
import { length, moment, size, visible } from "./format.js";
import { figuresAt, useHeard } from "./heard.js";
import { html, useEffect, useState } from "./html.js";
import { attempt, ClientLink, Fact, may, Name, Nothing, notice, say, Sure, Why } from "./parts.js";
import { PayloadView, Properties } from "./payload.js";
import { AT_ONCE } from "./pinned.js";
import { address, place, settle } from "./place.js";
import { chosenPlaces, placeName, Plots } from "./plots.js";
import { PublishBox } from "./publishing.js";
import { NAMES, readMessageOf } from "./recognising.js";
import { brief, bytesOf, written } from "./values.js";
import { t } from "./words.js";

/** @typedef {import("./past.js").Value} Value @typedef {import("./payload.js").Message} Message @typedef {import("./recognising.js").Form} Form */

const FIRST_BYTES = 65536;
const MOST_BYTES = 1048576;
const MOST_ROWS = 20;
const KEPT = 200; // values of a topic that is pinned here

/** The form that the address has. @returns {Form | ""} */
function chosenForm() {
  const { form = "" } = place.value.query;
  return form in NAMES ? /** @type {Form} */ (form) : "";
}

/** @param {{topic: string}} about */
export const Topic = ({ topic }) => {
  const [limit, allow] = useState(FIRST_BYTES);
  const { data, newest, values, pinned, why, gone: none, again } = useHeard(topic, limit);
  const [held, hold] = useState(/** @type {Value[] | null} */ (null));
  const [picked, pick] = useState(/** @type {Value | null} */ (null));
  const shown = held ?? values;
  const at = picked ? shown.indexOf(picked) : shown.length - 1;
  const message = picked?.message ?? (held ? held.at(-1)?.message : newest);
  const before = shown.slice(0, Math.max(0, at)).findLast((one) => one.message)?.message;
  return html`
    <div class="row"><h2 class="grow"><${Name} text=${topic} /></h2>
      ${shown.length ? html`<button aria-pressed=${held !== null} onClick=${() => { hold(held ? null : values); pick(null); }}>${held ? t("Go on ({n} new)", { n: newer(values, held) }) : t("Freeze")}</button>` : null}
      ${may("operator") ? html`<${Pin} topic=${topic} pinned=${pinned} done=${again} />` : null}
      ${data && !held && may("operator") ? html`<${Sure} label=${t("Delete")} question=${t("Who subscribes later will not get it. Who subscribes now is sent nothing.")} does=${() => void deleted(topic, again)} />` : null}</div>
    ${picked ? html`<p class="row"><span class="dim">${t("This is a value from before.")}</span><button onClick=${() => pick(null)}>${t("The newest")}</button></p>` : null}
    ${none && !message ? html`<${Nothing}>${t("Nothing is retained here.")} ${may("operator") ? (pinned.length ? t("The next value is shown when it comes.") : t("Pin the topic to see the values that go by.")) : null}</${Nothing}>` : html`<${Why} why=${why} />`}
    ${message && html`<${One} message=${message} before=${before} values=${shown} retained=${message === data ? t("yes") : data ? t("another one") : t("no")}
      whole=${limit < MOST_BYTES && message === data ? () => allow(MOST_BYTES) : undefined} />`}
    ${shown.length > 1 ? html`<${Heard} values=${shown} pinned=${pinned} picked=${picked} pick=${(/** @type {Value} */ one) => { hold(shown); pick(one); }} />` : null}
    <${Receivers} topic=${topic} />
    <p><a href=${address("fate", { topic, asked: "1" })}>${t("What became of messages here?")}</a></p>
    <${PublishBox} topic=${topic} done=${again} />`;
};

/** How many values came since. @param {Value[]} values @param {Value[]} held */
const newer = (values, held) => values.length - 1 - values.indexOf(held[held.length - 1]);

/** A value: what is known of it, itself, and what is different from the one before. @param {{message: Message, before: Message | null | undefined, values: Value[], retained: string, whole?: () => void}} about */
const One = ({ message, before, values, retained, whole }) => {
  const chosen = chosenForm();
  return html`
    <dl class="facts">
      <${Fact} label="QoS" value=${message.qos} />
      <${Fact} label=${t("Written by")} value=${message.client ? html`<${ClientLink} id=${message.client} />` : t("not known")} title=${message.source} />
      <${Fact} label=${t("Written")} value=${message.written_at ? html`<${Ago} time=${message.written_at} />` : t("before the broker started")} />
      <${Fact} label=${t("Is retained")} value=${retained} />
      <${Properties} message=${message} />
    </dl>
    <${PayloadView} message=${message} chosen=${chosen} whole=${whole} choose=${(/** @type {string} */ form) => settle({ form })} />
    ${before ? html`<h3>${t("Changed since the value before")}</h3><${Difference} before=${before} after=${message} chosen=${chosen} />` : null}
    <${Plots} values=${values} message=${message} chosen=${chosen} />`;
};

/** How long ago something was, by the broker's clock. @param {{time: number}} about */
export const Ago = ({ time }) => {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => document.hidden || tick(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const seconds = Math.floor(now() - time);
  return html`<span title=${moment(time)}>${seconds < 1 ? t("just now") : t("{n} ago", { n: length(seconds) })}</span>`;
};

/** Have the broker keep the last values of a topic, or no more. @param {{topic: string, pinned: string[], done: () => void}} about */
const Pin = ({ topic, pinned, done }) => {
  const is_pinned = pinned.includes(topic);
  const turn = async () => {
    if (await attempt(is_pinned ? "/pins/remove" : "/pins", is_pinned ? { topic_filter: topic } : { topic_filter: topic, values: KEPT })) done();
  };
  return html`<button aria-pressed=${is_pinned} title=${t("The broker keeps its last {n} values, in memory.", { n: KEPT })} onClick=${turn}>${is_pinned ? t("Pinned") : t("Pin")}</button>`;
};

/** @param {string} topic @param {() => void} again */
export async function deleted(topic, again) {
  const before = await attempt("/retained/delete", { topic });
  if (!before) return;
  again();
  if (before.undo) say(t("Deleted."), () => void broughtBack(before.undo).then(again));
  else say(t("Deleted. It is too large to be brought back from here."));
}

/** @param {string} undo */
export async function broughtBack(undo) {
  try {
    const { restored } = await act("/retained/restore", { undo });
    if (restored) say(t("It is back."));
    else notice.value = { text: t("It is not brought back: there is a newer one, or it has expired."), bad: true };
  } catch (error) {
    notice.value = { text: /** @type {Error} */ (error).message, bad: true };
  }
}

/** The values that are known, the newest first: what the charts draw, as a table. @param {{values: Value[], pinned: string[], picked: Value | null, pick: (one: Value) => void}} about */
const Heard = ({ values, pinned, picked, pick }) => {
  const [rows, show] = useState(MOST_ROWS);
  const chosen = chosenForm();
  const drawn = chosenPlaces();
  const newest = values.slice(-rows).reverse();
  return html`
    <h3>${t("Last values")}</h3>
    <p class="dim">${pinned.length ? html`${t("The broker keeps them, as pinned:")} ${pinned.map((one, at) => html`${at ? ", " : ""}<${Name} text=${one} />`)}. ${t("Of more than {n} a second, the last are shown.", { n: AT_ONCE })}`
    : t("Seen while you looked, once a second: of what comes faster, not every value is here. Pin the topic, and the broker keeps them.")}</p>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Last values")}><table class="heard">
      <thead><tr><th scope="col">${t("Time")}</th>${drawn.map((one) => html`<th scope="col" class="figure"><bdi>${placeName(one)}</bdi></th>`)}<th scope="col">${t("Value")}</th><th scope="col" class="figure wide">${t("Size")}</th></tr></thead>
      <tbody>${newest.map((one) => html`<tr key=${one.time} aria-current=${one === picked ? "true" : undefined}>
        <td>${one.message ? html`<button class="plain link" onClick=${() => pick(one)}>${clock(one.time)}</button>` : clock(one.time)}</td>
        ${one.message ? html`${figuresAt(one.message, drawn, chosen).map(({ said }) => html`<td class="figure"><code>${visible(said)}</code></td>`)}
          <td class="glance"><code><bdi>${glance(one.message, chosen)}</bdi></code></td><td class="figure wide">${size(one.message.payload.size)}</td>`
    : html`<td class="dim" colspan=${drawn.length + 2}>${t("nothing was retained any more")}</td>`}</tr>`)}</tbody>
    </table></div>
    <p class="more">${t("{n} of {m}", { n: newest.length, m: values.length })}
      ${values.length > rows ? html` <button onClick=${() => show(rows + 100)}>${t("Show more")}</button>` : null}</p>`;
};

/** @type {WeakMap<Message, string>} */
const glances = new WeakMap();

/** A payload within a line. @param {Message} message @param {Form | ""} chosen */
function glance(message, chosen) {
  const known = chosen ? undefined : glances.get(message);
  if (known !== undefined) return known;
  const found = readMessageOf(message, chosen);
  const text = found.node ? brief(found.node) : (found.text?.slice(0, 60) ?? written(bytesOf(message.payload).subarray(0, 24)));
  const said = visible(text.replace(/\r?\n/g, " ↵ "));
  if (!chosen) glances.set(message, said);
  return said;
}

/** A moment of today to the millisecond. @param {number} time */
function clock(time) {
  const date = new Date(time * 1000);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return html`<span title=${moment(time)}>${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}</span>`;
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
      </table></div><p class="more">${t("{n} of {m}", { n: data.subscribers.length, m: data.found })}</p>`}`;
};
