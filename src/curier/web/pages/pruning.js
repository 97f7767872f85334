// Retained messages that nobody has written for long, deleted together: counted first, named, and asked for in words.
// @ts-check
import { act } from "./api.js";
import { length, size } from "./format.js";
import { html, useState } from "./html.js";
import { Name, notice, say } from "./parts.js";
import { t } from "./words.js";

const DAY = 86400;
const FEW = 3; // messages, for which no words are asked

/** @typedef {{messages: number, bytes: number, topics: string[], undo: string, seconds: number}} Pruned */

/** Many at a time: counted first. @param {{again: () => void}} about */
export const Prune = ({ again }) => {
  const [asked, change] = useState({ days: "30", topic_filter: "#", larger: "" });
  const [counted, put] = useState(/** @type {Pruned | null} */ (null));
  const [deleted, keep] = useState(/** @type {Pruned | null} */ (null));
  const field = (/** @type {string} */ name) => (/** @type {any} */ event) => {
    change({ ...asked, [name]: event.target.value });
    put(null);
  };
  const prune = async (/** @type {boolean} */ dry_run) => {
    const body = { older_than: Number(asked.days) * DAY, topic_filter: asked.topic_filter, dry_run, ...(asked.larger === "" ? {} : { larger_than: Math.round(Number(asked.larger) * 1024) }) };
    try {
      const answer = await act("/retained/prune", body);
      put(dry_run ? answer : null);
      keep(dry_run ? null : answer);
      if (!dry_run) again();
    } catch (error) {
      put(null);
      notice.value = { text: /** @type {Error} */ (error).message, bad: true };
    }
  };
  return html`
    <h2>${t("Delete old ones")}</h2>
    <form class="row tools" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); void prune(true); }}>
      <label class="inline">${t("older than, in days")} <input type="number" required min="0" step="any" value=${asked.days} onInput=${field("days")} /></label>
      <label class="inline">${t("larger than, in KiB")} <input type="number" min="0" step="any" value=${asked.larger} onInput=${field("larger")} /></label>
      <label class="inline grow">${t("Topic Filter")} <input class="grow" required value=${asked.topic_filter} onInput=${field("topic_filter")} /></label>
      <button>${t("Count them")}</button>
    </form>
    ${counted && html`<${Counted} counted=${counted} go=${() => void prune(false)} />`}
    ${deleted && html`<${Deleted} deleted=${deleted} done=${() => { keep(null); again(); }} />`}`;
};

/** What would be deleted, and the words for it. @param {{counted: Pruned, go: () => void}} about */
const Counted = ({ counted, go }) => {
  const [said, type] = useState("");
  const words = t("delete {n}", { n: counted.messages });
  const is_sure = counted.messages <= FEW || said.trim().toLowerCase() === words;
  const others = counted.messages - counted.topics.length;
  return html`<div role="status">
    <p>${t("{n} {n:message|messages}, {size} in all, would be deleted.", { n: counted.messages, size: size(counted.bytes) })}</p>
    ${counted.messages ? html`
      <ul class="names">${counted.topics.map((topic) => html`<li key=${topic}><${Name} text=${topic} /></li>`)}${others > 0 ? html`<li class="dim">${t("{n} more", { n: others })}</li>` : null}</ul>
      <p class="dim">${t("Who subscribes later will not get them. Who subscribes now is sent nothing.")}</p>
      <form class="row" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); if (is_sure) go(); }}>
        ${counted.messages > FEW ? html`<label class="inline">${t("To delete them, write: {words}", { words })} <input autocomplete="off" value=${said} onInput=${(/** @type {any} */ event) => type(event.target.value)} /></label>` : null}
        <button class="danger" disabled=${!is_sure}>${t("Delete them")}</button></form>` : null}</div>`;
};

/** What was deleted, and the way back as long as there is one. @param {{deleted: Pruned, done: () => void}} about */
const Deleted = ({ deleted, done }) => {
  const undo = async () => {
    try {
      const { restored, left } = await act("/retained/restore", { undo: deleted.undo });
      say(t("{n} {n:is|are} back.", { n: restored }) + (left ? ` ${t("{n} {n:is|are} not: there is a newer one, or {n:it has|they have} expired.", { n: left })}` : ""));
    } catch (error) {
      notice.value = { text: /** @type {Error} */ (error).message, bad: true };
    }
    done();
  };
  return html`<p class="row" role="status"><span>${t("{n} {n:is|are} deleted.", { n: deleted.messages })}</span>
    ${deleted.undo ? html`<button onClick=${undo}>${t("Undo")}</button> <span class="dim">${t("possible for {n}", { n: length(deleted.seconds) })}</span>`
    : deleted.messages ? html`<span class="dim">${t("They are too many to be brought back.")}</span>` : null}</p>`;
};
