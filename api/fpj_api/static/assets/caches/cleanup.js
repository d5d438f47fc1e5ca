/** The dialog that cleans a cache folder up: first what would be removed and why, then it is asked for. */

import { folderPath, isAbort, Problem, problemText, request } from "../api/http.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { bytes, count } from "../ui/format.js";
import { ask } from "./asking.js";
import { reasonText, sharesTable } from "./folder-parts.js";

/** @import { CleanupPlan, FolderDetail, PlannedFile, ShortLimit } from "../api/models.js" */

const TOO_LARGE = "tag:fpj.dev,2026:too-large-here";

/** @type {Record<string, string>} */
const KEPT = {
  Busy: "of collections that a job works on",
  Pinned: "pinned",
  TooYoung: "younger than the minimum age",
  NoEviction: "that the policy does not evict",
  Unknown: "that no record accounts for",
};

/** @param {number} number */
export const files = (number) => (number === 1 ? "1 file" : `${count(number)} files`);

/** @param {FolderDetail} folder @param {(folder: FolderDetail) => void} after */
export function openCleanup(folder, after) {
  const abort = new AbortController();
  const dialog = openDialog(`Clean up ${folder.name}`, {
    wide: true,
    onclose: () => abort.abort(),
  });
  const start = h("button", { class: "button danger", type: "button", disabled: true }, "Remove");
  const back = h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back");
  const box = h("div", { class: "stack" });
  fill(dialog.body, box);
  fill(dialog.foot, back, start);
  back.focus();
  const path = `${folderPath(folder.namespace, folder.name)}/cleanup`;
  start.addEventListener("click", () =>
    ask(
      dialog,
      start,
      () => request(path, { method: "POST" }),
      `The clean-up of ${folder.name} is requested.`,
      after,
    ),
  );

  async function look() {
    replace(box, h("p", { class: "quiet", role: "status" }, "Looking at what would be removed…"));
    try {
      /** @type {CleanupPlan} */
      const plan = await request(`${path}?dryRun=true`, { method: "POST", signal: abort.signal });
      replace(box, showPlan(plan));
      setText(start, plan.files ? `Remove ${files(plan.files)}` : "Nothing to remove");
      start.disabled = !plan.files;
    } catch (error) {
      if (isAbort(error)) return;
      const unseen = error instanceof Problem && error.type === TOO_LARGE;
      replace(
        box,
        h("p", { class: unseen ? "alert mild" : "alert", role: "alert" }, problemText(error)),
        unseen
          ? h("p", {}, "You can clean it up without seeing before what will be removed.")
          : h(
              "p",
              {},
              h("button", { class: "button", type: "button", onclick: look }, "Try again"),
            ),
      );
      setText(start, unseen ? "Clean up unseen" : "Remove");
      start.disabled = !unseen;
    }
  }
  look();
}

/** @param {CleanupPlan} plan */
function showPlan(plan) {
  const left = plan.usedBytes - plan.bytes;
  const summary = plan.files
    ? `Removes ${files(plan.files)}, ${bytes(plan.bytes)} of ${bytes(plan.usedBytes)}; ${bytes(left)} stay.`
    : `Nothing is to be removed now; the folder holds ${bytes(plan.usedBytes)}.`;
  const parts = [
    h("p", { class: "lead", role: "status" }, summary),
    plan.refusal && h("p", { class: "alert mild" }, sentence(plan.refusal)),
    ...plan.shortfalls.map((short) => h("p", { class: "alert mild" }, shortText(short))),
    plan.busy.length
      ? h("p", { class: "quiet" }, `Jobs work on ${plan.busy.join(", ")}: what is of those stays.`)
      : null,
  ];
  if (!plan.files) return parts;
  const reasons = plan.byReason.map((each) => ({ ...each, name: reasonText(each.name) }));
  return [
    ...parts,
    h(
      "div",
      { class: "plan-parts" },
      section("Why", sharesTable("By reason", reasons, { head: "Reason" })),
      section("By tier", sharesTable("By tier", plan.byTier, { head: "Tier" })),
      section(
        "By collection",
        sharesTable("By collection", plan.byCollection, { head: "Collection" }),
      ),
    ),
    section(
      plan.files > plan.first.length ? `The first ${count(plan.first.length)} files` : "The files",
      fileTable(plan.first),
    ),
    h(
      "p",
      { class: "quiet" },
      "The operator decides again when it starts: what jobs make until then may change it. Originals are never touched, and a job that asks for a removed file makes it again.",
    ),
  ];
}

/** @param {PlannedFile[]} first */
function fileTable(first) {
  const rows = first.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "wrap" }, each.source || each.path || "?"),
      h("td", { class: "wrap" }, each.collection),
      h("td", {}, each.tier),
      h("td", {}, reasonText(each.reason)),
      h("td", { class: "end" }, bytes(each.bytes)),
    ),
  );
  const heads = ["Image", "Collection", "Tier", "Reason"].map((head) =>
    h("th", { scope: "col" }, head),
  );
  return h(
    "div",
    { class: "scroll victims", tabindex: 0, role: "region", "aria-label": "Files to remove" },
    h(
      "table",
      { class: "table", "aria-label": "Files to remove" },
      h("thead", {}, h("tr", {}, heads, h("th", { scope: "col", class: "end" }, "Bytes"))),
      h("tbody", {}, rows),
    ),
  );
}

/** @param {string} title @param {HTMLElement} content */
const section = (title, content) =>
  h("section", { class: "plan-part" }, h("h3", {}, title), content);

/** @param {ShortLimit} short */
function shortText({ limit, name, shortBy, kept }) {
  const whose = name ? `${reasonText(limit)} (${name})` : reasonText(limit);
  const why = Object.entries(kept).map(([cause, size]) => `${bytes(size)} ${KEPT[cause] || cause}`);
  return `${whose} by ${bytes(shortBy)} even then. What stays: ${why.join(", ")}.`;
}

/** @param {string} text */
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`.replace(/\.\.$/, ".");
