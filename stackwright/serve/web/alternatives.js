/* The tokens of a completion in a row, and for one of them what else was likely.

The row is one stop of the Tab key; arrows, Home and End go through it. The box of alternatives is shown for the token that
has the focus, or that the pointer is on, here or in the editor.
*/

import { element } from "./elements.js";
import { visible } from "./text.js";

const percent = (share) => (share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %");

export class Alternatives {
  #tokens = [];

  constructor(row, box, onPoint) {
    [this.row, this.box, this.onPoint] = [row, box, onPoint];
    row.addEventListener("keydown", (event) => this.#move(event));
    document.addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
  }

  /** Show the tokens of a completion; tokens that are there already stay as they are. */
  show(tokens) {
    const kept = this.#tokens.length <= tokens.length && this.#tokens.every((token, number) => token === tokens[number]);
    if (!kept) this.row.replaceChildren();
    const first = kept ? this.#tokens.length : 0;
    this.row.append(...tokens.slice(first).map((token, place) => this.#button(token, first + place)));
    this.#tokens = [...tokens];
    if (!kept) this.hide();
  }

  /** Show what else was likely in place of a token, below the first of some boxes on the screen. */
  point(number, boxes) {
    const token = this.#tokens[number];
    if (token === undefined || boxes.length === 0) return this.hide();
    const others = token.alternatives.some(([text]) => text === token.text)
      ? token.alternatives
      : [...token.alternatives, [token.text, token.probability]];
    this.box.replaceChildren(
      element("p", {}, "Likely here: ", element("code", {}, visible(token.text)), ` had ${percent(token.probability)}`),
      element("ol", {}, ...others.map(([text, share]) => alternative(text, share, text === token.text))),
    );
    this.box.hidden = false;
    const width = document.documentElement.clientWidth;
    const [at] = boxes;
    const isBelow = at.bottom + this.box.offsetHeight + 8 < document.documentElement.clientHeight;
    this.box.style.left = `${Math.max(8, Math.min(at.left, width - this.box.offsetWidth - 8))}px`;
    this.box.style.top = `${isBelow ? at.bottom + 4 : at.top - this.box.offsetHeight - 4}px`;
    return undefined;
  }

  hide() {
    this.box.hidden = true;
  }

  #button(token, number) {
    const made = element(
      "button",
      { type: "button", class: "token", tabindex: number === 0 ? "0" : "-1", "aria-describedby": this.box.id },
      element("span", {}, visible(token.text) || "∅"),
    );
    made.style.setProperty("--share", `${Math.round(100 * token.probability)}%`);
    const shown = () => {
      this.point(number, [made.getBoundingClientRect()]);
      this.onPoint(number);
    };
    const hidden = () => {
      this.hide();
      this.onPoint(-1);
    };
    made.addEventListener("focus", shown);
    made.addEventListener("pointerenter", shown);
    made.addEventListener("blur", hidden);
    made.addEventListener("pointerleave", hidden);
    return made;
  }

  #move(event) {
    const buttons = [...this.row.children];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}

function alternative(text, share, isDrawn) {
  const bar = element("span", { class: "part" });
  bar.style.width = `${Math.max(1, Math.round(100 * share))}%`;
  return element(
    "li",
    { class: isDrawn ? "drawn" : null },
    element("code", {}, visible(text) || "∅"),
    element("span", { class: "track" }, bar),
    element("span", { class: "share" }, percent(share)),
  );
}
