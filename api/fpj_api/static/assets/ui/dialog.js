/** Dialogs: the browser's own, which keep the focus inside and end with Escape. */
import { h, icon } from "./dom.js";

let number = 0;

/**
 * @typedef {object} Dialog
 * @property {HTMLDialogElement} element
 * @property {HTMLElement} body
 * @property {HTMLElement} foot
 * @property {() => void} close
 */

/**
 * Open a dialog; it is taken out of the page when it closes, and the focus goes back to where it was.
 *
 * @param {string} title
 * @param {{wide?: boolean, onsubmit?: (event: Event) => void, onclose?: () => void}} [options] with `onsubmit` a form
 * @returns {Dialog}
 */
export function openDialog(title, { wide = false, onsubmit, onclose } = {}) {
  const before = /** @type {HTMLElement|null} */ (document.activeElement);
  number += 1;
  const id = `dialog-${number}`;
  const body = h("div", { class: "dialog-body" });
  const foot = h("div", { class: "dialog-foot" });
  const close = () => element.close();
  const closer = h(
    "button",
    { class: "button plain small", type: "button", "aria-label": "Close", onclick: close },
    icon("close"),
  );
  const head = h("div", { class: "dialog-head" }, h("h2", { id }, title), closer);

  /** @param {Event} event */
  const submitted = (event) => {
    event.preventDefault();
    onsubmit?.(event);
  };
  const inside = onsubmit
    ? h("form", { novalidate: true, onsubmit: submitted }, head, body, foot)
    : h("div", { class: "dialog" }, head, body, foot);
  const element = h("dialog", { "aria-labelledby": id, class: wide ? "wide" : null }, inside);
  element.addEventListener("close", () => {
    element.remove();
    onclose?.();
    if (before?.isConnected) before.focus();
  });
  document.body.append(element);
  element.showModal();
  return { element, body, foot, close };
}

/** No dialog outlives the page that opened it. */
export function closeDialogs() {
  /** @type {NodeListOf<HTMLDialogElement>} */
  const open = document.querySelectorAll("dialog[open]");
  for (const element of open) element.close();
}
