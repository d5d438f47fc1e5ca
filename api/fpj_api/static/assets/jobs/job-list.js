/** The jobs of the table: pages that were read, kept up to date by the stream, in the API's order. */

/** @import { Job } from "../api/models.js" */

/**
 * Newest first, equal ages by uid: the order in which the API gives pages.
 *
 * @param {Job} left
 * @param {Job} right
 */
export function compare(left, right) {
  if (left.createdAt !== right.createdAt) return left.createdAt < right.createdAt ? 1 : -1;
  return left.uid < right.uid ? 1 : -Number(left.uid > right.uid);
}

/** @typedef {{namespace: string, phases: Set<string>, search: string}} Filter */

/**
 * Whether the table shows a job.
 *
 * @param {Filter} filter
 * @param {Job} job
 */
export function matches(filter, job) {
  if (filter.namespace && job.namespace !== filter.namespace) return false;
  if (filter.phases.size && !filter.phases.has(job.phase || "Pending")) return false;
  const wanted = filter.search.trim().toLowerCase();
  return (
    !wanted ||
    [job.name, job.collection].some((text) => (text || "").toLowerCase().includes(wanted))
  );
}

/**
 * What a change did to the list; `recount` where the numbers of jobs by phase may be others now.
 *
 * @typedef {{kind: "updated"|"removed", job: Job, recount: boolean}} Changed
 * @typedef {{kind: "added", job: Job, index: number, recount: boolean}} Added
 * @typedef {Changed | Added | {kind: "none", recount: boolean}} Taken
 */

export class JobList {
  /** @type {Map<string, Job>} */
  jobs = new Map();
  /** @type {Job[]} in order */
  order = [];
  /** @type {string|null} cursor of the page that follows */
  next = null;

  /**
   * Take jobs instead of all that were there.
   *
   * @param {Job[]} items
   * @param {string|null} next cursor of the page that follows
   */
  reset(items, next) {
    this.jobs = new Map(items.map((job) => [job.uid, job]));
    this.order = [...this.jobs.values()].sort(compare);
    this.next = next;
  }

  /**
   * Add a page.
   *
   * @param {Job[]} items
   * @param {string|null} next cursor of the page that follows
   */
  append(items, next) {
    for (const job of items) this.jobs.set(job.uid, job);
    this.order = [...this.jobs.values()].sort(compare);
    this.next = next;
  }

  /**
   * Take one change of the stream.
   *
   * @param {import("../api/stream.js").Change} change
   * @param {Filter} filter
   * @returns {Taken}
   */
  take(change, filter) {
    const known = this.jobs.get(change.kind === "gone" ? change.uid : change.job.uid);
    if (change.kind === "gone") {
      return this.#left(known);
    }
    const { job } = change;
    if (!matches(filter, job)) {
      return this.#left(known);
    }
    if (known) {
      const index = this.indexOf(known);
      this.jobs.set(job.uid, job);
      this.order[index] = job;
      return { kind: "updated", job, recount: known.phase !== job.phase };
    }
    // Older than all that is shown, while there are more: the page to come brings it.
    const last = this.order.at(-1);
    if (this.next && last && compare(job, last) > 0) return { kind: "none", recount: true };
    const index = this.#place(job);
    this.jobs.set(job.uid, job);
    this.order.splice(index, 0, job);
    return { kind: "added", job, index, recount: true };
  }

  /**
   * Where a job is: by halving, since the order is kept.
   *
   * @param {Job} job
   */
  indexOf(job) {
    const near = this.#place(job);
    if (this.order[near]?.uid === job.uid) return near;
    return this.order.findIndex((each) => each.uid === job.uid);
  }

  /** @param {Job} job */
  #place(job) {
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.order[middle], job) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {Job|undefined} known @returns {Taken} */
  #left(known) {
    if (!known) return { kind: "none", recount: true };
    this.#remove(known);
    return { kind: "removed", job: known, recount: true };
  }

  /** @param {Job} job */
  #remove(job) {
    this.order.splice(this.indexOf(job), 1);
    this.jobs.delete(job.uid);
  }
}
