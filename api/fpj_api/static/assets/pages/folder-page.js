/** One cache folder: what it holds, what the operator did with it, and what can be asked for. */

import { folderPath, isAbort, messageOf, Problem, query, request } from "../api/http.js";
import { FOLDER_ACTIONS } from "../caches/folder-actions.js";
import { conditions, eviction, usage, where } from "../caches/folder-card.js";
import {
  collectionLink,
  isBusy,
  pairs,
  sharesTable,
  showEviction,
  showRun,
  showVerification,
  stateOf,
} from "../caches/folder-parts.js";
import { panel, showEvents } from "../jobs/job-side.js";
import { h, replace, setText, throttle } from "../ui/dom.js";
import { bytes, count, DASH } from "../ui/format.js";
import { empty, failure, skeletonPanel } from "../ui/states.js";

/** @import { FolderDetail } from "../api/models.js" */
/** @import { Change } from "../api/stream.js" */
/** @import { FolderAction } from "../caches/folder-actions.js" */

const REREAD_MS = 3000;
/** Nothing tells a page of folders: while something is going on, it asks more often. */
const BUSY_MS = 2000;
const IDLE_MS = 20000;

export class FolderPage {
  #abort = new AbortController();
  #again = throttle(REREAD_MS, () => this.#read());
  #timer = 0;
  #reading = false;
  /** @type {FolderDetail|null} as it was last read */
  #folder = null;
  #gone = false;

