/* The model card and the figures of the run.

A small part of Markdown becomes elements: headings, paragraphs, lists, tables, fenced code, `code`, **strong**, and links to
http and https. Anything else, HTML above all, is shown as it is written.
*/

import { element, table } from "./elements.js";
import { number } from "./text.js";

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|!?\[([^\]\n]*)\]\(([^)\s]+)\)/g;

/** Return the elements of a card. */
export function cardOf(markdown) {
  const lines = markdown.replace(/^---\n[^]*?\n---\n/, "").split(/\r?\n/);
  const made = [];
  for (let at = 0; at < lines.length; ) {
    const [block, next] = blockAt(lines, at);
    if (block !== null) made.push(block);
    at = next;
  }
  return made;
}

function blockAt(lines, at) {
  const line = lines[at];
  if (line.trim() === "") return [null, at + 1];
  if (line.startsWith("```")) return fenced(lines, at);
  const heading = /^(#{1,6}) +(.*)$/.exec(line);
  // The card stands under a heading of the second level.
  if (heading) return [element(`h${Math.min(heading[1].length + 2, 6)}`, {}, ...inline(heading[2])), at + 1];
  if (line.startsWith("|")) return tabled(lines, at);
  const marker = /^(?:[-*]|\d+\.) +/;
  if (marker.test(line)) {
    const end = endOfRun(lines, at, (text) => marker.test(text) || /^ +\S/.test(text));
    const items = lines.slice(at, end).reduce(joinItem(marker), []);
    return [element(/^\d/.test(line) ? "ol" : "ul", {}, ...items.map((text) => element("li", {}, ...inline(text)))), end];
  }
  const end = endOfRun(lines, at, (text) => text.trim() !== "" && !/^(?:#{1,6} |```|\||[-*] )/.test(text));
  return [element("p", {}, ...inline(lines.slice(at, end).join(" "))), end];
}

/** Return the first line after `at` that a run does not take in; the line itself is in it. */
function endOfRun(lines, at, isIn) {
  let end = at + 1;
  while (end < lines.length && isIn(lines[end])) end += 1;
  return end;
}

function joinItem(marker) {
  return (items, line) => {
    if (marker.test(line)) return [...items, line.replace(marker, "")];
    return [...items.slice(0, -1), `${items.at(-1)} ${line.trim()}`];
  };
}

function fenced(lines, at) {
  const end = endOfRun(lines, at, (text) => !text.startsWith("```"));
  return [element("pre", { tabindex: "0" }, lines.slice(at + 1, end).join("\n")), end + 1];
}

function tabled(lines, at) {
  const end = endOfRun(lines, at, (text) => text.startsWith("|"));
  const rows = lines.slice(at, end).map((text) => text.replace(/^\||\|\s*$/g, "").split("|").map((cell) => cell.trim()));
  const isRule = (cells) => cells.every((cell) => /^:?-+:?$/.test(cell));
  const [headings, ...body] = rows.filter((cells) => !isRule(cells));
  const caption = headings.filter(Boolean).join(", ") || "facts";
  return [table(caption, headings, body.map((cells) => cells.map((cell) => element("span", {}, ...inline(cell))))), end];
}

function inline(text) {
  const made = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    made.push(text.slice(at, match.index), inlineOf(match));
    at = match.index + match[0].length;
  }
  return [...made, text.slice(at)];
}

function inlineOf([whole, code, strong, label, address]) {
  if (code !== undefined) return element("code", {}, code);
  if (strong !== undefined) return element("strong", {}, strong);
  if (whole.startsWith("!") || !/^https?:\/\//.test(address)) return whole;
  return element("a", { href: address, rel: "noopener noreferrer" }, label || address);
}

/** Return what the server is, as terms and values. */
export function tilesOf(about) {
  const tiles = [
    ["parameters", about.parameters],
    ["context, in tokens", about.context],
    ["vocabulary", about.vocab_size],
    ["policy on copies", about.policy],
    ...Object.entries(about.figures ?? {}).map(([name, value]) => [name.replaceAll("_", " "), value]),
  ];
  return tiles.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => tile(name, value));
}

function tile(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", { class: "value" }, shown(value)));
}

function shown(value) {
  if (typeof value === "number") return number(value, 3);
  if (Array.isArray(value)) return value.map(shown).join(" to ");
  if (typeof value === "object") return Object.entries(value).map(([name, part]) => `${name} ${shown(part)}`).join(", ");
  return String(value);
}
