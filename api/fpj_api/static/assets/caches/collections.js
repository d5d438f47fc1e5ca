/** What there is of each collection; those that are chosen get new jobs. */

import { query } from "../api/http.js";
import { may, where } from "../api/session.js";
import { fill, h, replace, setText } from "../ui/dom.js";
import { bytes, count } from "../ui/format.js";
import { empty } from "../ui/states.js";
import { openGenerate } from "./generate.js";
import { table } from "./table.js";

/** @import { Statistics } from "../api/models.js" */
/** @import { Column } from "./table.js" */

/** The API makes jobs of as many collections at once at most. */
const MOST = 500;

/** @param {Statistics} each */
const keyOf = (each) => `${each.namespace}/${each.collection}`;

export class Collections {
  /** @type {Map<string, Statistics>} */
  #shown = new Map();
  /** @type {Set<string>} */
  #chosen = new Set();
  /** @type {Map<string, HTMLInputElement>} */
  #boxes = new Map();

  constructor() {
    this.all = h("input", { type: "checkbox", "aria-label": "Select all shown collections" });
    this.all.addEventListener("change", () => this.#chooseAll(this.all.checked));
    this.text = h("strong", { role: "status" });
    this.why = h("p", { class: "why", id: "generate-why" });
    this.button = h("button", { class: "button primary", type: "button" }, "Generate…");
    this.button.addEventListener("click", () => {
      if (this.button.getAttribute("aria-disabled") !== "true") openGenerate(this.#picked());
    });
    const none = h(
      "button",
      { class: "button plain", type: "button", onclick: () => this.#chooseAll(false) },
      "Clear selection",
    );
    this.bar = h(
      "div",
      { class: "bulk", role: "region", "aria-label": "Selected collections", hidden: true },
      this.text,
      h("div", { class: "button-row" }, this.button, none),
      this.why,
    );
  }

  /** @param {Statistics[]} collections */
  show(collections) {
    this.#shown = new Map(collections.map((each) => [keyOf(each), each]));
    for (const key of this.#chosen) if (!this.#shown.has(key)) this.#chosen.delete(key);
    this.#boxes.clear();
    if (!collections.length) return nothing();
    const focused = document.activeElement?.getAttribute("data-collection");
    const shown = h("div", {}, this.#table(collections), this.bar);
    this.#tell();
    if (focused) queueMicrotask(() => this.#boxes.get(focused)?.focus());
    return shown;
  }

  /** @param {Statistics[]} collections */
  #table(collections) {
    const pickable = where("create").length > 0;
    const tiers = [...new Set(collections.flatMap((each) => Object.keys(each.tiers)))].sort();
    /** @type {Column[]} */
    const columns = [
      ["Collection"],
      ["Namespace"],
      ["Images", true],
      ["Source", true],
      ...tiers.map((tier) => /** @type {Column} */ ([tier, true])),
      ["Made", true],
    ];
    if (pickable) columns.unshift([this.all]);
    return table(
      "Collections",
      columns,
      collections.map((each) => row(each, tiers, pickable && h("td", {}, this.#box(each)))),
    );
  }

  /** @param {Statistics} each */
  #box(each) {
    const key = keyOf(each);
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Select ${each.collection} in ${each.namespace}`,
      "data-collection": key,
    });
    box.addEventListener("change", () => {
      if (box.checked) this.#chosen.add(key);
      else this.#chosen.delete(key);
      this.#tell();
    });
    this.#boxes.set(key, box);
    return box;
  }

  /** @param {boolean} chosen */
  #chooseAll(chosen) {
    this.#chosen = new Set(chosen ? this.#shown.keys() : []);
    this.#tell();
  }

  #picked() {
    return [...this.#chosen].flatMap((key) => this.#shown.get(key) ?? []);
  }

  #tell() {
    for (const [key, box] of this.#boxes) {
      box.checked = this.#chosen.has(key);
      box.closest("tr")?.classList.toggle("selected-row", box.checked);
    }
    this.all.checked = this.#chosen.size > 0 && this.#chosen.size === this.#shown.size;
    this.all.indeterminate = this.#chosen.size > 0 && this.#chosen.size < this.#shown.size;
    this.bar.hidden = !this.#chosen.size;
    const number = this.#chosen.size;
    setText(this.text, number === 1 ? "1 collection selected" : `${number} collections selected`);
    const why = obstacle(this.#picked());
    this.button.setAttribute("aria-disabled", String(Boolean(why)));
    this.button.title = why;
    replace(this.why, why);
  }
}

/** @param {Statistics[]} chosen @returns {string} why no jobs can be made of them; empty where they can */
function obstacle(chosen) {
  if (chosen.length > MOST) return `At most ${MOST} collections at once.`;
  const denied = chosen.find((each) => !may("create", each.namespace));
  return denied ? `You are not allowed to create jobs in ${denied.namespace}.` : "";
}

/** @param {Statistics} each @param {string[]} tiers @param {HTMLElement|false} box */
function row(each, tiers, box) {
  const made = Object.values(each.tiers).reduce((sum, tier) => sum + tier.bytes, 0);
  const address = `/jobs${query({ namespace: each.namespace, search: each.collection })}`;
  return fill(
    h("tr"),
    box,
    h("td", { class: "wrap" }, h("a", { href: address }, each.collection)),
    h("td", { class: "wrap" }, each.namespace),
    h("td", { class: "end" }, count(each.images)),
    h("td", { class: "end" }, bytes(each.sourceBytes)),
    tiers.map((name) => {
      const tier = each.tiers[name];
      return h(
        "td",
        { class: "end" },
        tier ? [count(tier.files), h("span", { class: "quiet" }, ` · ${bytes(tier.bytes)}`)] : "–",
      );
    }),
    h("td", { class: "end" }, bytes(made)),
  );
}

function nothing() {
  return h(
    "div",
    { class: "panel" },
    empty(
      "Nothing has been created yet",
      h(
        "p",
        {},
        "Once a job has worked on a collection, its images, files and bytes are shown here.",
      ),
    ),
  );
}
