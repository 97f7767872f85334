// Try it: a publisher and a subscriber in this page, clients of the broker as any other, on a line that can be broken
// on purpose. What goes by is drawn as it goes by.
// @ts-check
import { act } from "./api.js";
import { useAnswer } from "./asking.js";
import { Diagram } from "./diagram.js";
import { Fields } from "./fields.js";
import { count, visible } from "./format.js";
import { html, signal, useEffect, useState } from "./html.js";
import { MqttClient } from "./mqttclient.js";
import { may, Name, Needs, Nothing, Why } from "./parts.js";
import { address } from "./place.js";
import { SaveAs } from "./saving.js";
import { labelled, noted } from "./tried.js";
import { Ways } from "./ways.js";
import { t } from "./words.js";

/** @typedef {import("./mqttclient.js").Fault} Fault */

const MOST_ROWS = 200;
const LEGS = /** @type {[string, string, boolean][]} */ ([
  ["publisher → broker", "publisher", true], ["broker → publisher", "publisher", false],
  ["broker → subscriber", "subscriber", false], ["subscriber → broker", "subscriber", true],
]);
const PACKETS = ["PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"];

/** What is tried: two clients, what went by, what is to be broken, and what the subscriber's program got. */
class Trial {
  /** @param {{user: string, password: string, version: number, url: string}} how @param {string} name */
  constructor(how, name) {
    this.began = Date.now();
    this.rows = /** @type {import("./diagram.js").Row[]} */ ([]);
    this.faults = /** @type {Fault[]} */ ([]);
    this.got = /** @type {Map<string, number>} */ (new Map());
    const told = {
      went: (/** @type {import("./mqttclient.js").Gone} */ gone) => this.add(labelled(gone, this.lane(gone.who), how.version)),
      noted: (/** @type {MqttClient} */ who, /** @type {string} */ text, /** @type {string} */ code) => this.add(noted(t(text, { code }), this.lane(who))),
      got: (/** @type {MqttClient} */ _, /** @type {import("./packets.js").Packet} */ packet) => this.receive(packet),
      changed: () => this.tell(),
      fault: (/** @type {MqttClient} */ who, /** @type {string} */ packet, /** @type {boolean} */ to_server) => this.take(who.role, packet, to_server),
    };
    this.publisher = new MqttClient("publisher", `${name}-publisher`, how, told);
    this.subscriber = new MqttClient("subscriber", `${name}-subscriber`, how, told);
    this.publisher.open();
    this.subscriber.open();
  }

  /** @param {MqttClient} who */
  lane(who) {
    return who === this.publisher ? 0 : 2;
  }

  /** @param {import("./diagram.js").Row} row */
  add(row) {
    const after = (Date.now() - this.began) / 1000;
    this.rows = [...this.rows, { ...row, after, time: Date.now() / 1000, note: `+${after.toFixed(2)} s ${row.note}` }].slice(-MOST_ROWS);
    this.tell();
  }

  /** @param {import("./packets.js").Packet} packet */
  receive({ topic, payload }) {
    const key = JSON.stringify([topic, new TextDecoder().decode(payload.slice(0, 200))]);
    if (this.got.size < MOST_ROWS || this.got.has(key)) this.got = new Map([...this.got, [key, (this.got.get(key) ?? 0) + 1]]);
  }

  /** The fault that wants this packet; each does so once. @param {string} role @param {string} packet @param {boolean} to_server */
  take(role, packet, to_server) {
    const fault = this.faults.find((one) => one.packet === packet && one.whom === role && one.to_server === to_server) ?? null;
    if (fault) this.faults = this.faults.filter((one) => one !== fault);
    return fault;
  }

  clear() {
    this.rows = [];
    this.got = new Map();
    this.began = Date.now();
    this.tell();
  }

  tell() {
    turn.value += 1;
  }

  /** Leave nothing behind at the broker. */
  end() {
    for (const one of [this.publisher, this.subscriber]) {
      one.close();
      void act("/client/forget", { client_id: one.clientId }).catch(() => undefined);
    }
  }

  /** @returns {import("./diagram.js").Flow} */
  flow() {
    const lane = (/** @type {MqttClient} */ who) => ({ name: t(who.role), note: who.state === "connected" ? who.clientId : t("away"), count: 1, broker: false, away: who.state !== "connected" });
    const lanes = [lane(this.publisher), { name: "broker", note: "", count: 1, broker: true, away: false }, lane(this.subscriber)];
    const began = this.rows[0]?.time ?? 0;
    return { number: 0, kind: "trial", finished: false, last: began, title: "try-it", began, lanes, rows: this.rows, below: [] };
  }
}

const turn = signal(0);

