/* What was found in the training data, as a list of spans with their origins. */

import { element } from "./elements.js";
import { counted } from "./text.js";

const SHOWN = 3; // origins of a span that are shown at once

/** Return an element for each span. `listeners` has `point(span or null)` and `show(span)`, or is null. */
export function spanList(spans, textOf, listeners) {
  return element("ol", { class: "spans" }, ...spans.map((span) => spanItem(span, textOf(span), listeners)));
}

function spanItem(span, text, listeners) {
  const { origins, num_origins: count, num_origins_is_lower_bound: isBound, kind } = span.origin;
  const what = kind === "boilerplate" ? "boilerplate, in very many repositories" : "word for word";
  const where = `in ${isBound ? "at least " : ""}${counted(count, "file")}`;
  const rest = origins.slice(SHOWN);
  const item = element(
    "li",
    { class: `span ${kind}` },
    element("p", {}, element("span", { class: "swatch" }), `${counted([...text].length, "character")} ${what}, ${where}`),
    element("pre", { tabindex: "0" }, text.replace(/^\s*\n|\s+$/g, "")),
    element("ul", { class: "origins" }, ...origins.slice(0, SHOWN).map(originItem)),
    rest.length === 0 ? null : moreOrigins(rest, count - origins.length),
  );
  if (listeners) listen(item, span, listeners);
  return item;
}

function moreOrigins(rest, unlisted) {
  const note = unlisted > 0 ? element("p", { class: "note" }, `${counted(unlisted, "more file")} not listed`) : null;
  const list = element("ul", { class: "origins" }, ...rest.map(originItem));
  return element("details", {}, element("summary", {}, `${counted(rest.length, "more origin")}`), list, note);
}

function listen(item, span, { point, show }) {
  item.addEventListener("pointerenter", () => point(span));
  item.addEventListener("pointerleave", () => point(null));
  item.append(element("button", { type: "button", class: "small", click: () => show(span) }, "Show in the text"));
}

function originItem({ repo, path, start_line: first, end_line: last, license }) {
  const lines = first === last ? `line ${first}` : `lines ${first} to ${last}`;
  return element(
    "li",
    {},
    element("span", { class: "repo" }, repo),
    element("span", { class: "path" }, path),
    element("span", { class: "facts" }, `${lines} · ${license ?? "no licence found"}`),
  );
}
