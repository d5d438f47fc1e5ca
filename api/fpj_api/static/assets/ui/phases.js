/** The phases of a job, with their colours. */
import { h, setText } from "./dom.js";
import { words } from "./format.js";

/**
 * Name and tone, in the order of a job's life.
 *
 * @type {Record<string, string>}
 */
export const PHASES = {
  Pending: "idle",
  Indexing: "busy",
  Running: "run",
  Recovering: "warn",
  Suspended: "warn",
  Completed: "good",
  CompletedWithErrors: "warn",
  Failed: "bad",
  Cancelled: "idle",
};

export const FINISHED = new Set(["Completed", "CompletedWithErrors", "Failed", "Cancelled"]);

/** @returns {HTMLElement} */
export function pill() {
  return h("span", { class: "pill" });
}

/**
 * Show a phase; a job that is being deleted says so.
 *
 * @param {HTMLElement} element
 * @param {import("../api/models.js").Job} job
 */
export function setPill(element, job) {
  const phase = job.phase || "Pending";
  const label = job.deleting ? "Deleting" : words(phase);
  const tone = job.deleting ? "idle" : PHASES[phase] || "idle";
  const moving = !job.deleting && ["Running", "Indexing", "Recovering"].includes(phase);
  const wanted = `pill tone-${tone}${moving ? " moving" : ""}`;
  if (element.className !== wanted) element.className = wanted;
  setText(element, label);
}
