/** Who is signed in, and what they may do where. */
import { onRefused, request, token } from "./http.js";

const KEPT_MS = 30000;

/** @typedef {{user: string, namespaces: Map<string, Set<string>>}} Rights */

/** @type {Rights} */
let rights = { user: "", namespaces: new Map() };
let readAt = 0;

/** Read the namespaces and verbs; a 401 is thrown as any other problem is. */
export async function readRights() {
  /** @type {import("./models.js").Namespaces} */
  const answer = await request("/namespaces");
  const namespaces = new Map(answer.items.map((each) => [each.name, new Set(each.verbs)]));
  rights = { user: nameOf(answer.user), namespaces };
  readAt = Date.now();
}

/** Read them again where they may have changed since. */
export async function refreshRights() {
  if (Date.now() - readAt > KEPT_MS) await readRights();
}

/**
 * A review gives a user as a name, or with groups beside it.
 *
 * @param {import("./models.js").Namespaces["user"]} user
 */
const nameOf = (user) => (typeof user === "string" ? user : user?.name || user?.username || "");

export const user = () => rights.user;

/** Service accounts are shown by namespace and name. */
export const shortUser = () => rights.user.replace(/^system:serviceaccount:([^:]+):/, "$1/");

export const namespaces = () => [...rights.namespaces.keys()].sort();

/**
 * Whether the user may do this to jobs of a namespace.
 *
 * @param {string} verb
 * @param {string} namespace
 */
export const may = (verb, namespace) => rights.namespaces.get(namespace)?.has(verb) ?? false;

/**
 * Where the user may do this to jobs.
 *
 * @param {string} verb
 */
export const where = (verb) => namespaces().filter((namespace) => may(verb, namespace));

/**
 * Sign in with a token, which is kept only if the API knows it.
 *
 * @param {string} bearer
 */
export async function signIn(bearer) {
  token.set(bearer);
  try {
    await readRights();
  } catch (error) {
    token.clear();
    throw error;
  }
}

export function signOut() {
  token.clear();
  rights = { user: "", namespaces: new Map() };
}

/** @param {(reason: string) => void} listener hears that the token holds no longer */
export function onSessionLost(listener) {
  onRefused((problem) => {
    if (!rights.user) return; // not signed in yet: whoever asked hears it
    signOut();
    listener(problem.detail || "The token is no longer accepted.");
  });
}

/** Whether a token of this page's is used; otherwise a proxy in front adds one. */
export const hasToken = () => token.get() !== "";
