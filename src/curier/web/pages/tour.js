// The guided tour of QoS 0, 1 and 2: first a guess, then what went by, and why. Texts and drawings are the broker's.
// @ts-check
import { useAnswer } from "./asking.js";
import { Diagram } from "./diagram.js";
import { Fields } from "./fields.js";
import { html, signal, useEffect, useState } from "./html.js";
import { Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { Ways } from "./ways.js";
import { language, t } from "./words.js";

/**
 * @typedef {{name: string, title: string, qos: number, rule: string, flows: import("./diagram.js").Flow[], steps: string[],
 *   outcome: string, received: number}} Scene
 * @typedef {{intro: string, scenes: Scene[], often: string[], summary: string, lesson: string}} Told
 */

/** What was guessed of each scene: how often the message arrives. */
const guesses = signal(/** @type {Record<string, number>} */ ({}));

const END = "end";

export const Tour = () => {
  const { scene = "" } = place.value.query;
  const { data, why } = useAnswer("/tour", { language: language.value }, 0);
  if (!data) return html`<${Why} why=${why} />`;
  const told = /** @type {Told} */ (data);
  const names = ["", ...told.scenes.map((one) => one.name), END];
  const at = Math.max(0, names.indexOf(scene));
  const go = (/** @type {number} */ number) => {
    settle({ scene: names[number] });
    document.getElementById("scene")?.scrollIntoView({ block: "nearest" });
  };
  return html`
    <${Ways} />
    <div class="two tour">
      <nav class="tree" aria-label=${t("Scenes")}><ol>${told.scenes.map((one, number) => html`
        <li key=${one.name}><button class="flow plain" aria-current=${one.name === scene ? "step" : undefined} onClick=${() => go(number + 1)}>
          <span class=${one.name in guesses.value ? "on" : "dim"} aria-label=${one.name in guesses.value ? t("seen") : t("not seen yet")}>${one.name in guesses.value ? "✓" : "○"}</span> ${one.title}</button></li>`)}</ol></nav>
      <section class="detail" id="scene" aria-label=${t("Scene")}>
        ${at === 0 ? html`<p class="read">${told.intro.replaceAll("`", "")}</p>` : names[at] === END ? html`<${End} told=${told} />` : html`<${Played} key=${names[at]} one=${told.scenes[at - 1]} often=${told.often} />`}
        <p class="row">
          <button disabled=${at === 0} onClick=${() => go(at - 1)}>${t("Back")}</button>
          <button class="first" disabled=${at === names.length - 1} onClick=${() => go(at + 1)}>${at === 0 ? t("Begin") : t("Next")}</button>
          <span class="dim">${at && at <= told.scenes.length ? t("{n} of {m}", { n: at, m: told.scenes.length }) : ""}</span>
        </p>
      </section>
    </div>`;
};

/** @param {{one: Scene, often: string[]}} about */
const Played = ({ one, often }) => {
  const [packet, take] = useState(/** @type {import("./diagram.js").Row | null} */ (null));
  const guessed = guesses.value[one.name];
  useEffect(() => take(null), [language.value]);
  return html`
    <h2>${one.title}</h2>
    ${one.rule && html`<p>${t("The line is broken on purpose:")} <code>${one.rule}</code></p>`}
    <p class="row" role="group" aria-label=${t("How often will dash get the message?")}><b>${t("How often will dash get the message?")}</b>
      ${often.map((words, number) => html`<button key=${number} aria-pressed=${guessed === number} disabled=${guessed !== undefined && guessed !== number}
        onClick=${() => { guesses.value = { ...guesses.value, [one.name]: number }; }}>${words}</button>`)}</p>
    ${guessed === undefined ? html`<p class="dim">${t("Think first, then look: guess, and you see what went by.")}</p>` : html`
      <p role="status" class=${guessed === one.received ? "good" : "bad"}><b>${guessed === one.received ? `✓ ${t("That is right.")}` : `✗ ${t("It is: {often}.", { often: often[one.received] })}`}</b></p>
      <div class="beside">
        <div>${one.flows.map((flow, number) => html`<${Diagram} key=${number} flow=${{ ...flow, number }} chosen=${packet} choose=${take} plain=${true} />`)}</div>
        <div><ol class="steps">${one.steps.map((step) => html`<li key=${step}>${step}</li>`)}</ol>
          <p><b>→ ${one.outcome}</b></p></div>
      </div>
      ${packet ? html`<${Fields} key=${packet.bytes} row=${packet} />` : html`<p class="dim">${t("A packet that you choose is taken apart.")}</p>`}`}`;
};

/** What comes at the end: each outcome beside the others, and what that teaches. @param {{told: Told}} about */
const End = ({ told }) => html`
  <h2>${told.summary}</h2>
  <div class="scroll" tabindex="0" role="region" aria-label=${told.summary}><table>
    <tbody>${told.scenes.map((one) => html`
      <tr key=${one.name}><td>${one.title}</td><td class=${one.received === 1 ? "good" : "bad"}>${one.received === 1 ? "✓" : "✗"} ${told.often[one.received]}</td></tr>`)}</tbody>
  </table></div>
  <p class="read">${told.lesson}</p>
  <p><a href=${address("tryit")}>${t("Now break it yourself")}</a></p>`;
