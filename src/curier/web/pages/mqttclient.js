// A client of MQTT in the page, whose line can be broken on purpose. It knows no view: it tells what goes by.
// @ts-check
import { acknowledge, connect, DISCONNECT, framed, parsed, PINGREQ, publish, subscribe } from "./packets.js";

/**
 * @typedef {{packet: string, act: "lose" | "delay" | "cut", whom: string, to_server: boolean, seconds: number}} Fault
 * @typedef {{who: MqttClient, packet: import("./packets.js").Packet, bytes: Uint8Array, to_server: boolean, fault: Fault | null}} Gone
 * @typedef {{id: number, qos: number, retain: boolean, topic: string, payload: Uint8Array, released: boolean}} Outgoing
 * @typedef {{went: (gone: Gone) => void, noted: (who: MqttClient, text: string, code: string) => void,
 *   got: (who: MqttClient, packet: import("./packets.js").Packet) => void, changed: () => void,
 *   fault: (who: MqttClient, name: string, to_server: boolean) => Fault | null}} Told
 */

const KEEP_ALIVE = 30;
const SESSION_SECONDS = 600;
const QUIET = ["PINGREQ", "PINGRESP"]; // of these nothing is told

/** @param {number} code */
const hex = (code) => `0x${code.toString(16).padStart(2, "0")}`;

/** One direction of a connection: what is delayed holds up all behind it, as TCP keeps the order. */
class Line {
  constructor() {
    this.waits = /** @type {{seconds: number, step: () => void}[]} */ ([]);
    this.busy = false;
  }

  /** @param {number} seconds until then nothing goes on here @param {() => void} step */
  put(seconds, step) {
    if (!seconds && !this.busy) {
      step();
      return;
    }
    this.waits.push({ seconds, step });
    if (!this.busy) void this.work();
  }

  async work() {
    this.busy = true;
    for (let one = this.waits.shift(); one; one = this.waits.shift()) {
      const { seconds } = one;
      if (seconds) await new Promise((done) => window.setTimeout(done, seconds * 1000));
      one.step();
    }
    this.busy = false;
  }
}

/** One client, with its session: it outlives connections, as MQTT has it. */
export class MqttClient {
  /** @param {string} role @param {string} clientId @param {{user: string, password: string, version: number, url: string}} how @param {Told} told */
  constructor(role, clientId, how, told) {
    this.role = role;
    this.clientId = clientId;
    this.how = how;
    this.told = told;
    this.state = /** @type {"away" | "connecting" | "connected"} */ ("away");
    this.why = ""; // in English, with {code} in it
    this.code = "";
    this.outgoing = new Map(/** @type {[number, Outgoing][]} */ ([]));
    this.incoming = new Set(/** @type {number[]} */ ([]));
    this.bye = ""; // what the broker said at the end
    this.filter = "";
    this.lastId = 0;
    this.socket = /** @type {WebSocket | null} */ (null);
    this.rest = new Uint8Array(0);
    this.up = new Line();
    this.down = new Line();
    this.timer = 0;
  }

  /** Connect, or connect again. */
  open() {
    if (this.socket) return;
    const socket = new WebSocket(this.how.url, "mqtt");
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.rest = new Uint8Array(0);
    this.bye = "";
    this.up = new Line();
    this.down = new Line();
    this.set("connecting", "");
    socket.addEventListener("open", () => {
      const about = { ...this.how, clientId: this.clientId, expiry: SESSION_SECONDS, keepAlive: KEEP_ALIVE };
      this.put(connect(about), connect(about, true));
      this.timer = window.setInterval(() => this.put(PINGREQ), KEEP_ALIVE * 500);
    });
    socket.addEventListener("message", (event) => this.take(socket, new Uint8Array(event.data)));
    socket.addEventListener("close", (event) => {
      if (this.socket === socket) this.ended(this.bye || event.reason || (event.code === 1006 ? "no WebSocket can be had here, or it broke off" : "the broker has closed it, {code}"), this.bye ? this.code : String(event.code));
    });
  }

  /** Let the connection break off: nothing more goes by, and nobody says goodbye. */
  cut() {
    if (!this.socket) return;
    this.told.noted(this, "the connection breaks off", "");
    this.ended("");
  }

  /** Say goodbye. */
  close() {
    if (this.state === "connected") this.put(DISCONNECT);
    this.ended("");
  }

  /** @param {string} why @param {string} [code] */
  ended(why, code = "") {
    const socket = this.socket;
    this.socket = null;
    window.clearInterval(this.timer);
    socket?.close();
    this.code = code;
    if (why) this.told.noted(this, why, code);
    this.set("away", why);
  }

  /** @param {"away" | "connecting" | "connected"} state @param {string} why */
  set(state, why) {
    this.state = state;
    this.why = why;
    this.told.changed();
  }

