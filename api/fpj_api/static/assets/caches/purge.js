/** The dialog that orders a purge: what, then what that would remove, then how it ended, with its receipt. */

import { folderPath, isAbort, Problem, problemText, request } from "../api/http.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { choice, clearErrors, field, showErrors } from "../ui/fields.js";
import { bytes, count } from "../ui/format.js";
import { showProblem } from "./asking.js";
import { files } from "./cleanup.js";
import { sharesTable } from "./folder-parts.js";

/** @import { FolderDetail, Purge, PurgedFile, PurgePlan } from "../api/models.js" */
/** @import { Dialog } from "../ui/dialog.js" */

const AGAIN_MS = 1500;
const MOST_MISSES = 5; // of an API that restarts
const TOO_LARGE = "tag:fpj.dev,2026:too-large-here";

/** @typedef {{collection: string, images?: string[], all?: true}} Wanted */

/** @param {FolderDetail} folder @param {(folder: FolderDetail) => void} after */
export function openPurge(folder, after) {
  const abort = new AbortController();
  const dialog = openDialog(`Purge from ${folder.name}`, {
    wide: true,
    onsubmit: () => submit(),
    onclose: () => abort.abort(),
  });
  const form = /** @type {HTMLFormElement} */ (dialog.element.querySelector("form"));
  const images = h("textarea", {
    class: "input",
    name: "images",
    id: "purge-images",
    spellcheck: "false",
    "aria-describedby": "purge-images-hint",
    placeholder: "portraits/IMG_0042.tif",
  });
  const imagesBox = h(
    "div",
    { class: "field whole", "data-field": "images" },
    h("label", { for: "purge-images" }, "Images"),
    images,
    h(
      "p",
      { class: "hint", id: "purge-images-hint" },
      "Their names as the source lists them, one on each line, at most 1,000",
    ),
    h("p", { class: "wrong", hidden: true }),
  );
  const fields = h(
    "div",
    { class: "stack tight" },
    h(
      "p",
      {},
      "Removes at once what was made of some images, or of a whole collection, in this folder. Originals are never touched: while an image is in its source, the next job makes its files again.",
    ),
    field({
      name: "collection",
      label: "Collection",
      required: true,
      suggestions: folder.collections.map((each) => each.name),
      hint: "Its id, as its jobs give it",
    }),
    choice({
      name: "what",
      label: "Purge",
      value: "images",
      values: [
        ["images", "Some images"],
        ["all", "All of the collection"],
      ],
    }),
    imagesBox,
  );
  const plan = h("div", { class: "stack" });
  const start = h("button", { class: "button primary", type: "submit" }, "Show what goes");
  const back = h("button", { class: "button", type: "button" }, "Go back");
  fill(dialog.body, fields, plan);
  fill(dialog.foot, back, start);
  const chosen = () => new FormData(form).get("what");
  form.addEventListener("change", () => {
    imagesBox.hidden = chosen() === "all";
  });
  const collection = /** @type {HTMLInputElement} */ (form.elements.namedItem("collection"));
  if (folder.collections.length === 1) collection.value = folder.collections[0].name;
  collection.focus();
  const path = `/namespaces/${encodeURIComponent(folder.namespace)}/cache/purges`;

  /** @type {Wanted|null} what the shown plan is of */
  let planned = null;
  /** @type {HTMLInputElement|null} where the collection's id is typed again */
  let confirmation = null;
  back.addEventListener("click", () => (planned ? edit() : dialog.close()));
  form.addEventListener("input", () => {
    if (planned) start.disabled = !isConfirmed();
  });

  /** @returns {Wanted} */
  function wanted() {
    const id = collection.value.trim();
    if (chosen() === "all") return { collection: id, all: true };
    const keys = images.value.split("\n").map((each) => each.replace(/\r$/, ""));
    return { collection: id, images: keys.filter((each) => each.trim()) };
  }

  /** A purge of everything is confirmed by the collection's id. */
  const isConfirmed = () => !confirmation || confirmation.value.trim() === planned?.collection;

  /** @param {Wanted} body @param {boolean} dryRun */
  const send = (body, dryRun) =>
    request(path, {
      method: "POST",
      body: { ...body, cacheFolder: folder.name, dryRun },
      signal: abort.signal,
    });

  function edit() {
    planned = confirmation = null;
    fields.hidden = false;
    replace(plan);
    dialog.body.querySelector(".alert")?.remove();
    start.className = "button primary";
    setText(start, "Show what goes");
    start.disabled = false;
    collection.focus();
  }

  async function submit() {
    clearErrors(form);
    dialog.body.querySelector(":scope > .alert")?.remove();
    start.disabled = true;
    try {
      if (planned) await order(planned);
      else await look(wanted());
    } catch (error) {
      if (isAbort(error)) return;
      const errors = error instanceof Problem ? error.errors : [];
      const left = showErrors(form, errors);
      if (!errors.length || left.length) showProblem(dialog, error);
      start.disabled = planned ? !isConfirmed() : false;
    }
  }

  /** @param {Wanted} what */
  async function look(what) {
    /** @type {PurgePlan|null} null for what is too large to be listed */
    let found = null;
    let why = "";
    try {
      found = await send(what, true);
    } catch (error) {
      if (!(error instanceof Problem) || error.type !== TOO_LARGE) throw error;
      why = problemText(error);
    }
    planned = what;
    fields.hidden = true;
    const nothing = found && !found.files;
    const confirm = what.all && !nothing ? confirmBox(what.collection) : null;
    confirmation = confirm?.querySelector("input") ?? null;
    replace(plan, found ? showPlan(found) : h("p", { class: "alert mild" }, why), confirm);
    start.className = "button danger";
    setText(
      start,
      found ? (nothing ? "Nothing to purge" : `Purge ${files(found.files)}`) : "Purge",
    );
    start.disabled = Boolean(nothing) || !isConfirmed();
    (confirmation || back).focus();
  }

  /** @param {Wanted} what */
  async function order(what) {
    setText(start, "Working…");
    /** @type {Purge} */
    const made = await send(what, false);
    follow(dialog, `${path}/${encodeURIComponent(made.name)}`, made, abort.signal, async () => {
      after(await request(folderPath(folder.namespace, folder.name)));
    });
  }
}

