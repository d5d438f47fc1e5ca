/** Cache Management: where what was made lives, how much there is of it, and when more is made. */

import { isAbort, query, request } from "../api/http.js";
import { jobAddress } from "../api/router.js";
import { namespaces } from "../api/session.js";
import { Collections } from "../caches/collections.js";
import { folderCard } from "../caches/folder-card.js";
import { table } from "../caches/table.js";
import { h, replace, throttle } from "../ui/dom.js";
import { count, time } from "../ui/format.js";
import { empty, failure, skeletonPanel } from "../ui/states.js";

/** @import { Folder, Schedule } from "../api/models.js" */
/** @import { Change } from "../api/stream.js" */
/** @import { Column } from "../caches/table.js" */

const MOST = 500; // of each; whoever has more chooses a namespace
const REREAD_MS = 5000;

export class CachesPage {
  title = "Cache Management";
  #abort = new AbortController();
  #again = throttle(REREAD_MS, () => this.#readAll());
  #collections = new Collections();
  #namespace = new URLSearchParams(location.search).get("namespace") || "";

  constructor() {
    const choice = h(
      "select",
      { class: "input", "aria-label": "Namespace" },
      h("option", { value: "" }, "All namespaces"),
      namespaces().map((name) => h("option", { value: name }, name)),
    );
    choice.value = this.#namespace;
    choice.addEventListener("change", () => {
      this.#namespace = choice.value;
      history.replaceState(null, "", location.pathname + query({ namespace: this.#namespace }));
      this.#readAll();
    });
    this.parts = [
      {
        title: "Cache folders",
        path: "/cache/folders",
        show: showFolders,
        box: h("div", {}, skeletonPanel()),
      },
      {
        title: "Collections",
        path: "/cache/statistics",
        show: this.#collections.show.bind(this.#collections),
        box: h("div", {}, skeletonPanel()),
      },
      {
        title: "Schedules",
        path: "/schedules",
        show: showSchedules,
        box: h("div", {}, skeletonPanel()),
      },
    ];
    const sections = this.parts.map(({ title, box }) =>
      h("section", { class: "stack", "aria-label": title }, h("h2", {}, title), box),
    );
    this.element = h(
      "div",
      {},
      h("div", { class: "title-row" }, h("h1", {}, this.title), h("div", {}, choice)),
      h("div", { class: "stack" }, sections),
    );
  }

  open() {
    this.#readAll();
  }

  close() {
    this.#abort.abort();
    this.#again.cancel();
  }

  reset() {
    this.#again();
  }

  /**
   * What a job has made shows here once it ends, and a schedule's run once it begins.
   *
   * @param {Change[]} changes
   */
  take(changes) {
    if (
      changes.some(
        (change) => change.kind === "gone" || change.job.completedAt || change.job.schedule,
      )
    )
      this.#again();
  }

  #readAll() {
    for (const part of this.parts) this.#read(part);
  }

  /** @param {CachesPage["parts"][number]} part */
  async #read(part) {
    const namespace = this.#namespace;
    try {
      const { items, next } = await request(part.path + query({ namespace, limit: MOST }), {
        signal: this.#abort.signal,
      });
      if (namespace !== this.#namespace) return;
      const more = next
        ? h(
            "p",
            { class: "quiet" },
            `The first ${count(MOST)}. Choose a namespace to see the others.`,
          )
        : null;
      replace(part.box, part.show(items), more);
    } catch (error) {
      if (isAbort(error)) return;
      replace(
        part.box,
        h(
          "div",
          { class: "panel" },
          failure(error, () => this.#read(part)),
        ),
      );
    }
  }
}

/** @param {Folder[]} folders */
function showFolders(folders) {
  if (folders.length) return h("div", { class: "folders" }, folders.map(folderCard));
  return h(
    "div",
    { class: "panel" },
    empty(
      "No cache folders",
      h(
        "p",
        {},
        "A CacheFolder names a claim or a bucket in which what jobs make is kept. A job needs one in its namespace: docs/reference/cachefolder.md has an example.",
      ),
    ),
  );
}

/** @param {Schedule[]} schedules */
function showSchedules(schedules) {
  if (!schedules.length) {
    return h(
      "div",
      { class: "panel" },
      empty(
        "No schedules",
        h(
          "p",
          {},
          "A FileProcessingSchedule starts a job at each time of a cron expression, so that a collection is refreshed every night, say.",
        ),
      ),
    );
  }
  /** @type {Column[]} */
  const columns = [
    ["Name"],
    ["Namespace"],
    ["Schedule"],
    ["Time zone"],
    ["State"],
    ["Next run"],
    ["Last run"],
    ["Last success"],
    ["Active"],
  ];
  const rows = schedules.map((each) =>
    h(
      "tr",
      {},
      h("td", { class: "wrap" }, each.name),
      h("td", { class: "wrap" }, each.namespace),
      h("td", {}, h("code", {}, each.schedule)),
      h("td", {}, each.timeZone || "Etc/UTC"),
      h("td", {}, stateOf(each)),
      h("td", {}, time(each.suspended ? null : each.nextAt)),
      h("td", {}, time(each.lastAt)),
      h("td", {}, time(each.lastSucceededAt)),
      h(
        "td",
        { class: "wrap" },
        each.active.length
          ? each.active.map((job, index) => [
              index ? ", " : "",
              h("a", { href: jobAddress(each.namespace, job) }, job),
            ])
          : "–",
      ),
    ),
  );
  return table("Schedules", columns, rows);
}

/** @param {Schedule} schedule */
function stateOf({ suspended, reason, message }) {
  if (suspended) return h("span", { class: "pill tone-warn" }, "Suspended");
  const tone = !reason ? "idle" : reason === "Scheduled" ? "good" : "warn";
  return h("span", { class: `pill tone-${tone}`, title: message }, reason || "New");
}
