/** One job, with all there is to it. */

import { isAbort, jobPath, messageOf, Problem, query, request } from "../api/http.js";
import { ACTIONS, forbidden, refusal } from "../jobs/actions.js";
import { confirmAction } from "../jobs/confirm.js";
import { Failures } from "../jobs/failures.js";
import { JobProgress } from "../jobs/job-progress.js";
import { panel, Shards, showConditions, showDetails, showEvents } from "../jobs/job-side.js";
import { manifestText } from "../jobs/manifest.js";
import { codeBlock } from "../ui/copying.js";
import { h, replace, setText, throttle } from "../ui/dom.js";
import { pill, setPill } from "../ui/phases.js";
import { empty, failure, skeletonPanel } from "../ui/states.js";

/** @import { Job, JobDetail } from "../api/models.js" */
/** @import { Change } from "../api/stream.js" */
/** @import { Action } from "../jobs/actions.js" */

const REREAD_MS = 3000;
const TICK_MS = 1000;

export class JobPage {
  #abort = new AbortController();
  #again = throttle(REREAD_MS, () => this.#read());
  #timer = 0;
  /** @type {ReturnType<typeof buildParts>|null} */
  #parts = null;
  #gone = false;

  /** @param {string} namespace @param {string} name */
  constructor(namespace, name) {
    /** @type {Job|undefined} as it was last read */
    this.job = undefined;
    this.namespace = namespace;
    this.name = name;
    this.title = name;
    this.pill = pill();
    this.actions = h("div", { class: "button-row" });
    this.message = h("p", { class: "job-message" });
    this.alert = h("p", { class: "alert mild", role: "status", hidden: true });
    this.content = h("div", {}, skeletonPanel());
    this.pill.hidden = true;
    const title = h("div", { class: "job-title" }, h("h1", {}, name), this.pill);
    const trail = h(
      "nav",
      { class: "trail", "aria-label": "Where this is" },
      h("a", { href: "/jobs" }, "Background Jobs"),
      " / ",
      h("a", { href: `/jobs${query({ namespace })}` }, namespace),
    );
    this.element = h(
      "div",
      {},
      trail,
      h("div", { class: "title-row" }, title, this.actions),
      this.message,
      this.alert,
      this.content,
    );
    this.buttons = Object.values(ACTIONS)
      .filter((action) => !forbidden(action, namespace))
      .map((action) => ({ action, button: this.#button(action) }));
  }

  open() {
    this.#read();
    this.#timer = setInterval(() => this.#parts?.progress.tick(), TICK_MS);
  }

  close() {
    this.#abort.abort();
    this.#again.cancel();
    clearInterval(this.#timer);
    this.#parts?.failures.close();
  }

  reset() {
    this.#again();
  }

  /** @param {Change[]} changes */
  take(changes) {
    for (const change of changes) {
      const { namespace, name, uid } = change.kind === "job" ? change.job : change;
      if (namespace !== this.namespace || name !== this.name) continue;
      if (change.kind === "job") {
        this.#gone = false;
        if (this.#parts) this.#showSummary(change.job, this.#parts);
        this.#again();
      } else if (this.job?.uid === uid) this.#showGone();
    }
  }

  /** @param {Action} action */
  #button(action) {
    const button = h(
      "button",
      { class: action.id === "cancel" ? "button danger" : "button", type: "button" },
      action.label,
    );
    button.addEventListener("click", () => {
      if (!this.job || button.getAttribute("aria-disabled") === "true") return;
      confirmAction(action, [this.job], () => this.#again());
    });
    return button;
  }

  async #read() {
    try {
      const job = await request(jobPath(this.namespace, this.name), { signal: this.#abort.signal });
      this.#gone = false;
      this.#show(job);
    } catch (error) {
      if (isAbort(error)) return;
      if (error instanceof Problem && error.status === 404) this.#showMissing(error);
      else this.#fail(error);
    }
  }

  /** @param {JobDetail} job */
  #show(job) {
    this.#parts ??= this.#build();
    this.#showSummary(job, this.#parts);
    const { conditions, events, spec } = this.#parts;
    showConditions(conditions, job.conditions);
    showEvents(events, job.events);
    const text = manifestText({ namespace: job.namespace, name: job.name, spec: job.spec });
    if (spec.dataset.text === text) return;
    spec.dataset.text = text;
    replace(spec, codeBlock(text, "manifest"));
  }

  #build() {
    const parts = buildParts(this.namespace, this.name);
    const left = h(
      "div",
      { class: "stack" },
      parts.failures.element,
      panel("Events", parts.events),
      panel("Manifest", parts.spec),
    );
    const right = h(
      "div",
      { class: "stack" },
      parts.shards.element,
      panel("Details", parts.details),
      panel("Conditions", parts.conditions),
    );
    replace(
      this.content,
      h(
        "div",
        { class: "stack" },
        parts.progress.element,
        h("div", { class: "columns" }, left, right),
      ),
    );
    replace(
      this.actions,
      this.buttons.map((each) => each.button),
    );
    this.pill.hidden = false;
    return parts;
  }

  /** @param {Job} job @param {ReturnType<typeof buildParts>} parts */
  #showSummary(job, parts) {
    this.job = job;
    this.alert.hidden = true;
    setPill(this.pill, job);
    setText(this.message, whyOf(job));
    const { progress, shards, failures, details } = parts;
    progress.update(job);
    shards.update(job);
    failures.update(job);
    const shown = JSON.stringify([
      job.jobType,
      job.collection,
      job.startedAt,
      job.lastProgressAt,
      job.completedAt,
      job.uid,
    ]);
    if (details.dataset.shown !== shown) {
      details.dataset.shown = shown;
      showDetails(details, job);
    }
    this.#setButtons();
  }

  #setButtons() {
    const { job } = this;
    if (!job) return;
    for (const { action, button } of this.buttons) {
      const why = this.#gone ? "It was deleted" : refusal(action, job);
      button.setAttribute("aria-disabled", String(Boolean(why)));
      button.title = why;
    }
  }

  #showGone() {
    this.#gone = true;
    this.#again.cancel();
    setText(this.alert, "This job was deleted. What is shown is how it was last seen.");
    this.alert.hidden = false;
    this.#setButtons();
  }

  /** @param {Problem} problem */
  #showMissing(problem) {
    if (this.#parts) {
      this.#showGone();
      return;
    }
    const list = h("a", { class: "button", href: "/jobs" }, "All jobs");
    replace(
      this.content,
      h(
        "div",
        { class: "panel" },
        empty(
          "There is no such job",
          h("p", {}, problem.detail || "It was deleted or never created."),
          list,
        ),
      ),
    );
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.#parts) {
      setText(
        this.alert,
        `It could not be read again: ${messageOf(error)} What is shown may be old.`,
      );
      this.alert.hidden = false;
      return;
    }
    replace(
      this.content,
      h(
        "div",
        { class: "panel" },
        failure(error, () => {
          replace(this.content, skeletonPanel());
          this.#read();
        }),
      ),
    );
  }
}

/**
 * What the page shows once its job was read.
 *
 * @param {string} namespace
 * @param {string} name
 */
function buildParts(namespace, name) {
  return {
    progress: new JobProgress(),
    shards: new Shards(),
    failures: new Failures(namespace, name),
    conditions: h("div"),
    events: h("div"),
    details: h("div"),
    spec: h("div"),
  };
}

/**
 * Why the job stands where it does; a reason that only repeats the phase is left out.
 *
 * @param {Job} job
 */
function whyOf({ phase, reason, message }) {
  return [reason === phase ? "" : reason, message].filter(Boolean).join(": ");
}