  /** @param {string} namespace @param {string} name */
  constructor(namespace, name) {
    this.namespace = namespace;
    this.name = name;
    this.title = name;
    this.pill = h("span", { class: "pill", role: "status", hidden: true });
    this.actions = h("div", { class: "button-row" });
    this.why = h("ul", { class: "why-list quiet", id: "folder-why", hidden: true });
    this.alert = h("p", { class: "alert mild", role: "status", hidden: true });
    this.content = h("div", {}, skeletonPanel());
    this.parts = {
      usage: h("div"),
      facts: h("div"),
      tiers: h("div"),
      collections: h("div"),
      eviction: h("div"),
      verification: h("div"),
      run: h("div"),
      conditions: h("div"),
      events: h("div"),
    };
    this.buttons = FOLDER_ACTIONS.map((action) => ({ action, button: this.#button(action) }));
    const trail = h(
      "nav",
      { class: "trail", "aria-label": "Where this is" },
      h("a", { href: "/caches" }, "Cache Management"),
      " / ",
      h("a", { href: `/caches${query({ namespace })}` }, namespace),
    );
    const title = h("div", { class: "job-title" }, h("h1", {}, name), this.pill);
    this.element = h(
      "div",
      {},
      trail,
      h("div", { class: "title-row" }, title, this.actions),
      this.why,
      this.alert,
      this.content,
    );
  }

  open() {
    this.#read();
  }

  close() {
    this.#abort.abort();
    this.#again.cancel();
    clearTimeout(this.#timer);
  }

  reset() {
    this.#again();
  }

  /**
   * What a job has made is in the folder once it ends.
   *
   * @param {Change[]} changes
   */
  take(changes) {
    if (changes.some((change) => change.kind === "gone" || change.job.completedAt)) this.#again();
  }

  /** @param {FolderAction} action */
  #button(action) {
    const tone = action.danger ? "button danger" : "button";
    const button = h("button", { class: tone, type: "button" }, action.label);
    button.addEventListener("click", () => {
      if (!this.#folder || button.getAttribute("aria-disabled") === "true") return;
      action.open(this.#folder, (folder) => this.#show(folder));
    });
    return button;
  }

  async #read() {
    if (this.#reading) return;
    this.#reading = true;
    clearTimeout(this.#timer);
    try {
      const path = folderPath(this.namespace, this.name);
      this.#gone = false;
      this.#show(await request(path, { signal: this.#abort.signal }));
    } catch (error) {
      if (isAbort(error)) return;
      this.#fail(error);
    } finally {
      this.#reading = false;
    }
    this.#wait();
  }

  #wait() {
    clearTimeout(this.#timer);
    if (this.#abort.signal.aborted) return;
    const busy = this.#folder && isBusy(this.#folder) && !this.#gone;
    this.#timer = setTimeout(() => this.#read(), busy ? BUSY_MS : IDLE_MS);
  }

  /** @param {FolderDetail} folder */
  #show(folder) {
    if (!this.#folder || !this.content.contains(this.parts.usage)) this.#build();
    this.#folder = folder;
    this.alert.hidden = true;
    const { tone, text, moving } = stateOf(folder);
    this.pill.className = `pill tone-${tone}${moving ? " moving" : ""}`;
    this.pill.hidden = false;
    setText(this.pill, text);
    const { parts } = this;
    redraw(parts.usage, [folder.totalBytes, folder.maxBytes, folder.eviction, folder.spec], () =>
      usage(folder),
    );
    redraw(parts.facts, [folder.spec, folder.totalFiles, folder.totalBytes, folder.managedBy], () =>
      facts(folder),
    );
    redraw(parts.tiers, folder.tiers, () => held("Bytes by tier", folder.tiers, { head: "Tier" }));
    redraw(parts.collections, folder.collections, () =>
      held("Bytes by collection", folder.collections, {
        head: "Collection",
        name: (each) => collectionLink(folder.namespace, each),
      }),
    );
    redraw(parts.eviction, folder.lastEviction, () => showEviction(folder.lastEviction));
    redraw(parts.verification, folder.lastVerification, () =>
      showVerification(folder.lastVerification),
    );
    redraw(parts.run, folder.run, () => showRun(folder));
    redraw(parts.conditions, folder.conditions, () => conditions(folder.conditions) || DASH);
    if (parts.events.dataset.shown !== JSON.stringify(folder.events)) {
      parts.events.dataset.shown = JSON.stringify(folder.events);
      showEvents(parts.events, folder.events);
    }
    this.#setButtons(folder);
    this.#wait();
  }

  #build() {
    const { parts } = this;
    const left = h(
      "div",
      { class: "stack" },
      panel("By tier", parts.tiers),
      panel("By collection", parts.collections),
      panel("Last eviction", parts.eviction),
      panel("Last verification", parts.verification),
    );
    const right = h(
      "div",
      { class: "stack" },
      panel("Latest run", parts.run),
      panel("Conditions", parts.conditions),
      panel("Events", parts.events),
    );
    replace(
      this.content,
      h(
        "div",
        { class: "stack" },
        h("div", { class: "panel panel-body stack" }, parts.usage, parts.facts),
        h("div", { class: "columns" }, left, right),
      ),
    );
  }

  /** @param {FolderDetail} folder */
  #setButtons(folder) {
    const shown = this.buttons.filter(({ action }) => action.allowed(folder));
    const there = shown.map((each) => each.button);
    if (there.some((button, index) => this.actions.children[index] !== button))
      replace(this.actions, there);
    const reasons = [];
    for (const { action, button } of shown) {
      const why = this.#gone ? "The folder was deleted." : action.why(folder);
      button.setAttribute("aria-disabled", String(Boolean(why)));
      button.title = why;
      if (why) button.setAttribute("aria-describedby", "folder-why");
      else button.removeAttribute("aria-describedby");
      if (why) reasons.push(`${action.label.replace("…", "")}: ${why}`);
    }
    const text = JSON.stringify(reasons);
    if (this.why.dataset.shown === text) return;
    this.why.dataset.shown = text;
    this.why.hidden = !reasons.length;
    replace(
      this.why,
      reasons.map((each) => h("li", {}, each)),
    );
  }

  /** @param {unknown} error */
  #fail(error) {
    const missing = error instanceof Problem && error.status === 404;
    if (this.#folder) {
      this.#gone = missing;
      setText(
        this.alert,
        missing
          ? "This cache folder was deleted. What is shown is how it was last seen."
          : `It could not be read again: ${messageOf(error)} What is shown may be old.`,
      );
      this.alert.hidden = false;
      this.#setButtons(this.#folder);
      return;
    }
    const shown = missing
      ? empty(
          "There is no such cache folder",
          h("p", {}, error.detail),
          h("a", { class: "button", href: "/caches" }, "All cache folders"),
        )
      : failure(error, () => {
          replace(this.content, skeletonPanel());
          this.#read();
        });
    replace(this.content, h("div", { class: "panel" }, shown));
  }
}

/**
 * Draw again only what has changed: what one reads, or has the focus in, stays.
 *
 * @param {HTMLElement} box
 * @param {unknown} shown
 * @param {() => import("../ui/dom.js").Child} draw
 */
function redraw(box, shown, draw) {
  const text = JSON.stringify(shown) ?? "";
  if (box.dataset.shown === text) return;
  box.dataset.shown = text;
  replace(box, draw());
}

/** @param {string} label @param {FolderDetail["tiers"]} shares @param {Parameters<typeof sharesTable>[2]} options */
function held(label, shares, options) {
  if (shares.length) return sharesTable(label, shares, options);
  return h("p", { class: "quiet" }, "It holds nothing yet.");
}

/** @param {FolderDetail} folder */
function facts(folder) {
  return pairs([
    ["Where", where(folder)],
    ["Layout", folder.layout],
    ["What goes first", eviction(folder)],
    folder.highBytes !== null && folder.eviction !== "None"
      ? ["Eviction", `begins above ${bytes(folder.highBytes)}, ends at ${bytes(folder.lowBytes)}`]
      : null,
    ["Holds", `${count(folder.totalFiles)} files, ${bytes(folder.totalBytes)}`],
    folder.managedBy ? ["Manifest kept by", folder.managedBy] : null,
  ]);
}
