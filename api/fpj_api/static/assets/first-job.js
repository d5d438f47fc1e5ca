/** What an empty list teaches: how the first job is made. */
import { codeBlock } from "./copying.js";
import { h } from "./dom.js";
import { manifestText } from "./manifest.js";
import { namespaces } from "./session.js";
import { empty } from "./states.js";

/** @param {string|undefined} mayCreateIn a namespace in which the user may make jobs */
export function firstJobHelp(mayCreateIn) {
  if (!namespaces().length) {
    return h(
      "div",
      { class: "first-job" },
      empty(
        "There is nothing that you may see",
        h(
          "p",
          {},
          "In no namespace may you list jobs. The role fpj-view, bound to you in a namespace, lets you see its jobs here and with kubectl.",
        ),
      ),
    );
  }
  const manifest = manifestText({
    namespace: mayCreateIn || namespaces()[0],
    name: "my-photos",
    spec: { jobType: "Both", collection: { source: { persistentVolumeClaim: { claimName: "photos" } } } },
  });
  return h(
    "div",
    { class: "first-job" },
    empty(
      "No jobs yet",
      h(
        "p",
        {},
        "A job makes cache images and thumbnails of a collection: of the images on a claimed volume, or in a bucket. ",
        mayCreateIn
          ? "New job, above, asks for what is needed; or apply a manifest such as this one:"
          : "Apply a manifest such as this one, or commit it to Git:",
      ),
      codeBlock(manifest, "manifest"),
      h("p", {}, "kubectl apply -f job.yaml begins it, and it appears here at once."),
    ),
  );
}