export const TryIt = () => {
  const [trial, begin] = useState(/** @type {Trial | null} */ (null));
  useEffect(() => () => trial?.end(), [trial]);
  return html`
    <${Ways} />
    <p class="dim">${t("A publisher and a subscriber are made in this page. They come in at the broker as clients do, and may what its rules allow.")}</p>
    ${!may("operator") ? html`<${Needs} role="operator" />` : trial ? html`<${Bench} trial=${trial} end=${() => begin(null)} />` : html`<${Start} begin=${begin} />`}`;
};

/** @param {{begin: (trial: Trial) => void}} about */
const Start = ({ begin }) => {
  const { data, why } = useAnswer("/doors", {}, 0);
  const [said, change] = useState({ user: "", password: "", version: 5, listener: "" });
  const field = (/** @type {string} */ name) => (/** @type {any} */ event) => change({ ...said, [name]: name === "version" ? Number(event.target.value) : event.target.value });
  if (!data) return html`<${Why} why=${why} />`;
  if (!data.doors.length) return html`<${Nothing}>${t("No listener of this broker is open to a page: all know their clients by a certificate, a key or a socket, or are for its own machine only.")}</${Nothing}>`;
  const start = (/** @type {Event} */ event) => {
    event.preventDefault();
    const url = new URL("mqtt", location.href.split("#")[0]);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (said.listener) url.searchParams.set("listener", said.listener);
    begin(new Trial({ ...said, url: url.href }, `try-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`));
  };
  return html`
    <form class="row tools" onSubmit=${start}>
      <label class="inline">MQTT <select value=${said.version} onChange=${field("version")}><option value="5">5.0</option><option value="4">3.1.1</option></select></label>
      <label class="inline">${t("User")} <input autocomplete="off" value=${said.user} onInput=${field("user")} /></label>
      <label class="inline">${t("Password")} <input type="password" autocomplete="off" value=${said.password} onInput=${field("password")} /></label>
      ${data.doors.length > 1 && html`<label class="inline">${t("Listener")} <select value=${said.listener || data.doors[0].url} onChange=${field("listener")}>
        ${data.doors.map((/** @type {any} */ one) => html`<option key=${one.url} value=${one.url}>${one.name || one.url}</option>`)}</select></label>`}
      <button class="first">${t("Connect")}</button>
    </form>`;
};

/** @param {{trial: Trial, end: () => void}} about */
const Bench = ({ trial, end }) => {
  const [packet, take] = useState(/** @type {import("./diagram.js").Row | null} */ (null));
  const [topic, go] = useState("try/it");
  const now = turn.value; // a part is drawn anew where something that it is given is another
  return html`
    <div class="row tools"><${One} who=${trial.publisher} now=${now} /><${One} who=${trial.subscriber} now=${now} />
      <span class="grow"></span><button onClick=${end}>${t("End")}</button></div>
    <${Saying} trial=${trial} topic=${topic} go=${go} now=${now} />
    <${Breaking} trial=${trial} now=${now} />
    <${Got} trial=${trial} now=${now} />
    ${trial.rows.length === 0 ? html`<${Nothing}>${t("Nothing has gone by.")}</${Nothing}>` : html`
      <h2>${t("What goes by")}</h2>
      <div class="beside drawn"><div><${Diagram} flow=${trial.flow()} chosen=${packet} choose=${take} plain=${true} />
        <p class="row"><button onClick=${() => { trial.clear(); take(null); }}>${t("Clear")}</button>
          <a href=${address("wire", { topic })}>${t("As the broker sees it")}</a></p><${SaveAs} flow=${trial.flow()} /></div>
        <div>${packet ? html`<${Fields} key=${packet.bytes} row=${packet} />` : html`<p class="dim">${t("A packet that you choose is taken apart.")}</p>`}</div></div>`}`;
};

/** One of the two: how it is, and what can be done with its connection. @param {{who: MqttClient, now: number}} about */
const One = ({ who }) => html`
  <span class="row client"><b>${t(who.role)}</b> ${who.state === "connected" ? html`<span class="on">● ${t("connected")}</span>` : html`<span class="dim">○ ${who.state === "connecting" ? t("connecting …") : t("away")}</span>`}
    ${who.outgoing.size > 0 && html`<span class="dim">${t("{n} unacknowledged", { n: who.outgoing.size })}</span>`}
    ${who.state === "connected" ? html`<button onClick=${() => who.cut()}>${t("Cut")}</button>` : html`<button class="first" disabled=${who.state === "connecting"} onClick=${() => who.open()}>${t("Connect again")}</button>`}
    ${who.why && html`<span class="bad">✗ ${visible(t(who.why, { code: who.code }))}</span>`}</span>`;

