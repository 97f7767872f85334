// Small parts that all views are made of.
// @ts-check
import { act, away, me } from "./api.js";
import { visible } from "./format.js";
import { html, signal, useEffect, useRef } from "./html.js";
import { address } from "./place.js";
import { t } from "./words.js";

/** What a stranger has chosen: as it is, but nothing in it unseen, and turning around nothing beside it. @param {{text: string, of?: string}} about */
export const Name = ({ text, of = "" }) => html`<bdi class=${`name ${of}`} title=${visible(text)}>${visible(text) || html`<i>${t("empty")}</i>`}</bdi>`;

/** A client, as a link to its page. @param {{id: string}} about */
export const ClientLink = ({ id }) => html`<a href=${address("client", { client_id: id })}><${Name} text=${id} /></a>`;

/** A sentence about why something is not to be seen; that the broker does not answer is said once, above all.
 * @param {{why: string}} about */
export const Why = ({ why }) => (why && !away.value ? html`<p class="why" role="alert">${why}</p>` : null);

/** What stands in the place of a list without rows. @param {{children?: any}} about */
export const Nothing = ({ children }) => html`<p class="nothing">${children}</p>`;

/** @param {{label: string, value: any, title?: string}} about */
export const Fact = ({ label, value, title }) => html`<div class="fact" title=${title}><dt>${label}</dt><dd>${value}</dd></div>`;

/**
 * A head of a column by which the list can be sorted.
 * @param {{label: string, by: string, sort: string, to: (by: string) => void, of?: string}} about
 */
export const Sorted = ({ label, by, sort, to, of = "" }) => html`
  <th scope="col" class=${of} aria-sort=${sort === by ? (by === "client_id" ? "ascending" : "descending") : undefined}>
    <button class="plain" onClick=${() => to(by)}>${label}${sort === by ? (by === "client_id" ? " ↑" : " ↓") : ""}</button>
  </th>`;

/** Whether who is logged in may do what a role may. @param {"viewer" | "operator" | "admin"} role */
export function may(role) {
  const order = ["viewer", "operator", "admin"];
  return order.indexOf(me.value?.role ?? "") >= order.indexOf(role);
}

/** What somebody of another role could do here. @param {{role: "operator" | "admin"}} about */
export const Needs = ({ role }) => (may(role) ? null : html`
  <p class="dim">${role === "admin" ? t("This is for the role admin.") : t("Acting on this is for the role operator.")} ${t("You are {name}, {role}.", { name: visible(me.value?.name ?? ""), role: me.value?.role ?? "" })}</p>`);

/** What has just been done, or why not: said once, at the bottom. */
export const notice = signal(/** @type {{text: string, bad: boolean, undo?: () => void} | null} */ (null));

/** @param {string} text @param {() => void} [undo] */
export function say(text, undo) {
  notice.value = { text, bad: false, undo };
}

/** Do something, and say what came of it. @param {string} path @param {object} body @returns {Promise<any>} */
export async function attempt(path, body) {
  try {
    const answer = await act(path, body);
    if (answer?.done) say(answer.done);
    return answer;
  } catch (error) {
    notice.value = { text: /** @type {Error} */ (error).message, bad: true };
    return null;
  }
}

export const Notice = () => {
  const now = notice.value;
  useEffect(() => {
    if (!now) return undefined;
    const timer = window.setTimeout(() => (notice.value = null), now.undo ? 20000 : 6000);
    return () => window.clearTimeout(timer);
  }, [now]);
  return html`<div class="notices" role="status">${now && html`
    <div class=${now.bad ? "notice bad" : "notice"}>
      <span>${visible(now.text)}</span>
      ${now.undo && html`<button onClick=${() => { now.undo?.(); notice.value = null; }}>${t("Undo")}</button>`}
      <button class="plain" aria-label=${t("Close")} onClick=${() => (notice.value = null)}>×</button>
    </div>`}</div>`;
};

/**
 * A button that asks once more before something is lost.
 * @param {{label: string, question: string, does: () => void, disabled?: boolean, of?: string}} about `of`: what it is about, where there are several
 */
export const Sure = ({ label, question, does, disabled, of }) => {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  return html`
    <button class="danger" disabled=${disabled} aria-label=${of === undefined ? undefined : `${label} ${of}`} onClick=${() => dialog.current?.showModal()}>${label}</button>
    <dialog ref=${dialog} aria-label=${label}>
      <p>${of !== undefined && html`<b><bdi>${of.length > 200 ? `${of.slice(0, 200)}…` : of}</bdi></b><br />`}${question}</p>
      <form method="dialog" class="row">
        <button>${t("Leave it")}</button>
        <button class="danger" onClick=${does}>${label}</button>
      </form>
    </dialog>`;
};

/** How many rows there are, and a way to more. @param {{shown: number, found: number, next: unknown, more: () => void}} about */
export const More = ({ shown, found, next, more }) => html`
  <p class="more">${t("{n} of {m}", { n: shown, m: found })}
    ${next ? html` <button onClick=${more}>${t("Show more")}</button>` : null}</p>`;
