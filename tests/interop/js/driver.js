// MQTT.js, driven from outside: one JSON object a line in, one a line out.
//
// in:   {"id": 1, "client": "c1", "call": "publish", "arguments": {...}}
// out:  {"id": 1, "result": ...}  or  {"id": 1, "error": "..."}
//       {"client": "c1", "message": {...}}   when a message was received
//       {"client": "c1", "ping": true}       at every PINGRESP
//
// Bytes are base64. Many clients live in one process, so that a test does not pay for a start of node.

"use strict";

const crypto = require("node:crypto");
const mqtt = require("mqtt");
const readline = require("node:readline");

const clients = new Map();

function say(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

function bytes(text) {
  return Buffer.from(text, "base64");
}

function withBytes(properties) {
  if (properties && properties.correlationData !== undefined) {
    properties.correlationData = bytes(properties.correlationData);
  }
  return properties;
}

function toldProperties(properties) {
  if (!properties) return {};
  const told = { ...properties };
  if (told.correlationData !== undefined) told.correlationData = told.correlationData.toString("base64");
  return told;
}

const calls = {
  // Connect and wait for CONNACK; the result says whether the session was there.
  connect(name, options) {
    if (options.will) {
      options.will.payload = bytes(options.will.payload);
      withBytes(options.will.properties);
    }
    const client = mqtt.connect({ host: "127.0.0.1", reconnectPeriod: 0, ...options });
    clients.set(name, client);
    client.aliased = 0;
    client.on("message", (topic, payload, packet) => {
      say({
        client: name,
        message: {
          topic,
          payload: payload.toString("base64"),
          qos: packet.qos,
          retain: packet.retain,
          properties: toldProperties(packet.properties),
        },
      });
    });
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "pingresp") say({ client: name, ping: true });
      if (packet.cmd === "publish" && packet.properties && packet.properties.topicAlias && !packet.topic) {
        client.aliased += 1;
      }
    });
    return new Promise((resolve, reject) => {
      client.once("connect", (connack) => resolve({ sessionPresent: connack.sessionPresent }));
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    });
  },

  async subscribe(name, { filters, properties }) {
    const granted = await clients.get(name).subscribeAsync(filters, properties ? { properties } : {});
    return granted.map((one) => one.qos);
  },

  async unsubscribe(name, { filter }) {
    await clients.get(name).unsubscribeAsync(filter);
  },

  async publish(name, { messages }) {
    const client = clients.get(name);
    await Promise.all(
      messages.map(({ topic, payload, options }) => {
        withBytes(options.properties);
        return client.publishAsync(topic, bytes(payload), options);
      }),
    );
  },

  // How many messages came with a Topic Alias in place of their topic.
  aliased(name) {
    return clients.get(name).aliased;
  },

  disconnect(name) {
    const client = clients.get(name);
    clients.delete(name);
    return new Promise((resolve) => {
      client.once("close", () => resolve(null)); // the broker may have been first
      client.end(!client.connected, {}, () => resolve(null));
    });
  },

  // Cut the connection: no DISCONNECT is sent.
  kill(name) {
    const client = clients.get(name);
    clients.delete(name);
    return new Promise((resolve) => {
      client.once("close", () => {
        client.end(true);
        resolve(null);
      });
      client.stream.destroy();
    });
  },

  // Send one message of ``size`` times the character 7 from a client to another; what arrived.
  async large(name, { port, size, topic }) {
    const options = { host: "127.0.0.1", port, protocolVersion: 5, reconnectPeriod: 0 };
    const subscriber = await mqtt.connectAsync({ ...options, clientId: `${name}-to` });
    const publisher = await mqtt.connectAsync({ ...options, clientId: `${name}-from` });
    await subscriber.subscribeAsync(topic, { qos: 1 });
    const arrived = new Promise((resolve) => subscriber.once("message", (_, payload) => resolve(payload)));
    await publisher.publishAsync(topic, Buffer.alloc(size, "7"), { qos: 1 });
    const payload = await arrived;
    await publisher.endAsync();
    await subscriber.endAsync();
    return { size: payload.length, sha256: crypto.createHash("sha256").update(payload).digest("hex") };
  },

  // Connect ``count`` clients one after the other, ``at_once`` of them at a time, each with a session of its
  // own; publish from each; leave. The result is how many did all that.
  async storm(name, { port, count, atOnce, topic }) {
    let next = 0;
    let done = 0;
    const worker = async () => {
      while (next < count) {
        const number = next++;
        const client = await mqtt.connectAsync({
          host: "127.0.0.1",
          port,
          protocolVersion: 5,
          clientId: `${name}-${number}`,
          reconnectPeriod: 0,
        });
        await client.publishAsync(topic, String(number), { qos: 1 });
        await client.endAsync();
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    return done;
  },
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, client, call, arguments: given } = JSON.parse(line);
  try {
    say({ id, result: (await calls[call](client, given)) ?? null });
  } catch (error) {
    say({ id, error: String(error) });
  }
}).on("close", () => process.exit(0));
