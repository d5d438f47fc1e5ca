/** What a cache folder's page shows: bytes by part, the last eviction and verification, what is going on. */

import { query } from "../api/http.js";
import { h } from "../ui/dom.js";
import { bytes, count, DASH, time, words } from "../ui/format.js";
import { meter, setMeter } from "../ui/meter.js";

/** @import { FolderDetail, LastEviction, LastVerification, Share } from "../api/models.js" */
/** @import { Child } from "../ui/dom.js" */

/** @type {Record<string, {name: string, active: string, asked: string}>} */
const OPERATIONS = {
  Evict: { name: "Clean-up", active: "Cleaning up", asked: "Clean-up requested" },
  Verify: { name: "Verification", active: "Verifying", asked: "Verification requested" },
  Repair: { name: "Repair", active: "Repairing", asked: "Repair requested" },
};

/** @type {Record<string, string>} */
const RESULT_TONES = { Succeeded: "good", Short: "warn", Failed: "bad", Unknown: "warn" };

/** @type {Record<string, string>} */
const REASONS = {
  Expired: "Expired",
  OverCollectionQuota: "Over a collection's limit",
  OverTierQuota: "Over a tier's limit",
  OverQuota: "Over the folder's limit",
};

/** @param {string} reason as the API names it */
export const reasonText = (reason) => REASONS[reason] || words(reason);

/** @param {FolderDetail} folder whether a run is active, or asked for */
export const isBusy = ({ run, requested }) =>
  requested.length > 0 || Boolean(run?.startedAt && !run.endedAt);

/** @param {FolderDetail} folder */
export function stateOf({ deleting, run, requested }) {
  if (deleting) return { tone: "warn", text: "Being deleted", moving: false };
  if (run?.startedAt && !run.endedAt) {
    const text = OPERATIONS[run.operation]?.active || run.operation;
    return { tone: "run", text, moving: true };
  }
  if (requested.length) {
    const text = OPERATIONS[requested[0]]?.asked || requested[0];
    return { tone: "busy", text, moving: true };
  }
  return { tone: "idle", text: run ? "Idle" : "Not checked yet", moving: false };
}

/**
 * Parts with simple bars, the largest first.
 *
 * @param {string} label
 * @param {Share[]} shares
 * @param {{head: string, name?: (name: string) => Child}} options
 */
export function sharesTable(label, shares, { head, name = (each) => each }) {
  const most = Math.max(...shares.map((each) => each.bytes), 1);
  const rows = shares.map((each) => {
    const bar = meter(["run"], { label: `${label}: ${each.name}` });
    setMeter(
      bar,
      [(each.bytes / most) * 100],
      `${bytes(each.bytes)} in ${count(each.files)} files`,
    );
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "wrap" }, name(each.name)),
      h("td", { class: "bar-cell" }, bar),
      h("td", { class: "end" }, count(each.files)),
      h("td", { class: "end" }, bytes(each.bytes)),
    );
  });
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    h(
      "table",
      { class: "table shares", "aria-label": label },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, head),
          h("td", {}),
          h("th", { scope: "col", class: "end" }, "Files"),
          h("th", { scope: "col", class: "end" }, "Bytes"),
        ),
      ),
      h("tbody", {}, rows),
    ),
  );
}

/** @param {string} namespace @param {string} collection */
export const collectionLink = (namespace, collection) =>
  h("a", { href: `/jobs${query({ namespace, search: collection })}` }, collection);

/** @param {FolderDetail} folder */
export function showRun({ run }) {
  if (!run) return h("p", { class: "quiet" }, "The operator has not looked at it yet.");
  const active = run.startedAt && !run.endedAt;
  const tone = active ? "run" : RESULT_TONES[run.result || ""] || "idle";
  const result = active ? "Active" : run.result || DASH;
  return pairs([
    ["Run", [`${count(run.number)} `, h("span", { class: `pill tone-${tone}` }, result)]],
    ["What", OPERATIONS[run.operation]?.name || run.operation],
    ["Because of", words(run.cause) || DASH],
    ["Started", time(run.startedAt)],
    ["Ended", time(run.endedAt)],
    run.failures ? ["Failures in a row", count(run.failures)] : null,
  ]);
}

/** @param {LastEviction|null} found */
export function showEviction(found) {
  if (!found) return h("p", { class: "quiet" }, "Nothing has been evicted yet.");
  const reasons = Object.entries(found.byReason);
  const change =
    found.usedBefore === null || found.usedAfter === null
      ? null
      : ["Held", `${bytes(found.usedBefore)} before, ${bytes(found.usedAfter)} after`];
  return h(
    "div",
    { class: "stack tight" },
    pairs([
      ["When", time(found.at)],
      ["Because of", words(found.cause || DASH)],
      ["Removed", `${count(found.files)} files, ${bytes(found.bytes)}`],
      change,
      ...reasons.map(([reason, files]) => [reasonText(reason), `${count(files)} files`]),
    ]),
    found.shortfalls.length
      ? [h("h3", {}, "What could not be removed"), texts(found.shortfalls)]
      : null,
  );
}

/** @type {[key: "missing"|"wrongSize"|"unrecorded"|"foreign"|"unreadable"|"young"|"leaving", label: string][]} */
const DIFFERENCES = [
  ["missing", "Recorded, not there"],
  ["wrongSize", "Of another size than recorded"],
  ["unrecorded", "Without a record"],
  ["foreign", "Not fpj's; left alone"],
  ["unreadable", "Folders that cannot be read"],
  ["young", "Too new to judge"],
  ["leaving", "Being removed"],
];

/** @param {LastVerification|null} found */
export function showVerification(found) {
  if (!found)
    return h("p", { class: "quiet" }, "The files have not been compared with the records yet.");
  const differs = DIFFERENCES.filter(([key]) => found[key]);
  const wrong = found.missing + found.wrongSize + found.unrecorded;
  const verdict = !wrong
    ? h("span", { class: "pill tone-good" }, "All as recorded")
    : h("span", { class: "pill tone-warn" }, `${count(wrong)} differ`);
  return h(
    "div",
    { class: "stack tight" },
    pairs([
      [found.operation === "Repair" ? "Repaired" : "Verified", [time(found.at), " ", verdict]],
      ["As recorded", `${count(found.compared)} files`],
      ...differs.map(([key, label]) => [label, count(found[key])]),
      found.operation === "Repair" ? ["Differences repaired", count(found.repaired)] : null,
      found.busy.length ? ["Jobs worked on", found.busy.join(", ")] : null,
    ]),
    found.names.length ? [h("h3", {}, "Some of them"), texts(found.names)] : null,
    found.troubles.length ? [h("h3", {}, "What stood in the way"), texts(found.troubles)] : null,
  );
}

/** @param {(Child[]|null)[]} rows of a label and what it is */
export function pairs(rows) {
  const shown = rows.filter((row) => row !== null);
  return h(
    "dl",
    { class: "pairs" },
    shown.map(([label, value]) => [h("dt", {}, label), h("dd", { class: "number" }, value)]),
  );
}

/** @param {string[]} given */
function texts(given) {
  return h(
    "ul",
    { class: "texts" },
    given.map((each) => h("li", { class: "wrap" }, each)),
  );
}
