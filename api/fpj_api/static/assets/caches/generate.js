/** The dialog that makes jobs for the chosen collections: first what would be done, then how far it is. */

import { isAbort, Problem, problemText, request } from "../api/http.js";
import { may } from "../api/session.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { choice } from "../ui/fields.js";
import { count, rate } from "../ui/format.js";
import { meter, progressShares, setMeter } from "../ui/meter.js";

/** @import { Generated, Operation, OperationProgress, Statistics } from "../api/models.js" */
/** @import { Dialog } from "../ui/dialog.js" */

const AGAIN_MS = 2000;
const MOST_MISSES = 5; // of an operation that was just made, or an API that restarts

/** @param {number} number */
const jobs = (number) => (number === 1 ? "1 job" : `${count(number)} jobs`);

/** A key of its own for each dialog: however often its button is pressed, no job is made twice. */
const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((each) => each.toString(16).padStart(2, "0"))
    .join("");

/** @param {Statistics[]} chosen */
export function openGenerate(chosen) {
  const abort = new AbortController();
  const number = chosen.length === 1 ? chosen[0].collection : `${chosen.length} collections`;
  const dialog = openDialog(`Generate for ${number}`, {
    wide: true,
    onsubmit: () => start(),
    onclose: () => abort.abort(),
  });
  const form = /** @type {HTMLFormElement} */ (dialog.element.querySelector("form"));
  const alert = h("p", { class: "alert", role: "alert", hidden: true });
  const plan = h("div", { class: "stack" });
  const begin = h("button", { class: "button primary", type: "submit", disabled: true });
  const force = h("input", { type: "checkbox", name: "force" });
  fill(
    dialog.body,
    h(
      "p",
      {},
      "Each collection gets a new job, copied from its newest ones: the same source, sizes and cache folder. Images that are up to date are skipped.",
    ),
    choice({
      name: "jobType",
      label: "Make",
      value: "Both",
      values: [
        ["Both", "Cache images and thumbnails"],
        ["Cache", "Cache images"],
        ["Thumbnail", "Thumbnails"],
      ],
    }),
    h("label", {}, force, " Make again what is up to date, too"),
    alert,
    plan,
  );
  fill(
    dialog.foot,
    h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back"),
    begin,
  );
  let key = newKey();
  const body = () => ({
    jobType: new FormData(form).get("jobType"),
    force: force.checked,
    collections: chosen.map(({ namespace, collection }) => ({ namespace, collection })),
  });
  let asked = 0;

  async function look() {
    asked += 1;
    const mine = asked;
    key = newKey();
    begin.disabled = true;
    setText(begin, "Generate");
    alert.hidden = true;
    replace(plan, h("p", { class: "quiet", role: "status" }, "Looking at the collections…"));
    try {
      /** @type {Operation} */
      const operation = await send({ ...body(), dryRun: true });
      if (mine !== asked) return;
      const apt = operation.results.filter((each) => each.state !== "NotCreated").length;
      setText(begin, `Generate ${jobs(apt)}`);
      begin.disabled = !apt;
      replace(plan, list(operation.results));
    } catch (error) {
      if (mine === asked) tell(error);
    }
  }

  async function start() {
    begin.disabled = true;
    alert.hidden = true;
    setText(begin, "Working…");
    try {
      const operation = await send(body());
      follow(dialog, operation, abort.signal);
    } catch (error) {
      tell(error);
      begin.disabled = false;
      setText(begin, "Try again");
    }
  }

  /** @param {object} given @returns {Promise<Operation>} */
  const send = (given) =>
    request("/bulk/operations", {
      method: "POST",
      body: given,
      headers: { "Idempotency-Key": key },
      signal: abort.signal,
    });

  /** @param {unknown} error */
  function tell(error) {
    if (isAbort(error)) return;
    replace(plan);
    setText(alert, problemText(error));
    alert.hidden = false;
  }

  form.addEventListener("change", look);
  look();
}

