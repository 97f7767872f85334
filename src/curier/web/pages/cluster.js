// The cluster, as the node that is asked knows it: what is wrong first, then nodes, then how far the log is read.
// @ts-check
import { useAnswer } from "./asking.js";
import { count, length, size, visible } from "./format.js";
import { html } from "./html.js";
import { attempt, Fact, may, Nothing, Sure, Why } from "./parts.js";
import { t } from "./words.js";

// The words for each state stand here, where the test of words finds them.
const state = (/** @type {string} */ name) => ({ open: t("serves its clients"), "not trusted": t("not trusted"), draining: t("gives its sessions up"), over: t("over") })[name] ?? name;
const standing = (/** @type {string} */ name) => ({ living: t("living"), silent: t("silent"), over: t("has left"), died: t("died") })[name] ?? name;

/** A number that may not be known. @param {number} value */
const known = (value) => (value < 0 ? "–" : count(value));

const SESSION = /^node (.+?): the session (.+)$/su;
const SILENT = /^node (.+?): it is silent$/su;
const READS = /^node (.+?): it reads what is retained$/su;

/** What the log cannot be cut behind; as the node said it, where those are other words. @param {string} said */
function holds(said) {
  if (!said) return t("Nothing holds the log: what nobody needs any more is cut off when it has become much.");
  const [, at, session] = SESSION.exec(said) ?? [];
  if (session) return t("The session {session} at {node} holds the log: what it has not had yet, and all behind that, stays until it has, or ends.", { session: visible(session), node: at });
  const [, silent] = SILENT.exec(said) ?? [];
  if (silent) return t("{node} holds the log: it is silent, and nothing is cut off until it is heard again or others have its sessions.", { node: silent });
  const [, reader] = READS.exec(said) ?? [];
  return reader ? t("{node} holds the log: it still reads what is retained.", { node: reader }) : visible(said);
}

/** How long the log is: of the streams that are known. @param {any} c */
function long(c) {
  const streams = c.streams.filter((/** @type {any} */ one) => one.read >= 0 && one.last >= 0);
  const bytes = streams.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.bytes, 0);
  return streams.length ? t("{n} {n:entry|entries}, {size}", { n: c.log, size: size(bytes) }) : "–";
}

export const Cluster = () => {
  const { data: c, why, again } = useAnswer("/cluster", {}, 2);
  if (!c) return html`<${Why} why=${why} />`;
  if (c.state === "none") return html`<${Nothing}>${t("This broker is alone: it is no node of a cluster.")}</${Nothing}>`;
  const isMemory = c.sync === "memory"; // workers of one machine, without NATS: who has started them starts them again
  const others = !isMemory && c.nodes.some((/** @type {any} */ one) => !one.self && one.standing === "living");
  return html`
    <${Why} why=${why} />
    <section aria-label=${t("What is wrong")}>
      ${c.wrong.length === 0 ? html`<p class="good"><b>✓</b> ${t("Nothing is wrong.")}</p>` : html`<ul class="troubles">${c.wrong.map((/** @type {any} */ one) => html`
        <li class=${one.error ? "error" : "warning"}><b>${one.error ? `✗ ${t("Error")}` : `! ${t("Warning")}`}</b> ${one.text}<div class="dim">${one.advice}</div></li>`)}</ul>`}
    </section>
    <dl class="facts">
      <${Fact} label=${isMemory ? t("This worker") : t("This node")} value=${c.node} title=${t("its life {n}", { n: c.life })} />
      <${Fact} label=${t("State")} value=${state(c.state)} />
      <${Fact} label=${t("Trusted for")} value=${c.trusted_for > 0 ? length(c.trusted_for) : "✗"} title=${t("so long it may speak for its sessions if it hears nothing more")} />
      <${Fact} label=${t("Sessions")} value=${count(c.sessions)} title=${t("those that it owns")} />
      <${Fact} label=${t("Coming, leaving")} value=${`${count(c.claims)}, ${count(c.leaving)}`} title=${t("sessions on their way between nodes")} />
      <${Fact} label=${t("Not read yet")} value=${count(c.lag)} title=${t("entries of the log of all nodes")} />
      <${Fact} label=${t("Log of messages")} value=${long(c)} title=${t("what is left of it, in all its streams")} />
      ${isMemory
    ? html`<${Fact} label=${t("All is kept")} value=${t("in memory")} title=${t("all is lost when the process that started the workers ends")} />`
    : html`<${Fact} label="NATS" value=${c.server ? `${c.server}, ${c.version}` : "✗"} />
      <${Fact} label=${t("Cluster")} value=${c.cluster} title=${c.sync === "always" ? t("NATS acknowledges what is on its disks") : t("a loss of power may take back what was acknowledged")} />`}
    </dl>
    <p class="dim">${holds(c.held)}</p>
    ${may("admin") && others && c.state !== "draining" && html`<p><${Sure} label=${t("Empty this node")}
      question=${t("Its sessions go to the other nodes, its clients are told to connect elsewhere, and it ends.")} does=${() => attempt("/cluster/drain", {}).then(again)} /></p>`}
    <h2>${isMemory ? t("Workers") : t("Nodes")}</h2>
    <div class="scroll" tabindex="0" role="region" aria-label=${isMemory ? t("Workers") : t("Nodes")}><table>
      <thead><tr><th scope="col">${t("Name")}</th><th scope="col">${t("State")}</th><th scope="col" class="figure">${t("Lease renewed")}</th><th scope="col" class="figure wide">${t("Life")}</th></tr></thead>
      <tbody>${c.nodes.map((/** @type {any} */ one) => html`
        <tr key=${one.name}><td>${one.name}${one.self && html` <span class="dim">${t("this one")}</span>`}</td>
          <td>${one.standing === "silent" || one.standing === "died" ? "✗ " : ""}${standing(one.standing)}${one.standing === "died" && html` <span class="dim">${t("others have its sessions")}</span>`}</td>
          <td class="figure">${one.standing === "over" || one.standing === "died" ? html`<span class="dim">–</span>` : t("{n} ago", { n: length(one.heard) })}</td><td class="figure wide">${count(one.life)}</td></tr>`)}</tbody>
    </table></div>
    <h2>${t("Streams")}</h2>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("Streams")}><table>
      <thead><tr><th scope="col">${t("Name")}</th><th scope="col" class="figure wide">${t("Last")}</th><th scope="col" class="figure wide">${t("Read to")}</th><th scope="col" class="figure">${t("Not read yet")}</th>
        <th scope="col" class="figure wide">${t("Size")}</th><th scope="col" class="wide">${t("Leader")}</th><th scope="col" class="figure">${t("Copies")}</th></tr></thead>
      <tbody>${c.streams.map((/** @type {any} */ one) => html`
        <tr key=${one.stream}><td>${one.stream}</td><td class="figure wide">${known(one.last)}</td><td class="figure wide">${known(one.read)}</td><td class="figure">${known(one.lag)}</td>
          <td class="figure wide">${one.last < 0 ? "–" : size(one.bytes)}</td><td class="wide">${one.leader || html`<span class="dim">–</span>`}</td>
          <td class="figure" title=${one.behind.join(", ")}>${one.behind.length ? "✗ " : ""}${one.last < 0 ? "–" : `${count(one.replicas - one.behind.length)} / ${count(one.replicas)}`}</td></tr>`)}</tbody>
    </table></div>
    <p class="dim">${t("What is said of streams is {n} old.", { n: length(c.told_before) })}</p>`;
};