  /** Publish, and keep the message until it is acknowledged. @param {string} topic @param {Uint8Array} payload @param {number} qos @param {boolean} retain */
  publish(topic, payload, qos, retain) {
    const message = { id: qos ? this.freeId() : 0, qos, retain, topic, payload, released: false };
    if (qos) this.outgoing.set(message.id, message);
    this.put(publish(message, this.how.version));
    this.told.changed();
  }

  /** @param {string} filter @param {number} qos */
  subscribe(filter, qos) {
    this.filter = filter;
    this.put(subscribe(this.freeId(), filter, qos, this.how.version));
  }

  freeId() {
    do this.lastId = (this.lastId % 65535) + 1; while (this.outgoing.has(this.lastId));
    return this.lastId;
  }

  /**
   * Send a packet, unless a fault has it.
   * @param {Uint8Array} bytes @param {Uint8Array} [shown] what is told of it
   */
  put(bytes, shown = bytes) {
    const { socket } = this;
    const send = () => {
      if (socket && socket === this.socket && socket.readyState === WebSocket.OPEN) socket.send(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
    };
    this.pass(socket, shown, true, send);
  }

  /** Bytes of the broker. @param {WebSocket} socket @param {Uint8Array} data */
  take(socket, data) {
    let bytes = Uint8Array.from([...this.rest, ...data]);
    for (let at = framed(bytes); at; at = framed(bytes)) {
      const one = bytes.slice(0, at.end);
      bytes = bytes.slice(at.end);
      this.pass(socket, one, false, () => {
        if (socket === this.socket) this.handle(parsed(one, this.how.version));
      });
    }
    this.rest = bytes;
  }

  /** @param {WebSocket | null} socket @param {Uint8Array} bytes @param {boolean} to_server @param {() => void} goes_on */
  pass(socket, bytes, to_server, goes_on) {
    const packet = parsed(bytes, this.how.version);
    const is_told = !QUIET.includes(packet.name);
    const fault = is_told && socket ? this.told.fault(this, packet.name, to_server) : null;
    (to_server ? this.up : this.down).put(fault?.act === "delay" ? fault.seconds : 0, () => {
      if (!socket || socket !== this.socket) return; // this connection is over
      if (fault?.act === "cut") {
        this.cut();
        return;
      }
      if (is_told) this.told.went({ who: this, packet, bytes, to_server, fault });
      if (fault?.act !== "lose") goes_on();
    });
  }

  /** A packet that has arrived. @param {import("./packets.js").Packet} packet */
  handle(packet) {
    const { version } = this.how;
    if (packet.name === "CONNACK") this.welcomed(packet);
    else if (packet.name === "DISCONNECT") {
      this.bye = "the broker ends it, {code}";
      this.code = hex(packet.code);
    } else if (packet.name === "PUBACK" || packet.name === "PUBCOMP") this.outgoing.delete(packet.id);
    else if (packet.name === "PUBREC") {
      const message = this.outgoing.get(packet.id);
      if (message && packet.code >= 0x80) this.outgoing.delete(packet.id);
      else {
        if (message) message.released = true;
        this.put(acknowledge("PUBREL", packet.id, message ? 0 : 0x92, version));
      }
    } else if (packet.name === "PUBREL") {
      const known = this.incoming.delete(packet.id);
      this.put(acknowledge("PUBCOMP", packet.id, known ? 0 : 0x92, version));
    } else if (packet.name === "PUBLISH") {
      if (packet.qos < 2 || !this.incoming.has(packet.id)) this.told.got(this, packet); // [MQTT-4.3.3-10]
      if (packet.qos === 1) this.put(acknowledge("PUBACK", packet.id, 0, version));
      if (packet.qos === 2) {
        this.incoming.add(packet.id);
        this.put(acknowledge("PUBREC", packet.id, 0, version));
      }
    }
    this.told.changed();
  }

  /** The answer to CONNECT. @param {import("./packets.js").Packet} packet */
  welcomed(packet) {
    if (packet.code) {
      this.ended("refused, {code}", hex(packet.code));
      return;
    }
    this.set("connected", "");
    if (!packet.sessionPresent) { // [MQTT-3.2.2-5]: what was not acknowledged is gone with it
      if (this.outgoing.size) this.told.noted(this, "its session is gone, and what was not acknowledged", "");
      this.outgoing.clear();
      this.incoming.clear();
      return;
    }
    for (const message of this.outgoing.values()) { // [MQTT-4.4.0-1], in the order of before
      if (message.released) this.put(acknowledge("PUBREL", message.id, 0, this.how.version));
      else this.put(publish({ ...message, dup: true }, this.how.version));
    }
  }
}
