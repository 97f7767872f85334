// Numbers and states in the values of a topic, drawn over time: as many places in them as somebody chooses.
// @ts-check
import { Chart } from "./chart.js";
import { visible } from "./format.js";
import { figuresAt } from "./heard.js";
import { html, useState } from "./html.js";
import { place, settle } from "./place.js";
import { readMessageOf } from "./recognising.js";
import { drawable, figure, pathOf, pointer, within } from "./values.js";
import { language, t } from "./words.js";

/** @typedef {import("./past.js").Value} Value @typedef {import("./payload.js").Message} Message @typedef {import("./recognising.js").Form} Form */

const MOST_DRAWN = 6;
const MOST_OFFERED = 24;

/** The places that are drawn, as JSON Pointers; the address of the page has them. @returns {string[]} */
export function chosenPlaces() {
  try {
    const said = JSON.parse(place.value.query.draw ?? "[]");
    return Array.isArray(said) ? said.filter((one) => typeof one === "string" && /^(\/|$)/.test(one)).slice(0, MOST_DRAWN) : [];
  } catch {
    return [];
  }
}

/** What a place is called. @param {string} one */
export const placeName = (one) => visible(one) || t("the value");

/** @param {Message} message @param {Form | ""} chosen @returns {import("./values.js").Node | undefined} */
function nodeOf(message, chosen) {
  const found = readMessageOf(message, chosen);
  return found.node ?? (found.text !== undefined && found.text.length < 64 ? { is: "text", said: found.text } : undefined);
}

/** @param {{values: Value[], message: Message, chosen: Form | ""}} about */
export const Plots = ({ values, message, chosen }) => {
  const drawn = chosenPlaces();
  const node = nodeOf(message, chosen);
  const offered = node ? drawable(node, MOST_OFFERED).map(pointer) : [];
  const all = [...offered, ...drawn.filter((one) => !offered.includes(one))];
  const all_figures = drawn.length ? values.map((one) => (one.message ? figuresAt(one.message, drawn, chosen) : undefined)) : [];
  const draw = (/** @type {string[]} */ places) => settle({ draw: places.length ? JSON.stringify(places) : "" });
  if (all.length === 0) return !node ? null : html`<p class="dim">${t("There is no number in it, and no state such as on or off, that could be drawn.")}</p>`;
  return html`
    <fieldset class="places"><legend>${t("Draw over time")}</legend>
      ${all.map((one) => html`<label key=${one} class="inline"><input type="checkbox" checked=${drawn.includes(one)} disabled=${!drawn.includes(one) && drawn.length >= MOST_DRAWN}
        onChange=${() => draw(drawn.includes(one) ? drawn.filter((other) => other !== one) : [...drawn, one])} /> <code><bdi>${placeName(one)}</bdi></code></label>`)}
      ${offered.length >= MOST_OFFERED ? html`<${Other} node=${node} add=${(/** @type {string} */ one) => draw([...new Set([...drawn, one])].slice(0, MOST_DRAWN))} />` : null}
    </fieldset>
    <div class="charts">${drawn.map((one, at) => html`<${Plot} key=${one} values=${values} place=${one} figures=${all_figures.map((of) => of?.[at])} />`)}</div>`;
};

/** A place that is not among the first ones. @param {{node: import("./values.js").Node | undefined, add: (place: string) => void}} about */
const Other = ({ node, add }) => {
  const [said, type] = useState("");
  const can = /^\//.test(said) && figure(within(node, pathOf(said))) !== null;
  return html`<form class="row" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); if (can) { add(said); type(""); } }}>
    <label class="inline">${t("Another place")} <input placeholder="/a/0/b" value=${said} onInput=${(/** @type {any} */ event) => type(event.target.value)} /></label>
    <button disabled=${!can}>${t("Draw")}</button>
    ${said && !can ? html`<span class="dim">${t("Nothing that can be drawn is there.")}</span>` : null}</form>`;
};

/** @param {{values: Value[], place: string, figures: (import("./heard.js").Figure | undefined)[]}} about */
const Plot = ({ values, place: where, figures }) => {
  const is_state = figures.some((one) => one?.is_state) && figures.every((one) => !one || one.value === null || one.is_state || one.value === 0 || one.value === 1);
  /** @type {{time: number[], value: any[]}} */
  const columns = { time: [], value: [] };
  values.forEach((one, at) => {
    const before = columns.time.at(-1) ?? 0;
    if (one.is_later) put(columns, Math.max(before, one.time - 0.001), null); // nobody knows what was in between
    put(columns, Math.max(before, one.time), figures[at]?.value ?? null);
  });
  if (figures.every((one) => !one || one.value === null)) return html`<p class="dim"><code><bdi>${placeName(where)}</bdi></code> ${t("Nothing that can be drawn is there.")}</p>`;
  const missing = figures.filter((one) => one && one.value === null).length;
  const words = [0, 1].map((value) => figures.findLast((one) => one?.value === value)?.said.replaceAll('"', "").slice(0, 12));
  const format = (/** @type {number} */ value) => (is_state ? visible(words[value] ?? "") : short(value));
  return html`<div>
    <${Chart} title=${placeName(where)} columns=${columns} lines=${[["value", placeName(where)]]} format=${format} kind=${is_state ? "states" : "values"} />
    ${missing ? html`<p class="dim">${t("{n} of {m} {m:value|values} {n:has|have} no number there: gaps.", { n: missing, m: figures.length })}</p>` : null}</div>`;
};

/** @param {{time: number[], value: any[]}} columns @param {number} time @param {number | null} value */
function put(columns, time, value) {
  columns.time.push(time);
  columns.value.push(value);
}

/** @param {number} value */
const short = (value) => (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-3) ? value.toExponential(2) : new Intl.NumberFormat(language.value, { maximumFractionDigits: 3 }).format(value));
