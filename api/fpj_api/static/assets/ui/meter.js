/** Bars of parts: progress, shards, what a folder holds. */
import { h, setAttribute } from "./dom.js";

/** @import { Job, Progress } from "../api/models.js" */

/**
 * A bar whose parts are set with `setMeter`.
 *
 * @param {string[]} tones of its parts
 * @param {{label: string, large?: boolean}} options
 */
export function meter(tones, { label, large = false }) {
  const parts = tones.map((tone) => h("span", { class: `part-${tone}` }));
  const attributes = {
    role: "progressbar",
    "aria-label": label,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  };
  return h("div", { class: large ? "meter large" : "meter", ...attributes }, parts);
}

/**
 * @param {HTMLElement} element
 * @param {number[]} shares of the parts, of 100 together at most
 * @param {string} text for those who do not see it
 */
export function setMeter(element, shares, text) {
  let all = 0;
  shares.forEach((share, index) => {
    const width = `${Math.max(0, Math.min(100, share)).toFixed(2)}%`;
    const { style } = /** @type {HTMLElement} */ (element.children[index]);
    if (style.width !== width) style.width = width;
    element.children[index].classList.toggle("none", share <= 0);
    all += share;
  });
  setAttribute(element, "aria-valuenow", Math.round(Math.min(100, all)));
  setAttribute(element, "aria-valuetext", text);
}

/**
 * Show whether the work goes on, is done, or rests.
 *
 * @param {HTMLElement} element
 * @param {Job} job
 */
export function setPace(element, job) {
  const ended = ["Completed", "CompletedWithErrors"].includes(job.phase);
  element.classList.toggle("done", ended);
  element.classList.toggle(
    "resting",
    !ended && (job.suspended || ["Suspended", "Failed", "Cancelled"].includes(job.phase)),
  );
}

/**
 * Shares of a job's progress: made, up to date, failed.
 *
 * @param {Progress|undefined} progress
 */
export function progressShares(progress) {
  const total = progress?.total || 0;
  if (!progress || !total) return [0, 0, 0];
  return [progress.completed || 0, progress.skipped || 0, progress.failed || 0].map(
    (each) => (each / total) * 100,
  );
}

/** @param {Progress|undefined} progress @returns {number} images that are done with, however it went */
export const handled = (progress) =>
  (progress?.completed || 0) + (progress?.skipped || 0) + (progress?.failed || 0);

/**
 * Percent for people: 100 only when all is done.
 *
 * @param {Progress|undefined} progress
 */
export function percentOf(progress) {
  if (!progress?.total) return progress?.percent ?? 0;
  const share = Math.floor((handled(progress) / progress.total) * 100);
  return Math.min(100, share);
}
