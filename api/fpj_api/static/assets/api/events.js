/** Server-sent events out of the bytes of a response, as the HTML standard has them. */

/** @typedef {{id: string, event: string, data: string}} ServerEvent */

/**
 * @param {ReadableStream<BufferSource>} body
 * @param {() => void} [heard] called for everything that arrives, comments too
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* serverEvents(body, heard = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Lines may end in CR, LF or both, and arrive in any pieces. An id alone is passed on too: it says where one stands. */
export class EventParser {
  #rest = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  #id = "";
  #named = false;

  /** @param {string} text @returns {Generator<ServerEvent>} */
  *push(text) {
    this.#rest += text;
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const end = this.#rest.endsWith("\r") ? this.#rest.length - 1 : this.#rest.length;
    const lines = this.#rest.slice(0, end).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + this.#rest.slice(end);
    for (const line of lines) {
      if (line) this.#field(line);
      else if (this.#named || this.#data.length || this.#event) yield this.#finish();
    }
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) {
      this.#id = value;
      this.#named = true;
    }
  }

  #finish() {
    const made = { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") };
    this.#event = "";
    this.#data = [];
    this.#named = false;
    return made;
  }
}
