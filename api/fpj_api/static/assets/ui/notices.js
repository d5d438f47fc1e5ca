/** Short messages at the edge, read out by screen readers too. */
import { h } from "./dom.js";

const SHOWN_MS = 6000;

/** @param {string} text @param {"good"|"bad"} [tone] */
export function notice(text, tone = "good") {
  const element = h("div", { class: tone === "bad" ? "notice bad" : "notice" }, text);
  const box = /** @type {HTMLElement} */ (document.getElementById("notices"));
  box.append(element);
  while (box.children.length > 4) box.firstChild?.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}
