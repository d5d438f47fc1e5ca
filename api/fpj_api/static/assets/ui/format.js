/** Numbers, sizes and times as people read them. Absent values are a dash. */
import { all, h, setText } from "./dom.js";

export const DASH = "–";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** @param {unknown} value @returns {value is null|undefined} */
const absent = (value) => value === null || value === undefined;

/**
 * 1,234
 *
 * @param {number|null|undefined} value
 */
export const count = (value) => (absent(value) ? DASH : whole.format(value));

/**
 * 1.2 GB: decimal units, as disks and object stores are sold.
 *
 * @param {number|null|undefined} value
 */
export function bytes(value) {
  if (absent(value)) return DASH;
  let size = value;
  let unit = 0;
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 99.95 ? whole.format(size) : tenth.format(size)} ${units[unit]}`;
}

/**
 * 41.3/s
 *
 * @param {number|null|undefined} value
 */
export function rate(value) {
  if (absent(value)) return DASH;
  return `${value >= 100 ? whole.format(value) : tenth.format(value)}/s`;
}

/**
 * 12.4 ms, or 1.2 s
 *
 * @param {number|null|undefined} value
 */
export function milliseconds(value) {
  if (absent(value)) return DASH;
  if (value >= 1000) return `${tenth.format(value / 1000)} s`;
  return `${value >= 100 ? whole.format(value) : tenth.format(value)} ms`;
}

/**
 * The two largest units, as kubectl prints them: 2m10s, 3h5m, 4d2h.
 *
 * @param {number|null|undefined} seconds
 */
export function duration(seconds) {
  if (absent(seconds)) return DASH;
  const left = Math.max(0, Math.round(seconds));
  const days = Math.floor(left / 86400);
  const hours = Math.floor((left % 86400) / 3600);
  const minutes = Math.floor((left % 3600) / 60);
  if (days) return hours && days < 10 ? `${days}d${hours}h` : `${days}d`;
  if (hours) return minutes ? `${hours}h${minutes}m` : `${hours}h`;
  if (minutes) return left % 60 && minutes < 10 ? `${minutes}m${left % 60}s` : `${minutes}m`;
  return `${left}s`;
}

/**
 * The largest unit alone.
 *
 * @param {number} seconds
 */
const roughly = (seconds) => duration(seconds).replace(/^(\d+[a-z]).*/, "$1");

/**
 * How far away a time is: "5m", or with words "5m ago", "in 5m".
 *
 * @param {string} iso RFC 3339
 * @param {boolean} words
 */
function away(iso, words) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (!words) return roughly(seconds);
  if (Math.abs(seconds) < 2) return "now";
  return seconds < 0 ? `in ${roughly(-seconds)}` : `${roughly(seconds)} ago`;
}

/**
 * A time that goes on by itself, with the date in its title.
 *
 * @param {string|null|undefined} iso RFC 3339
 * @param {{words?: boolean}} [options] without words it is an age, as kubectl's
 */
export function time(iso, { words = true } = {}) {
  const element = h("time");
  if (words) element.dataset.words = "";
  setTime(element, iso);
  return element;
}

/**
 * Let a `time` element show another time.
 *
 * @param {HTMLElement} element
 * @param {string|null|undefined} iso RFC 3339
 */
export function setTime(element, iso) {
  if (!iso || Number.isNaN(Date.parse(iso))) {
    element.removeAttribute("datetime");
    element.removeAttribute("title");
    setText(element, DASH);
    return;
  }
  if (element.getAttribute("datetime") !== iso) {
    element.setAttribute("datetime", iso);
    element.title = absolute.format(new Date(iso));
  }
  setText(element, away(iso, "words" in element.dataset));
}

/** Every time on the page goes on. */
export function keepTimes() {
  setInterval(() => {
    for (const element of all(document, "time[datetime]")) {
      const iso = /** @type {string} */ (element.getAttribute("datetime"));
      setText(element, away(iso, "words" in element.dataset));
    }
  }, 5000);
}

/**
 * Words of a CamelCase name: CompletedWithErrors is "Completed with errors".
 *
 * @param {string} name
 */
export function words(name) {
  const apart = String(name).replace(/([a-z])([A-Z])/g, "$1 $2");
  return apart.charAt(0) + apart.slice(1).toLowerCase();
}
