/** Addresses of the page and what they show. */

/** @typedef {{page: "jobs"|"caches"|"none"} | {page: "job"|"folder", namespace: string, name: string}} Route */

/** @param {string} path @returns {Route} */
export function routeOf(path) {
  const parts = path.split("/").filter(Boolean).map(decoded);
  if (!parts.length || (parts[0] === "jobs" && parts.length === 1)) return { page: "jobs" };
  if (parts[0] === "jobs" && parts.length === 3)
    return { page: "job", namespace: parts[1], name: parts[2] };
  if (parts[0] === "caches" && parts.length === 1) return { page: "caches" };
  if (parts[0] === "caches" && parts.length === 3)
    return { page: "folder", namespace: parts[1], name: parts[2] };
  return { page: "none" };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * Address of one job's page.
 *
 * @param {string} namespace
 * @param {string} name
 */
export const jobAddress = (namespace, name) =>
  `/jobs/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;

/**
 * Address of one cache folder's page.
 *
 * @param {string} namespace
 * @param {string} name
 */
export const folderAddress = (namespace, name) =>
  `/caches/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;

let changed = () => {};

/**
 * Listen to links, to the browser's buttons and to `go`.
 *
 * @param {() => void} listener
 */
export function listen(listener) {
  changed = listener;
  addEventListener("popstate", () => changed());
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const link = /** @type {HTMLAnchorElement|null} */ (event.target.closest("a[href]"));
    const plain =
      !event.defaultPrevented &&
      event.button === 0 &&
      !(event.metaKey || event.ctrlKey || event.shiftKey);
    if (!link || !plain || link.target || link.origin !== location.origin) return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

/**
 * Show another address.
 *
 * @param {string} address
 */
export function go(address) {
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  changed();
}
