// Lines over time, drawn by uPlot. Beside the drawing stand the last values, as text for who does not see it.
// @ts-check
import { html, useEffect, useRef } from "./html.js";
import uPlot from "./lib/uplot.js";
import { language } from "./words.js";

const HEIGHT = 130;
const OF_BYTES = Array.from({ length: 50 }, (unused, power) => 2 ** power); // distances of marks, for sizes

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * @param {{title: string, columns: Record<string, number[]> | undefined, lines: [string, string][],
 *          format: (value: number) => string, binary?: boolean, kind?: "" | "values" | "states"}} about
 * `values` need not begin at 0, and each is a point; `states` are 0 or 1, and each lasts until the next
 */
export const Chart = ({ title, columns, lines, format, binary = false, kind = "" }) => {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const drawn = useRef(/** @type {any} */ (null));
  const spoken = language.value;
  const said = useRef(format);
  said.current = format;
  useEffect(() => {
    const box = place.current;
    if (!box) return undefined;
    const make = () => {
      drawn.current?.destroy();
      const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
      drawn.current = new uPlot({
        width: box.clientWidth || 300,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, points: { size: 5 } },
        scales: { y: { range: (/** @type {any} */ u, /** @type {number} */ low, /** @type {number} */ high) => range(kind, low, high) } },
        axes: [{ ...axis, size: 28, space: 70, values: (/** @type {any} */ u, /** @type {number[]} */ all) => marks(all) },
          { ...axis, size: 70, ...(binary ? { incrs: OF_BYTES } : {}), values: (/** @type {any} */ u, /** @type {number[]} */ all) => all.map((value) => said.current(value)) }],
        series: [{}, ...lines.map(([, label], at) => ({ label, stroke: colour(at ? "--second" : "--accent"), width: 1.5,
          dash: at ? [5, 3] : undefined, points: { show: kind === "values", size: 4 },
          paths: kind === "states" ? uPlot.paths.stepped?.({ align: 1 }) : undefined }))],
      }, [[], ...lines.map(() => [])], box);
    };
    make();
    const resized = new ResizeObserver(() => drawn.current?.setSize({ width: box.clientWidth, height: HEIGHT }));
    resized.observe(box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", make);
    window.addEventListener("curier-theme", make);
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", make);
      window.removeEventListener("curier-theme", make);
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, [spoken, kind]);
  useEffect(() => {
    if (columns) drawn.current?.setData([columns.time, ...lines.map(([name]) => columns[name])]);
  });
  return html`
    <figure class="chart">
      <figcaption>${title}<span class="grow"></span>${lines.map(([name, label], at) => html`
        <span class="key"><i class=${at ? "dash" : "whole"} aria-hidden="true"></i>${lines.length > 1 ? `${label} ` : ""}<b>${kind && columns?.[name]?.at(-1) === null ? "–" : format(columns?.[name]?.at(-1) ?? 0)}</b></span>`)}</figcaption>
      <div ref=${place} class="plot" aria-hidden="true"></div>
    </figure>`;
};

/** From where to where the axis goes. @param {string} kind @param {number} low @param {number} high @returns {[number, number]} */
function range(kind, low, high) {
  if (kind === "states") return [-0.15, 1.15];
  if (kind === "" || low === null || high === null) return [0, high > 0 ? high * 1.08 : 1];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

/** Times, with seconds where two would be alike without. @param {number[]} times */
function marks(times) {
  const second = times.length > 1 && times[1] - times[0] < 60 ? "2-digit" : undefined;
  const form = new Intl.DateTimeFormat(language.value, { hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" });
  return times.map((time) => form.format(new Date(time * 1000)));
}
