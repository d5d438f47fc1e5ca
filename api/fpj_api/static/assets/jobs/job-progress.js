/** How far a job is, in large: percent, bar, counts, speed. */
import { h, setText } from "../ui/dom.js";
import { bytes, count, DASH, duration, milliseconds, rate } from "../ui/format.js";
import { handled, meter, percentOf, progressShares, setMeter, setPace } from "../ui/meter.js";
import { FINISHED } from "../ui/phases.js";

/** @import { Job } from "../api/models.js" */

/** @type {{key: "completed"|"skipped"|"failed", tone: string, label: string}[]} */
const PARTS = [
  { key: "completed", tone: "run", label: "Made" },
  { key: "skipped", tone: "skip", label: "Up to date" },
  { key: "failed", tone: "bad", label: "Failed" },
];

const FACTS = {
  rate: "Rate",
  eta: "Time left",
  written: "Written",
  average: "Average per image",
  took: "Duration",
  recoveries: "Recoveries",
};

/**
 * A legend's entry with a number.
 *
 * @param {string} tone
 * @param {string} label
 */
export function legendItem(tone, label) {
  const number = h("b");
  return {
    number,
    element: h("li", {}, h("span", { class: `swatch part-${tone}` }), label, number),
  };
}

export class JobProgress {
  constructor() {
    /** @type {Pick<Job, "startedAt"|"completedAt">} */
    this.job = { startedAt: null, completedAt: null };
    this.percent = h("span", { class: "hero-percent" });
    this.of = h("span", { class: "quiet number" });
    this.stage = h("span", { class: "quiet" });
    this.meter = meter(
      PARTS.map((part) => part.tone),
      { label: "Progress", large: true },
    );
    this.parts = PARTS.map((part) => ({ ...part, ...legendItem(part.tone, part.label) }));
    this.left = legendItem("idle", "Left");
    const legend = h(
      "ul",
      { class: "legend" },
      this.parts.map((part) => part.element),
      this.left.element,
    );
    this.facts = Object.fromEntries(Object.keys(FACTS).map((key) => [key, h("dd")]));
    const facts = Object.entries(FACTS).map(([key, label]) =>
      h("div", {}, h("dt", {}, label), this.facts[key]),
    );
    this.element = h(
      "section",
      { class: "panel", "aria-label": "Progress" },
      h(
        "div",
        { class: "hero" },
        h("div", { class: "hero-line" }, this.percent, this.of, this.stage),
        this.meter,
        legend,
      ),
      h("dl", { class: "facts" }, facts),
    );
  }

  /** @param {Job} job */
  update(job) {
    const { progress } = job;
    const total = progress?.total || 0;
    const percent = total || job.phase === "Completed" ? `${percentOf(progress)}%` : DASH;
    const of = total
      ? `${count(handled(progress))} of ${count(total)} images`
      : "The images are not counted yet";
    setText(this.percent, percent);
    setText(this.of, of);
    setText(this.stage, job.stage && !FINISHED.has(job.phase) ? `Stage: ${job.stage}` : "");
    setPace(this.meter, job);
    setMeter(this.meter, progressShares(progress), total ? `${percent}, ${of}` : of);
    for (const part of this.parts)
      setText(part.number, total ? count(progress[part.key] || 0) : DASH);
    setText(this.left.number, total ? count(total - handled(progress)) : DASH);
    const running = !FINISHED.has(job.phase) && !job.suspended;
    const { facts } = this;
    setText(
      facts.rate,
      running && progress?.imagesPerSecond ? rate(progress.imagesPerSecond) : DASH,
    );
    setText(facts.eta, running && total ? duration(progress.etaSeconds) : DASH);
    setText(facts.written, total ? bytes(progress.bytesWritten) : DASH);
    setText(
      facts.average,
      progress?.averageProcessingMs ? milliseconds(progress.averageProcessingMs) : DASH,
    );
    setText(facts.recoveries, count(job.recoveryAttempts));
    this.job = job;
    this.tick();
  }

  /** The duration of an active job grows by itself. */
  tick() {
    const { startedAt, completedAt } = this.job;
    const end = completedAt ? Date.parse(completedAt) : Date.now();
    setText(this.facts.took, startedAt ? duration((end - Date.parse(startedAt)) / 1000) : DASH);
  }
}
