/** What can be done to jobs: suspend, resume, recover, cancel. The API sends with each job which of them its state allows. */

import { jobPath, request } from "../api/http.js";
import { may } from "../api/session.js";

/** @import { Job } from "../api/models.js" */

/**
 * @typedef {object} Action
 * @property {string} id as the API names it
 * @property {string} label on its button
 * @property {string} done what a job then is, in a message
 * @property {string} verb that it needs on fileprocessingjobs
 * @property {string} effect what will happen, for the confirmation
 */

/** @type {Object<string, Action>} */
export const ACTIONS = {
  suspend: {
    id: "suspend",
    label: "Suspend",
    done: "suspended",
    verb: "patch",
    effect: "Pods stop after their current images. Finished images are kept.",
  },
  resume: {
    id: "resume",
    label: "Resume",
    done: "resumed",
    verb: "patch",
    effect: "The job continues; only unfinished images are processed.",
  },
  recover: {
    id: "recover",
    label: "Recover",
    done: "recovered",
    verb: "patch",
    effect: "A new attempt starts with the images that failed or were not reached.",
  },
  cancel: {
    id: "cancel",
    label: "Cancel",
    done: "cancelled",
    verb: "delete",
    effect:
      "The job's resource is deleted and its pods end. The images that it created stay, unless its deletionPolicy is Delete. This cannot be undone.",
  },
};

/**
 * Why the job's state does not allow it, as the API says; empty where it does.
 *
 * @param {Action} action
 * @param {Job} job
 */
export const refusal = (action, job) => {
  // While an upgrade runs, an older API may answer: it sends none, and refuses what it must.
  if (!job.actions || job.actions.includes(action.id)) return "";
  return job.refusals?.[action.id] || "The job's state does not allow it";
};

/**
 * Why the user may not do this to a job; empty where they may.
 *
 * @param {Action} action
 * @param {string} namespace
 */
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
