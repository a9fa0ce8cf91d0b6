/* The page: an editor with completions at the cursor, what they repeat, a look-up, and what is served.

Ctrl+Space (or Ctrl+Enter) asks, Tab accepts, Esc drops and cancels; each has a button. One completion is there at a time.
*/

import { Alternatives } from "./alternatives.js";
import { get, onKeyNeeded, post, saveKey } from "./api.js";
import { cardOf, tilesOf } from "./card.js";
import { Completion, requestOf } from "./completion.js";
import { Editor } from "./editor.js";
import { byId, element } from "./elements.js";
import { wireLookup } from "./lookup.js";
import { spanList } from "./origins.js";
import { counted, number, unitsOf } from "./text.js";

const FIRST_TEXT = [
  "def mean(values):\n    total = 0\n    for value in values:\n        ",
  "\n    return total / len(values)\n",
];
const THEME = "stackwright-theme";

const REASONS = {
  length: "it has as many tokens as asked for",
  stop: "it came to its end",
  content_filter: "the rest was withheld, because it repeats training data",
};

const editor = new Editor(byId("editor"), byId("text"), byId("layer"));
const alternatives = new Alternatives(byId("tokens"), byId("alternatives"), (token) => {
  editor.setActive(editor.tokens[token] ?? null);
});

let about = null;
let completion = null;
let running = null; // the AbortController of the request under way
let hasKeyFailed = false;

function say(text) {
  byId("status").textContent = text;
}

function fail(place, error) {
  place.textContent = error === null ? "" : error.message;
  place.hidden = error === null;
}

const showError = (error) => fail(byId("error"), error);

/* Asking */

function settings() {
  const fields = new FormData(byId("settings"));
  const seed = fields.get("seed").trim();
  const stop = fields.get("stop").split("\n").filter((line) => line !== "");
  return {
    mode: fields.get("mode"),
    temperature: Number(fields.get("temperature")),
    tokens: Number(fields.get("tokens")),
    seed: seed === "" ? null : Number(seed),
    stop: stop.map((line) => line.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter])),
  };
}

async function ask() {
  if (!byId("settings").reportValidity()) return;
  if (about === null) await showAbout();
  if (about === null) return;
  running?.abort();
  showError(null);
  editor.begin();
  const [at, asked] = [editor.ghost.start, new AbortController()];
  const [before, after] = [editor.text.slice(0, at), editor.text.slice(at)];
  const own = new Completion(at, before);
  [completion, running] = [own, asked];
  showOrigins([], []);
  showCompletion();
  say("The model is writing …");
  editor.input.focus();
  try {
    const body = requestOf(about.model, about.context, before, after, settings());
    await own.read(body, asked.signal, showSoon);
  } catch (error) {
    if (error.name === "AbortError") return;
    showError(error);
  }
  if (running === asked) finish(own);
}

function finish(own) {
  running = null;
  if (own.text === "") {
    editor.drop();
    showOrigins([], own.withheld);
    say(own.reason ? `Nothing was written: ${REASONS[own.reason]}.` : "");
    return;
  }
  showCompletion();
  editor.setMarks(own.citations);
  showOrigins(own.citations, own.withheld);
  const reason = REASONS[own.reason];
  const repeats = own.citations.length > 0 ? ` ${counted(own.citations.length, "span")} found in the training data.` : "";
  const cut = own.isComplete ? "" : " The search for copies was stopped before its end.";
  say(`${counted(own.tokens.length, "token")}${reason ? `; ${reason}` : ""}.${repeats}${cut} Tab accepts, Esc drops.`);
}

function showCompletion() {
  const hasGhost = editor.ghost !== null;
  if (hasGhost) editor.show(completion.text, completion.ranges);
  const tokens = completion !== null && editor.tokens.length > 0 ? completion.tokens : [];
  byId("tokens-field").hidden = tokens.length === 0;
  alternatives.show(tokens);
  byId("accept").disabled = !(hasGhost && completion.text);
  byId("drop").disabled = !hasGhost;
}

let isDue = false;

/** Show what has come with the next picture that the browser draws: tokens may come faster. */
function showSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    showCompletion();
  });
}

function accept() {
  showCompletion();
  const isCut = running !== null;
  running?.abort();
  running = null;
  editor.accept();
  say(isCut && about.has_index ? "Accepted what was written so far; copies were not looked for." : "Accepted.");
  showCompletion();
}

function drop() {
  editor.drop();
  editor.input.focus();
}

editor.addEventListener("drop", () => {
  running?.abort();
  [running, completion] = [null, null];
  showOrigins([], []);
  showCompletion();
  say("Dropped.");
});

editor.addEventListener("change", () => {
  showCompletion();
  if (editor.marks.length < listed.length) showOrigins(editor.marks, []);
});

editor.addEventListener("token", ({ detail: token }) => {
  if (token >= 0) alternatives.point(token, editor.boxesOf(token));
  else alternatives.hide();
});

