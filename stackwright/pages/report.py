"""The report of one or several runs: data, training, scores, removal requests and provenance on one page.

In: run folders, and who knows their requests. Out: the HTML of a page. Only finished artefacts are read, so a damaged one is
refused; a stage that was not built yet is said to be missing. Several runs are compared first, their curves lie over one
another, and a dataset that runs share is shown once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stackwright.artifact import Artifact, Table
from stackwright.pages import formats
from stackwright.pages.comparison import comparison_body, differences_body
from stackwright.pages.dataset import Data, data_sections, summary
from stackwright.pages.elements import Column, Html, Section, code, element, join, page, paragraph, table
from stackwright.pages.evaluation import evaluation_sections
from stackwright.pages.requests import RequestsOf, not_looked_up, requests_body
from stackwright.pages.runs import FOLDERS, Run, open_runs, read_json
from stackwright.pages.samples import Redactor, show_nothing
from stackwright.pages.training import read_curves, training_body

_DIGEST_CHARACTERS = 16


def run_report(run_folders: Sequence[Path], redact: Redactor = show_nothing, requests: RequestsOf | None = None) -> str:
    """Return the report as HTML. Texts of dropped files are shown only as `redact` returns them.

    Args:
        requests: returns the removal requests of a run folder; without it the page says that it does not know them.

    Raises:
        TargetError: a folder is not a run folder, or none was given.
        ArtifactError: an artefact is half-written, changed or of another version.
    """
    runs = open_runs(run_folders)
    sections = [Section("missing", "Not built yet", _missing(runs))] if any(run.missing() for run in runs) else []
    if len(runs) > 1:
        sections.append(Section("comparison", "Side by side", comparison_body(runs)))
        sections.append(Section("recipes", "What differs in the recipes", differences_body(runs)))
    sections += [*_data(runs, redact), *_training(runs), *_evaluations(runs)]
    sections.append(Section("requests", "Removal requests", _requests(runs, requests)))
    sections.append(Section("provenance", "Provenance", join(_provenance(run) for run in runs)))
    return page(f"Report of {_listed([run.name for run in runs])}", _lede(runs), sections)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def _lede(runs: Sequence[Run]) -> Html:
    sentences = []
    for run in runs:
        if "dataset" in run.artifacts:
            text = summary(read_json(run.artifacts["dataset"], "report.json"))
        else:
            text = "There is no dataset yet."
        results = run.results()
        score = f" {results['headline']}." if results is not None else ""
        lead = [element("strong", f"{run.name}: ")] if len(runs) > 1 else []
        sentences.append(paragraph(*lead, f"{text}{score}", class_="lede"))
    return join(sentences)


def _missing(runs: Sequence[Run]) -> Html:
    parts = []
    for run in runs:
        if run.missing():
            stages = _listed([f"{name} ({FOLDERS[name]})" for name in run.missing()])
            lead, end = f"{run.name} has no {stages}; ", " makes what is missing."
            parts.append(paragraph(lead, code("stackwright build"), end, class_="missing"))
    return join(parts)


def _suffix(runs: Sequence[Run], group: Sequence[Run]) -> str:
    return "" if len(runs) == 1 else f": {_listed([run.name for run in group])}"


def _data(runs: Sequence[Run], redact: Redactor) -> list[Section]:
    """Return the sections about each different dataset; runs that share one share the sections."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if {"corpus", "dataset"} <= run.artifacts.keys():
            groups.setdefault(run.artifacts["dataset"].digest, []).append(run)
    several = len(groups) > 1
    sections = []
    for index, group in enumerate(groups.values()):
        corpus, dataset = group[0].artifacts["corpus"], group[0].artifacts["dataset"]
        report = read_json(dataset, "report.json")
        key, suffix = (f"data{index + 1}-", _suffix(runs, group)) if several else ("", "")
        data = Data(
            corpus,
            report,
            dataset.table("ledger"),
            dataset.table("clusters"),
            key,
            suffix,
            _documents(dataset),
            dataset.manifest.content["config"].get("curate", {}),
        )
        sections += data_sections(data, redact)
    return sections


def _documents(dataset: Artifact) -> Table | None:
    return dataset.table("documents") if "documents" in dataset.manifest.content["tables"] else None


def _requests(runs: Sequence[Run], requests: RequestsOf | None) -> Html:
    if requests is None:
        return not_looked_up()
    return requests_body({run.name: requests(run.folder) for run in runs})


def _training(runs: Sequence[Run]) -> list[Section]:
    curves = [read_curves(run.name, run.artifacts["checkpoints"].folder) for run in runs if "checkpoints" in run.artifacts]
    return [Section("training", "Training", training_body(curves))] if curves else []


def _evaluations(runs: Sequence[Run]) -> list[Section]:
    sections = []
    for index, run in enumerate(runs):
        if "evaluation" not in run.artifacts:
            continue
        key, suffix = ("", "") if len(runs) == 1 else (f"run{index + 1}-", _suffix(runs, [run]))
        results = run.results()
        if results is None:
            note = paragraph("These scores are not shown: scored by an older version, so build again.", class_="missing")
            sections.append(Section(f"{key}scored", f"What was scored{suffix}", note))
        else:
            sections += evaluation_sections(results, key, suffix)
    return sections


def _provenance(run: Run) -> Html:
    columns = [
        Column("folder"),
        Column("stage"),
        Column("version", True),
        Column("time", True),
        Column("finished"),
        Column("digest"),
    ]
    rows = []
    for name, artifact in run.artifacts.items():
        content, record = artifact.manifest.content, artifact.manifest.run
        rows.append(
            (
                name,
                content["stage"],
                str(content["version"]),
                formats.duration(record.get("seconds")),
                str(record.get("finished") or formats.NOTHING),
                code(artifact.digest[:_DIGEST_CHARACTERS]),
            )
        )
    lead = paragraph(
        f"The artefacts of {run.name}. A digest (its first {_DIGEST_CHARACTERS} of 64 characters) covers the configuration, "
        "the digests of what was read and every file that was written: equal digests are equal results."
    )
    return join([lead, table(columns, rows, caption=f"Artefacts of {run.name}")])
