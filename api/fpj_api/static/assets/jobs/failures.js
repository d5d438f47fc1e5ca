/** Failed images of a job: by type as bars, and each with its message. */

import { isAbort, jobPath, messageOf, query, request } from "../api/http.js";
import { h, replace, setText, throttle } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { notice } from "../ui/notices.js";
import { failure, skeletonRows } from "../ui/states.js";

/** @import { FailedImage, Job } from "../api/models.js" */

const PAGE = 50;
const LARGEST_PAGE = 500;
const REREAD_MS = 5000;

export class Failures {
  #type = "";
  /** @type {FailedImage[]} */
  #items = [];
  /** @type {string|null} cursor of the page that follows */
  #next = null;
  #failed = -1;
  #abort = new AbortController();
  /** @type {AbortController|null} */
  #reading = null;
  #again = throttle(REREAD_MS, () => this.#read(Math.max(PAGE, this.#items.length)));

  /** @param {string} namespace @param {string} name */
  constructor(namespace, name) {
    this.path = `${jobPath(namespace, name)}/failures`;
    this.types = h("select", { class: "input", "aria-label": "Error type" });
    this.types.addEventListener("change", () => this.#choose(this.types.value));
    this.bars = h("div", { class: "errors panel-body" });
    this.none = h("p", { class: "panel-body quiet" }, "No image has failed.");
    this.body = h("tbody");
    this.table = h(
      "table",
      { class: "table failed-images", "aria-label": "Failed images" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Image", "Type", "Message"].map((label) => h("th", { scope: "col" }, label)),
          h("th", { scope: "col", class: "end" }, "Attempts"),
        ),
      ),
      this.body,
    );
    this.state = h("div");
    this.shown = h("p", { role: "status" });
    this.more = h(
      "button",
      { class: "button small", type: "button", hidden: true, onclick: () => this.#readMore() },
      "Load more",
    );
    this.foot = h("div", { class: "table-foot" }, this.shown, this.more);
    this.scroll = h("div", { class: "scroll" }, this.table);
    const head = h(
      "div",
      { class: "panel-head" },
      h("h2", {}, "Failed images"),
      h("div", {}, this.types),
    );
    this.element = h(
      "section",
      { class: "panel", "aria-label": "Failed images" },
      head,
      this.none,
      this.bars,
      this.scroll,
      this.state,
      this.foot,
    );
  }

  close() {
    this.#abort.abort();
    this.#again.cancel();
  }

  /**
   * Show the numbers of a job; the table is read again where they are others.
   *
   * @param {Job} job
   */
  update(job) {
    const failed = job.progress?.failed || 0;
    const errors = Object.entries(job.errors || {})
      .filter(([, number]) => number > 0)
      .sort(([, a], [, b]) => b - a);
    const anything = failed > 0 || errors.length > 0;
    this.none.hidden = anything;
    for (const each of [this.types, this.bars, this.scroll, this.foot]) each.hidden = !anything;
    this.#showBars(errors);
    if (failed === this.#failed) return;
    const first = this.#failed < 0;
    this.#failed = failed;
    if (!anything) {
      this.#items = [];
      this.state.replaceChildren();
    } else if (first || !this.#items.length) {
      replace(this.body, skeletonRows(3, 4));
      this.#read();
    } else this.#again();
  }

  /** @param {[type: string, images: number][]} errors */
  #showBars(errors) {
    const most = Math.max(1, ...errors.map(([, number]) => number));
    const known = this.bars.dataset.types?.split(" ") || [];
    const names = errors.map(([type]) => type);
    if (known.join(" ") !== names.join(" ")) {
      this.bars.dataset.types = names.join(" ");
      replace(
        this.bars,
        names.map((type) => this.#bar(type)),
      );
      replace(
        this.types,
        h("option", { value: "" }, "All types"),
        names.map((type) => h("option", { value: type }, type)),
      );
      if (this.#type && !names.includes(this.#type))
        this.types.append(h("option", { value: this.#type }, this.#type));
      this.types.value = this.#type;
    }
    errors.forEach(([, number], index) => {
      const [, bar, text] = this.bars.children[index].children;
      /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${(number / most) * 100}%`;
      setText(text, count(number));
    });
  }

  /** @param {string} type */
  #bar(type) {
    const bar = h("span", { class: "meter" }, h("span", { class: "part-bad" }));
    const button = h(
      "button",
      { type: "button", title: `Show only ${type}` },
      h("span", {}, type),
      bar,
      h("span", { class: "end" }),
    );
    button.addEventListener("click", () => this.#choose(this.#type === type ? "" : type));
    return button;
  }

  /** @param {string} type */
  #choose(type) {
    this.#type = type;
    this.types.value = type;
    this.#read();
  }

  async #read(wanted = PAGE) {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    const signal = AbortSignal.any([this.#abort.signal, reading.signal]);
    try {
      const page = await request(
        this.path + query({ type: this.#type, limit: Math.min(wanted, LARGEST_PAGE) }),
        {
          signal,
        },
      );
      this.#items = page.items;
      this.#next = page.next;
      this.state.replaceChildren();
      this.#draw();
    } catch (error) {
      if (isAbort(error)) return;
      this.body.replaceChildren();
      replace(
        this.state,
        failure(error, () => this.#read()),
      );
    }
  }

  async #readMore() {
    this.more.disabled = true;
    try {
      const page = await request(
        this.path + query({ type: this.#type, limit: PAGE, cursor: this.#next }),
        {
          signal: this.#abort.signal,
        },
      );
      this.#items.push(...page.items);
      this.#next = page.next;
      this.#draw();
    } catch (error) {
      if (!isAbort(error)) notice(messageOf(error), "bad");
    }
    this.more.disabled = false;
  }

  #draw() {
    const rows = this.#items.map((each) =>
      h(
        "tr",
        {},
        h("td", { class: "wrap mono" }, each.key),
        h("td", {}, each.type),
        h("td", { class: "wrap" }, each.message),
        h("td", { class: "end", "data-label": "Attempts" }, count(each.attempts)),
      ),
    );
    replace(this.body, rows);
    const kind = this.#type ? ` of type ${this.#type}` : "";
    setText(
      this.shown,
      `${count(this.#items.length)}${this.#next ? " first" : ""} failed ${this.#items.length === 1 ? "image" : "images"}${kind}`,
    );
    this.more.hidden = !this.#next;
  }
}
