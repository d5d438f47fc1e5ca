/** The dialog that makes a job, and shows the manifest that would make the same. */

import { messageOf, Problem, query, request } from "../api/http.js";
import { go, jobAddress } from "../api/router.js";
import { where } from "../api/session.js";
import { copyButton } from "../ui/copying.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, setText } from "../ui/dom.js";
import { choice, clearErrors, field, showErrors } from "../ui/fields.js";
import { notice } from "../ui/notices.js";
import { manifestText, specOf } from "./manifest.js";

const CLAIM = "spec.collection.source.persistentVolumeClaim";
const S3 = "spec.collection.source.s3";

/** @param {string} namespace that is shown now, and chosen first where jobs may be made in it */
export function openNewJob(namespace) {
  const allowed = where("create");
  const first = allowed.includes(namespace) ? namespace : allowed[0];
  const dialog = openDialog("New job", { wide: true, onsubmit: () => submit() });
  const form = /** @type {HTMLFormElement} */ (dialog.element.querySelector("form"));
  const claim = h(
    "fieldset",
    { "aria-label": "Claimed volume" },
    field({
      name: `${CLAIM}.claimName`,
      label: "Claim",
      required: true,
      placeholder: "photos",
      hint: "A PersistentVolumeClaim in the namespace",
    }),
    field({
      name: `${CLAIM}.path`,
      label: "Folder",
      placeholder: "2026/summer",
      hint: "Within the volume; its root if empty",
    }),
  );
  const s3 = h(
    "fieldset",
    { "aria-label": "S3 bucket", hidden: true },
    field({ name: `${S3}.bucket`, label: "Bucket", required: true, placeholder: "museum-scans" }),
    field({ name: `${S3}.prefix`, label: "Prefix", placeholder: "paintings/" }),
    field({
      name: `${S3}.endpoint`,
      label: "Endpoint",
      placeholder: "https://objects.example.com",
      hint: "Amazon's if empty",
    }),
    field({
      name: `${S3}.credentialsSecretName`,
      label: "Secret with credentials",
      placeholder: "museum-s3",
    }),
  );
  const folder = field({
    name: "spec.cacheFolder",
    label: "Cache folder",
    suggestions: [],
    hint: "Chosen by room and priority if empty",
  });
  const number = { inputmode: "numeric" };
  const fields = h(
    "div",
    { class: "fields" },
    field({
      name: "namespace",
      label: "Namespace",
      required: true,
      options: allowed,
      value: first,
    }),
    field({
      name: "name",
      label: "Name",
      required: true,
      placeholder: "summer-2026",
      attributes: { autofocus: true },
    }),
    choice({
      name: "spec.jobType",
      label: "Make",
      value: "Both",
      values: [
        ["Both", "Cache images and thumbnails"],
        ["Cache", "Cache images"],
        ["Thumbnail", "Thumbnails"],
      ],
    }),
    choice({
      name: "source",
      label: "Images are",
      value: "claim",
      values: [
        ["claim", "On a claimed volume"],
        ["s3", "In an S3 bucket"],
      ],
    }),
    claim,
    s3,
    field({
      name: "spec.collection.id",
      label: "Collection id",
      hint: "What is made is filed under it; the job's name if empty",
    }),
    folder,
    field({
      name: "spec.priority",
      label: "Priority",
      placeholder: "0",
      hint: "Higher starts first",
      attributes: number,
    }),
    field({
      name: "spec.sharding.parallelism",
      label: "Parallelism",
      placeholder: "4",
      hint: "Pods at a time",
      attributes: number,
    }),
  );
  const preview = h("pre", { tabindex: 0, "aria-label": "Manifest" });
  const result = h(
    "div",
    { class: "result" },
    h("h3", {}, "The same as a manifest"),
    h("p", { class: "quiet" }, "For kubectl apply, or to commit if you use GitOps."),
    h(
      "div",
      { class: "code" },
      preview,
      copyButton(() => preview.textContent, "manifest"),
    ),
  );
  const alert = h("p", { class: "alert", role: "alert", hidden: true });
  fill(dialog.body, alert, h("div", { class: "new-job" }, fields, result));
  const create = h("button", { class: "button primary", type: "submit" }, "Create job");
  fill(
    dialog.foot,
    h("button", { class: "button", type: "button", onclick: dialog.close }, "Go back"),
    create,
  );

  // The form has no files: each of its values is a text.
  const given = () =>
    /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form)));
  /** @param {string} name */
  const control = (name) => /** @type {HTMLElement} */ (form.elements.namedItem(name));
  const draw = () => {
    const values = given();
    claim.hidden = values.source === "s3";
    s3.hidden = values.source !== "s3";
    setText(
      preview,
      manifestText({ namespace: values.namespace, name: values.name.trim(), spec: specOf(values) }),
    );
  };
  form.addEventListener("input", draw);
  control("namespace").addEventListener("change", () => suggestFolders(folder, given().namespace));
  draw();
  suggestFolders(folder, first);
  control("name").focus();

  async function submit() {
    const { namespace: chosen, name, ...rest } = given();
    clearErrors(form);
    alert.hidden = true;
    create.disabled = true;
    setText(create, "Creating…");
    try {
      const body = { name: name.trim(), spec: specOf(rest) };
      await request(`/namespaces/${encodeURIComponent(chosen)}/jobs`, { method: "POST", body });
      dialog.close();
      notice(`${chosen}/${body.name} was created.`);
      go(jobAddress(chosen, body.name));
    } catch (error) {
      tell(error);
    }
    create.disabled = false;
    setText(create, "Create job");
  }

  /** @param {unknown} error */
  function tell(error) {
    const errors = error instanceof Problem ? error.errors : [];
    const left = showErrors(form, errors);
    if (errors.length && !left.length) return;
    const more = left.map((each) => `${each.path}: ${each.message}`).join(" ");
    setText(alert, more || (error instanceof Problem && error.detail) || messageOf(error));
    alert.hidden = false;
    alert.scrollIntoView({ block: "nearest" });
  }
}

/**
 * Names of cache folders to choose from, where they may be read.
 *
 * @param {HTMLElement} box
 * @param {string} namespace
 */
async function suggestFolders(box, namespace) {
  const list = /** @type {HTMLDataListElement} */ (box.querySelector("datalist"));
  list.replaceChildren();
  try {
    /** @type {{items: import("../api/models.js").Folder[]}} */
    const { items } = await request(`/cache/folders${query({ namespace })}`);
    fill(
      list,
      items.map((folder) => h("option", { value: folder.name })),
    );
  } catch {
    // Then the name is typed.
  }
}
