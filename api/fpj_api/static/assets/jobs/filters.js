/** What of the jobs is shown: a namespace, phases, a search. It is kept in the address, so that a view can be shared. */

import { query } from "../api/http.js";
import { debounce, h, icon, replace, setText } from "../ui/dom.js";
import { count, words } from "../ui/format.js";
import { PHASES } from "../ui/phases.js";

/** @import { Filter } from "./job-list.js" */
/** @import { QueryValue } from "../api/http.js" */

/** @param {string} search of the address @returns {Filter} */
export function filterOf(search) {
  const given = new URLSearchParams(search);
  const phases = new Set(given.getAll("phase").filter((phase) => phase in PHASES));
  return { namespace: given.get("namespace") || "", phases, search: given.get("search") || "" };
}

/**
 * The query of a filter, for the address and for the API alike.
 *
 * @param {Filter} filter
 * @param {Record<string, QueryValue>} [more]
 */
export const filterQuery = (filter, more = {}) =>
  query({
    namespace: filter.namespace,
    phase: [...filter.phases],
    search: filter.search.trim(),
    ...more,
  });

/**
 * Whether anything is left out.
 *
 * @param {Filter} filter
 */
export const isNarrow = (filter) =>
  Boolean(filter.namespace || filter.phases.size || filter.search.trim());

export class Filters {
  /**
   * @param {Filter} filter is changed in place
   * @param {string[]} namespaces to choose from
   * @param {() => void} changed
   */
  constructor(filter, namespaces, changed) {
    this.filter = filter;
    this.changed = changed;
    this.namespace = h("select", { class: "input", "aria-label": "Namespace" });
    this.setNamespaces(namespaces);
    this.namespace.addEventListener("change", () => {
      filter.namespace = this.namespace.value;
      changed();
    });
    const later = debounce(250, changed);
    this.search = h("input", {
      class: "input",
      type: "search",
      placeholder: "Search name or collection",
      "aria-label": "Search jobs",
    });
    this.search.value = filter.search;
    this.search.addEventListener("input", () => {
      filter.search = this.search.value;
      later();
    });
    this.chips = new Map(
      Object.entries(PHASES).map(([phase, tone]) => [phase, this.#chip(phase, tone)]),
    );
    const chips = h(
      "div",
      { class: "chips", role: "group", "aria-label": "Phases" },
      [...this.chips.values()].map((each) => each.button),
    );
    this.element = h(
      "div",
      { class: "filters", role: "search" },
      this.namespace,
      h("div", { class: "search" }, icon("search"), this.search),
      chips,
    );
    this.setCounts({});
  }

  /** @param {string[]} names */
  setNamespaces(names) {
    const chosen = this.filter.namespace;
    const known = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
    replace(
      this.namespace,
      h("option", { value: "" }, "All namespaces"),
      known.map((name) => h("option", { value: name }, name)),
    );
    this.namespace.value = chosen;
  }

  /** @param {string} phase @param {string} tone */
  #chip(phase, tone) {
    const number = h("span", { class: "count" });
    const button = h(
      "button",
      { class: "chip", type: "button", "aria-pressed": "false" },
      h("span", { class: `dot tone-${tone}` }),
      words(phase),
      number,
    );
    button.addEventListener("click", () => {
      const { phases } = this.filter;
      if (!phases.delete(phase)) phases.add(phase);
      this.#press();
      this.changed();
    });
    return { button, number };
  }

  #press() {
    for (const [phase, { button }] of this.chips)
      button.setAttribute("aria-pressed", String(this.filter.phases.has(phase)));
  }

  /** @param {Object<string, number>} counts jobs by phase; a phase without any is left out unless it is chosen */
  setCounts(counts) {
    this.#press();
    for (const [phase, { button, number }] of this.chips) {
      const amount = counts[phase] || 0;
      setText(number, count(amount));
      button.hidden = !amount && !this.filter.phases.has(phase);
    }
  }

  /** Show everything. */
  clear() {
    Object.assign(this.filter, { namespace: "", search: "" });
    this.filter.phases.clear();
    this.namespace.value = "";
    this.search.value = "";
    this.#press();
    this.changed();
  }
}
