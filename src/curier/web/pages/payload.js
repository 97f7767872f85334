// A payload, in the form that it has most likely or the one that was chosen; and which Properties came with it.
// @ts-check
import { hex, moment, size, visible } from "./format.js";
import { html } from "./html.js";
import { Fact, Name } from "./parts.js";
import { NAMES, readMessageOf } from "./recognising.js";
import { bytesOf, laidOut } from "./values.js";
import { t } from "./words.js";

/** @typedef {import("./recognising.js").Form} Form */

const MOST_HEX = 16384; // bytes that are shown
const MOST_TEXT = 300_000; // characters

/** A message, as the API has it. @typedef {{topic: string, payload: import("./values.js").Payload, qos: number,
 * content_type?: string, response_topic?: string, correlation_data?: string, payload_is_text?: boolean,
 * user_properties?: {name: string, value: string}[], expires_at?: number | null, client?: string, source?: string,
 * written_at?: number, undo?: string}} Message */

/** @param {Form} form */
export const formName = (form) => (form === "text" ? t("Text") : form === "hex" ? t("Hex") : NAMES[form]);

/** What is wrong with a payload. @param {Form} form @param {import("./values.js").Unreadable} fault */
function why(form, { reason, at }) {
  const place = { form: formName(form), n: at };
  if (reason === "ends") return t("This is no whole {form}: it ends at place {n}.", place);
  if (reason === "more") return t("This is no {form}: from place {n} on something is left over.", place);
  if (reason === "deep") return t("This {form} is nested too deeply to be shown.", place);
  if (reason === "many") return t("This {form} has more parts than can be shown.", place);
  return t("This is no {form}: at place {n} it has what cannot be.", place);
}

/**
 * @param {{message: Message, chosen?: Form | "", choose?: (form: Form | "") => void, whole?: () => void}} about
 */
export const PayloadView = ({ message, chosen = "", choose, whole }) => {
  const { payload } = message;
  if (payload.size === 0) return html`<p class="nothing">${t("no payload: 0 bytes")}</p>`;
  const found = readMessageOf(message, chosen);
  const recognised = chosen ? readMessageOf(message, "") : found;
  const is_whole = payload.shown === payload.size;
  return html`
    <div class="payload">
      <div class="row">
        <label class="inline">${t("Shown as")} <select value=${chosen} disabled=${!choose}
          onChange=${(/** @type {any} */ event) => choose?.(event.target.value)}>
          <option value="">${t("{form}, as recognised", { form: formName(recognised.form) })}</option>
          ${Object.keys(NAMES).map((form) => html`<option key=${form} value=${form}>${formName(/** @type {Form} */ (form))}</option>`)}</select></label>
        <span class="grow"></span>
        <span class="dim">${is_whole ? size(payload.size) : t("the first {n} of {m}", { n: size(payload.shown), m: size(payload.size) })}</span>
        ${!is_whole && whole && html`<button onClick=${whole}>${t("Show more")}</button>`}
        ${is_whole && html`<button onClick=${() => save(bytesOf(payload))}>${t("Save")}</button>`}
      </div>
      ${found.fault && html`<p class="dim">${why(found.form === "text" || found.form === "hex" ? chosen || found.form : found.form, found.fault)}</p>`}
      <pre tabindex="0" aria-label=${t("Payload")}>${shown(found, bytesOf(payload))}</pre>
    </div>`;
};

/** @param {import("./recognising.js").Read} found @param {Uint8Array} bytes */
function shown(found, bytes) {
  const value = found.node ? laidOut(found.node) : null;
  if (value) return visibleLines(value.said) + (value.is_all ? "" : `\n… ${t("Save it to see all of it.")}`);
  if (found.text !== undefined) {
    const { text } = found;
    return visibleLines(text.slice(0, MOST_TEXT)) + (text.length > MOST_TEXT ? `\n… ${t("Save it to see all of it.")}` : "");
  }
  return hex(bytes.slice(0, MOST_HEX)) + (bytes.length > MOST_HEX ? `\n… ${t("{n} {n:byte|bytes} more", { n: bytes.length - MOST_HEX })}` : "");
}

/** @param {string} text */
export const visibleLines = (text) => text.split(/\r?\n/).map((line) => line.split("\t").map(visible).join("\t")).join("\n");

/** @param {Uint8Array} bytes */
function save(bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (bytes)]));
  link.download = "payload";
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The Properties of a message in 5.0, those that it has. @param {{message: Message}} about */
export const Properties = ({ message }) => html`
  ${message.expires_at ? html`<${Fact} label=${t("Expires")} value=${moment(message.expires_at)} />` : null}
  ${message.payload_is_text ? html`<${Fact} label="Payload Format" value="UTF-8" />` : null}
  ${message.content_type ? html`<${Fact} label="Content Type" value=${html`<${Name} text=${message.content_type} />`} />` : null}
  ${message.response_topic ? html`<${Fact} label="Response Topic" value=${html`<${Name} text=${message.response_topic} />`} />` : null}
  ${message.correlation_data ? html`<${Fact} label="Correlation Data" value=${html`<code>${figures(message.correlation_data)}</code>`} />` : null}
  ${(message.user_properties ?? []).map((one) => html`<${Fact} label=${html`<${Name} text=${one.name} />`} value=${html`<${Name} text=${one.value} />`} />`)}`;

/** @param {string} base64 */
function figures(base64) {
  const bytes = [...atob(base64)].map((one) => one.charCodeAt(0).toString(16).padStart(2, "0"));
  return bytes.slice(0, 64).join(" ") + (bytes.length > 64 ? ` … ${bytes.length} B` : "");
}
