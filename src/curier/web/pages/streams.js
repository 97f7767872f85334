// The streams of all tabs and windows of a browser, in a worker that they share. Over HTTP/1.1 a browser has six
// connections to a place: if each tab had a stream of its own, the seventh tab would wait for ever, for all.
// @ts-check
export {};

const MOST = 4; // of the six, the others are for questions
const PATIENCE = 40000; // milliseconds without a word, after which a tab has gone

/** @typedef {{source: EventSource, ports: Set<MessagePort>, names: Set<string>, hello: string}} Stream */

/** @type {Map<string, Stream>} */
const streams = new Map();

/** @type {Map<MessagePort, {url: string, seen: number}>} */
const tabs = new Map();

/** @param {string} url @returns {Stream} */
function opened(url) {
  const source = new EventSource(url);
  /** @type {Stream} */
  const made = { source, ports: new Set(), names: new Set(), hello: "" };
  const ended = () => {
    source.close();
    if (streams.get(url) === made) streams.delete(url);
    for (const port of made.ports) {
      tabs.delete(port);
      port.postMessage({ told: "ended" });
    }
  };
  source.addEventListener("hello", (event) => {
    made.hello = event.data;
    for (const port of made.ports) port.postMessage({ told: "event", name: "hello", data: event.data });
  });
  source.addEventListener("bye", ended);
  source.addEventListener("error", ended);
  streams.set(url, made);
  return made;
}

/** @param {MessagePort} port @param {string} url @param {string[]} names */
function join(port, url, names) {
  const found = streams.get(url);
  if (!found && streams.size >= MOST) {
    port.postMessage({ told: "full" });
    return;
  }
  const stream = found ?? opened(url);
  for (const name of names) {
    if (stream.names.has(name)) continue;
    stream.names.add(name);
    stream.source.addEventListener(name, (event) => {
      for (const one of stream.ports) one.postMessage({ told: "event", name, data: event.data });
    });
  }
  tabs.set(port, { url, seen: Date.now() });
  stream.ports.add(port);
  if (stream.hello) port.postMessage({ told: "event", name: "hello", data: stream.hello });
}

/** @param {MessagePort} port */
function leave(port) {
  const tab = tabs.get(port);
  tabs.delete(port);
  const stream = tab && streams.get(tab.url);
  if (!tab || !stream) return;
  stream.ports.delete(port);
  if (stream.ports.size) return;
  stream.source.close();
  streams.delete(tab.url);
}

/** @param {MessagePort} port @param {{ask: "join" | "leave" | "here", url: string, names: string[]}} said */
function hear(port, { ask, url, names }) {
  const tab = tabs.get(port);
  if (ask === "join") join(port, url, names);
  else if (ask === "leave") leave(port);
  else if (tab) tab.seen = Date.now();
  else port.postMessage({ told: "ended" }); // it was thought to have gone
}

self.addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  port.addEventListener("message", ({ data }) => hear(port, data));
  port.start();
});

setInterval(() => {
  for (const [port, tab] of tabs) if (Date.now() - tab.seen > PATIENCE) leave(port);
}, PATIENCE / 4);
