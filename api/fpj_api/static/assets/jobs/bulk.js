/** What can be done to the chosen jobs, and to all that failed. */

import { request } from "../api/http.js";
import { may, where } from "../api/session.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { ACTIONS, forbidden, refusal } from "./actions.js";
import { confirmAction, run } from "./confirm.js";

/** @import { Job } from "../api/models.js" */
/** @import { Action } from "./actions.js" */

/** The API changes several jobs in one request at most up to here. */
const MOST = 500;

/** Whether the user may do anything to jobs anywhere. */
export const mayAct = () => where("patch").length > 0 || where("delete").length > 0;

/**
 * Why an action cannot be taken for the chosen jobs; empty where it can.
 *
 * @param {Action} action
 * @param {Job[]} jobs
 */
function obstacle(action, jobs) {
  for (const namespace of new Set(jobs.map((job) => job.namespace))) {
    const why = forbidden(action, namespace);
    if (why) return why;
    if (jobs.length > 1 && action.id === "cancel" && !may("deletecollection", namespace)) {
      return `Only administrators of ${namespace} can cancel several jobs at once; cancel them one by one`;
    }
  }
  if (jobs.length > MOST) return `At most ${MOST} jobs at once`;
  return jobs.every((job) => refusal(action, job)) ? refusal(action, jobs[0]) : "";
}

export class BulkBar {
  /** @param {() => Job[]} chosen @param {() => void} clear @param {() => void} after */
  constructor(chosen, clear, after) {
    this.chosen = chosen;
    this.text = h("strong", { role: "status" });
    this.why = h("p", { class: "why", id: "bulk-why" });
    this.buttons = Object.values(ACTIONS).map((action) => ({
      action,
      button: this.#button(action, after),
    }));
    const none = h(
      "button",
      { class: "button plain", type: "button", onclick: clear },
      "Clear selection",
    );
    const row = h(
      "div",
      { class: "button-row" },
      this.buttons.map((each) => each.button),
      none,
    );
    this.element = h(
      "div",
      { class: "bulk", role: "region", "aria-label": "Selected jobs", hidden: true },
      this.text,
      row,
      this.why,
    );
  }

  /** @param {Action} action @param {() => void} after */
  #button(action, after) {
    const button = h(
      "button",
      { class: action.id === "cancel" ? "button danger" : "button", type: "button" },
      action.label,
    );
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true")
        confirmAction(action, this.chosen(), after);
    });
    return button;
  }

  /** Show what can be done to what is chosen now. */
  update() {
    const jobs = this.chosen();
    this.element.hidden = !jobs.length;
    if (!jobs.length) return;
    setText(this.text, jobs.length === 1 ? "1 job selected" : `${jobs.length} jobs selected`);
    const reasons = new Set();
    for (const { action, button } of this.buttons) {
      const why = obstacle(action, jobs);
      button.setAttribute("aria-disabled", String(Boolean(why)));
      button.title = why;
      if (why) reasons.add(`${action.label}: ${why}.`);
    }
    setText(this.why, [...reasons].join(" "));
  }
}

/**
 * The button that recovers whatever failed; null for those who may not.
 *
 * @param {() => string} namespaceShown empty for all
 * @param {() => void} after
 */
export function recoverAllButton(namespaceShown, after) {
  if (!where("patch").length) return null;
  return h(
    "button",
    { class: "button", type: "button", onclick: () => askRecoverAll(namespaceShown(), after) },
    "Recover all",
  );
}

/** @param {string} namespace empty for all @param {() => void} after */
function askRecoverAll(namespace, after) {
  const dialog = openDialog(namespace ? `Recover all jobs in ${namespace}?` : "Recover all jobs?");
  const scope = namespace ? `in ${namespace}` : "in all namespaces that you may see";
  fill(
    dialog.body,
    h(
      "p",
      {},
      `Every job ${scope} that failed, or has failed images, starts a new attempt with the images that failed or were not reached.`,
    ),
    h("p", { class: "quiet" }, "Jobs that completed without failures stay as they are."),
  );
  const start = h("button", { class: "button primary", type: "button" }, "Recover all");
  start.addEventListener("click", () =>
    run(
      dialog,
      start,
      "Recover",
      () => request("/jobs/recover", { method: "POST", body: namespace ? { namespace } : {} }),
      after,
    ),
  );
  replace(
    dialog.foot,
    h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back"),
    start,
  );
  start.focus();
}
