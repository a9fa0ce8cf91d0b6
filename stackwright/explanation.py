"""Everything that a run knows about a file or a repository, and proofs of what is in the dataset.

In: a run folder and a target, as `govern.ledger` reads it. Out: a `RunExplanation`: the verdict of each file with the rule
that decided, copies on both sides, redactions by kind, how often training has sampled it and which checkpoints saw it, and
the removal requests that reach it. Works for a run that has only a dataset. What checkpoints saw is taken from the load list
that lies with them, so that it is true of checkpoints from before a removal, or from before a file changed, too.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stackwright.artifact import Artifact, load_artifact
from stackwright.curate.pii import RULE as REDACTION
from stackwright.document import DocumentKey, key_of
from stackwright.errors import GovernanceError, ReceiptError, StackwrightError, UsageError
from stackwright.govern.ledger import Ledger, Selection, TargetKind
from stackwright.govern.proofs import contents_tree
from stackwright.govern.receipts import verify_receipt
from stackwright.govern.removals import OPTOUT, RECEIPTS, load_removals, receipt_ids, request_log
from stackwright.govern.requests import Request, age_days, parse_target
from stackwright.pages.requests import RemovalRequest
from stackwright.train.load_list import CheckpointExposure, checkpoint_exposures

TrainingStatus = Literal["untrained", "unknown", "current", "earlier_dataset"]

NOTES: Mapping[TrainingStatus, str] = {
    "untrained": "no model was trained yet",
    "unknown": "the checkpoints do not say what they were trained on",
    "current": "",
    "earlier_dataset": "the checkpoints were trained on an earlier dataset than the one that is there",
}
"""What is to be said of training, whatever the numbers are."""

Row = dict[str, Any]


@dataclass(frozen=True)
class RunExplanation:
    """What a run knows about a target.

    `documents` are rows of the ledger with what else is known of the file; at most as many as were asked for. Everything
    else is about all files of the target. What the keys mean is in docs/ledger.md.
    """

    target: str
    kind: TargetKind
    num_documents: int
    verdicts: Mapping[str, int]  # keep, or the reason of the drop -> number of files
    repositories: Sequence[Mapping[str, Any]]
    totals: Mapping[str, Any]
    documents: Sequence[Mapping[str, Any]]
    training: TrainingStatus
    requests: Sequence[RemovalRequest]

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "kind": self.kind,
            "num_documents": self.num_documents,
            "verdicts": dict(self.verdicts),
            "repositories": [dict(row) for row in self.repositories],
            "totals": dict(self.totals),
            "documents": [dict(row) for row in self.documents],
            "training": self.training,
            "requests": [asdict(request) for request in self.requests],
        }


def explain_run(
    run_folder: Path, target: str, *, limit: int | None = 20, now: datetime.datetime | None = None
) -> RunExplanation:
    """Look a target up in everything a run holds.

    Args:
        target: a repository (`installed/numpy`, or its last parts where they are unique), `repository:path`, or a git blob
            SHA-1.
        limit: documents to return at most, and copies of each of them; None returns all. All are counted.
        now: when the age of requests is taken; the present when not given.

    Raises:
        TargetError: nothing of that name was seen; the message gives the nearest names.
        GovernanceError: it was there, and a removal took it out; or the log of requests is damaged.
        ArtifactError: the run has no finished dataset.
    """
    ledger = Ledger(run_folder)
    selection = ledger.select(target)
    verdicts = ledger.verdicts(selection)
    if not verdicts:
        raise _not_there(run_folder, ledger, selection)
    status, exposures = _exposures(run_folder, ledger, selection)
    return RunExplanation(
        target=target,
        kind=selection.kind,
        num_documents=sum(verdicts.values()),
        verdicts=verdicts,
        repositories=_repositories(ledger, selection),
        totals=_totals(ledger, selection, exposures),
        documents=_documents(ledger, selection, limit, exposures),
        training=status,
        requests=_requests_reaching(run_folder, ledger, selection, now or datetime.datetime.now(datetime.UTC)),
    )


def proof_of(run_folder: Path, target: str) -> dict[str, Any]:
    """Return a proof that a content is in the dataset, or that it is not, as the JSON of `govern.proofs.Proof`.

    `target` is a content id, seen before or not, or `repository:path` of a file that the run has seen.

    Raises:
        UsageError: the target is a repository, or a path with several contents.
        TargetError: no file of that name was seen; the message gives the nearest names.
        GovernanceError: the file was taken out, or was not read, so that it has no content id.
    """
    ledger = Ledger(run_folder)
    selection = ledger.select(target)
    if selection.kind == "repository":
        raise UsageError(
            f"{target!r} is a repository, and a proof is about one content", "name a file (repository:path) or a content id"
        )
    content_id = selection.values[0] if selection.kind == "content" else _content_of(run_folder, ledger, selection)
    return contents_tree(ledger.dataset).prove(content_id).to_json()


def requests_of(run_folder: Path, now: datetime.datetime) -> list[RemovalRequest]:
    """Return every request of a run as a report shows it, the oldest first."""
    return [_shown(request, now) for request in request_log(run_folder).requests()]


def _content_of(run_folder: Path, ledger: Ledger, selection: Selection) -> str:
    query = f"select distinct content_id from files where {selection.condition} order by content_id"
    found = [row["content_id"] for row in ledger.query(query, selection.values)]
    if not found:
        raise _not_there(run_folder, ledger, selection)
    if found == [None]:
        raise GovernanceError(f"{selection.target!r} has no content id: its bytes were not read", "it is not in the dataset")
    if len(found) > 1:
        contents = ", ".join(content_id for content_id in found if content_id is not None)
        raise UsageError(f"{selection.target!r} was seen with several contents", f"name one of them: {contents}")
    return str(found[0])


def _repositories(ledger: Ledger, selection: Selection) -> list[Row]:
    return ledger.query(
        "select repo, revision, source, declared_license, license_origin from repositories where (repo, revision) in "
        f"(select (repo, revision) from files where {selection.condition}) order by repo, revision",
        selection.values,
    )


def _exposures(
    run_folder: Path, ledger: Ledger, selection: Selection
) -> tuple[TrainingStatus, Sequence[CheckpointExposure] | None]:
    """Return what can be said of training, and for each checkpoint how often it has seen the files of the target."""
    if not (run_folder / "checkpoints").is_dir():
        return "untrained", None
    checkpoints = load_artifact(run_folder / "checkpoints")
    if "load_list" not in checkpoints.manifest.content["tables"]:
        return "unknown", None
    ledger.add("trained", checkpoints, "load_list")
    # The same name may have held other bytes then: those are not this file.
    query = (
        "select repo, revision, path from trained join files using (repo, revision, path, content_id) "
        f"where {selection.condition}"
    )
    exposures = checkpoint_exposures(run_folder, [key_of(row) for row in ledger.query(query, selection.values)])
    return ("current" if _is_current(run_folder, ledger, checkpoints) else "earlier_dataset"), exposures


def _is_current(run_folder: Path, ledger: Ledger, checkpoints: Artifact) -> bool:
    """Return whether the checkpoints were trained on tokens of the dataset that is there."""
    if not (run_folder / "tokens").is_dir():
        return False
    tokens = load_artifact(run_folder / "tokens")
    same_tokens = checkpoints.manifest.content["inputs"].get("tokens") == tokens.digest
    return bool(same_tokens and tokens.manifest.content["inputs"].get("dataset") == ledger.dataset.digest)


def _totals(ledger: Ledger, selection: Selection, exposures: Sequence[CheckpointExposure] | None) -> Row:
    """Return the sums over every file of the target. Redactions are counted in the files that are kept."""
    asked = f"files where {selection.condition} and verdict = 'keep'"
    splits = ledger.query(f"select split, count(*) as files from {asked} group by split order by split", selection.values)
    redactions = ledger.query(
        f"select fired.reason, count(*) as spans from (select unnest(fired) as fired from {asked}) "
        f"where fired.rule = '{REDACTION}' group by fired.reason order by fired.reason",
        selection.values,
    )
    last = None if not exposures else exposures[-1].times
    return {
        "splits": {row["split"]: row["files"] for row in splits},
        "redactions": {row["reason"]: row["spans"] for row in redactions},
        "dropped_for": _copies_by_repository(ledger, selection, "", "other_"),
        "kept_for": _copies_by_repository(ledger, selection, "other_", ""),
        "files_sampled": None if last is None else len(last),
        "sampled": None if last is None else sum(last.values()),
        "checkpoints": [
            {"step": exposure.step, "files": len(exposure.times), "times": sum(exposure.times.values())}
            for exposure in exposures or ()
            if exposure.times
        ],
    }


def _copies_by_repository(ledger: Ledger, selection: Selection, own: str, other: str) -> dict[str, int]:
    """Return of each repository how many decisive edges it has with the target, whose side of an edge is `own`."""
    rows = ledger.query(
        f"select {other}repo as repo, count(*) as files from edges where decisive and ({own}repo, {own}revision, {own}path) "
        f"in (select (repo, revision, path) from files where {selection.condition}) group by {other}repo "
        "order by files desc, repo",
        selection.values,
    )
    return {row["repo"]: row["files"] for row in rows}


def _documents(
    ledger: Ledger, selection: Selection, limit: int | None, exposures: Sequence[CheckpointExposure] | None
) -> list[Row]:
    """Return the rows of the ledger with what else is known of each file."""
    lower = _edges_by_file(ledger.copies_each(selection, limit, side="lower"))
    higher = _edges_by_file(ledger.copies_each(selection, limit, side="higher"))
    query = f"select repo, revision, path, detected_licenses from used where {selection.condition}"
    licenses = {key_of(row): row["detected_licenses"] for row in ledger.query(query, selection.values)}
    documents = []
    for row in ledger.rows(selection, limit):
        key = key_of(row)
        below, above = lower.get(key, []), higher.get(key, [])
        kept_for_it = [edge for edge in above if edge["decisive"]]
        similar = sorted((edge for edge in (*below, *above) if not edge["decisive"]), key=_likest_first)[:limit]
        documents.append(
            {
                **row,
                "detected_licenses": licenses.get(key),
                **_rules(row),
                "copy_of": next((_copy(edge) for edge in below if edge["decisive"]), None),
                "copies": [_copy(edge) for edge in kept_for_it],
                "num_copies": kept_for_it[0]["num_edges"] if kept_for_it else 0,
                "similar": [_copy(edge) for edge in similar],
                "num_similar": sum(
                    edges[-1]["num_edges"] for edges in (below, above) if edges and not edges[-1]["decisive"]
                ),
                "sampled": None if not exposures else exposures[-1].times.get(key, 0),
                "checkpoints": [
                    {"step": exposure.step, "times": exposure.times[key]}
                    for exposure in exposures or ()
                    if key in exposure.times
                ],
            }
        )
    return documents


def _rules(row: Mapping[str, Any]) -> Row:
    """Tell the rule that decided from the others that fired, and count what was redacted."""
    rules = [fired for fired in row["fired"] if fired["rule"] != REDACTION]
    deciding = next((fired for fired in rules if (fired["rule"], fired["reason"]) == (row["rule"], row["reason"])), None)
    redactions = Counter(fired["reason"] for fired in row["fired"] if fired["rule"] == REDACTION)
    return {
        "deciding": deciding,
        "also_fired": [fired for fired in rules if fired is not deciding],
        "redactions": dict(sorted(redactions.items())),
    }


def _edges_by_file(edges: Iterable[Row]) -> dict[DocumentKey, list[Row]]:
    """Return the edges of each file, the decisive ones first."""
    found: dict[DocumentKey, list[Row]] = {}
    for edge in edges:
        found.setdefault(key_of(edge), []).append(edge)
    return found


def _likest_first(edge: Mapping[str, Any]) -> tuple[float, str, str, str]:
    return -edge["similarity"], edge["other_repo"], edge["other_revision"], edge["other_path"]


def _copy(edge: Mapping[str, Any]) -> Row:
    names = {name: edge[f"other_{name}"] for name in ("repo", "revision", "path", "content_id")}
    return {**names, "kind": edge["kind"], "similarity": edge["similarity"]}


def _shown(request: Request, now: datetime.datetime) -> RemovalRequest:
    age = age_days(request, now)
    return RemovalRequest(request.id, request.target, request.state, request.date, age, request.receipt_id)


def _requests_reaching(
    run_folder: Path, ledger: Ledger, selection: Selection, now: datetime.datetime
) -> list[RemovalRequest]:
    """Return the requests that wait and reach a file of the target, and those that took files out of the repository."""
    found = []
    files: list[Row] | None = None
    for request in request_log(run_folder).requests():
        target = parse_target(request.target)
        reaches = selection.kind == "repository" and request.state == "applied" and target.repo == selection.values[0]
        if request.is_pending:
            if files is None:  # read once, and only where there is something to compare them with
                query = f"select repo, path, content_id from files where {selection.condition}"
                files = ledger.query(query, selection.values)
            reaches = any(target.matches(row["repo"], row["path"], row["content_id"]) for row in files)
        if reaches:
            found.append(_shown(request, now))
    return found


def _not_there(run_folder: Path, ledger: Ledger, selection: Selection) -> StackwrightError:
    """Return why a target is not in the run: taken out, or never seen."""
    why = _taken_out(run_folder, selection)
    return ledger.unknown(selection) if why is None else GovernanceError(f"{selection.target!r} is not in this run", why)


def _taken_out(run_folder: Path, selection: Selection) -> str | None:
    """Return what took a target out, in words; None where no removal covers it."""
    applied = {request.id: request for request in request_log(run_folder).requests() if request.state == "applied"}
    for receipt in _receipts(run_folder):
        files = [row for row in receipt["removed"] if _is_meant(selection, row["repo"], row["path"], row["content_id"])]
        if files:
            named = [entry["id"] for entry in receipt["requests"] if _covers(entry["target"], files)]
            ids = ", ".join(named or [entry["id"] for entry in receipt["requests"]])
            why = files[0]["why"] if len(files) == 1 else f"{len(files)} files"
            return f"it was taken out by request {ids}, receipt {receipt['receipt_id']} ({why})"
    for request in applied.values():  # covered by what was asked for, though nothing of the name was there then
        if _is_asked_for(selection, request.target):
            return f"it is kept out by request {request.id}, receipt {request.receipt_id}"
    if selection.kind == "content" and selection.values[0] in load_removals(run_folder).content_ids:
        return "it is kept out by a removal whose receipt is not there"
    return None


def _receipts(run_folder: Path) -> list[Mapping[str, Any]]:
    """Return the contents of the receipts that hold, the latest first."""
    found = []
    for receipt_id in receipt_ids(run_folder):
        try:
            text = (run_folder / OPTOUT / RECEIPTS / f"{receipt_id}.json").read_bytes()
            found.append(verify_receipt(text).content)
        except ReceiptError:  # a changed receipt says nothing; the requests still do
            continue
    return sorted(found, key=lambda receipt: str(receipt["date"]), reverse=True)


def _is_meant(selection: Selection, repo: str, path: str, content_id: str | None) -> bool:
    """Return whether a file that is no longer there is of the target, whose repository may be named by its last part."""
    if selection.kind == "content":
        return content_id == selection.values[0]
    name = selection.values[0]
    if repo != name and not repo.endswith(f"/{name}"):
        return False
    return selection.kind == "repository" or path == selection.values[1]


def _covers(text: str, files: Iterable[Mapping[str, Any]]) -> bool:
    target = parse_target(text)
    return any(target.matches(file["repo"], file["path"], file["content_id"]) for file in files)


def _is_asked_for(selection: Selection, text: str) -> bool:
    """Return whether an applied request covers a target of which it found nothing."""
    target, values = parse_target(text), selection.values
    match selection.kind:
        case "content":
            return target.content_id == values[0]
        case "repository":
            return target.covers_repository(values[0])
        case "document":
            return target.matches(values[0], values[1], None)
