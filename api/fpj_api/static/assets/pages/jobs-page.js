/** Background Jobs: what runs, how far it is, and what can be done about it. */

import { isAbort, messageOf, request } from "../api/http.js";
import { namespaces, refreshRights, where } from "../api/session.js";
import { BulkBar, mayAct, recoverAllButton } from "../jobs/bulk.js";
import { Filters, filterOf, filterQuery, isNarrow } from "../jobs/filters.js";
import { JobList } from "../jobs/job-list.js";
import { JobsTable } from "../jobs/jobs-table.js";
import { openNewJob } from "../jobs/new-job.js";
import { h, icon, replace, setText, throttle } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { notice } from "../ui/notices.js";
import { empty, failure } from "../ui/states.js";
import { firstJobHelp } from "./first-job.js";

/** @import { Change } from "../api/stream.js" */

const PAGE = 100;
const LARGEST_PAGE = 500;
const RECOUNT_MS = 2000;

export class JobsPage {
  title = "Background Jobs";
  #list = new JobList();
  #abort = new AbortController();
  /** @type {Map<string, Change>} those that arrive while the list is read, by job: they are newer than it, or the same */
  #held = new Map();
  /** @type {AbortController|null} */
  #reading = null;
  /** @type {Record<string, number>} jobs by phase */
  #counts = {};
  #recount = throttle(RECOUNT_MS, () => this.#readCounts());

  constructor() {
    this.filter = filterOf(location.search);
    this.filters = new Filters(this.filter, namespaces(), () => this.#filterChanged());
    this.table = new JobsTable(mayAct(), () => this.bulk.update());
    const chosen = () =>
      [...this.table.chosen]
        .map((uid) => this.#list.jobs.get(uid))
        .filter((job) => job !== undefined);
    this.bulk = new BulkBar(
      chosen,
      () => this.table.clearChoice(),
      () => this.table.clearChoice(),
    );
    this.state = h("div");
    this.shown = h("p", { role: "status" });
    this.more = h(
      "button",
      { class: "button small", type: "button", hidden: true, onclick: () => this.#readMore() },
      "Load more",
    );
    const create = where("create").length
      ? h(
          "button",
          {
            class: "button primary",
            type: "button",
            onclick: () => openNewJob(this.filter.namespace),
          },
          icon("plus"),
          "New job",
        )
      : null;
    const actions = h(
      "div",
      { class: "button-row" },
      recoverAllButton(
        () => this.filter.namespace,
        () => {},
      ),
      create,
    );
    this.element = h(
      "div",
      {},
      h("div", { class: "title-row" }, h("h1", {}, this.title), actions),
      h(
        "section",
        { class: "panel", "aria-label": "Jobs" },
        this.filters.element,
        h("div", { class: "scroll" }, this.table.element),
        this.state,
        h("div", { class: "table-foot" }, this.shown, this.more),
        this.bulk.element,
      ),
    );
  }

  open() {
    this.table.showLoading();
    this.#read();
  }

  close() {
    this.#abort.abort();
    this.#recount.cancel();
  }

  /** The stream lost its thread, or begins: what is shown may be old. */
  reset() {
    this.#read(Math.max(PAGE, this.#list.order.length));
    refreshRights().then(
      () => this.filters.setNamespaces(namespaces()),
      () => {},
    );
  }

  /** @param {Change[]} changes */
  take(changes) {
    if (this.#reading) {
      for (const change of changes)
        this.#held.set(change.kind === "job" ? change.job.uid : change.uid, change);
      return;
    }
    let recount = false;
    for (const change of changes) {
      const result = this.#list.take(change, this.filter);
      recount ||= result.recount;
      if (result.kind === "updated") this.table.update(result.job);
      else if (result.kind === "removed") this.table.remove(result.job);
      else if (result.kind === "added")
        this.table.insert(result.job, this.#list.order[result.index + 1]);
    }
    if (recount) {
      this.#recount();
      this.#describe();
    }
    if (this.table.chosen.size) this.bulk.update();
  }

  #filterChanged() {
    history.replaceState(null, "", location.pathname + filterQuery(this.filter));
    this.table.clearChoice();
    this.#read();
  }

  /** Read the list again, as many jobs as are wanted. */
  async #read(wanted = PAGE) {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    const signal = AbortSignal.any([this.#abort.signal, reading.signal]);
    try {
      const items = [];
      let cursor = null;
      do {
        const limit = Math.min(LARGEST_PAGE, wanted - items.length);
        const page = await request(`/jobs${filterQuery(this.filter, { limit, cursor })}`, {
          signal,
        });
        items.push(...page.items);
        cursor = page.next;
        this.#counts = page.counts || {};
      } while (cursor && items.length < wanted);
      this.#list.reset(items, cursor);
      this.table.show(this.#list.order);
      this.#describe();
    } catch (error) {
      if (!isAbort(error)) this.#fail(error);
    }
    if (this.#reading !== reading) return;
    this.#reading = null;
    const held = [...this.#held.values()];
    this.#held.clear();
    this.take(held);
  }

  async #readMore() {
    this.more.disabled = true;
    setText(this.more, "Loading…");
    try {
      const page = await request(
        `/jobs${filterQuery(this.filter, { limit: PAGE, cursor: this.#list.next })}`,
        {
          signal: this.#abort.signal,
        },
      );
      this.#list.append(page.items, page.next);
      this.table.show(this.#list.order);
      this.#describe();
    } catch (error) {
      if (!isAbort(error)) notice(messageOf(error), "bad");
    }
    this.more.disabled = false;
    setText(this.more, "Load more");
  }

  async #readCounts() {
    try {
      const page = await request(`/jobs${filterQuery(this.filter, { limit: 1 })}`, {
        signal: this.#abort.signal,
      });
      this.#counts = page.counts || {};
      this.#describe();
    } catch {
      // The numbers stay as they were; the next change asks again.
    }
  }

  /** Numbers, the button for more, and what is said where there is nothing. */
  #describe() {
    this.filters.setCounts(this.#counts);
    const shown = this.#list.order.length;
    const { phases } = this.filter;
    const known = Object.entries(this.#counts).reduce(
      (sum, [phase, n]) => sum + (!phases.size || phases.has(phase) ? n : 0),
      0,
    );
    const all = Math.max(shown, known);
    setText(
      this.shown,
      all === shown
        ? `${count(shown)} ${shown === 1 ? "job" : "jobs"}`
        : `Showing ${count(shown)} of ${count(all)} jobs`,
    );
    this.more.hidden = !this.#list.next;
    this.table.element.hidden = !shown;
    if (shown) this.state.replaceChildren();
    else if (isNarrow(this.filter)) this.#showNoMatch();
    else if (!this.state.querySelector(".first-job"))
      replace(this.state, firstJobHelp(where("create")[0]));
  }

  #showNoMatch() {
    if (this.state.querySelector(".empty") && !this.state.querySelector(".first-job")) return;
    const clear = h(
      "button",
      { class: "button", type: "button", onclick: () => this.filters.clear() },
      "Show all jobs",
    );
    replace(
      this.state,
      empty(
        "No job matches",
        h(
          "p",
          {},
          "No job that you may see is in this namespace and phase and has this text in its name or collection.",
        ),
        clear,
      ),
    );
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.#list.order.length) {
      notice(`The list could not be read again: ${messageOf(error)}`, "bad");
      return;
    }
    this.table.element.hidden = true;
    replace(
      this.state,
      failure(error, () => {
        this.state.replaceChildren();
        this.table.element.hidden = false;
        this.table.showLoading();
        this.#read();
      }),
    );
  }
}
