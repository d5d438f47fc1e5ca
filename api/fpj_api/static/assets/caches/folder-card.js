/** One cache folder: where it is, what it holds, and how near it is to being full. */
import { folderAddress } from "../api/router.js";
import { h, setAttribute } from "../ui/dom.js";
import { bytes, count, DASH, duration } from "../ui/format.js";
import { meter, setMeter } from "../ui/meter.js";

/** @import { Condition, Folder } from "../api/models.js" */

/** @type {Record<string, string>} */
const STORAGE = { persistentVolumeClaim: "Claim", s3: "S3", local: "Local" };

/** @type {Record<string, string>} */
const EVICTION = {
  Cost: "Cheapest to make again first",
  LRU: "Least recently used first",
  Priority: "Lowest priority first",
  None: "None",
};

/** Conditions that are good when they do not hold. */
const TROUBLES = new Set(["Drifted", "Unreachable"]);

/**
 * @param {Folder} folder with the watermarks in percent where it evicts, and its conditions
 * @returns {HTMLElement}
 */
export function folderCard(folder) {
  const pairs = [
    ["Layout", folder.layout || DASH],
    ["Priority", count(folder.priority)],
    ["Eviction", eviction(folder)],
    ["Files", count(folder.totalFiles)],
    ["Bytes", bytes(folder.totalBytes)],
    ["Collections", count(folder.totalCollections)],
  ];
  return h(
    "article",
    { class: "panel folder", "aria-label": folder.name },
    h(
      "div",
      { class: "folder-head" },
      h(
        "div",
        {},
        h("h3", {}, h("a", { href: folderAddress(folder.namespace, folder.name) }, folder.name)),
        h("p", { class: "quiet" }, folder.namespace),
      ),
      h("span", { class: "quiet" }, where(folder)),
    ),
    usage(folder),
    h(
      "dl",
      { class: "pairs" },
      pairs.map(([label, value]) => [h("dt", {}, label), h("dd", { class: "number" }, value)]),
    ),
    conditions(folder.conditions || []),
  );
}

/** @param {Folder} folder */
export const where = ({ storage, location }) =>
  `${STORAGE[storage] || storage || DASH}: ${location}`;

/** @param {Folder} folder */
export function eviction({ eviction: kind, ttl }) {
  const policy = EVICTION[kind] || kind;
  return ttl ? `${policy}, after ${duration(ttl)}` : policy;
}

/**
 * How much of maxBytes is used, with a mark where eviction begins and one where it ends.
 *
 * @param {Folder} folder
 */
export function usage({ totalBytes, maxBytes, highWatermark, lowWatermark, eviction: kind }) {
  if (!maxBytes) return h("p", { class: "quiet" }, "May hold as much as its storage does.");
  const share = ((totalBytes || 0) / maxBytes) * 100;
  const high = highWatermark ?? null;
  const tone = share >= 100 ? "bad" : high !== null && share >= high ? "warn" : "run";
  const bar = meter([tone], { label: "Used" });
  const text = `${bytes(totalBytes || 0)} of ${bytes(maxBytes)}, ${share > 0 && share < 1 ? "under 1" : Math.floor(share)}%`;
  setMeter(bar, [share], text);
  const marks =
    kind && kind !== "None"
      ? [
          mark("low", lowWatermark),
          mark(high > 92 && high - lowWatermark > 12 ? "high edge" : "high", high),
        ]
      : [];
  return h(
    "div",
    {},
    h("p", { class: "progress-line" }, text),
    h("div", { class: marks.some(Boolean) ? "usage" : null }, bar, marks),
  );
}

/** @param {string} kind @param {number|null|undefined} percent */
function mark(kind, percent) {
  if (percent === null || percent === undefined) return null;
  const text = kind.startsWith("high") ? "Eviction begins" : "Eviction ends";
  const element = h(
    "span",
    { class: `mark ${kind}`, title: `${text} at ${percent}%` },
    h("span", {}, `${percent}%`),
  );
  element.style.left = `${percent}%`;
  setAttribute(element, "aria-label", element.title);
  element.setAttribute("role", "img");
  return element;
}

/** @param {Condition[]} found */
export function conditions(found) {
  if (!found.length) return null;
  const rows = found.map((each) =>
    h(
      "li",
      {},
      h(
        "div",
        { class: "line" },
        h("b", {}, each.type),
        h("span", { class: `pill tone-${toneOf(each)}` }, each.reason),
      ),
      each.message ? h("p", { class: "quiet" }, each.message) : null,
    ),
  );
  return h("ul", { class: "timeline" }, rows);
}

/** @param {Condition} condition */
function toneOf({ type, status }) {
  if (status === "Unknown") return "warn";
  if (type === "Evicting") return status === "True" ? "run" : "idle";
  return (status === "True") === TROUBLES.has(type) ? "warn" : "good";
}