/** @param {{trial: Trial, topic: string, go: (topic: string) => void, now: number}} about */
const Saying = ({ trial, topic, go }) => {
  const [said, change] = useState({ text: "21.5", qos: 1, at: 2, retain: false });
  const { publisher, subscriber } = trial;
  const number = (/** @type {string} */ name) => html`<select aria-label="QoS" value=${said[/** @type {"qos" | "at"} */ (name)]} onChange=${(/** @type {any} */ event) => change({ ...said, [name]: Number(event.target.value) })}>
    ${[0, 1, 2].map((one) => html`<option key=${one} value=${one}>QoS ${one}</option>`)}</select>`;
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    publisher.publish(topic, new TextEncoder().encode(said.text), said.qos, said.retain);
  };
  return html`
    <form class="row tools" onSubmit=${send}>
      <label class="inline grow">${t("Topic")} <input class="grow" required value=${topic} onInput=${(/** @type {any} */ event) => go(event.target.value)} /></label>
      ${number("at")}<button type="button" disabled=${subscriber.state !== "connected" || !topic} onClick=${() => subscriber.subscribe(topic, said.at)}>${t("Subscribe")}</button>
      <label class="inline grow">${t("Payload")} <input class="grow" value=${said.text} onInput=${(/** @type {any} */ event) => change({ ...said, text: event.target.value })} /></label>
      ${number("qos")}<label class="inline"><input type="checkbox" checked=${said.retain} onChange=${(/** @type {any} */ event) => change({ ...said, retain: event.target.checked })} /> ${t("retained")}</label>
      <button class="first" disabled=${publisher.state !== "connected"}>${t("Publish")}</button>
    </form>
    ${subscriber.state === "connected" && !subscriber.filter && html`<p class="dim">${t("The subscriber has no subscription yet, so it gets nothing.")}</p>`}`;
};

const ACTS = /** @type {[Fault["act"], string][]} */ ([["lose", "lose"], ["delay", "delay by 3 s"], ["cut", "cut before"]]);

/** @param {{trial: Trial, now: number}} about */
const Breaking = ({ trial }) => {
  const [how, change] = useState({ act: 0, packet: "PUBACK", leg: 1 });
  const pick = (/** @type {string} */ name) => (/** @type {any} */ event) => change({ ...how, [name]: name === "packet" ? event.target.value : Number(event.target.value) });
  const add = (/** @type {Event} */ event) => {
    event.preventDefault();
    const [, whom, to_server] = LEGS[how.leg];
    trial.faults = [...trial.faults, { packet: how.packet, act: ACTS[how.act][0], whom, to_server, seconds: 3 }];
    trial.tell();
  };
  const leg = (/** @type {Fault} */ one) => LEGS.find(([, whom, to_server]) => whom === one.whom && to_server === one.to_server)?.[0] ?? "";
  return html`
    <form class="row tools" onSubmit=${add}>
      <b>${t("Break it:")}</b>
      <select aria-label=${t("do what")} value=${how.act} onChange=${pick("act")}>${ACTS.map(([name, label], at) => html`<option key=${name} value=${at}>${t(label)}</option>`)}</select>
      <span>${t("the next")}</span>
      <select aria-label=${t("Packet")} value=${how.packet} onChange=${pick("packet")}>${PACKETS.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>
      <select aria-label=${t("On which way")} value=${how.leg} onChange=${pick("leg")}>${LEGS.map(([label], at) => html`<option key=${label} value=${at}>${t(label)}</option>`)}</select>
      <button>${t("Set up")}</button>
      ${trial.faults.map((one) => html`<span class="chip" key=${JSON.stringify(one)}>${t(ACTS.find(([name]) => name === one.act)?.[1] ?? "")} ${one.packet}, ${t(leg(one))}
        <button type="button" class="plain" aria-label=${t("Take away")} onClick=${() => { trial.faults = trial.faults.filter((other) => other !== one); trial.tell(); }}>×</button></span>`)}
    </form>`;
};

/** What the program behind the subscriber was given, and how often. @param {{trial: Trial, now: number}} about */
const Got = ({ trial }) => html`
  <p role="status">${trial.got.size === 0 ? html`<span class="dim">${t("The program behind the subscriber has got nothing.")}</span>` : html`${t("The program behind the subscriber has got:")}
    ${[...trial.got].slice(-5).map(([key, often]) => {
      const [topic, text] = JSON.parse(key);
      return html` <span class="chip" key=${key}><b class=${often > 1 ? "bad" : "good"}>${count(often)} ×</b> <${Name} text=${topic} /> <${Name} text=${text} /></span>`;
    })}`}</p>`;