/** @param {string} collection */
function confirmBox(collection) {
  return field({
    name: "confirmation",
    label: `Type ${collection} to purge all of it`,
    required: true,
  });
}

/** @param {PurgePlan} plan */
function showPlan(plan) {
  const summary = plan.files
    ? `Removes ${files(plan.files)}, ${bytes(plan.bytes)}, of ${plan.collection}.`
    : `Nothing of ${plan.collection} is in this folder that would be removed.`;
  return [
    h("p", { class: "lead", role: "status" }, summary),
    plan.busy
      ? h(
          "p",
          { class: "alert mild" },
          "A job works on the collection: the purge waits until it has ended.",
        )
      : null,
    plan.unknown.length
      ? h(
          "p",
          { class: "alert mild" },
          `Not known in this collection: ${plan.unknown.join(", ")}. Check the names.`,
        )
      : null,
    plan.files ? sharesTable("Bytes by tier", plan.byTier, { head: "Tier" }) : null,
    plan.files
      ? fileTable(
          "Files to purge",
          plan.files > plan.first.length ? `The first ${count(plan.first.length)} files` : "",
          plan.first,
        )
      : null,
  ];
}

/** @param {string} label @param {string} title @param {PurgedFile[]} some */
function fileTable(label, title, some) {
  const rows = some.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "wrap" }, each.source || "?"),
      h("td", {}, each.tier),
      h("td", { class: "wrap" }, each.path),
      h("td", { class: "end" }, bytes(each.bytes)),
    ),
  );
  const heads = ["Image", "Tier", "File"].map((head) => h("th", { scope: "col" }, head));
  return h(
    "div",
    { class: "plan-part" },
    title ? h("h3", {}, title) : null,
    h(
      "div",
      { class: "scroll victims", tabindex: 0, role: "region", "aria-label": label },
      h(
        "table",
        { class: "table", "aria-label": label },
        h("thead", {}, h("tr", {}, heads, h("th", { scope: "col", class: "end" }, "Bytes"))),
        h("tbody", {}, rows),
      ),
    ),
  );
}

/**
 * Show how the purge stands until it has ended, then its receipt.
 *
 * @param {Dialog} dialog
 * @param {string} path
 * @param {Purge} made
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} ended
 */
function follow(dialog, path, made, signal, ended) {
  const state = h("p", { class: "lead", role: "status" });
  const receipt = h("div", { class: "stack" });
  const close = h(
    "button",
    { class: "button primary", type: "button", onclick: dialog.close },
    "Close",
  );
  replace(
    dialog.body,
    state,
    receipt,
    h(
      "p",
      { class: "quiet" },
      "Closing this dialog stops nothing. The receipt stays in the cluster for a while: ",
      h("code", {}, `kubectl -n ${made.namespace} get cachepurge ${made.name} -o yaml`),
    ),
  );
  replace(dialog.foot, close);
  close.focus();

  /** @param {Purge} found */
  const show = (found) => {
    setText(state, stateText(found));
    if (found.finished) replace(receipt, showReceipt(found));
    return !found.finished;
  };
  let misses = 0;
  const again = async () => {
    if (signal.aborted) return;
    try {
      const found = await request(path, { signal });
      misses = 0;
      if (show(found)) setTimeout(again, AGAIN_MS);
      else ended().catch(() => {});
    } catch (error) {
      if (isAbort(error)) return;
      misses += 1;
      if (misses < MOST_MISSES) setTimeout(again, AGAIN_MS);
      else setText(state, problemText(error));
    }
  };
  show(made);
  setTimeout(again, AGAIN_MS);
}

/** @param {Purge} purge */
function stateText({ phase, message, files: removed, bytes: size }) {
  if (phase === "Completed") return `Purged ${files(removed || 0)}, ${bytes(size || 0)}.`;
  if (phase === "Failed") return `The purge failed. ${message || ""}`;
  const what = phase === "Running" ? "Purging…" : "The purge is ordered.";
  return message ? `${what} ${message}` : what;
}

/** @param {Purge} purge */
function showReceipt({ receipt, receiptTruncated, notified }) {
  const title = receiptTruncated
    ? `Receipt: the first ${count(receipt.length)} files; the pod's log names all`
    : "Receipt";
  return [
    receipt.length ? fileTable("Receipt", title, receipt) : null,
    notified
      ? h(
          "p",
          { class: notified.failed ? "alert mild" : "quiet" },
          `The webhook took ${count(notified.urls)} URLs${notified.failed ? `, and not ${count(notified.failed)}: ${notified.message || "no reason is given"}` : ""}.`,
        )
      : null,
  ];
}
