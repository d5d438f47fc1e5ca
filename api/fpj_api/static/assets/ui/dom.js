/** Elements without a framework. Text only ever becomes text: there is no way to pass markup in. */

/**
 * Nodes, texts, numbers, or lists of them; what is false, null or undefined is left out.
 *
 * @typedef {Node|string|number|false|null|undefined} Leaf
 * @typedef {Leaf|Child[]} Child
 */

/**
 * Make an element. `on…` attributes are listeners, `true` sets and `false`, `null` leaves an attribute out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  fill(element, ...children);
  return element;
}

/**
 * Every element inside that a selector matches.
 *
 * @param {ParentNode} inside
 * @param {string} selector
 * @returns {HTMLElement[]}
 */
export const all = (inside, selector) =>
  [...inside.querySelectorAll(selector)].filter((each) => each instanceof HTMLElement);

/**
 * Append children; what is false, null or undefined is left out.
 *
 * @template {Element} Parent
 * @param {Parent} element
 * @param {...Child} children
 * @returns {Parent}
 */
export function fill(element, ...children) {
  for (const child of /** @type {Leaf[]} */ (/** @type {unknown[]} */ (children).flat(Infinity))) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * Show these children instead of what was there.
 *
 * @template {Element} Parent
 * @param {Parent} element
 * @param {...Child} children
 * @returns {Parent}
 */
export function replace(element, ...children) {
  element.replaceChildren();
  return fill(element, ...children);
}

/**
 * Set text where it differs: an equal text costs neither layout nor a word of a screen reader.
 *
 * @param {Node} element
 * @param {string|number} text
 */
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/**
 * Set an attribute where it differs; null removes it.
 *
 * @param {Element} element
 * @param {string} name
 * @param {string|number|null} value
 */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

const ICONS = {
  search: "M7 12.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM14.500 14.500l-3.500-3.500",
  plus: "M8 2.500v11M2.500 8h11",
  copy: "M5.500 5.500h8v8h-8zM3 10.500h-.5v-8h8V3",
  close: "M3.500 3.500l9 9M12.500 3.500l-9 9",
};

/**
 * An icon that says nothing to a screen reader: its button does.
 *
 * @param {keyof typeof ICONS} name
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Wait until nobody has called for so long.
 *
 * @template {unknown[]} Given
 * @param {number} milliseconds
 * @param {(...given: Given) => void} work
 */
export function debounce(milliseconds, work) {
  let timer = 0;

  /** @param {Given} given */
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/**
 * At most one call per period, the last one always made.
 *
 * @param {number} milliseconds
 * @param {() => void} work
 */
export function throttle(milliseconds, work) {
  let timer = 0;
  let last = 0;
  const soon = () => {
    if (timer) return;
    const wait = Math.max(0, last + milliseconds - Date.now());
    timer = setTimeout(() => {
      timer = 0;
      last = Date.now();
      work();
    }, wait);
  };
  soon.cancel = () => {
    clearTimeout(timer);
    timer = 0;
  };
  return soon;
}
