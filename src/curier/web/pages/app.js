// The frame around all views: who is logged in, where one is, and whether the broker still answers.
// @ts-check
import { Access } from "./access.js";
import { useAnswer } from "./asking.js";
import { away, ended, heard, logIn, logInAs, logOut, look, me, Refusal, usersMayLogIn } from "./api.js";
import { Client, Clients } from "./clients.js";
import { Cluster } from "./cluster.js";
import { Configuration, Listeners } from "./configuration.js";
import { Fate } from "./fate.js";
import { Faults } from "./faults.js";
import { length } from "./format.js";
import { html, render, useEffect, useState } from "./html.js";
import { Log } from "./log.js";
import { Overview } from "./overview.js";
import { Notice, Why } from "./parts.js";
import { address, place } from "./place.js";
import { Retained } from "./retained.js";
import { Session, Sessions } from "./sessions.js";
import { Topics } from "./topics.js";
import { Tour } from "./tour.js";
import { TryIt } from "./tryit.js";
import { Wire } from "./wire.js";
import { keep, kept, language, speak, t } from "./words.js";

/** @type {Record<string, [string, any]>} */
const VIEWS = {
  overview: ["Overview", Overview],
  clients: ["Clients", Clients],
  sessions: ["Sessions", Sessions],
  topics: ["Topics", Topics],
  retained: ["Retained", Retained],
  wire: ["Wire", Wire],
  fate: ["Fate", Fate],
  tryit: ["Try it", TryIt],
  log: ["Log", Log],
  access: ["Access", Access],
  cluster: ["Cluster", Cluster],
  listeners: ["Listeners", Listeners],
  configuration: ["Configuration", Configuration],
};
const WITHIN = { client: /** @type {[string, any]} */ (["clients", Client]), faults: /** @type {[string, any]} */ (["tryit", Faults]),
  session: /** @type {[string, any]} */ (["sessions", Session]), tour: /** @type {[string, any]} */ (["tryit", Tour]) };

const SILENCE = 5000; // without an answer for so many milliseconds, the broker is asked whether it is there

const App = () => {
  const [asked, done] = useState(false);
  useEffect(() => {
    void look("/self").then((who) => (me.value = who)).catch(() => undefined).finally(() => done(true));
  }, []);
  if (!me.value) return asked && !away.value ? html`<${LogIn} />` : html`<main><${Away} /></main>`;
  return html`<${Frame} />`;
};

