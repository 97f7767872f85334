// Who may come in: bans; and a question to the rules.
// @ts-check
import { act } from "./api.js";
import { useAnswer } from "./asking.js";
import { length } from "./format.js";
import { html, useState } from "./html.js";
import { attempt, may, Name, Needs, Nothing, Why } from "./parts.js";
import { t } from "./words.js";

export const Access = () => html`<${Bans} /><${Question} />`;

const Bans = () => {
  const { data, why, again } = useAnswer("/bans", {}, 3);
  const [kind, choose] = useState("address");
  const [who, name] = useState("");
  const [hours, last] = useState("1");
  const ban = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (await attempt("/bans", { [kind]: who, seconds: Number(hours) * 3600 })) {
      name("");
      again();
    }
  };
  return html`
    <h2>${t("Bans")}</h2>
    <${Why} why=${why} />
    ${data && !data.enforced && html`<p class="why">${t("Nobody is asked who clients are, so nobody can be banned: there is no password file and no other authenticator.")}</p>`}
    ${data && (data.bans.length === 0 ? html`<${Nothing}>${t("Nobody is banned.")}</${Nothing}>` : html`
      <div class="scroll" tabindex="0" role="region" aria-label=${t("Bans")}><table>
        <thead><tr><th scope="col">${t("Who")}</th><th scope="col">${t("From where")}</th><th scope="col">${t("For")}</th><th scope="col" class="wide">${t("Why")}</th><th></th></tr></thead>
        <tbody>${data.bans.map((/** @type {any} */ one) => html`
          <tr key=${one.place + one.who}><td><${Name} text=${one.who || t("everybody")} /></td><td><${Name} text=${one.place || t("anywhere")} /></td>
            <td>${length(one.seconds)}</td><td class="wide">${one.why}</td>
            <td>${may("operator") && html`<button onClick=${() => attempt("/bans/lift", { place: one.place, who: one.who }).then(again)}>${t("Lift")}</button>`}</td></tr>`)}</tbody>
      </table></div>`)}
    ${may("operator") && html`
      <form class="row tools" onSubmit=${ban}>
        <select aria-label=${t("Ban what")} value=${kind} onChange=${(/** @type {any} */ event) => choose(event.target.value)}>
          <option value="address">${t("address")}</option><option value="user">${t("user")}</option><option value="client_id">${t("client")}</option></select>
        <input required class="grow" aria-label=${t("Who")} placeholder=${kind === "address" ? "192.0.2.7" : ""} value=${who} onInput=${(/** @type {any} */ event) => name(event.target.value)} />
        <label class="inline">${t("hours")} <input type="number" min="0.1" step="any" max="87600" value=${hours} onInput=${(/** @type {any} */ event) => last(event.target.value)} /></label>
        <button class="danger">${t("Ban")}</button>
      </form>`}
    <${Needs} role="operator" />`;
};

const Question = () => {
  const [asked, change] = useState({ action: "publish", user: "", client_id: "", topic: "" });
  const [answer, put] = useState(/** @type {{allowed: boolean, why: string} | null} */ (null));
  const [why, because] = useState("");
  const field = (/** @type {string} */ name) => (/** @type {any} */ event) => {
    change({ ...asked, [name]: event.target.value });
    put(null);
  };
  const ask = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      put(await act("/acl/test", { ...asked, user: asked.user || null }));
      because("");
    } catch (error) {
      because(/** @type {Error} */ (error).message);
    }
  };
  return html`
    <h2>${t("Ask the rules")}</h2>
    <form class="row tools" onSubmit=${ask}>
      <label class="inline">${t("May the user")} <input value=${asked.user} onInput=${field("user")} placeholder="ana" /></label>
      <label class="inline">${t("as client")} <input value=${asked.client_id} onInput=${field("client_id")} /></label>
      <select aria-label=${t("do what")} value=${asked.action} onChange=${field("action")}>
        <option value="publish">${t("publish to")}</option><option value="subscribe">${t("subscribe to")}</option><option value="receive">${t("receive from")}</option></select>
      <input required class="grow" aria-label=${t("Topic")} value=${asked.topic} onInput=${field("topic")} placeholder="home/kitchen/temp" />
      <button class="first">${t("Ask")}</button>
    </form>
    <${Why} why=${why} />
    ${answer && html`<p role="status" class=${answer.allowed ? "good" : "why"}><b>${answer.allowed ? `✓ ${t("yes")}` : `✗ ${t("no")}`}</b>: ${answer.why}</p>`}`;
};
