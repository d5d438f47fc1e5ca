/** What can be asked for a cache folder: clean up, verify, repair, purge, another policy. */

import { folderPath, request } from "../api/http.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h } from "../ui/dom.js";
import { ask } from "./asking.js";
import { openCleanup } from "./cleanup.js";
import { openPolicy } from "./policy.js";
import { openPurge } from "./purge.js";

/** @import { FolderDetail } from "../api/models.js" */

/**
 * @typedef {object} FolderAction
 * @property {string} label on its button
 * @property {(folder: FolderDetail) => boolean} allowed to this user
 * @property {(folder: FolderDetail) => string} why it is not possible now; empty where it is
 * @property {(folder: FolderDetail, after: (folder: FolderDetail) => void) => void} open
 * @property {boolean} [danger]
 */

/** @param {FolderDetail} folder */
const mayChange = (folder) => folder.mayChange;

/** @param {FolderDetail} folder */
const gone = (folder) => (folder.deleting ? "The folder is being deleted." : "");

/** @param {FolderDetail} folder @param {string} operation @param {string} words */
const asked = (folder, operation, words) =>
  gone(folder) || (folder.requested.includes(operation) ? `${words} is requested already.` : "");

/** @type {FolderAction[]} */
export const FOLDER_ACTIONS = [
  {
    label: "Clean up…",
    allowed: mayChange,
    why: (folder) =>
      asked(folder, "Evict", "A clean-up") ||
      (folder.spec.maxBytes || folder.spec.policy
        ? ""
        : "The folder has neither a limit nor a policy: nothing is ever removed from it."),
    open: openCleanup,
  },
  {
    label: "Verify",
    allowed: mayChange,
    why: (folder) => asked(folder, "Verify", "A verification"),
    open: (folder, after) =>
      confirm(folder, after, {
        operation: "verify",
        title: `Verify ${folder.name}?`,
        text: "A pod compares every file with what is recorded of it, and reports what differs. Nothing is changed.",
        label: "Verify",
        done: `The verification of ${folder.name} is requested.`,
      }),
  },
  {
    label: "Repair…",
    allowed: mayChange,
    why: (folder) => asked(folder, "Repair", "A repair"),
    open: (folder, after) =>
      confirm(folder, after, {
        operation: "repair",
        title: `Repair ${folder.name}?`,
        text: "A pod compares every file with what is recorded of it. It forgets records without a file, so that the next job makes those files again, and removes fpj's own files without a record. What is not fpj's, and originals, are never touched.",
        label: "Repair",
        done: `The repair of ${folder.name} is requested.`,
        danger: true,
      }),
  },
  {
    label: "Edit policy…",
    allowed: mayChange,
    why: gone,
    open: openPolicy,
  },
  {
    label: "Purge…",
    allowed: (folder) => folder.mayPurge,
    why: gone,
    open: openPurge,
    danger: true,
  },
];

/**
 * @param {FolderDetail} folder
 * @param {(folder: FolderDetail) => void} after
 * @param {{operation: string, title: string, text: string, label: string, done: string, danger?: boolean}} what
 */
function confirm(folder, after, { operation, title, text, label, done, danger }) {
  const dialog = openDialog(title);
  const tone = danger ? "button danger" : "button primary";
  const start = h("button", { class: tone, type: "button" }, label);
  const back = h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back");
  fill(dialog.body, h("p", {}, text));
  fill(dialog.foot, back, start);
  (danger ? back : start).focus();
  const path = `${folderPath(folder.namespace, folder.name)}/${operation}`;
  start.addEventListener("click", () =>
    ask(dialog, start, () => request(path, { method: "POST" }), done, after),
  );
}
