/** Text to copy: a block of code with a button. */
import { fill, h, icon } from "./dom.js";
import { notice } from "./notices.js";

/** @param {string} text @param {string} label what the button copies, for those who do not see it */
export function codeBlock(text, label) {
  const pre = h("pre", { tabindex: 0, "aria-label": label }, text);
  return h(
    "div",
    { class: "code" },
    pre,
    copyButton(() => pre.textContent, `Copy ${label}`),
  );
}

/** @param {() => string} text @param {string} label */
export function copyButton(text, label) {
  const button = h(
    "button",
    { class: "button small", type: "button", "aria-label": label },
    icon("copy"),
    "Copy",
  );
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.replaceChildren();
    fill(button, icon("copy"), done ? "Copied" : "Not copied");
    if (!done) notice("The browser does not allow copying here; select the text instead.", "bad");
    setTimeout(() => {
      button.replaceChildren();
      fill(button, icon("copy"), "Copy");
    }, 2000);
  });
  return button;
}

/**
 * Browsers give the clipboard to secure pages only; over plain HTTP the old way is left.
 *
 * @param {string} text
 */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "only-heard", "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
