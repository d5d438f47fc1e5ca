/** What an empty list teaches: how the first job is made. */

import { namespaces } from "../api/session.js";
import { manifestText } from "../jobs/manifest.js";
import { codeBlock } from "../ui/copying.js";
import { h } from "../ui/dom.js";
import { empty } from "../ui/states.js";

/** @param {string|undefined} mayCreateIn a namespace in which the user may make jobs */
export function firstJobHelp(mayCreateIn) {
  if (!namespaces().length) {
    return h(
      "div",
      { class: "first-job" },
      empty(
        "You do not have access to anything here",
        h(
          "p",
          {},
          "You cannot see jobs or cache folders in any namespace. The role fpj-view, bound to you in a namespace, lets you see its jobs; fpj-cache-manager lets you make some. A namespace appears here once it has a CacheFolder.",
        ),
      ),
    );
  }
  const manifest = manifestText({
    namespace: mayCreateIn || namespaces()[0],
    name: "my-photos",
    spec: {
      jobType: "Both",
      collection: { source: { persistentVolumeClaim: { claimName: "photos" } } },
    },
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
      h("p", {}, "kubectl apply -f job.yaml starts it, and it appears here at once."),
    ),
  );
}
