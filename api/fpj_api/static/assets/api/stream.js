/** Jobs as they change: one stream for the whole page, that comes back by itself. */
import { serverEvents } from "./events.js";
import { isAbort, messageOf, Problem, send } from "./http.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30000;
const SILENCE_MS = 45000; // three of the comments that the API sends
const NOTHING_TO_SEE_MS = 5000; // until somebody gets a right, or creates the first job
const STEADY_MS = 10000; // a stream that held so long was none of a series of failures

/** @typedef {"live"|"connecting"|"reconnecting"} StreamState */

/** @typedef {{kind: "job", job: import("./models.js").Job} | {kind: "gone", uid: string, namespace: string, name: string}} Change */

/**
 * Changes are merged by job until the next frame: however many arrive, a frame handles each job once, and while the
 * tab is hidden nothing is drawn and no more is kept than one change of each job.
 */
export class JobStream extends EventTarget {
  /** @type {StreamState} */
  state = "connecting";
  /** Why there is no stream, where the API has said so. */
  reason = "";
  /** @type {Map<string, Change>} by the job's uid */
  #changes = new Map();
  #frame = 0;
  #lastId = "";
  #waits = 0;
  /** @type {AbortController|null} */
  #abort = null;
  #wake = () => {};

  start() {
    if (this.#abort) return;
    this.#abort = new AbortController();
    addEventListener("online", this.#again);
    this.#run(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    removeEventListener("online", this.#again);
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#changes.clear();
    this.#lastId = "";
    this.#waits = 0;
    this.#wake();
  }

  #again = () => this.#wake();

  /** @param {StreamState} state */
  #tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    while (!signal.aborted) {
      let retryAfter = 0;
      const startedAt = Date.now();
      try {
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem) {
          if (error.status === 401) return;
          retryAfter = error.status === 403 ? NOTHING_TO_SEE_MS : error.retryAfter * 1000;
          this.reason = error.status === 403 || error.status === 429 ? error.message : "";
        } else if (!isAbort(error) && !(error instanceof TypeError)) {
          console.warn("The stream of jobs was interrupted:", messageOf(error));
        }
      }
      if (signal.aborted) return;
      if (Date.now() - startedAt > STEADY_MS) this.#waits = 0;
      this.#tell("reconnecting");
      await this.#pause(Math.max(retryAfter, this.#backoff()));
    }
  }

  /** Half of it is chance, so that a restarted API is not met by every page at once. */
  #backoff() {
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#waits);
    this.#waits += 1;
    return longest / 2 + (Math.random() * longest) / 2;
  }

  /** @param {number} milliseconds */
  #pause(milliseconds) {
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      })
    );
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    const silence = new AbortController();
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    heard();
    try {
      /** @type {Record<string, string>} */
      const headers = { Accept: "text/event-stream" };
      const resuming = this.#lastId !== "";
      if (resuming) headers["Last-Event-ID"] = this.#lastId;
      const either = AbortSignal.any([signal, silence.signal]);
      const response = await send("/cache/jobs/stream", { headers, signal: either });
      this.reason = "";
      this.#tell("live");
      // Without an id to go on from, what was missed is not known.
      if (!resuming) this.dispatchEvent(new Event("reset"));
      if (!response.body) return;
      for await (const event of serverEvents(response.body, heard)) {
        if (signal.aborted) return;
        this.#take(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {import("./events.js").ServerEvent} event */
  #take({ id, event, data }) {
    if (id) this.#lastId = id;
    if (event === "reset") {
      this.#changes.clear();
      this.dispatchEvent(new Event("reset"));
    } else if (event === "job") {
      const job = JSON.parse(data);
      this.#put(job.uid, { kind: "job", job });
    } else if (event === "gone") {
      const gone = JSON.parse(data);
      this.#put(gone.uid, { kind: "gone", ...gone });
    }
  }

  /** @param {string} uid @param {Change} change */
  #put(uid, change) {
    this.#changes.set(uid, change);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#frame = 0;
    const changes = [...this.#changes.values()];
    this.#changes.clear();
    if (changes.length) this.dispatchEvent(new CustomEvent("changes", { detail: changes }));
  }
}