const Frame = () => {
  const { view } = place.value;
  const cluster = useAnswer("/cluster", {}, 0).data;
  const isHere = (/** @type {string} */ name) => name !== "cluster" || (cluster !== null && cluster.state !== "none");
  const within = view in WITHIN ? WITHIN[/** @type {keyof typeof WITHIN} */ (view)] : null;
  const section = within ? within[0] : view in VIEWS ? view : "overview";
  const [title, Shown] = within ? [VIEWS[section][0], within[1]] : VIEWS[section];
  useEffect(() => {
    document.title = `${t(title)} · curier`;
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [title, language.value]);
  return html`
    <a class="skip" href="#content" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>${t("To the content")}</a>
    <header><a class="brand" href=${address("overview")}>curier</a>
      <nav aria-label=${t("Views")}>${Object.entries(VIEWS).filter(([name]) => isHere(name)).map(([name, [label]]) => html`
        <a key=${name} href=${address(name)} aria-current=${name === section ? "page" : undefined}>${t(label)}</a>`)}</nav>
      <span class="grow"></span><${Tools} />
    </header>
    <main id="content" tabindex="-1"><${Away} /><h1>${t(title)}</h1><${Shown} key=${view} /></main>
    <${Notice} />`;
};

const THEMES = /** @type {[string, string][]} */ ([["", "as the system"], ["light", "light"], ["dark", "dark"]]);

/** @param {string} chosen */
function paint(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  window.dispatchEvent(new Event("curier-theme"));
}

const Tools = () => html`<div class="who">
  <select aria-label=${t("Light or dark")} value=${kept("curier.theme") ?? ""} onChange=${(/** @type {any} */ event) => { keep("curier.theme", event.target.value); paint(event.target.value); }}>
    ${THEMES.map(([value, label]) => html`<option value=${value}>${t(label)}</option>`)}</select>
  <select aria-label=${t("Language")} value=${language.value} onChange=${(/** @type {any} */ event) => speak(event.target.value)}>
    <option value="en" lang="en">English</option><option value="ro" lang="ro">Română</option></select>
  <button title=${`${me.value?.name}, ${me.value?.role}`} onClick=${() => logOut().catch(() => undefined)}>${t("Log out")}</button></div>`;

/** Since when the broker does not answer, and how old what is shown is therefore. */
const Away = () => {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => tick(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  useEffect(() => {
    const ask = () => look("/self").then((who) => (me.value ??= who)).catch(() => undefined);
    // Some views ask nothing by themselves, and would not notice.
    const isDue = () => away.value || (!document.hidden && Date.now() - heard.value >= SILENCE);
    const timer = window.setInterval(() => void (isDue() && ask()), away.value ? 2000 : SILENCE);
    return () => window.clearInterval(timer);
  }, [away.value]);
  if (!away.value) return null;
  const seconds = Math.max(1, Math.round((Date.now() - away.value.since) / 1000));
  return html`<p class="why" role="alert"><b>✗ ${t("The broker does not answer, for {n}.", { n: length(seconds) })}</b> ${heard.value ? t("What you see is from before. It goes on by itself.") : t("It goes on by itself.")}</p>`;
};

const LogIn = () => {
  const [token, type] = useState("");
  const [user, call] = useState("");
  const [password, guess] = useState("");
  const [why, because] = useState("");
  const [busy, work] = useState(false);
  const [people, may] = useState(false);
  useEffect(() => void usersMayLogIn().then(may).catch(() => undefined), []);
  const by = (/** @type {() => Promise<void>} */ way, wrong = "") => async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy) return;
    work(true);
    because("");
    try {
      await way();
    } catch (error) {
      because(!(error instanceof Refusal) ? String(error) : error.status === 401 && wrong ? wrong : error.message);
    }
    work(false);
  };
  return html`
    <main class="login"><h1>curier</h1>
      ${people && html`<form onSubmit=${by(() => logInAs(user, password), t("The user name or the password is wrong, or this user may not log in here."))}>
        <label>${t("User name")}<input autocomplete="username" autocapitalize="none" spellcheck=${false} required value=${user} onInput=${(/** @type {any} */ event) => call(event.target.value)} /></label>
        <label>${t("Password")}<input type="password" autocomplete="current-password" required value=${password} onInput=${(/** @type {any} */ event) => guess(event.target.value)} /></label>
        <button class="first" aria-disabled=${busy}>${t("Log in")}</button>
      </form>
      <p class="dim">${t("or with a token:")}</p>`}
      <form onSubmit=${by(() => logIn(token.trim()))}>
        <label>${t("Token")}<input type="password" autocomplete=${people ? "off" : "current-password"} required value=${token} onInput=${(/** @type {any} */ event) => type(event.target.value)} /></label>
        <button class=${people ? undefined : "first"} aria-disabled=${busy}>${t("Log in")}</button>
      </form>
      <${Why} why=${why || (ended.value ? t("Your login has ended: its time is over, it was taken back, or the broker was started again.") : "")} />
      <p class="dim">${t("On the broker's machine, this makes a link that logs you in:")} <code>curier admin login</code></p>
    </main>`;
};

document.addEventListener("keydown", (event) => {
  const within = /** @type {HTMLElement} */ (event.target);
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/INPUT|TEXTAREA|SELECT/.test(within.tagName)) {
    const search = document.getElementById("search");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

document.documentElement.lang = language.value;
paint(kept("curier.theme") ?? "");
const root = document.getElementById("app");
if (root) {
  root.textContent = "";
  render(html`<${App} />`, root);
}
