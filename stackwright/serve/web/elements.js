/* Elements from data. Text only ever becomes text: no markup of the server's or a model's is read as HTML. */

/** Return an element; a property that is a function listens, `class` and names with a dash are attributes. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return the element of an id; it is a mistake of ours when there is none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found;
}

/** Return a table with a name, one heading a column; no heading at all where all are empty. */
export function table(caption, headings, rows) {
  const cells = headings.map((text) => element("th", { scope: "col" }, text));
  const head = headings.some(Boolean) ? element("thead", {}, element("tr", {}, ...cells)) : null;
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  const made = element("table", {}, head, element("tbody", {}, ...body));
  // What scrolls by itself must be reachable by keyboard.
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
}