/* What was found in the training data */

let listed = [];

function showOrigins(spans, withheld) {
  listed = spans;
  const textOf = (span) => shownText().slice(span.start, span.end);
  const made = spans.length > 0 ? [spanList(spans, textOf, { point: pointAt, show: showSpan })] : [];
  if (withheld.length > 0) {
    const hidden = withheld.map((span) => ({ origin: span }));
    made.push(element("h3", {}, "Withheld"), spanList(hidden, () => "not given out", null));
  }
  byId("origins-note").hidden = made.length > 0;
  byId("origins").replaceChildren(...made);
}

function shownText() {
  const { text, ghost, ghostText } = editor;
  return ghost ? text.slice(0, ghost.start) + ghostText + text.slice(ghost.start) : text;
}

/** Return a span as it lies now: edits before it have moved its mark. */
const markOf = (span) => editor.marks.find((mark) => mark.id === span.id) ?? null;

function pointAt(span) {
  editor.setActive(span && markOf(span));
}

function showSpan(span) {
  const mark = markOf(span);
  if (mark === null) return;
  if (editor.ghost === null) editor.select(mark.start, mark.end);
  else editor.setActive(mark);
}

async function check() {
  drop();
  showError(null);
  const { text } = editor;
  say("Looking the text up …");
  try {
    const found = await post("cite", { text });
    if (editor.text !== text) return;
    const marks = found.matches.map((match, id) => ({
      start: unitsOf(text, match.start),
      end: unitsOf(text, match.end),
      kind: match.kind,
      id,
      origin: match,
    }));
    editor.setMarks(marks);
    showOrigins(marks, []);
    const spans = marks.length > 0 ? counted(marks.length, "span") : "Nothing of this text";
    say(`${spans} found in the training data.`);
  } catch (error) {
    showError(error);
    say("");
  }
}

/* Keys and buttons */

byId("text").addEventListener("keydown", (event) => {
  const isAsking = (event.ctrlKey && event.code === "Space") || ((event.ctrlKey || event.metaKey) && event.key === "Enter");
  const hasGhost = editor.ghost !== null;
  if (isAsking) ask();
  else if (event.key === "Tab" && !event.shiftKey && hasGhost && completion.text) accept();
  else if (event.key === "Escape" && hasGhost) drop();
  else return;
  event.preventDefault();
});

byId("ask").addEventListener("click", ask);
byId("accept").addEventListener("click", accept);
byId("drop").addEventListener("click", drop);
byId("check").addEventListener("click", check);
byId("settings").addEventListener("submit", (event) => event.preventDefault());
byId("settings").elements.language.addEventListener("change", (event) => {
  editor.language = event.target.value;
  editor.render();
});

/** Do the work of a form: its button is off meanwhile, an error stands in its own line. */
async function run(form, work) {
  const [button, failure] = [form.querySelector("[type=submit]"), form.querySelector(".failure")];
  fail(failure, null);
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    fail(failure, error);
  } finally {
    button.disabled = false;
  }
}

wireLookup(run);

/* Light and dark */

const system = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
  byId("theme").setAttribute("aria-pressed", String(chosen ? chosen === "dark" : system.matches));
}

byId("theme").addEventListener("click", () => {
  const isDark = byId("theme").getAttribute("aria-pressed") === "true";
  localStorage.setItem(THEME, isDark ? "light" : "dark");
  showTheme();
});
system.addEventListener("change", showTheme);

/* The key, and what is served */

onKeyNeeded(() => {
  byId("key-form").hidden = false;
  byId("key").focus();
  hasKeyFailed = true;
});

byId("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  saveKey(byId("key").value);
  hasKeyFailed = false;
  showError(null);
  await showAbout();
  if (!hasKeyFailed) byId("key-form").hidden = true;
});

async function showAbout() {
  try {
    about = await get("about");
  } catch (error) {
    byId("model").textContent = "";
    showError(error);
    return;
  }
  const size = `${number(about.parameters)} parameters, context of ${number(about.context)} tokens`;
  byId("model").textContent = `${about.model}, ${size}`;
  byId("settings").elements.tokens.max = about.context;
  byId("figures").replaceChildren(...tilesOf(about));
  byId("card-field").hidden = !about.card;
  byId("card").replaceChildren(...(about.card ? cardOf(about.card) : []));
  byId("version").textContent = `Stackwright ${about.version}`;
  byId("check").hidden = !about.has_index;
  const least = about.citation_min_characters;
  byId("origins-note").textContent = about.has_index
    ? `What a completion repeats of the training data, from ${number(least)} characters on, is underlined and listed here.`
    : "This server has no index of its training data, so it cannot say what a completion repeats.";
}

showTheme();
editor.load(FIRST_TEXT.join(""), FIRST_TEXT[0].length);
showAbout();
