// The two ways to try it: a tour, or one's own hands.
// @ts-check
import { html } from "./html.js";
import { address, place } from "./place.js";
import { t } from "./words.js";

export const Ways = () => html`
  <nav class="row tools" aria-label=${t("Ways")}>${[["tryit", t("By hand")], ["tour", t("Guided tour")]].map(([view, label]) => html`
    <a key=${view} href=${address(view)} aria-current=${place.value.view === view ? "page" : undefined}>${label}</a>`)}</nav>`;
