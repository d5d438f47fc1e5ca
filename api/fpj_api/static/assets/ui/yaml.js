/** YAML of plain values, as manifests are written by hand: block style, quotes only where they are needed. */

const PLAIN = /^[A-Za-z_./][\w./-]*$/;
const NOT_TEXT = /^(true|false|yes|no|on|off|null|y|n)$|^[-+.]?\d|^\.(inf|nan)$/i;

/** @param {unknown} value @param {number} [depth] @returns {string} */
export function toYaml(value, depth = 0) {
  return isBranch(value) ? `${branch(value, depth)}\n` : `${scalar(value)}\n`;
}

/** @param {unknown} value @returns {value is object} */
const isBranch = (value) =>
  value !== null && typeof value === "object" && Object.keys(value).length > 0;

/** @param {object} value @param {number} depth @returns {string} */
function branch(value, depth) {
  const indent = "  ".repeat(depth);
  if (Array.isArray(value)) {
    return value
      .map((each) =>
        isBranch(each)
          ? `${indent}- ${branch(each, depth + 1).trimStart()}`
          : `${indent}- ${scalar(each)}`,
      )
      .join("\n");
  }
  return Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .map(([key, each]) => {
      const name = `${indent}${text(key)}:`;
      return isBranch(each) ? `${name}\n${branch(each, depth + 1)}` : `${name} ${scalar(each)}`;
    })
    .join("\n");
}

/** @param {unknown} value */
function scalar(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "[]";
  if (typeof value === "object") return "{}";
  return typeof value === "string" ? text(value) : String(value);
}

/**
 * JSON's strings are YAML's too, but for characters that YAML does not let stand as they are.
 *
 * @param {string} value
 */
function text(value) {
  if (PLAIN.test(value) && !NOT_TEXT.test(value)) return value;

  /** @param {string} character */
  const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g, escaped);
}
