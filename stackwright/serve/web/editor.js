/* An editor: a textarea, and over it a layer with the same text in colours and the ghost text at the cursor.

Both lie in one cell of one scrolling box and neither scrolls or wraps by itself, so they cannot drift apart. What is shown
is the text with the ghost in it; all marks and tokens are ranges in that text, in UTF-16 units. The textarea holds the text
alone, until the ghost is accepted. Any edit and any press of the pointer drops the ghost.

Events: `change` after an edit, `drop` when a ghost went away, `token` with the number of the token under the pointer, or -1.
*/

import { highlight, languageOf } from "./highlight.js";
import { changeOf, moved } from "./text.js";

const MOST_COLOURED = 60_000; // units; a longer text is shown plain, so that typing stays quick

export class Editor extends EventTarget {
  constructor(scroller, input, layer) {
    super();
    [this.scroller, this.input, this.layer] = [scroller, input, layer];
    this.language = "auto";
    this.ghost = null; // {start, end}
    this.ghostText = "";
    this.marks = []; // {start, end, kind, id}
    this.tokens = []; // {start, end}, by number
    this.active = null; // {start, end} of what is pointed at elsewhere
    this.text = input.value;
    this.isAccepting = false;
    input.addEventListener("input", () => this.#edited());
    input.addEventListener("keydown", (event) => this.#indent(event));
    input.addEventListener("pointerdown", (event) => this.#pressed(event));
    // A textarea scrolls itself for a moment when text outgrows it, before the layer has made the box larger.
    input.addEventListener("scroll", () => this.#unscroll());
    document.addEventListener("selectionchange", () => document.activeElement === input && this.reveal());
    scroller.addEventListener("pointermove", (event) => this.#pointed(event));
    scroller.addEventListener("pointerleave", () => this.#point(-1));
    this.render();
  }

  get caret() {
    return this.input.selectionEnd;
  }

  /** Replace the whole text, and forget what was known of it. */
  load(text, caret = 0) {
    this.drop();
    this.input.value = this.text = text;
    this.input.setSelectionRange(caret, caret);
    [this.marks, this.tokens, this.active] = [[], [], null];
    this.render();
  }

  /** Begin a ghost at the cursor; marks and tokens of earlier ones are forgotten. */
  begin() {
    this.drop();
    const at = this.caret;
    this.input.setSelectionRange(at, at);
    this.ghost = { start: at, end: at };
    [this.ghostText, this.marks, this.tokens, this.active] = ["", [], [], null];
    this.render();
  }

  /** Show a ghost text, in place of what the ghost was. */
  show(text, tokens) {
    this.ghostText = text;
    this.ghost.end = this.ghost.start + text.length;
    this.tokens = tokens;
    this.render();
  }

  setMarks(marks) {
    this.marks = marks;
    this.render();
  }

  setActive(range) {
    this.active = range;
    this.render();
  }

  /** Make the ghost text. Its marks and tokens stay where they are. */
  accept() {
    const { start, end } = this.ghost;
    const text = this.ghostText;
    this.ghost = null;
    this.input.focus();
    this.input.setSelectionRange(start, start);
    this.isAccepting = true; // the browser says `input` for every line that it writes
    // Old, but the one way to write into a textarea that the browser's undo knows of.
    if (!document.execCommand("insertText", false, text)) this.input.setRangeText(text, start, start, "end");
    this.isAccepting = false;
    this.text = this.input.value;
    this.input.setSelectionRange(end, end);
    this.render();
    this.dispatchEvent(new Event("change"));
  }

  /** Take the ghost away, with its marks and tokens. */
  drop() {
    if (this.ghost === null) return;
    this.ghost = null;
    [this.ghostText, this.marks, this.tokens, this.active] = ["", [], [], null];
    this.render();
    this.dispatchEvent(new Event("drop"));
  }

  /** Scroll as little as shows the cursor. */
  reveal() {
    const caret = this.#rectOf(this.caret);
    const box = this.scroller.getBoundingClientRect();
    const margin = 24;
    if (caret === null) return;
    if (caret.right > box.right - margin) this.scroller.scrollLeft += caret.right - box.right + margin;
    else if (caret.left < box.left + margin) this.scroller.scrollLeft -= box.left + margin - caret.left;
    if (caret.bottom > box.bottom - margin) this.scroller.scrollTop += caret.bottom - box.bottom + margin;
    else if (caret.top < box.top) this.scroller.scrollTop -= box.top - caret.top;
  }

  /** Select a range and show it. */
  select(start, end) {
    this.input.focus();
    this.input.setSelectionRange(start, end);
    this.reveal();
  }

  /** Return the boxes of a token on the screen; that of a line break has no width and is left out. */
  boxesOf(token) {
    const pieces = [...this.layer.querySelectorAll(`[data-token="${token}"]`)];
    return pieces.flatMap((piece) => [...piece.getClientRects()]).filter((box) => box.width > 0);
  }

  render() {
    const { text, ghost, ghostText } = this;
    const shown = ghost ? text.slice(0, ghost.start) + ghostText + text.slice(ghost.start) : text;
    const ghosts = ghost && ghostText ? [{ ...ghost, kind: "ghost" }] : [];
    const tokens = this.tokens.map((token, number) => ({ ...token, token: number }));
    const active = this.active ? [{ ...this.active, kind: "active" }] : [];
    const pieces = [...segments(shown, [this.#colours(), ghosts, tokens, this.marks, active])].map(elementOf);
    // The last line has a height of its own, also when it is empty.
    this.layer.replaceChildren(...pieces, "\n");
    this.#unscroll();
  }

  #colours() {
    if (this.text.length > MOST_COLOURED) return [];
    const ranges = highlight(this.text, this.language === "auto" ? languageOf(this.text) : this.language);
    if (this.ghost === null) return ranges;
    const { start: at, end } = this.ghost;
    const by = end - at;
    return ranges.flatMap(({ start, end: last, kind }) => {
      if (last <= at) return [{ start, end: last, kind }];
      if (start >= at) return [{ start: start + by, end: last + by, kind }];
      return [{ start, end: at, kind }, { start: at + by, end: last + by, kind }];
    });
  }

  #edited() {
    if (this.isAccepting) return;
    const change = changeOf(this.text, this.input.value);
    if (this.ghost !== null) this.drop();
    this.text = this.input.value;
    this.active = null;
    this.marks = moved(this.marks, change);
    const tokens = moved(this.tokens, change);
    this.tokens = tokens.length === this.tokens.length ? tokens : []; // their numbers must not change
    this.render();
    this.dispatchEvent(new Event("change"));
  }

  /** Begin a line as far to the right as the one before it. */
  #indent(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.shiftKey || event.isComposing) return;
    const before = this.text.slice(0, this.input.selectionStart);
    const blanks = /^[ \t]*/.exec(before.slice(before.lastIndexOf("\n") + 1))[0];
    if (blanks && document.execCommand("insertText", false, `\n${blanks}`)) event.preventDefault();
  }

  /** Drop the ghost. A press behind its beginning, where the textarea's text lies elsewhere, does no more than that. */
  #pressed(event) {
    if (this.ghost === null) return;
    const caret = this.#rectOf(this.ghost.start);
    const isBefore = event.clientY < caret.top || (event.clientY < caret.bottom && event.clientX <= caret.left);
    if (!isBefore && this.ghostText) {
      const stay = (press) => press.preventDefault();
      this.input.addEventListener("mousedown", stay, { once: true });
      setTimeout(() => this.input.removeEventListener("mousedown", stay));
    }
    this.drop();
  }

  #pointed(event) {
    const isIn = (box) =>
      event.clientX >= box.left && event.clientX < box.right && event.clientY >= box.top && event.clientY < box.bottom;
    this.#point(this.tokens.findIndex((_, number) => this.boxesOf(number).some(isIn)));
  }

  #point(token) {
    if (token === this.pointed) return;
    this.pointed = token;
    this.dispatchEvent(new CustomEvent("token", { detail: token }));
  }

  #unscroll() {
    this.input.scrollLeft = this.input.scrollTop = 0;
  }

  /** Return the box of the place before a unit of what is shown. */
  #rectOf(at) {
    const walker = document.createTreeWalker(this.layer, NodeFilter.SHOW_TEXT);
    for (let left = at, node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      if (left < node.length) {
        const range = document.createRange();
        range.setStart(node, left);
        range.setEnd(node, left + 1);
        const box = range.getClientRects()[0] ?? range.getBoundingClientRect();
        return { left: box.left, right: box.left, top: box.top, bottom: box.bottom };
      }
      left -= node.length;
    }
    return null;
  }
}

/** Yield the text in pieces, each with the ranges that cover it. */
function* segments(text, layers) {
  const ranges = layers.flat().filter((range) => range.start < range.end && range.start < text.length);
  const borders = new Set([0, text.length, ...ranges.flatMap(({ start, end }) => [start, end])]);
  const cuts = [...borders].filter((cut) => cut >= 0 && cut <= text.length).sort((one, other) => one - other);
  ranges.sort((one, other) => one.start - other.start);
  let open = [];
  let next = 0;
  for (let place = 0; place + 1 < cuts.length; place += 1) {
    const [start, end] = [cuts[place], cuts[place + 1]];
    while (next < ranges.length && ranges[next].start <= start) open.push(ranges[next++]);
    open = open.filter((range) => range.end > start);
    yield { text: text.slice(start, end), covering: [...open] };
  }
}

function elementOf({ text, covering }) {
  if (covering.length === 0) return document.createTextNode(text);
  const made = document.createElement("span");
  made.textContent = text;
  for (const range of covering) {
    if (range.token !== undefined) made.dataset.token = range.token;
    else made.classList.add(range.kind);
  }
  return made;
}