/** @param {Generated[]} results */
function list(results) {
  const rows = results.map((each) =>
    h(
      "li",
      {},
      h("span", {}, `${each.namespace}/${each.collection}`),
      each.problem && h("span", { class: "pill tone-bad" }, "Not possible"),
      each.problem
        ? h("span", { class: "problem" }, each.problem)
        : notes(each).map((note) => h("span", { class: "quiet note" }, note)),
    ),
  );
  const many = results.length > 8;
  return h(
    "ul",
    { class: "affected", tabindex: many ? 0 : null, "aria-label": "Collections" },
    rows,
  );
}

/** @param {Generated} each */
function notes({ copiedFrom, usual, active }) {
  const said = usual.map((section) =>
    section === "cache"
      ? "With the usual cache size: no job of it says another."
      : "With the usual thumbnail: no job of it says another.",
  );
  const first = `Copied from ${copiedFrom.join(", ")}.`;
  return [first, ...said, active && `Waits until ${active} has ended.`].filter(Boolean);
}

/**
 * Show how far the operation is until the dialog is closed.
 *
 * @param {Dialog} dialog
 * @param {Operation} operation
 * @param {AbortSignal} signal
 */
function follow(dialog, { id, results }, signal) {
  const refused = results.filter((each) => each.problem);
  const namespaces = new Set(results.map((each) => each.namespace));
  const state = h("p", { role: "status" }, "The jobs have been created.");
  const images = h("p", { class: "quiet number" });
  const bar = meter(["run", "skip", "bad"], { label: "Progress of all", large: true });
  const address = `/jobs?search=${id}`;
  replace(
    dialog.body,
    state,
    bar,
    images,
    refused.length ? [h("h3", {}, `Not created: ${refused.length}`), list(refused)] : null,
    h("p", {}, h("a", { href: address, onclick: dialog.close }, "Show these jobs")),
  );
  const mayCancel = [...namespaces].every((each) =>
    ["delete", "deletecollection"].every((verb) => may(verb, each)),
  );
  const cancel = h("button", { class: "button danger", type: "button" }, "Cancel unfinished jobs");
  const close = h(
    "button",
    { class: "button primary", type: "button", onclick: dialog.close },
    "Close",
  );
  let cancelled = false;
  cancel.addEventListener("click", async () => {
    cancelled = cancel.disabled = true;
    try {
      await request(`/bulk/operations/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return;
      setText(state, problemText(error));
      cancelled = cancel.disabled = false;
    }
  });
  replace(dialog.foot, mayCancel && cancel, close);
  close.focus();

  /** @param {OperationProgress} found */
  const show = (found) => {
    const { progress } = found;
    const left = found.jobs - found.finished;
    const gone = found.size - found.jobs;
    const words = [`${found.finished} of ${jobs(found.size)} finished`];
    if (gone) words.push(`${jobs(gone)} deleted`);
    setText(state, `${words.join(", ")}.`);
    setMeter(bar, shares(found), `${progress.percent}%`);
    const pace = left && progress.imagesPerSecond ? ` · ${rate(progress.imagesPerSecond)}` : "";
    const failed = progress.failed ? ` · ${count(progress.failed)} failed` : "";
    const done = progress.completed + progress.skipped + progress.failed;
    setText(images, `${count(done)} of ${count(progress.total)} images${failed}${pace}`);
    cancel.disabled = cancelled || !left;
    bar.classList.toggle("done", !left);
    return left > 0;
  };

  let misses = 0;
  const again = async () => {
    if (signal.aborted) return;
    try {
      const found = await request(`/bulk/operations/${id}`, { signal });
      misses = 0;
      if (show(found)) setTimeout(again, AGAIN_MS);
    } catch (error) {
      if (isAbort(error)) return;
      misses += 1;
      const gone = error instanceof Problem && error.status === 404;
      if (gone && cancelled) setText(state, "All jobs are cancelled.");
      else if (misses < MOST_MISSES) setTimeout(again, AGAIN_MS);
      else setText(state, problemText(error));
    }
  };
  again();
}

/**
 * The bar shows what is known: parts of images, as far as all jobs are on average.
 *
 * @param {OperationProgress} found
 */
function shares({ progress }) {
  const parts = progressShares({ ...progress, etaSeconds: null, averageProcessingMs: 0 });
  const all = parts.reduce((sum, each) => sum + each, 0);
  if (!all) return [0, progress.percent, 0];
  return parts.map((each) => (each / all) * progress.percent);
}
