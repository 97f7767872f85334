// A sequence diagram: lanes from left to right, time from the top down, an arrow a button.
// @ts-check
import { visible } from "./format.js";
import { html, useState } from "./html.js";
import { SaveAs } from "./saving.js";
import { t } from "./words.js";

/**
 * @typedef {{row: "arrow" | "note" | "fold", time: number, after: number, from: number, to: number, lane: number, label: string,
 *   note: string, text: string, style: string, trouble: boolean, count: number, bytes?: string, cut?: number, version?: number,
 *   to_server?: boolean}} Row
 * @typedef {{name: string, note: string, count: number, broker: boolean, away: boolean}} Lane
 * @typedef {{number: number, kind: string, finished: boolean, last: number, title: string, began: number, lanes: Lane[],
 *   rows: Row[], below: string[]}} Flow
 */

const EDGE = 100;
const HEAD = 46;
const STEP = 44;

const MOST_ROWS = 24; // of a flow that is not opened

/** With the rows in the middle left out, if there are many. @param {Row[]} rows @returns {Row[]} */
function folded(rows) {
  if (rows.length <= MOST_ROWS) return rows;
  const half = MOST_ROWS / 2;
  const gone = rows.slice(half, rows.length - half + 1);
  const count = gone.reduce((sum, row) => sum + (row.row === "fold" ? row.count : 1), 0);
  return [...rows.slice(0, half), { ...gone[0], row: "fold", count, bytes: undefined }, ...rows.slice(rows.length - half + 1)];
}

/** How far two lanes are apart. @param {Flow} flow */
const between = (flow) => (flow.lanes.length > 3 ? 190 : 250);

/** @param {string} text @param {number} most */
const short = (text, most) => {
  const seen = visible(text);
  return seen.length > most ? `${seen.slice(0, most - 1)}…` : seen;
};

/** @param {{flow: Flow, chosen: Row | null, choose: (row: Row) => void, plain?: boolean}} about `plain`: only the drawing */
export const Diagram = ({ flow, chosen, choose, plain = false }) => {
  const [opened, open] = useState(-1); // the flow whose rows are all to be seen
  const rows = opened === flow.number ? flow.rows : folded(flow.rows);
  const gap = between(flow);
  const at = (/** @type {number} */ lane) => EDGE + lane * gap;
  const width = EDGE * 2 + gap * Math.max(1, flow.lanes.length - 1);
  const height = HEAD + STEP * (rows.length + 1);
  return html`
    ${!plain && html`<h2>${visible(flow.title)}</h2>`}
    <div class="scroll" tabindex="0" role="region" aria-label=${visible(flow.title)}><svg class="diagram" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${visible(flow.title)}>
      ${flow.lanes.map((lane, number) => html`
        <g class=${lane.away ? "lane away" : "lane"} key=${number}>
          <text x=${at(number)} y="16" text-anchor="middle" class="head">${short(lane.name, 26)}${lane.count > 1 ? ` ×${lane.count}` : ""}</text>
          <text x=${at(number)} y="32" text-anchor="middle" class="under">${short(lane.note, 34)}</text>
          <line x1=${at(number)} y1=${HEAD} x2=${at(number)} y2=${height - 6} />
        </g>`)}
      ${rows.map((row, number) => html`<${Step} key=${number} row=${row} y=${HEAD + STEP * (number + 1)} chosen=${row === chosen} choose=${choose} width=${width} at=${at} last=${flow.lanes.length - 1} />`)}
    </svg></div>
    ${flow.rows.length > MOST_ROWS && html`<p><button aria-expanded=${opened === flow.number} onClick=${() => open(opened === flow.number ? -1 : flow.number)}>${opened === flow.number ? t("Fold the middle") : t("Show all {n} {n:row|rows}", { n: flow.rows.length })}</button></p>`}
    ${flow.below.map((line) => html`<p class="dim">${visible(line)}</p>`)}
    ${!plain && html`<${SaveAs} flow=${flow} />`}`;
};

/** @param {{row: Row, y: number, chosen: boolean, choose: (row: Row) => void, width: number, at: (lane: number) => number, last: number}} about */
const Step = ({ row, y, chosen, choose, width, at, last }) => {
  if (row.row === "fold") return html`<text x=${width / 2} y=${y} text-anchor="middle" class="under">${t("… {n} more {n:row|rows} …", { n: row.count })}</text>`;
  if (row.row === "note") {
    const room = row.lane === last ? at(last) : width - at(row.lane); // beside the last lane there is none on its right
    const [x, anchor] = row.lane === last ? [at(last) - 9, "end"] : [at(row.lane) + 9, "start"];
    return html`<g class=${row.trouble ? "trouble" : ""}><title>${visible(row.text)}</title><circle cx=${at(row.lane)} cy=${y - 4} r="3.5" /><text x=${x} y=${y} text-anchor=${anchor}>${short(row.text, Math.floor(room / 7))}</text></g>`;
  }
  const [from, to] = [at(row.from), at(row.to)];
  const way = to > from ? 1 : -1;
  const lost = row.style === "lost";
  const end = lost ? from + (to - from) * 0.86 : to - way * 2;
  const say = () => row.bytes !== undefined && choose(row);
  const classes = ["step", row.style, row.trouble ? "trouble" : "", chosen ? "chosen" : "", row.bytes !== undefined ? "can" : ""].join(" ");
  const middle = (from + to) / 2;
  const letters = Math.floor(Math.abs(to - from) / 6.6);
  return html`
    <g class=${classes} role=${row.bytes !== undefined ? "button" : undefined} tabindex=${row.bytes !== undefined ? 0 : undefined}
      onClick=${say} onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          say();
        }
      }}>
      <title>${visible(row.label)} ${visible(row.note)}</title>
      <rect x=${Math.min(from, to)} y=${y - 30} width=${Math.abs(to - from)} height=${STEP - 2} class="hit" />
      <text x=${middle} y=${y - 12} text-anchor="middle">${short(row.label, letters)}${row.count > 1 ? ` ×${row.count}` : ""}</text>
      <line x1=${from} y1=${y - 6} x2=${end} y2=${y - 6} />
      ${lost ? html`<text x=${end + way * 8} y=${y - 2} text-anchor="middle">✗</text>` : html`<path d=${`M${end} ${y - 6} l${-way * 8} -4 v8 z`} />`}
      <text x=${middle} y=${y + 8} text-anchor="middle" class="under">${short(row.note, letters + 4)}</text>
    </g>`;
};
