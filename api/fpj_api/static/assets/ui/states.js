/** What a page shows while it loads, when there is nothing, and when it went wrong. */

import { messageOf, Problem } from "../api/http.js";
import { h } from "./dom.js";

/**
 * Lines where text will be.
 *
 * @param {number} rows
 * @param {number} columns
 */
export function skeletonRows(rows, columns) {
  return Array.from({ length: rows }, (_, row) =>
    h(
      "tr",
      { "aria-hidden": "true" },
      Array.from({ length: columns }, (_, column) => {
        const line = h("span", { class: "skeleton" });
        line.style.width = `${45 + ((row * 7 + column * 13) % 5) * 11}%`;
        return h("td", {}, line);
      }),
    ),
  );
}

export function skeletonPanel(lines = 4) {
  const made = Array.from({ length: lines }, (_, index) => {
    const line = h("span", { class: "skeleton" });
    line.style.width = `${90 - ((index * 17) % 45)}%`;
    return h("p", {}, line);
  });
  return h(
    "div",
    { class: "panel panel-body stack", "aria-busy": "true", "aria-label": "Loading" },
    made,
  );
}

/**
 * What went wrong, as the API tells it, and another try.
 *
 * @param {unknown} error
 * @param {() => void} retry
 */
export function failure(error, retry) {
  const title = error instanceof Problem ? error.title : "Something went wrong in the page";
  const detail = error instanceof Problem ? error.detail : messageOf(error);
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("h2", {}, title),
    detail && detail !== title ? h("p", {}, detail) : null,
    h("button", { class: "button", type: "button", onclick: retry }, "Try again"),
  );
}

/**
 * Nothing there, and what to do about it.
 *
 * @param {string} title
 * @param {...import("./dom.js").Child} children
 */
export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("h2", {}, title), children);
}
