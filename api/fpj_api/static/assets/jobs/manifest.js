/** Manifests of jobs, as one would commit them. */
import { toYaml } from "../ui/yaml.js";

/** @param {{namespace: string, name: string, spec: object}} job */
export function manifestText({ namespace, name, spec }) {
  return toYaml({
    apiVersion: "fpj.dev/v1alpha1",
    kind: "FileProcessingJob",
    metadata: { name: name || "my-job", namespace: namespace || undefined },
    spec,
  });
}

/**
 * The spec of what was typed into the form: only what was given, so that defaults stay the operator's.
 *
 * @param {Object<string, string>} given values by their path in the spec; `source` is `claim` or `s3`
 */
export function specOf(given) {
  /** @type {Record<string, any>} */
  const spec = {};
  const { source, ...fields } = given;
  const left = source === "s3" ? ".persistentVolumeClaim." : ".s3.";
  for (const [path, text] of Object.entries(fields)) {
    const value = text.trim();
    if (!path.startsWith("spec.") || path.includes(left) || !value) continue;
    put(
      spec,
      path.split(".").slice(1),
      NUMBERS.has(path) && /^-?\d+$/.test(value) ? Number(value) : value,
    );
  }
  // The source is always named, so that its missing fields are reported at their place.
  spec.collection ??= {};
  spec.collection.source ??= source === "s3" ? { s3: {} } : { persistentVolumeClaim: {} };
  return spec;
}

const NUMBERS = new Set(["spec.priority", "spec.sharding.parallelism"]);

/**
 * Set a value at a path, and make what is missing on the way.
 *
 * @param {Record<string, any>} into
 * @param {string[]} path
 * @param {string|number} value
 */
function put(into, path, value) {
  const [first, ...rest] = path;
  if (!rest.length) {
    into[first] = value;
    return;
  }
  into[first] ??= {};
  put(into[first], rest, value);
}
