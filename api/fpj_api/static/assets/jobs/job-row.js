/** One row of the table of jobs: made once, and changed in place where its job changed. */

import { jobAddress } from "../api/router.js";
import { h, setAttribute, setText } from "../ui/dom.js";
import { count, DASH, duration, rate, setTime, time, words } from "../ui/format.js";
import { handled, meter, percentOf, progressShares, setMeter, setPace } from "../ui/meter.js";
import { FINISHED, pill, setPill } from "../ui/phases.js";

/** @import { Job } from "../api/models.js" */

export const COLUMNS = [
  { label: "Name" },
  { label: "Namespace" },
  { label: "Collection" },
  { label: "Type" },
  { label: "Phase" },
  { label: "Progress" },
  { label: "Failed", end: true },
  { label: "Rate", end: true },
  { label: "ETA", end: true },
  { label: "Age", end: true },
];

/** @param {string} label @param {string} [extra] classes */
const detail = (label, extra = "") =>
  h("td", { class: `detail ${extra}`.trim(), "data-label": label, role: "cell" });

export class JobRow {
  /**
   * @param {Job} job
   * @param {((uid: string, chosen: boolean) => void)|null} onpick null where nothing may be done to jobs
   */
  constructor(job, onpick) {
    this.link = h("a", { class: "job-name", href: jobAddress(job.namespace, job.name) }, job.name);
    this.pill = pill();
    this.percent = h("span");
    this.done = h("span", { class: "quiet" });
    this.meter = meter(["run", "skip", "bad"], { label: `Progress of ${job.name}` });
    this.namespace = detail("Namespace", "wrap");
    this.collection = detail("Collection", "wrap");
    this.type = detail("Type");
    this.failed = detail("Failed", "end");
    this.rate = detail("Rate", "end");
    this.eta = detail("ETA", "end");
    this.age = time(job.createdAt, { words: false });
    const age = detail("Age", "end");
    age.append(this.age);
    this.box = onpick && pickBox(job, onpick);
    this.element = h(
      "tr",
      {
        role: "row",
        class: onpick ? "can-pick" : null,
        "data-job": `${job.namespace}/${job.name}`,
      },
      this.box && h("td", { class: "pick", role: "cell" }, this.box),
      h("td", { class: "name-cell", role: "cell" }, this.link),
      this.namespace,
      this.collection,
      this.type,
      h("td", { class: "phase-cell", role: "cell" }, this.pill),
      h(
        "td",
        { class: "progress-cell", role: "cell" },
        h("div", { class: "progress-line" }, this.percent, this.done),
        this.meter,
      ),
      this.failed,
      this.rate,
      this.eta,
      age,
    );
    this.update(job);
  }

  /**
   * Show the job as it is now; what is the same is not touched.
   *
   * @param {Job} job
   */
  update(job) {
    const { progress } = job;
    setText(this.namespace, job.namespace);
    setText(this.collection, job.collection || DASH);
    setText(this.type, job.jobType || DASH);
    setPill(this.pill, job);
    setAttribute(this.pill, "title", job.message || null);
    const known = Boolean(progress?.total);
    const percent = percentOf(progress);
    setText(this.percent, known || job.phase === "Completed" ? `${percent}%` : DASH);
    setText(
      this.done,
      known ? `${count(handled(progress))} / ${count(progress.total)}` : waitingFor(job),
    );
    setPace(this.meter, job);
    setMeter(
      this.meter,
      progressShares(progress),
      known
        ? `${percent}%, ${count(handled(progress))} of ${count(progress.total)}`
        : "not started",
    );
    setText(this.failed, known ? count(progress.failed || 0) : DASH);
    this.failed.classList.toggle("has-failures", Boolean(progress?.failed));
    const running = !FINISHED.has(job.phase) && !job.suspended;
    this.#optional(
      this.rate,
      running && progress?.imagesPerSecond ? rate(progress.imagesPerSecond) : DASH,
    );
    this.#optional(
      this.eta,
      running && progress?.etaSeconds !== null ? duration(progress?.etaSeconds) : DASH,
    );
    setTime(this.age, job.createdAt);
  }

  /**
   * A dash needs no line on a phone.
   *
   * @param {HTMLElement} cell
   * @param {string} text
   */
  #optional(cell, text) {
    setText(cell, text);
    cell.classList.toggle("blank", text === DASH);
  }

  /**
   * Show whether it is chosen.
   *
   * @param {boolean} chosen
   */
  pick(chosen) {
    if (!this.box) return;
    this.box.checked = chosen;
    this.element.classList.toggle("selected-row", chosen);
  }
}

/**
 * @param {Job} job
 * @param {(uid: string, chosen: boolean) => void} onpick
 */
function pickBox(job, onpick) {
  const box = h("input", { type: "checkbox", "aria-label": `Select ${job.namespace}/${job.name}` });
  box.addEventListener("change", () => onpick(job.uid, box.checked));
  return box;
}

/**
 * Before anything is counted: what is being done, or what is waited for.
 *
 * @param {Job} job
 */
function waitingFor({ phase, stage, reason }) {
  if (FINISHED.has(phase)) return "";
  return stage || (reason && reason !== phase ? words(reason) : "");
}
