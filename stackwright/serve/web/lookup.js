/* "Is my code in it?": what the run's ledger, or its index, says, in words; and a request to have code taken out.

In: a repository, an account, or pasted code. Out: elements. A request is filed and nothing more: the operator applies it.
*/

import { post } from "./api.js";
import { byId, element } from "./elements.js";
import { spanList } from "./origins.js";
import { counted, number, unitsOf } from "./text.js";

const words = (name) => name.replaceAll("_", " ");

/** Wire the two forms. `run` does the work of a form: it shows that it is busy, and errors in one line. */
export function wireLookup(run) {
  const [form, answer] = [byId("lookup"), byId("lookup-answer")];
  const kind = () => new FormData(form).get("kind");
  form.addEventListener("change", () => showKind(kind()));
  showKind(kind());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer.replaceChildren();
    run(form, async () => {
      if (kind() === "code") answer.replaceChildren(...codeAnswer(byId("lookup-code").value, await citationOf()));
      else answer.replaceChildren(...(await ledgerAnswer(targetOf(kind()))));
    });
  });
  const request = byId("removal");
  request.addEventListener("submit", (event) => {
    event.preventDefault();
    byId("removal-answer").replaceChildren();
    run(request, async () => file(new FormData(request)));
  });
}

function showKind(kind) {
  byId("lookup-code-field").hidden = kind !== "code";
  byId("lookup-target-field").hidden = kind === "code";
  byId("lookup-target-label").textContent = kind === "account" ? "Account" : "Repository, or repository:path";
}

function targetOf(kind) {
  const target = byId("lookup-target").value.trim();
  return kind === "account" && !target.startsWith("account:") ? `account:${target}` : target;
}

function citationOf() {
  return post("cite", { text: byId("lookup-code").value });
}

async function ledgerAnswer(target) {
  const found = await post("lookup", { target });
  byId("removal-target").value = fullTarget(found);
  return found.kind === "account" ? accountAnswer(found) : repositoryAnswer(found);
}

/** Return what was looked up as a request names it: a repository has its full name there. */
function fullTarget({ target, kind, repositories }) {
  const names = kind === "account" ? [] : [...new Set(repositories.map(({ repo }) => repo))];
  if (names.length !== 1 || kind === "content") return target;
  const [, path] = target.split(/:(.*)/s);
  return path === undefined ? names[0] : `${names[0]}:${path}`;
}

function accountAnswer(found) {
  const { target, num_repositories: repositories, num_kept: kept, num_dropped: dropped } = found;
  const names = found.repositories.map((name) => element("li", {}, element("code", {}, name)));
  const rest = repositories - names.length;
  return [
    element(
      "p",
      { class: "verdict" },
      `${target}: ${counted(repositories, "repository", "repositories")}. ${usedOf(kept, dropped)}`,
    ),
    element("ul", {}, ...names),
    rest > 0 ? element("p", { class: "note" }, `and ${counted(rest, "more repository", "more repositories")}`) : "",
  ];
}

function usedOf(kept, dropped) {
  if (kept + dropped === 0) return "No file was seen there.";
  if (kept + dropped === 1) return `1 file was seen there; it is ${kept === 1 ? "" : "not "}in the dataset.`;
  if (kept === 0) return `None of the ${counted(kept + dropped, "file")} seen there is in the dataset.`;
  const left = dropped > 0 ? `; ${number(dropped)} ${dropped === 1 ? "was" : "were"} left out` : "";
  return `${counted(kept, "file")} of ${number(kept + dropped)} ${kept === 1 ? "is" : "are"} in the dataset${left}.`;
}

function repositoryAnswer(found) {
  const { keep = 0, ...reasons } = found.verdicts;
  const dropped = found.num_documents - keep;
  const listed = Object.entries(reasons).map(([reason, files]) => `${words(reason)} ${number(files)}`);
  const parts = [`${found.target}: ${usedOf(keep, dropped)}`];
  if (listed.length > 0) parts.push(`Left out for: ${listed.join(", ")}.`);
  parts.push(trainingOf(found));
  const made = [element("p", { class: "verdict" }, parts.filter(Boolean).join(" "))];
  if (found.requests.length > 0) {
    const requests = found.requests.map(({ id, state }) => `${id} (${state})`);
    made.push(element("p", {}, `Removal requests that reach it: ${requests.join(", ")}.`));
  }
  if (found.documents.length > 0) made.push(fileList(found));
  return made;
}

function trainingOf({ totals, verdicts }) {
  if (!verdicts.keep || totals.files_sampled === null || totals.files_sampled === undefined) return "";
  if (totals.files_sampled === 0) return "Training has read none of it so far.";
  return `Training has read ${number(totals.files_sampled)} of these files, ${counted(totals.sampled, "time")} in all.`;
}

function fileList({ documents, num_documents: all }) {
  const items = documents.map(({ path, verdict, reason }) => {
    const facts = verdict === "keep" ? "in the dataset" : `left out: ${words(reason ?? verdict)}`;
    return element("li", {}, element("code", {}, path), element("span", { class: "facts" }, facts));
  });
  const caption = documents.length < all ? `${number(documents.length)} of ${counted(all, "file")}` : counted(all, "file");
  return element("details", {}, element("summary", {}, caption), element("ul", { class: "origins" }, ...items));
}

function codeAnswer(text, found) {
  if (found.num_characters < found.least_span) {
    const least = `a copy is looked for from ${number(found.least_span)} characters on`;
    return [element("p", { class: "verdict" }, `Too short to tell: ${least}, and blanks do not count.`)];
  }
  const rest = found.is_complete ? "" : " The text is so repetitive or long that the search was stopped: there may be more.";
  if (found.matches.length === 0) {
    return [element("p", { class: "verdict" }, `Nothing of it stands in the training data word for word.${rest}`)];
  }
  const spans = found.matches.map((match) => ({ origin: match }));
  const textOf = ({ origin }) => text.slice(unitsOf(text, origin.start), unitsOf(text, origin.end));
  const stand = spans.length === 1 ? "stands" : "stand";
  const summary = `${counted(spans.length, "span")} of it ${stand} in the training data.${rest}`;
  return [element("p", { class: "verdict" }, summary), spanList(spans, textOf, null)];
}

async function file(fields) {
  const body = Object.fromEntries(["target", "requester", "reason"].map((name) => [name, fields.get(name).trim()]));
  const filed = await post("removal-requests", body);
  const files = filed.num_files === undefined ? "" : `; ${counted(filed.num_files, "file")} of this run match it`;
  const said = `Request ${filed.id} is filed and ${filed.state}${files}. Nothing is removed until an operator applies it.`;
  byId("removal-answer").replaceChildren(element("p", { class: "verdict" }, said));
}
