/** Tables in panels that scroll by themselves. */

import { h } from "../ui/dom.js";

/** @import { Child } from "../ui/dom.js" */

/** @typedef {[head: Child, end?: boolean]} Column */

/**
 * @param {string} label
 * @param {Column[]} columns
 * @param {HTMLElement[]} rows
 */
export function table(label, columns, rows) {
  const heads = columns.map(([head, end]) =>
    h("th", { scope: "col", class: end ? "end" : null }, head),
  );
  return h(
    "div",
    { class: "panel scroll", tabindex: 0, role: "region", "aria-label": label },
    h("table", { class: "table" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)),
  );
}
