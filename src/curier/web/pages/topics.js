// The tree of topics, retained or published to lately; one of them; and what can be published there.
// @ts-check
import { look } from "./api.js";
import { useAnswer, useSettled } from "./asking.js";
import { visible } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { More, Name, Nothing, Why } from "./parts.js";
import { address, place, settle } from "./place.js";
import { Pins } from "./pins.js";
import { PublishBox } from "./publishing.js";
import { Topic } from "./topic.js";
import { language, t } from "./words.js";

const AGAIN = 10_000; // milliseconds until levels that are open are asked for again

export const Topics = () => {
  const { search = "", topic = "" } = place.value.query;
  return html`
    <div class="row tools">
      <input type="search" id="search" class="grow" placeholder=${t("Part of a topic")} aria-label=${t("Search")} value=${search}
        onInput=${(/** @type {any} */ event) => settle({ search: event.target.value })} />
      <a href=${address("retained", { search })}>${t("By age and size")}</a>
    </div>
    <div class="two">
      <div class="tree" role="region" onKeyDown=${step} aria-label=${t("Topics")}>
        ${search ? html`<${Found} search=${search} />` : html`<${Branch} prefix=${null} depth=${0} />`}
        <p class="dim meaning">◦ ${t("went by, not retained")}</p>
      </div>
      <div class="detail">${topic ? html`<${Topic} key=${topic} topic=${topic} />` : html`<${PublishBox} topic="" /><${Pins} />`}</div>
    </div>`;
};

/** The keys of arrows: up and down, open and close. @param {KeyboardEvent} event */
function step(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const tree = /** @type {HTMLElement} */ (event.currentTarget);
  const rows = /** @type {HTMLElement[]} */ ([...tree.querySelectorAll(".level")]);
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  if (at < 0) return;
  const turn = rows[at].querySelector("button");
  const is_open = turn?.getAttribute("aria-expanded") === "true";
  const go = (/** @type {Element | null | undefined} */ row) => /** @type {HTMLElement | null} */ (row?.querySelector("a, button") ?? null)?.focus();
  if (event.key === "ArrowDown") go(rows[at + 1]);
  else if (event.key === "ArrowUp") go(rows[at - 1]);
  else if (event.key === "ArrowRight" && turn && !is_open) turn.click();
  else if (event.key === "ArrowRight" && is_open) go(rows[at + 1]);
  else if (event.key === "ArrowLeft" && is_open) turn?.click();
  else if (event.key === "ArrowLeft") go(rows[at].closest("ul")?.parentElement?.querySelector(":scope > .level"));
  else return;
  event.preventDefault();
}

/** @param {{search: string}} about */
const Found = ({ search }) => {
  const said = useSettled(search);
  const [rows, show] = useState(100);
  const { data, why } = useAnswer("/topics", { search: said, limit: Math.min(rows, 500), preview: 0, lately: true }, 5);
  if (!data) return html`<${Why} why=${why} />`;
  if (!data.found) return html`<${Nothing}>${t("No such topic is retained, and none went by lately.")}</${Nothing}>`;
  return html`
    <ul>${data.topics.map((/** @type {any} */ one) => html`<li key=${one.topic}><${Leaf} topic=${one.topic} label=${one.topic} lately=${!one.retained} /></li>`)}</ul>
    <${More} shown=${data.topics.length} found=${data.found} next=${data.next && rows < 500} more=${() => show(rows + 200)} />`;
};

/** @param {{topic: string, label: string, lately: boolean}} about */
const Leaf = ({ topic, label, lately }) => html`
  <a class=${lately ? "lately" : undefined} title=${lately ? t("went by, not retained") : undefined} href=${address("topics", { ...place.value.query, topic, form: "", draw: "" })} aria-current=${topic === place.value.query.topic ? "true" : undefined}>
    ${lately ? html`<span role="img" aria-label=${t("went by, not retained")}>◦</span> ` : null}<${Name} text=${label} /></a>`;

/** The levels below a topic, fetched when they are opened. @param {{prefix: string | null, depth: number}} about */
const Branch = ({ prefix, depth }) => {
  const [paged, page] = useState(false);
  const [levels, put] = useState(/** @type {any[]} */ ([]));
  const [next, at] = useState("");
  const [why, because] = useState("");
  const [done, end] = useState(false);
  const fetchFrom = async (/** @type {string} */ cursor) => {
    try {
      const answer = await look("/topics/level", { prefix, cursor, lately: true });
      put((/** @type {any[]} */ before) => (cursor ? [...before, ...answer.levels] : isSame(before, answer.levels) ? before : answer.levels));
      at(answer.next);
      if (cursor) page(true);
      because("");
    } catch (error) {
      because(/** @type {Error} */ (error).message);
    }
    end(true);
  };
  useEffect(() => void fetchFrom(""), [prefix]);
  useEffect(() => {
    const timer = window.setInterval(() => document.hidden || paged || void fetchFrom(""), AGAIN);
    return () => window.clearInterval(timer);
  }, [prefix, paged]);
  const is_none = done && !why && levels.every((one) => !depth && one.level.startsWith("$")); // what the broker says of itself
  if (is_none && depth) return html`<p class="dim">${t("nothing below")}</p>`;
  return html`
    <${Why} why=${why} />
    ${is_none ? html`<${Nothing}>${t("Nothing is retained. Try: curier pub -r -t home/kitchen/temp -m 21.5")}</${Nothing}>` : null}
    <ul>${sorted(levels).map((/** @type {any} */ one) => html`<li key=${one.level}><${Level} one=${one} depth=${depth} /></li>`)}</ul>
    ${next ? html`<button onClick=${() => fetchFrom(next)}>${t("Show more")}</button>` : null}`;
};

/** As people put them in order, those of the broker last. @param {any[]} levels */
function sorted(levels) {
  const { compare } = new Intl.Collator(language.value, { numeric: true });
  const is_own = (/** @type {any} */ one) => Number(one.level.startsWith("$"));
  const once = [...new Map(levels.map((one) => [one.level, one])).values()];
  return once.sort((one, other) => is_own(one) - is_own(other) || compare(one.level, other.level));
}

/** @param {any[]} before @param {any[]} after */
const isSame = (before, after) => JSON.stringify(before) === JSON.stringify(after);

/** @param {{one: any, depth: number}} about */
const Level = ({ one, depth }) => {
  const [open, turn] = useState(false);
  const label = one.level === "" ? "∅" : one.level;
  const ends = one.has_message || one.went_by;
  return html`
    <div class="level">
      ${one.has_more ? html`<button class="plain above" aria-expanded=${open} aria-label=${`${t("Levels below")} ${visible(one.topic)}`} onClick=${() => turn(!open)}>
        <span class="turn">${open ? "▾" : "▸"}</span>${ends ? null : html`<span class="dim"><${Name} text=${label} /></span>`}</button>` : html`<span class="turn"></span>`}
      ${ends ? html`<${Leaf} topic=${one.topic} label=${label} lately=${one.went_by} />` : null}
    </div>
    ${open && html`<${Branch} prefix=${one.topic} depth=${depth + 1} />`}`;
};
