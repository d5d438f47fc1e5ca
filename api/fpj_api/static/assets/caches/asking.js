/** Sends what a dialog asks for, and closes it; what the API refuses is shown in it. */

import { problemText } from "../api/http.js";
import { h, setText } from "../ui/dom.js";
import { notice } from "../ui/notices.js";

/** @import { FolderDetail } from "../api/models.js" */
/** @import { Dialog } from "../ui/dialog.js" */

/**
 * @param {Dialog} dialog
 * @param {HTMLButtonElement} start
 * @param {() => Promise<FolderDetail>} work
 * @param {string} done what is said then
 * @param {(folder: FolderDetail) => void} after
 */
export async function ask(dialog, start, work, done, after) {
  start.disabled = true;
  const label = start.textContent || "";
  setText(start, "Working…");
  try {
    const folder = await work();
    dialog.close();
    notice(done);
    after(folder);
  } catch (error) {
    showProblem(dialog, error);
    start.disabled = false;
    setText(start, label);
  }
}

/** @param {Dialog} dialog @param {unknown} error */
export function showProblem(dialog, error) {
  dialog.body.querySelector(".alert")?.remove();
  dialog.body.prepend(h("p", { class: "alert", role: "alert" }, problemText(error)));
}
