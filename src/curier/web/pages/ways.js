// The ways to try it: one's own hands, a tour, or rules for the broker itself.
// @ts-check
import { html } from "./html.js";
import { address, place } from "./place.js";
import { t } from "./words.js";

export const Ways = () => html`
  <nav class="row tools" aria-label=${t("Ways")}>${[["tryit", t("By hand")], ["tour", t("Guided tour")], ["faults", t("At the broker")]].map(([view, label]) => html`
    <a key=${view} href=${address(view)} aria-current=${place.value.view === view ? "page" : undefined}>${label}</a>`)}</nav>`;
