/* Places in text, counted in two ways.

The server counts characters (code points), the browser UTF-16 units; an offset of one is never used as the other.
*/

/** Return the unit at which character number `count` of `text` begins; never beyond its end. */
export function unitsOf(text, count) {
  let units = 0;
  for (let left = count; left > 0 && units < text.length; left -= 1) {
    units += text.codePointAt(units) > 0xffff ? 2 : 1;
  }
  return units;
}

/** Return how many units the last `count` characters of `text` have. */
export function unitsBack(text, count) {
  let at = text.length;
  for (let left = count; left > 0 && at > 0; left -= 1) {
    at -= at > 1 && text.codePointAt(at - 2) > 0xffff ? 2 : 1;
  }
  return text.length - at;
}

/** Return at most `most` units of the end of `text`, whole characters only. */
export function endOf(text, most) {
  const cut = Math.max(text.length - most, 0);
  return text.slice(cut > 0 && isInsidePair(text, cut) ? cut + 1 : cut);
}

/** Return at most `most` units of the beginning of `text`, whole characters only. */
export function beginningOf(text, most) {
  return text.slice(0, isInsidePair(text, most) ? most - 1 : most);
}

function isInsidePair(text, at) {
  return at > 0 && at < text.length && text.codePointAt(at - 1) > 0xffff;
}

/** Return what turns one text into another: `removed` units at `start` gave way to `added` units. */
export function changeOf(before, after) {
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) start += 1;
  let same = 0;
  while (same < least - start && before[before.length - 1 - same] === after[after.length - 1 - same]) same += 1;
  return { start, removed: before.length - start - same, added: after.length - start - same };
}

/** Return the ranges as they lie after a change; a range that was edited is left out. */
export function moved(ranges, change) {
  const end = change.start + change.removed;
  const by = change.added - change.removed;
  return ranges
    .filter((range) => range.end <= change.start || range.start >= end)
    .map((range) => (range.start >= end ? { ...range, start: range.start + by, end: range.end + by } : range));
}

/** Return a text with its blanks made visible. */
export function visible(text) {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
}

/** Return a number with a comma between thousands, and at most `digits` after the point. */
export function number(value, digits = 0) {
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

/** Return "1 file", "2 files". */
export function counted(value, noun, nouns = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : nouns}`;
}
