// A message that is written here and published as the broker, with its Properties.
// @ts-check
import { html, useState } from "./html.js";
import { attempt, may, Needs, notice } from "./parts.js";
import { t } from "./words.js";

const NONE = { text: "", kind: "text", qos: 1, retain: false, content_type: "", response_topic: "", correlation: "", expiry: "", is_text: false, properties: "" };

/** Bytes in figures as base64; null where they are none. @param {string} said */
function base64Of(said) {
  const figures = said.replace(/\s|0x/g, "");
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(figures)) return null;
  return btoa((figures.match(/../g) ?? []).map((pair) => String.fromCharCode(parseInt(pair, 16))).join(""));
}

/** User Properties, one a line: name=value. @param {string} said @returns {{name: string, value: string}[] | null} */
function propertiesOf(said) {
  const lines = said.split("\n").filter((line) => line.trim() !== "");
  if (lines.some((line) => !line.includes("="))) return null;
  return lines.map((line) => ({ name: line.slice(0, line.indexOf("=")).trim(), value: line.slice(line.indexOf("=") + 1).trim() }));
}

/** What is asked of the API, or a sentence about what it cannot be. @param {string} topic @param {typeof NONE} said @returns {object | string} */
function message(topic, said) {
  const bytes = said.kind === "hex" ? base64Of(said.text) : null;
  const correlation = said.correlation ? base64Of(said.correlation) : "";
  const properties = propertiesOf(said.properties);
  if ((said.kind === "hex" && bytes === null) || correlation === null) return t("Bytes are written in figures from 0 to f, two each.");
  if (!properties) return t("User Properties are written one a line, as name=value.");
  return {
    topic, qos: said.qos, retain: said.retain, user_properties: properties, payload_is_text: said.is_text,
    ...(said.kind === "hex" ? { base64: bytes } : { text: said.text }),
    ...(said.content_type ? { content_type: said.content_type } : {}),
    ...(said.response_topic ? { response_topic: said.response_topic } : {}),
    ...(correlation ? { correlation_data: correlation } : {}),
    ...(said.expiry ? { expiry: Math.round(Number(said.expiry)) } : {}),
  };
}

/** @param {{topic: string, done?: () => void}} about */
export const PublishBox = ({ topic, done = () => undefined }) => {
  const [where, go] = useState(topic);
  const [said, say] = useState(NONE);
  if (!may("operator")) return html`<${Needs} role="operator" />`;
  const put = (/** @type {Partial<typeof NONE>} */ part) => say((before) => ({ ...before, ...part }));
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const asked = message(where, said);
    if (typeof asked === "string") notice.value = { text: asked, bad: true };
    else if (await attempt("/publish", asked)) done();
  };
  return html`
    <form class="publish" onSubmit=${send}>
      <h2>${t("Publish")}</h2>
      <label>${t("Topic")}<input required value=${where} onInput=${(/** @type {any} */ event) => go(event.target.value)} /></label>
      <label>${t("Payload")}<textarea rows="4" value=${said.text} onInput=${(/** @type {any} */ event) => put({ text: event.target.value })}></textarea></label>
      <div class="row">
        <label class="inline">${t("Written as")} <select value=${said.kind} onChange=${(/** @type {any} */ event) => put({ kind: event.target.value })}>
          <option value="text">${t("Text")}</option><option value="hex">${t("Hex")}</option></select></label>
        <label class="inline">QoS <select value=${said.qos} onChange=${(/** @type {any} */ event) => put({ qos: Number(event.target.value) })}>
          <option value="0">0</option><option value="1">1</option><option value="2">2</option></select></label>
        <label class="inline"><input type="checkbox" checked=${said.retain} onChange=${(/** @type {any} */ event) => put({ retain: event.target.checked })} /> ${t("retained")}</label>
        <span class="grow"></span><button class="first">${t("Publish")}</button>
      </div>
      <${More} said=${said} put=${put} />
    </form>`;
};

/** @param {{said: typeof NONE, put: (part: Partial<typeof NONE>) => void}} about */
const More = ({ said, put }) => html`
  <details><summary>${t("Properties of 5.0")}</summary>
    <div class="pairs">
      <label>Content Type<input placeholder="application/json" value=${said.content_type} onInput=${(/** @type {any} */ event) => put({ content_type: event.target.value })} /></label>
      <label>Response Topic<input value=${said.response_topic} onInput=${(/** @type {any} */ event) => put({ response_topic: event.target.value })} /></label>
      <label>Correlation Data (${t("Hex")})<input placeholder="00 ff" value=${said.correlation} onInput=${(/** @type {any} */ event) => put({ correlation: event.target.value })} /></label>
      <label>${t("Expires in seconds")}<input type="number" min="0" max="4294967295" value=${said.expiry} onInput=${(/** @type {any} */ event) => put({ expiry: event.target.value })} /></label>
    </div>
    <label>${t("User Properties, one a line")}<textarea rows="2" placeholder="name=value" value=${said.properties} onInput=${(/** @type {any} */ event) => put({ properties: event.target.value })}></textarea></label>
    <label class="inline"><input type="checkbox" checked=${said.is_text} onChange=${(/** @type {any} */ event) => put({ is_text: event.target.checked })} /> ${t("The payload is UTF-8 (Payload Format Indicator)")}</label>
  </details>`;
