// What the API is asked. Addresses are relative: a proxy may have put a path in front.
// @ts-check
import { signal } from "./html.js";

/** Who is logged in; null: nobody yet, or no more. */
export const me = signal(/** @type {{name: string, role: string} | null} */ (null));

/** Whether the broker has answered the last question; since when it has not. */
export const away = signal(/** @type {{since: number, why: string} | null} */ (null));

/** Whether a login has ended here that nobody ended here. */
export const ended = signal(false);

/** When the broker has last answered, by this machine's clock. */
export const heard = signal(0);

let ahead = 0; // seconds, the broker's clock before this machine's

/** The broker's time, in seconds since 1970: by what it said with its last answer, and not by this machine's clock. */
export function now() {
  return Date.now() / 1000 + ahead;
}

/** An answer that is no success. `status` is 0 where there was none at all. */
export class Refusal extends Error {
  /** @param {number} status @param {string} why */
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

/**
 * Look at something.
 * @param {string} path such as "/clients"
 * @param {Record<string, string | number | boolean | null | undefined>} [query] what is null is left out
 * @returns {Promise<any>}
 */
export function look(path, query = {}) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) said.set(name, String(value));
  }
  const text = said.toString();
  return request(path + (text ? `?${text}` : ""), { method: "GET" });
}

/**
 * Have something done.
 * @param {string} path @param {object} [body] @returns {Promise<any>}
 */
export function act(path, body = {}) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Curier": "1" },
    body: JSON.stringify(body),
  });
}

/** Why a stream cannot be had; "" where it can. @param {string} path @returns {Promise<string>} */
export async function refused(path) {
  const over = new AbortController();
  const answer = await fetch(`api/v1${path}`, { signal: over.signal, credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) return reason(answer);
  over.abort();
  return "";
}

/** Log in with a token. @param {string} token */
export async function logIn(token) {
  await request("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  me.value = await look("/self");
  ended.value = false;
}

/** Whether users of the broker may log in with name and password. @returns {Promise<boolean>} */
export async function usersMayLogIn() {
  return (await look("/session/user")).possible;
}

/** Log in as a user of the broker. @param {string} user @param {string} password */
export async function logInAs(user, password) {
  await act("/session/user", { user, password });
  me.value = await look("/self");
  ended.value = false;
}

/** Log out. */
export async function logOut() {
  await act("/session/end");
  me.value = null;
  ended.value = false;
}

/** @param {string} path @param {RequestInit} how @returns {Promise<any>} */
async function request(path, how) {
  let answer;
  try {
    answer = await fetch(`api/v1${path}`, { ...how, credentials: "same-origin", cache: "no-store" });
  } catch {
    return lost("the broker does not answer");
  }
  if ([502, 503, 504].includes(answer.status)) return lost(await reason(answer));
  heard.value = Date.now();
  const said = Date.parse(answer.headers.get("date") ?? "");
  if (Math.abs(said / 1000 - now()) > 2) ahead = (said - Date.now()) / 1000; // it is said in whole seconds
  if (away.value) away.value = null;
  if (answer.status === 401) {
    if (me.value) ended.value = true;
    me.value = null;
  }
  if (!answer.ok) throw new Refusal(answer.status, await reason(answer));
  return answer.status === 204 ? null : answer.json();
}

/** @param {string} why @returns {never} */
function lost(why) {
  away.value = { since: away.value?.since ?? Date.now(), why };
  throw new Refusal(0, why);
}

/** @param {Response} answer */
async function reason(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}
