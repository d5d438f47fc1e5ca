/** The table of jobs: rows in the list's order, and which of them are chosen. */
import { h, replace } from "../ui/dom.js";
import { skeletonRows } from "../ui/states.js";
import { COLUMNS, JobRow } from "./job-row.js";

/** @import { Job } from "../api/models.js" */

export class JobsTable {
  /** @type {Map<string, JobRow>} */
  rows = new Map();
  /** @type {Set<string>} uids */
  chosen = new Set();

  /**
   * @param {boolean} pickable whether the user may do anything to jobs
   * @param {() => void} onpick called when others are chosen
   */
  constructor(pickable, onpick) {
    this.pickable = pickable;
    this.onpick = onpick;
    this.all = h("input", { type: "checkbox", "aria-label": "Select all shown jobs" });
    this.all.addEventListener("change", () => this.#pickAll(this.all.checked));
    const heads = COLUMNS.map(({ label, end }) =>
      h("th", { scope: "col", role: "columnheader", class: end ? "end" : null }, label),
    );
    const first = pickable
      ? h("th", { class: "pick", scope: "col", role: "columnheader" }, this.all)
      : null;
    this.body = h("tbody", { role: "rowgroup" });
    this.element = h(
      "table",
      { class: "table jobs", role: "table", "aria-label": "Jobs" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, first, heads)),
      this.body,
    );
  }

  showLoading() {
    this.rows.clear();
    replace(this.body, skeletonRows(6, COLUMNS.length + Number(this.pickable)));
    this.body.setAttribute("aria-busy", "true");
  }

  /**
   * Show these jobs: rows that are there stay where they can, with the focus that is in them.
   *
   * @param {Job[]} jobs
   */
  show(jobs) {
    if (this.body.hasAttribute("aria-busy")) {
      this.body.removeAttribute("aria-busy");
      this.body.replaceChildren();
    }
    const wanted = new Set(jobs.map((job) => job.uid));
    for (const uid of [...this.rows.keys()]) if (!wanted.has(uid)) this.#drop(uid);
    let at = this.body.firstChild;
    for (const job of jobs) {
      const row = this.#row(job);
      if (row.element === at) at = at.nextSibling;
      else this.body.insertBefore(row.element, at);
    }
    this.#tell();
  }

  /** @param {Job} job */
  update(job) {
    this.rows.get(job.uid)?.update(job);
  }

  /** @param {Job} job @param {Job|undefined} following the job that it comes before */
  insert(job, following) {
    const before = following ? this.rows.get(following.uid)?.element : null;
    this.body.insertBefore(this.#row(job).element, before ?? null);
  }

  /** @param {Job} job */
  remove(job) {
    this.#drop(job.uid);
    this.#tell();
  }

  clearChoice() {
    for (const uid of this.chosen) this.rows.get(uid)?.pick(false);
    this.chosen.clear();
    this.#tell();
  }

  /** @param {Job} job */
  #row(job) {
    let row = this.rows.get(job.uid);
    if (row) {
      row.update(job);
      return row;
    }
    row = new JobRow(job, this.pickable ? (uid, chosen) => this.#pick(uid, chosen) : null);
    this.rows.set(job.uid, row);
    return row;
  }

  /** @param {string} uid */
  #drop(uid) {
    this.rows.get(uid)?.element.remove();
    this.rows.delete(uid);
    this.chosen.delete(uid);
  }

  /** @param {string} uid @param {boolean} chosen */
  #pick(uid, chosen) {
    if (chosen) this.chosen.add(uid);
    else this.chosen.delete(uid);
    this.rows.get(uid)?.pick(chosen);
    this.#tell();
  }

  /** @param {boolean} chosen */
  #pickAll(chosen) {
    for (const [uid, row] of this.rows) {
      if (chosen) this.chosen.add(uid);
      row.pick(chosen);
    }
    if (!chosen) this.chosen.clear();
    this.#tell();
  }

  #tell() {
    this.all.checked = this.chosen.size > 0 && this.chosen.size === this.rows.size;
    this.all.indeterminate = this.chosen.size > 0 && this.chosen.size < this.rows.size;
    this.onpick();
  }
}
