/** Begins: finds out who is there, shows the frame, and in it the page that the address names. */

import { Problem } from "./api/http.js";
import { listen, routeOf } from "./api/router.js";
import {
  hasToken,
  onSessionLost,
  readRights,
  refreshRights,
  shortUser,
  signOut,
  user,
} from "./api/session.js";
import { JobStream } from "./api/stream.js";
import { CachesPage } from "./pages/caches-page.js";
import { FolderPage } from "./pages/folder-page.js";
import { JobPage } from "./pages/job-page.js";
import { JobsPage } from "./pages/jobs-page.js";
import { signInPage } from "./pages/sign-in.js";
import { closeDialogs } from "./ui/dialog.js";
import { h, replace, setText } from "./ui/dom.js";
import { keepTimes } from "./ui/format.js";
import { empty, failure } from "./ui/states.js";

const CACHES = new Set(["caches", "folder"]);
const STATES = { live: "Live", connecting: "Connecting", reconnecting: "Reconnecting" };

/**
 * A page, as each of them is.
 *
 * @typedef {object} Page
 * @property {string} title
 * @property {HTMLElement} element
 * @property {() => void} open begin to read
 * @property {() => void} close stop, for good
 * @property {() => void} reset the stream lost its thread: what is shown may be old
 * @property {(changes: import("./api/stream.js").Change[]) => void} take
 */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const stream = new JobStream();
/** @type {{main: HTMLElement, nav: HTMLElement, live: HTMLElement}|null} */
let frame = null;
/** @type {Page|null} */
let page = null;

/** Ask who this is; a proxy in front may have added a token. */
async function begin() {
  try {
    await readRights();
    showFrame();
  } catch (error) {
    if (error instanceof Problem && error.status === 401)
      showSignIn(hasToken() ? error.detail : "");
    else
      replace(
        app,
        h("main", { class: "page" }, h("div", { class: "panel" }, failure(error, begin))),
      );
  }
}

/** @param {string} reason */
function showSignIn(reason) {
  leave();
  document.title = "Sign in · fpj";
  replace(app, signInPage(reason, showFrame));
}

/** Close what is open, so that nothing of one user is left for the next. */
function leave() {
  closeDialogs();
  stream.stop();
  page?.close();
  page = null;
  frame = null;
}

function showFrame() {
  /** @param {string} address @param {string} label */
  const link = (address, label) => h("a", { href: address }, label);
  const nav = h(
    "nav",
    { class: "nav", "aria-label": "Pages" },
    link("/jobs", "Background Jobs"),
    link("/caches", "Cache Management"),
  );
  const live = h(
    "span",
    { class: "live", role: "status", "data-state": stream.state },
    STATES[stream.state],
  );
  const out = h("button", { class: "button small", type: "button" }, "Sign out");
  out.addEventListener("click", () => {
    signOut();
    showSignIn("");
  });
  const main = h("main", { class: "page", id: "main", tabindex: -1 });
  replace(
    app,
    h("a", { class: "skip-link", href: "#main" }, "Skip to the content"),
    h(
      "header",
      { class: "bar" },
      h(
        "div",
        { class: "bar-inner" },
        h(
          "a",
          { class: "brand", href: "/jobs", "aria-label": "fpj, background jobs" },
          h("img", { src: "/assets/favicon.svg", alt: "" }),
          "fpj",
        ),
        nav,
        h(
          "div",
          { class: "bar-end" },
          live,
          h("span", { class: "user", title: user() }, shortUser()),
          hasToken() ? out : null,
        ),
      ),
    ),
    main,
  );
  frame = { main, nav, live };
  stream.start();
  showPage(false);
}

/** Show the page of the address; its heading gets the focus, so that it is read out. */
function showPage(focus = true) {
  if (!frame) return;
  closeDialogs();
  page?.close();
  const route = routeOf(location.pathname);
  page = pageOf(route);
  for (const link of frame.nav.children) {
    const current =
      link.getAttribute("href") === (CACHES.has(route.page) ? "/caches" : "/jobs") &&
      route.page !== "none";
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page.title} · fpj`;
  replace(frame.main, page.element);
  page.open();
  if (focus) {
    scrollTo(0, 0);
    frame.main.focus();
    refreshRights().catch(() => {});
  }
}

/** @param {import("./api/router.js").Route} route @returns {Page} */
function pageOf(route) {
  if (route.page === "jobs") return new JobsPage();
  if (route.page === "job") return new JobPage(route.namespace, route.name);
  if (route.page === "caches") return new CachesPage();
  if (route.page === "folder") return new FolderPage(route.namespace, route.name);
  const element = h(
    "div",
    { class: "panel" },
    empty("There is no such page", h("p", {}, h("a", { href: "/jobs" }, "All jobs"))),
  );
  return { title: "Not found", element, open() {}, close() {}, reset() {}, take() {} };
}

stream.addEventListener("state", () => {
  if (!frame) return;
  frame.live.dataset.state = stream.state;
  setText(frame.live, STATES[stream.state]);
  frame.live.title = stream.reason;
});
stream.addEventListener("reset", () => page?.reset());
stream.addEventListener("changes", (event) =>
  page?.take(/** @type {CustomEvent} */ (event).detail),
);
onSessionLost(showSignIn);
listen(() => showPage());
keepTimes();
begin();
