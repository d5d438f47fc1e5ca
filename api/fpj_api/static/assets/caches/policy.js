/** The dialog that changes how much a cache folder may hold and what goes first; as a manifest where Git decides. */

import { folderPath, Problem, request } from "../api/http.js";
import { copyButton } from "../ui/copying.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, setText } from "../ui/dom.js";
import { clearErrors, field, showErrors } from "../ui/fields.js";
import { duration } from "../ui/format.js";
import { notice } from "../ui/notices.js";
import { toYaml } from "../ui/yaml.js";
import { showProblem } from "./asking.js";

/** @import { FolderDetail } from "../api/models.js" */

const NUMBERS = ["ttl", "highWatermark", "lowWatermark"];
/** @type {[value: string, text: string][]} */
const EVICTIONS = [
  ["", "As usual: Cost with a limit, otherwise None"],
  ["Cost", "Cost: cheapest to make again first"],
  ["LRU", "LRU: least recently used first"],
  ["Priority", "Priority: lowest weight first"],
  ["None", "None: only what has expired"],
];

/** @param {FolderDetail} folder @param {(folder: FolderDetail) => void} after */
export function openPolicy(folder, after) {
  const keeper = folder.managedBy;
  const dialog = openDialog(`Policy of ${folder.name}`, {
    wide: true,
    onsubmit: () => (keeper ? undefined : save()),
  });
  const form = /** @type {HTMLFormElement} */ (dialog.element.querySelector("form"));
  const policy = folder.spec.policy || {};
  const number = { inputmode: "numeric" };
  const said = h("p", { class: "hint" });
  /** @param {string} name @param {unknown} value */
  const text = (name, value) => ({ name, value: value === undefined ? "" : String(value) });
  const fields = h(
    "div",
    { class: "fields" },
    field({
      ...text("maxBytes", folder.spec.maxBytes),
      label: "Limit (maxBytes)",
      placeholder: "500Gi",
      hint: "Such as 500Gi or 2T; all of its storage if empty",
      whole: true,
    }),
    field({
      ...text("policy.eviction", policy.eviction),
      label: "What goes first",
      options: EVICTIONS,
      whole: true,
    }),
    field({
      ...text("policy.highWatermark", policy.highWatermark),
      label: "Eviction begins at",
      placeholder: "90",
      hint: "Percent of the limit",
      attributes: number,
    }),
    field({
      ...text("policy.lowWatermark", policy.lowWatermark),
      label: "Eviction ends at",
      placeholder: "80",
      hint: "Percent of the limit",
      attributes: number,
    }),
    field({
      ...text("policy.ttl", policy.ttl),
      label: "Time to live (ttl)",
      placeholder: "7776000",
      hint: "Seconds until a file may go; forever if empty",
      whole: true,
      attributes: number,
    }),
    said,
  );
  const preview = h("pre", { tabindex: 0, "aria-label": "Manifest" });
  const result = h(
    "div",
    { class: "result" },
    h("h3", {}, keeper ? "The manifest to commit" : "The same as a manifest"),
    h(
      "div",
      { class: "code" },
      preview,
      copyButton(() => preview.textContent, "Copy manifest"),
    ),
    h(
      "p",
      {},
      h("button", { class: "button", type: "button", onclick: () => download() }, "Download"),
    ),
  );
  const note = keeper
    ? `${keeper} keeps this folder's manifest and would undo a change made here. Commit this manifest instead.`
    : "Limits, weights and pins of single collections and tiers stay as they are.";
  fill(
    dialog.body,
    h("p", { class: keeper ? "alert mild" : "quiet" }, note),
    h("div", { class: "new-job" }, fields, result),
  );
  const start = h("button", { class: "button primary", type: "submit" }, "Save");
  const back = h(
    "button",
    { class: "button", type: "button", onclick: dialog.close },
    keeper ? "Close" : "Go back",
  );
  fill(dialog.foot, back, keeper ? null : start);

  const draw = () => {
    const { maxBytes, policy: wanted } = given(form, policy);
    const spec = { ...folder.spec, maxBytes: maxBytes ?? undefined, policy: wanted ?? undefined };
    const { namespace, name } = folder;
    const metadata = { name, namespace };
    setText(
      preview,
      toYaml({ apiVersion: "fpj.dev/v1alpha1", kind: "CacheFolder", metadata, spec }),
    );
    setText(said, typeof wanted?.ttl === "number" ? `A ttl of ${duration(wanted.ttl)}.` : "");
  };
  form.addEventListener("input", draw);
  draw();
  const first = /** @type {HTMLElement} */ (form.elements.namedItem("maxBytes"));
  first.focus();

  function download() {
    const address = URL.createObjectURL(
      new Blob([preview.textContent || ""], { type: "application/yaml" }),
    );
    h("a", { href: address, download: `${folder.name}.yaml` }).click();
    URL.revokeObjectURL(address);
  }

  async function save() {
    clearErrors(form);
    dialog.body.querySelector(".alert")?.remove();
    start.disabled = true;
    setText(start, "Saving…");
    try {
      const path = `${folderPath(folder.namespace, folder.name)}/policy`;
      const changed = await request(path, { method: "PUT", body: given(form, policy) });
      dialog.close();
      notice(`The policy of ${folder.name} was saved.`);
      after(changed);
    } catch (error) {
      const errors = error instanceof Problem ? error.errors : [];
      const left = showErrors(form, errors);
      if (!errors.length || left.length) showProblem(dialog, error);
    }
    start.disabled = false;
    setText(start, "Save");
  }
}

/**
 * Both as the API takes them: what is not in the form stays, what is empty is left out.
 *
 * @param {HTMLFormElement} form
 * @param {Record<string, any>} policy as it was
 * @returns {{maxBytes: string|null, policy: Record<string, any>|null}}
 */
function given(form, policy) {
  const values = new FormData(form);
  const wanted = { ...policy };
  for (const name of ["eviction", ...NUMBERS]) {
    const text = String(values.get(`policy.${name}`) || "").trim();
    if (!text) delete wanted[name];
    else wanted[name] = NUMBERS.includes(name) && /^\d+$/.test(text) ? Number(text) : text;
  }
  const maxBytes = String(values.get("maxBytes") || "").trim() || null;
  return { maxBytes, policy: Object.keys(wanted).length ? wanted : null };
}
