/** Fields of forms: each with its label, a hint, and a place for what is wrong with it. */
import { all, h, setText } from "./dom.js";

let number = 0;

/**
 * @typedef {object} FieldOptions
 * @property {string} name
 * @property {string} label
 * @property {string} [hint]
 * @property {string} [value]
 * @property {string} [placeholder]
 * @property {boolean} [whole] across the form
 * @property {boolean} [required]
 * @property {(string|[value: string, text: string])[]} [options] a selection of these
 * @property {string[]} [suggestions]
 * @property {Object<string, unknown>} [attributes]
 */

/** @param {FieldOptions} given */
export function field({
  name,
  label,
  hint,
  value = "",
  placeholder,
  whole,
  required,
  options,
  suggestions,
  attributes = {},
}) {
  number += 1;
  const id = `field-${number}`;
  const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(" ");
  const shared = {
    id,
    name,
    class: "input",
    "aria-describedby": described,
    "aria-required": required ? "true" : null,
    ...attributes,
  };
  const input = options
    ? h(
        "select",
        shared,
        options.map((each) => {
          const [value, text] = typeof each === "string" ? [each, each] : each;
          return h("option", { value }, text);
        }),
      )
    : h("input", {
        type: "text",
        autocomplete: "off",
        spellcheck: "false",
        placeholder,
        list: suggestions ? `${id}-list` : null,
        ...shared,
      });
  input.value = value;
  return h(
    "div",
    { class: whole ? "field whole" : "field", "data-field": name },
    h("label", { for: id }, label, required ? null : h("span", { class: "quiet" }, " (optional)")),
    input,
    suggestions
      ? h(
          "datalist",
          { id: `${id}-list` },
          suggestions.map((each) => h("option", { value: each })),
        )
      : null,
    hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null,
    h("p", { class: "wrong", id: `${id}-wrong`, hidden: true }),
  );
}

/**
 * @typedef {object} ChoiceOptions
 * @property {string} name
 * @property {string} label
 * @property {[value: string, text: string][]} values
 * @property {string} value that is chosen first
 * @property {boolean} [whole] across the form
 */

/**
 * A choice of one.
 *
 * @param {ChoiceOptions} given
 */
export function choice({ name, label, values, value, whole = true }) {
  const radios = values.map(([each, text]) =>
    h("label", {}, h("input", { type: "radio", name, value: each, checked: each === value }), text),
  );
  return h(
    "div",
    { class: whole ? "field whole" : "field", "data-field": name },
    h(
      "div",
      { role: "radiogroup", "aria-label": label },
      h("span", { class: "label" }, label),
      h("div", { class: "choices" }, radios),
    ),
    h("p", { class: "wrong", hidden: true }),
  );
}

/**
 * Show at their fields what the API found wrong.
 *
 * @param {HTMLElement} form
 * @param {{path: string, message: string}[]} errors
 * @returns {{path: string, message: string}[]} those that belong to no visible field
 */
export function showErrors(form, errors) {
  clearErrors(form);
  const left = [];
  const boxes = all(form, "[data-field]");
  for (const error of errors) {
    const path = fieldPath(error.path);
    const box = boxes.find((each) => !each.closest("[hidden]") && each.dataset.field === path);
    if (!box) {
      left.push(error);
      continue;
    }
    const [wrong] = all(box, ".wrong");
    wrong.hidden = false;
    setText(wrong, wrong.textContent ? `${wrong.textContent} ${error.message}` : error.message);
    box.querySelector(".input")?.setAttribute("aria-invalid", "true");
  }
  all(form, '[aria-invalid="true"]')[0]?.focus();
  return left;
}

/**
 * A path may come as a list, with the body's name before it, or as kubectl writes it.
 *
 * @param {string|(string|number)[]} path
 */
export function fieldPath(path) {
  const parts = Array.isArray(path) ? path.map(String) : String(path).split(".");
  const named = parts.filter((part) => part && part !== "body");
  const text = named.join(".");
  return text === "metadata.name" ? "name" : text;
}

/** @param {HTMLElement} form */
export function clearErrors(form) {
  for (const wrong of all(form, ".wrong")) {
    wrong.hidden = true;
    wrong.textContent = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]"))
    input.removeAttribute("aria-invalid");
}
