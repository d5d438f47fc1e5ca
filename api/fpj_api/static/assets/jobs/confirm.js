/** Asks before something is done to jobs, does it, and shows what became of each. */

import { messageOf, Problem } from "../api/http.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { count, words } from "../ui/format.js";
import { perform, refusal } from "./actions.js";

/** @import { Job } from "../api/models.js" */
/** @import { Action, Outcomes } from "./actions.js" */
/** @import { Dialog } from "../ui/dialog.js" */

/** @param {number} number */
const jobs = (number) => (number === 1 ? "1 job" : `${number} jobs`);

/**
 * @param {Action} action
 * @param {Job[]} chosen
 * @param {() => void} [after] called once something was done
 */
export function confirmAction(action, chosen, after = () => {}) {
  const apt = chosen.filter((job) => !refusal(action, job));
  const others = chosen.filter((job) => refusal(action, job));
  const title =
    chosen.length === 1
      ? `${action.label} ${chosen[0].name}?`
      : `${action.label} ${jobs(apt.length)}?`;
  const dialog = openDialog(title);
  fill(
    dialog.body,
    h("p", {}, apt.length ? action.effect : "There is nothing to do for the chosen jobs."),
  );
  if (apt.length) dialog.body.append(list(apt, (job) => words(job.phase || "Pending")));
  if (others.length) {
    fill(
      dialog.body,
      h("h3", {}, `Left as ${others.length === 1 ? "it is" : "they are"}`),
      list(others, (job) => refusal(action, job)),
    );
  }
  const tone = action.id === "cancel" ? "button danger" : "button primary";
  const label = chosen.length === 1 ? action.label : `${action.label} ${jobs(apt.length)}`;
  const start = h(
    "button",
    { class: tone, type: "button", disabled: !apt.length },
    action.id === "cancel" ? `${label} and delete` : label,
  );
  const back = h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back");
  start.addEventListener("click", () =>
    run(dialog, start, action.label, () => perform(action, apt), after, apt.length === 1),
  );
  fill(dialog.foot, back, start);
  (action.id === "cancel" || !apt.length ? back : start).focus();
}

/**
 * Do it while the dialog waits, then show what became of each job.
 *
 * @param {Dialog} dialog
 * @param {HTMLButtonElement} start
 * @param {string} label
 * @param {() => Promise<Outcomes>} work
 * @param {() => void} after
 * @param {boolean} [brief] the dialog just ends: there is nothing more to say
 */
export async function run(dialog, start, label, work, after, brief = false) {
  start.disabled = true;
  setText(start, "Working…");
  try {
    const outcomes = await work();
    after();
    if (brief) dialog.close();
    else showOutcomes(dialog, label, outcomes);
  } catch (error) {
    const detail = error instanceof Problem ? error.detail || error.title : messageOf(error);
    dialog.body.querySelector(".alert")?.remove();
    dialog.body.prepend(h("p", { class: "alert", role: "alert" }, detail));
    start.disabled = false;
    setText(start, "Try again");
  }
}

/**
 * @param {Dialog} dialog
 * @param {string} label
 * @param {Outcomes} outcomes
 */
function showOutcomes(dialog, label, { results, remaining }) {
  const done = results.filter((each) => each.done).length;
  const text = results.length
    ? `${label}: done for ${done} of ${jobs(results.length)}.`
    : "There was no job to do this for.";
  const more = remaining ? ` There are ${count(remaining)} more: do it again for them.` : "";
  replace(dialog.body, h("p", { role: "status" }, text + more));
  if (results.length) {
    const rows = results.map((each) =>
      h(
        "li",
        {},
        h("span", {}, `${each.namespace}/${each.name}`),
        h(
          "span",
          { class: each.done ? "pill tone-good" : "pill tone-bad" },
          each.done ? "Done" : "Not done",
        ),
        each.done || !each.problem ? null : h("span", { class: "problem" }, each.problem),
      ),
    );
    dialog.body.append(h("ul", { class: "affected" }, rows));
  }
  const end = h(
    "button",
    { class: "button primary", type: "button", onclick: dialog.close },
    "Close",
  );
  replace(dialog.foot, end);
  end.focus();
}

/** @param {Job[]} chosen @param {(job: Job) => string} note */
function list(chosen, note) {
  const rows = chosen.map((job) =>
    h(
      "li",
      {},
      h("span", {}, `${job.namespace}/${job.name}`),
      h("span", { class: "quiet" }, note(job)),
    ),
  );
  return h(
    "ul",
    { class: "affected", tabindex: chosen.length > 8 ? 0 : null, "aria-label": "Jobs" },
    rows,
  );
}
