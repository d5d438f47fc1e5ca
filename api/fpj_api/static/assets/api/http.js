/** Requests to the API: the token, the time limit, and errors as problem documents. */

const TOKEN = "fpj-token";
const LIMIT_MS = 60000; // more than the API takes itself, for many jobs at once too
const AGAIN_MS = 400;

/** What the API refused, as RFC 9457 tells it. */
export class Problem extends Error {
  /**
   * @param {number} status 0 where nobody answered
   * @param {string} title
   * @param {string} detail
   * @param {{path: string, message: string}[]} [errors] where the input was wrong
   * @param {number} [retryAfter] seconds
   * @param {string} [type] for programs
   */
  constructor(status, title, detail, errors = [], retryAfter = 0, type = "about:blank") {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.errors = errors;
    this.retryAfter = retryAfter;
    this.type = type;
  }
}

/** The token lives as long as the tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) || "",
  /** @param {string} value */
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

/** @type {(problem: Problem) => void} */
let refused = () => {};

/**
 * Who hears that the API no longer knows the caller.
 *
 * @param {(problem: Problem) => void} listener
 */
export function onRefused(listener) {
  refused = listener;
}

/** @param {Response} response @returns {Promise<Problem>} */
async function problemOf(response) {
  const retryAfter = Number(response.headers.get("retry-after")) || 0;
  const title = response.statusText || `Status ${response.status}`;
  try {
    const body = await response.json();
    const errors = Array.isArray(body.errors) ? body.errors : [];
    const { title: said = title, detail = "", type } = body;
    return new Problem(response.status, said, detail, errors, retryAfter, type);
  } catch {
    return new Problem(
      response.status,
      title,
      `The server answered with status ${response.status}.`,
      [],
      retryAfter,
    );
  }
}

/**
 * The bare request; any answer that is none of success is thrown as a Problem.
 *
 * @param {string} path below /api/v1
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  /** @type {Record<string, string>} */
  const given = { Accept: "application/json", ...headers };
  if (token.get()) given.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) given["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: given,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw error;
    throw new Problem(
      0,
      "The API does not answer",
      "It may be restarting, or the network is interrupted.",
    );
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401) refused(problem);
  throw problem;
}

/**
 * A request with a time limit; its JSON, or null where there is none. What only reads is tried once more where nobody
 * answered: a connection that was kept open is often found dead by the first to use it again.
 *
 * @param {string} path below /api/v1
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function request(path, { signal, ...options } = {}) {
  const limit = AbortSignal.timeout(LIMIT_MS);
  const given = { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit };
  let response;
  try {
    response = await send(path, given);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 0 || options.method) throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    response = await send(path, given);
  }
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** @typedef {string|number|null|undefined} QueryValue */

/**
 * A query of what is not empty; a list gives its name several times.
 *
 * @param {Record<string, QueryValue|QueryValue[]>} parameters
 */
export function query(parameters) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== "" && each !== null && each !== undefined) made.append(name, String(each));
    }
  }
  const text = made.toString();
  return text && `?${text}`;
}

/**
 * Path of one job.
 *
 * @param {string} namespace
 * @param {string} name
 */
export const jobPath = (namespace, name) =>
  `/namespaces/${encodeURIComponent(namespace)}/jobs/${encodeURIComponent(name)}`;

/**
 * Path of one cache folder.
 *
 * @param {string} namespace
 * @param {string} name
 */
export const folderPath = (namespace, name) =>
  `/namespaces/${encodeURIComponent(namespace)}/cache/folders/${encodeURIComponent(name)}`;

/**
 * What the API refused in one text: what is wrong with each part of the input, else the whole.
 *
 * @param {unknown} error
 */
export function problemText(error) {
  if (!(error instanceof Problem)) return messageOf(error);
  const errors = error.errors.map((each) => each.message).join(" ");
  return errors || error.detail || error.title;
}

/**
 * Whether a request was given up by the page itself.
 *
 * @param {any} error
 */
export const isAbort = (error) => error?.name === "AbortError";

/**
 * What an error says: anything can be thrown.
 *
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
