/** Beside a job's progress: its shards, conditions, events, and when what happened. */

import { query } from "../api/http.js";
import { h, replace, setText } from "../ui/dom.js";
import { count, DASH, time } from "../ui/format.js";
import { meter, setMeter } from "../ui/meter.js";
import { legendItem } from "./job-progress.js";

/** @import { Condition, Job, JobEvent } from "../api/models.js" */

/** @param {string} title @param {...Node} content */
export function panel(title, ...content) {
  return h(
    "section",
    { class: "panel", "aria-label": title },
    h("div", { class: "panel-head" }, h("h2", {}, title)),
    h("div", { class: "panel-body" }, content),
  );
}

/** @type {{key: "succeeded"|"active"|"failed"|"pending", tone: string, label: string}[]} */
const SHARDS = [
  { key: "succeeded", tone: "good", label: "Succeeded" },
  { key: "active", tone: "run", label: "Active" },
  { key: "failed", tone: "bad", label: "Failed" },
  { key: "pending", tone: "idle", label: "Pending" },
];

export class Shards {
  constructor() {
    this.text = h("p", { class: "number" });
    this.meter = meter(["good", "run", "bad"], { label: "Shards" });
    this.parts = SHARDS.map((part) => ({ ...part, ...legendItem(part.tone, part.label) }));
    const legend = h(
      "ul",
      { class: "legend" },
      this.parts.map((part) => part.element),
    );
    this.element = panel("Shards", h("div", { class: "stack" }, this.text, this.meter, legend));
  }

  /** @param {Job} job */
  update(job) {
    const { total, active, succeeded, failed } = job.shards || {
      total: 0,
      active: 0,
      succeeded: 0,
      failed: 0,
    };
    const numbers = {
      active,
      succeeded,
      failed,
      pending: Math.max(0, total - active - succeeded - failed),
    };
    const text = total
      ? `${count(succeeded + failed)} of ${count(total)} ended`
      : "The work is not divided yet, or there was none to do.";
    setText(this.text, text);
    setMeter(
      this.meter,
      [succeeded, active, failed].map((each) => (total ? (each / total) * 100 : 0)),
      text,
    );
    for (const part of this.parts) setText(part.number, total ? count(numbers[part.key]) : DASH);
  }
}

/**
 * Whether a condition is as one wishes, not, or neither.
 *
 * @param {Condition} condition
 */
function toneOf({ type, status }) {
  if (status === "Unknown") return "idle";
  const holds = status === "True";
  if (["Failed", "Stalled"].includes(type)) return holds ? "bad" : "idle";
  if (["Suspended", "Reconciling"].includes(type)) return holds ? "warn" : "idle";
  if (["Ready", "Complete"].includes(type)) return holds ? "good" : "idle";
  return holds ? "run" : "idle";
}

/** @type {Record<string, string>} */
const STATUS = { True: "Yes", False: "No" };

/** @param {HTMLElement} box @param {Condition[]} conditions */
export function showConditions(box, conditions) {
  if (!conditions.length) {
    replace(box, h("p", { class: "quiet" }, "None yet: the operator has not picked up the job."));
    return;
  }
  const rows = conditions.map((each) =>
    h(
      "li",
      {},
      h(
        "div",
        { class: "line" },
        h(
          "b",
          {},
          each.type,
          " ",
          h("span", { class: `pill tone-${toneOf(each)}` }, STATUS[each.status] || each.status),
        ),
        h("span", { class: "quiet" }, each.reason, " · ", time(each.lastTransitionTime)),
      ),
      each.message ? h("p", { class: "quiet" }, each.message) : null,
    ),
  );
  replace(box, h("ul", { class: "timeline" }, rows));
}

/** @param {HTMLElement} box @param {JobEvent[]} events in order of time */
export function showEvents(box, events) {
  if (!events.length) {
    replace(box, h("p", { class: "quiet" }, "None that the cluster still keeps."));
    return;
  }
  const rows = events
    .toReversed()
    .map((each) =>
      h(
        "li",
        {},
        h(
          "div",
          { class: "line" },
          h(
            "b",
            {},
            each.type === "Warning"
              ? h("span", { class: "pill tone-warn" }, each.reason)
              : each.reason,
            each.count > 1 ? ` × ${count(each.count)}` : "",
          ),
          h("span", { class: "quiet" }, time(each.at)),
        ),
        h("p", { class: "quiet" }, each.message),
      ),
    );
  replace(box, h("ul", { class: "timeline" }, rows));
}

/** @param {HTMLElement} box @param {Job} job */
export function showDetails(box, job) {
  const sameCollection = `/jobs${query({ namespace: job.namespace, search: job.collection })}`;
  const pairs = [
    ["Type", job.jobType || DASH],
    ["Collection", job.collection ? h("a", { href: sameCollection }, job.collection) : DASH],
    ["Schedule", job.schedule || null],
    ["Created", time(job.createdAt)],
    ["Started", time(job.startedAt)],
    ["Last progress", time(job.lastProgressAt)],
    ["Ended", time(job.completedAt)],
    ["UID", h("span", { class: "mono" }, job.uid)],
  ];
  const rows = pairs
    .filter(([, value]) => value !== null)
    .map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]);
  replace(box, h("dl", { class: "pairs" }, rows));
}
