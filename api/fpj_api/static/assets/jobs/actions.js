/** What can be done to jobs: suspend, resume, recover, cancel. The rules are those of the API and of kubectl fpj. */

import { jobPath, request } from "../api/http.js";
import { may } from "../api/session.js";
import { FINISHED } from "../ui/phases.js";

/**
 * @typedef {object} Action
 * @property {string} id as the API names it
 * @property {string} label on its button
 * @property {string} done what a job then is, in a message
 * @property {string} verb that it needs on fileprocessingjobs
 * @property {string} effect what will happen, for the confirmation
 * @property {(job: import("../api/models.js").Job) => string} refusal why the job's state does not allow it; empty where it does
 */

const deleting = (job) => (job.deleting ? "It is being deleted" : "");

/** @type {Object<string, Action>} */
export const ACTIONS = {
  suspend: {
    id: "suspend",
    label: "Suspend",
    done: "suspended",
    verb: "patch",
    effect: "Pods stop after their current images. Finished images are kept.",
    refusal: (job) =>
      deleting(job) ||
      (FINISHED.has(job.phase) ? "It has ended" : "") ||
      (job.suspended ? "It is suspended already" : ""),
  },
  resume: {
    id: "resume",
    label: "Resume",
    done: "resumed",
    verb: "patch",
    effect: "The job continues; only unfinished images are processed.",
    refusal: (job) =>
      deleting(job) ||
      (job.suspended || FINISHED.has(job.phase) ? "" : "It is active: nothing to resume"),
  },
  recover: {
    id: "recover",
    label: "Recover",
    done: "recovered",
    verb: "patch",
    effect: "A new attempt starts with the images that failed or were not reached.",
    refusal: (job) =>
      deleting(job) ||
      (job.phase === "Completed" ? "Nothing failed" : "") ||
      (job.suspended ? "It is suspended: resume it" : ""),
  },
  cancel: {
    id: "cancel",
    label: "Cancel",
    done: "cancelled",
    verb: "delete",
    effect:
      "The job's resource is deleted and its pods end. The images that it created stay. This cannot be undone.",
    refusal: deleting,
  },
};

/** Why the user may not do this to a job; empty where they may. */
export const forbidden = (action, namespace) =>
  may(action.verb, namespace)
    ? ""
    : `You are not allowed to ${action.label.toLowerCase()} jobs in ${namespace}`;

/**
 * @typedef {{namespace: string, name: string, done: boolean, problem?: string}} Outcome
 * @typedef {{results: Outcome[], remaining?: number}} Outcomes
 */

/**
 * Do it: to one job by its own request, to several by the bulk request, which happens for all of them or for none.
 *
 * @param {Action} action
 * @param {{namespace: string, name: string}[]} jobs
 * @returns {Promise<Outcomes>}
 */
export async function perform(action, jobs) {
  const named = jobs.map(({ namespace, name }) => ({ namespace, name }));
  if (named.length > 1) {
    return request("/jobs/bulk", { method: "POST", body: { action: action.id, jobs: named } });
  }
  const path = jobPath(named[0].namespace, named[0].name);
  if (action.id === "cancel") await request(path, { method: "DELETE" });
  else await request(`${path}/${action.id}`, { method: "POST" });
  return { results: [{ ...named[0], done: true }] };
}
