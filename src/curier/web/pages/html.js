// The libraries of the pages, by the names that the views use.
// @ts-check
import { h, render } from "./lib/preact.js";
import htm from "./lib/htm.js";

export const html = htm.bind(h);
export { render };
export { useEffect, useRef, useState } from "./lib/hooks.js";
export { batch, computed, effect, signal } from "./lib/signals.js";
