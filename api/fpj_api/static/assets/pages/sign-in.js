/** The page that asks for a token. */

import { messageOf, Problem } from "../api/http.js";
import { signIn } from "../api/session.js";
import { h, setText } from "../ui/dom.js";

/**
 * @param {string} reason why it is shown; empty where nothing went wrong
 * @param {() => void} done
 * @returns {HTMLElement}
 */
export function signInPage(reason, done) {
  const alert = h("p", { class: "alert", role: "alert", hidden: !reason }, reason);
  const input = h("input", {
    id: "token",
    class: "input",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "token-hint",
  });
  const button = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const form = h(
    "form",
    { novalidate: true },
    h("div", { class: "brand" }, h("img", { src: "/assets/favicon.svg", alt: "" }), "fpj"),
    h("h1", {}, "Sign in"),
    alert,
    h(
      "div",
      { class: "field" },
      h("label", { for: "token" }, "Bearer token"),
      input,
      h(
        "p",
        { class: "hint", id: "token-hint" },
        "As for kubectl: ",
        h("code", {}, "kubectl create token <service account>"),
        " prints one. You see and may do here what its account may. It is kept until this tab is closed.",
      ),
    ),
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const bearer = input.value.trim().replace(/^Bearer\s+/i, "");
    if (!bearer) return refuse("Paste a token first.");
    if (/[^\x21-\x7e]/.test(bearer))
      return refuse(
        "Not a valid token: it contains spaces or characters that tokens cannot contain.",
      );
    button.disabled = true;
    setText(button, "Signing in…");
    try {
      await signIn(bearer);
      done();
    } catch (error) {
      refuse(error instanceof Problem ? error.detail || error.title : messageOf(error));
    }
    button.disabled = false;
    setText(button, "Sign in");
  });

  /** @param {string} text */
  function refuse(text) {
    setText(alert, text);
    alert.hidden = false;
    input.focus();
  }

  setTimeout(() => input.focus());
  return h("main", { class: "sign-in" }, h("div", { class: "panel" }, form));
}
