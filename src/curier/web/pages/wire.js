// What goes by on the wire, as it goes by: flows, each drawn as a sequence diagram, and its packets taken apart.
// @ts-check
import { useSettled } from "./asking.js";
import { Diagram } from "./diagram.js";
import { Fields } from "./fields.js";
import { visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { Nothing, Why } from "./parts.js";
import { place, settle } from "./place.js";
import { useStream } from "./stream.js";
import { t } from "./words.js";

const MOST = 100; // flows that are kept here
const STREAM = 1e9; // between the numbers of flows of one stream and the next

/** @typedef {import("./diagram.js").Flow} Flow */

/**
 * Flows as they come, the newest first; none as long as it is paused, but they are counted.
 * @param {string} client @param {string} topic @param {boolean} paused
 */
function useFlows(client, topic, paused) {
  const none = { flows: /** @type {Flow[]} */ ([]), missed: 0, passed: 0, before: -STREAM };
  const [state, set] = useState(none);
  const said = new URLSearchParams(Object.entries({ client_id: client, topic }).filter(([, value]) => value));
  useEffect(() => set(none), [client, topic]);
  const why = useStream(`/flows?${said}`, ["flow", "missed", "passed"], (name, data) => set((now) => {
    if (name === "hello") return { ...now, before: now.before + STREAM }; // its flows are numbered anew
    if (name !== "flow") return { ...now, [name]: now[/** @type {"missed" | "passed"} */ (name)] + data.count };
    const flow = { ...data, number: data.number + now.before };
    return { ...now, flows: [flow, ...now.flows.filter((one) => one.number !== flow.number)].slice(0, MOST) };
  }));
  const [shown, hold] = useState(state);
  const behind = paused ? state.flows.filter((one) => !shown.flows.includes(one)) : [];
  const step = () => { // the one that changed first of those that are not shown yet
    const one = behind.at(-1);
    if (one) hold({ ...shown, flows: [one, ...shown.flows.filter(({ number }) => number !== one.number)].slice(0, MOST) });
  };
  useEffect(() => {
    if (!paused) hold(state);
  }, [state, paused]);
  return { ...(paused ? shown : state), why, behind: behind.length, step };
}

/** A title as far as a list has room: its end says what kind of flow it is. @param {string} title */
const middle = (title) => (title.length > 100 ? `${title.slice(0, 70)}…${title.slice(-25)}` : title);

export const Wire = () => {
  const { client = "", topic = "", flow = "" } = place.value.query;
  const [paused, pause] = useState(false);
  const [packet, take] = useState(/** @type {import("./diagram.js").Row | null} */ (null));
  const { flows, missed, passed, why, behind, step } = useFlows(useSettled(client), useSettled(topic), paused);
  const [held, hold] = useState(/** @type {Flow | null} */ (null));
  const found = flows.find((one) => String(one.number) === flow);
  useEffect(() => {
    if (found) hold(found);
  }, [found]);
  const chosen = flow ? (found ?? (String(held?.number) === flow ? held : null)) : flows[0];
  return html`
    <div class="row tools">
      <label class="inline grow">${t("Client")} <input class="grow" value=${client} onInput=${(/** @type {any} */ event) => settle({ client: event.target.value, flow: "" })} /></label>
      <label class="inline grow">${t("Topic Filter")} <input class="grow" placeholder="home/#" value=${topic} onInput=${(/** @type {any} */ event) => settle({ topic: event.target.value, flow: "" })} /></label>
      <button aria-pressed=${paused} onClick=${() => pause(!paused)}>${paused ? t("Go on ({n} new)", { n: behind }) : t("Pause")}</button>
      ${paused && html`<button disabled=${behind === 0} onClick=${step}>${t("Step")}</button>`}
    </div>
    <${Why} why=${why} />
    ${missed + passed ? html`<p class="dim">${t("{n} {n:packet|packets} and {m} {m:drawing|drawings} were left out: more goes by than one can look at. Choose a client or a topic.", { n: missed, m: passed })}</p>` : null}
    ${flows.length === 0 ? html`<${Nothing}>${t("Nothing has gone by since you look. Connect, subscribe or publish, and it is drawn here.")}</${Nothing}>` : html`
      <div class="two flows">
        <div class="tree" role="region" aria-label=${t("Flows")}><ul>${flows.map((one) => html`
          <li key=${one.number}><button class="flow plain" aria-pressed=${one.number === chosen?.number} onClick=${() => { settle({ flow: String(one.number) }); take(null); }}>
            <span class=${one.finished ? "on" : "dim"} aria-label=${one.finished ? t("finished") : t("goes on")}>${one.finished ? "✓" : "…"}</span> <span title=${visible(one.title)}>${middle(visible(one.title))}</span></button></li>`)}</ul></div>
        <div class="detail">${chosen && html`<${Diagram} flow=${chosen} chosen=${packet} choose=${take} />`}
          ${packet && html`<${Fields} key=${packet.bytes} row=${packet} />`}</div>
      </div>`}`;
};
