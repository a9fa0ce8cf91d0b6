"""The data of a run: the funnel, what each rule dropped, languages, licences, consent, copies, splits and redactions.

In: the corpus, the report of curate, and the tables `ledger` and `clusters` of the dataset. Out: sections of a page, or
`dataset/report.html`. Figures come from the report; the ledgers give the samples. What is shown of a file's text has
passed the caller's redactor; without one no text is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stackwright.artifact import Artifact, Table
from stackwright.document import DocumentKey, document_name
from stackwright.pages import formats
from stackwright.pages.charts import Bar, Frame, bar_chart, figures
from stackwright.pages.duplicates import duplicates_body, is_current
from stackwright.pages.elements import (
    NO_HTML,
    Column,
    Html,
    Section,
    Tile,
    code,
    details,
    element,
    excerpt,
    join,
    page,
    paragraph,
    table,
    tiles,
)
from stackwright.pages.permission import CONSENT_REASONS, consent_body, licenses_body, was_refused
from stackwright.pages.samples import (
    Dropped,
    Redactor,
    copy_samples,
    dropped_samples,
    excerpt_of,
    query,
    show_nothing,
    texts_for,
)

SAMPLES_EACH = 3
MOST_BARS = 10

_MEANINGS = {
    "alphanumeric": "too few letters and digits",
    "binary_file": "not text",
    "empty_file": "nothing in it but white space",
    "exact_duplicate": "equal byte for byte to a file that is kept",
    "file_too_large": "larger than the limit of collect",
    "generated_file": "made by a program",
    "license_missing": "nothing says which licence it is under",
    "license_not_permissive": "a licence that governs it is not among those admitted",
    "line_too_long": "a line longer than the limit",
    "mean_line_too_long": "lines too long on average",
    "near_duplicate": "nearly equal to a file that is kept",
    "symlink": "points at another file",
    "too_few_alphanumeric": "too few letters and digits",
    "undecodable": "not in the encoding it should be in",
    "unknown_language": "of no language that is known",
    "unreadable": "the bytes could not be read",
    **CONSENT_REASONS,
}
_STEPS = ("collect", "consent", "license", "filters", "copies")
_STEP_NAMES = {
    "collect": "admitted as text of a known language",
    "consent": "not held back by its repository",
    "license": "under an admitted licence",
    "filters": "passed the content filters",
    "copies": "kept, after copies were dropped",
}


@dataclass(frozen=True)
class Data:
    """The data of one run. `key` begins every id, so that one page can show several; it is empty or ends in a hyphen."""

    corpus: Artifact
    report: Mapping[str, Any]
    ledger: Table
    clusters: Table
    key: str = ""
    suffix: str = ""  # follows the title of each section, such as " of quick"
    documents: Table | None = None  # of the dataset
    settings: Mapping[str, Any] = field(default_factory=dict)  # the section `curate` of the recipe


def dataset_page(
    name: str,
    corpus: Artifact,
    report: Mapping[str, Any],
    ledger: Table,
    clusters: Table,
    redact: Redactor = show_nothing,
    *,
    documents: Table | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Return `dataset/report.html`: the data of the run `name`. Texts are shown only as `redact` returns them.

    `documents` is the table of the dataset, `settings` the recipe's section `curate`; what needs them is left out without.
    """
    data = Data(corpus, report, ledger, clusters, documents=documents, settings=settings or {})
    return page(f"Dataset of {name}", paragraph(summary(report), class_="lede"), data_sections(data, redact))


def summary(report: Mapping[str, Any]) -> str:
    """Return one sentence: what was seen and what is left."""
    seen, kept = report["seen"], report["kept"]
    return (
        f"Of {formats.things(seen['files'], 'file')} ({formats.size(seen['bytes'])}) that were seen, "
        f"{formats.count(kept['files'])} ({formats.size(kept['bytes'])}) are in the dataset; each of the other "
        f"{formats.count(report['dropped']['files'])} has a reason."
    )


def data_sections(data: Data, redact: Redactor) -> list[Section]:
    """Return the sections about one dataset, in the order in which a reader asks."""
    samples = dropped_samples(data.corpus.table("ledger"), SAMPLES_EACH)
    judged = dropped_samples(data.ledger, SAMPLES_EACH)
    kinds = copy_samples(data.clusters, SAMPLES_EACH) if is_current(data.clusters) else {}
    copies = [copy for kind in sorted(kinds, reverse=True) for copy in kinds[kind]]
    texts: Mapping[DocumentKey, str] = {}
    if redact is not show_nothing:
        texts = texts_for(data.corpus.table("documents"), [one for group in judged.values() for one in group], copies)
    bodies = {
        "funnel": ("Funnel", _funnel(data)),
        "dropped": ("What was dropped", _dropped(data, {**samples, **judged}, texts, redact)),
        "languages": ("Languages", _languages(data)),
        "licenses": ("Licences", licenses_body(data.report, data.corpus, data.ledger, data.documents, data.settings)),
        **(
            {"consent": ("Consent", consent_body(data.report, data.ledger, data.settings))}
            if was_refused(data.report)
            else {}
        ),
        "duplicates": ("Copies", duplicates_body(data.key, data.report, data.clusters, copies, texts, redact)),
        "splits": ("Splits and redactions", _splits(data.report)),
    }
    return [Section(f"{data.key}{slug}", f"{title}{data.suffix}", body) for slug, (title, body) in bodies.items()]


def step_of(reason: str, collected: Sequence[str]) -> str:
    """Return the step of the funnel at which a reason drops; `collected` are the reasons of the corpus ledger."""
    if reason in collected:
        return "collect"
    if reason in CONSENT_REASONS:
        return "consent"
    if reason.startswith("license"):
        return "license"
    return "copies" if reason.endswith("duplicate") else "filters"


def _collected(corpus: Artifact) -> list[str]:
    rows = query(corpus.table("ledger"), "select distinct reason from rows where verdict = 'drop' order by reason")
    return [row["reason"] for row in rows]


def _funnel(data: Data) -> Html:
    report, collected = data.report, _collected(data.corpus)
    lost = dict.fromkeys(_STEPS, 0)
    for reason, entry in report["reasons"].items():
        lost[step_of(reason, collected)] += entry["files"]
    left = report["seen"]["files"]
    bars = [Bar("seen", formats.things(left, "file"), left)]
    for step in _STEPS:
        if step == "consent" and not lost[step]:
            continue  # most runs meet no such file, and the bar would say nothing
        left -= lost[step]
        minus = f" (−{formats.count(lost[step])})" if lost[step] else ""
        bars.append(Bar(_STEP_NAMES[step], f"{formats.count(left)}{minus}", left, lost[step]))
    frame = Frame(
        f"{data.key}funnel-chart",
        "Files left after each step",
        "The blue part goes on to the next step, the orange part is dropped there. A file that breaks several rules counts "
        "at the first.",
    )
    seen, kept = report["seen"], report["kept"]
    reasons = len(report["reasons"])
    facts = [
        Tile("seen", formats.size(seen["bytes"]), formats.things(seen["files"], "file")),
        Tile("kept", formats.size(kept["bytes"]), formats.things(kept["files"], "file")),
        Tile("share kept", formats.share(kept["files"], seen["files"]), "of the files"),
        Tile("reasons", formats.count(reasons), "for dropping a file"),
    ]
    return join(
        [paragraph(summary(report)), tiles(facts), figures(bar_chart(frame, bars)), _reasons_table(report, collected)]
    )


def _reasons_table(report: Mapping[str, Any], collected: Sequence[str]) -> Html:
    def order(item: tuple[str, Mapping[str, int]]) -> tuple[int, int, str]:
        return _STEPS.index(step_of(item[0], collected)), -item[1]["files"], item[0]

    rows = [
        (
            code(reason),
            _MEANINGS.get(reason, reason.replace("_", " ")),
            formats.count(entry["files"]),
            formats.share(entry["files"], report["seen"]["files"]),
            formats.size(entry["bytes"]),
        )
        for reason, entry in sorted(report["reasons"].items(), key=order)
    ]
    columns = [Column("reason"), Column("meaning"), *(Column(name, True) for name in ("files", "of all seen", "bytes"))]
    return table(columns, rows, caption="Why files were dropped, in the order of the steps")


def _dropped(
    data: Data, samples: Mapping[str, Sequence[Dropped]], texts: Mapping[DocumentKey, str], redact: Redactor
) -> Html:
    if not samples:
        return paragraph("No rule dropped a file.")
    note = "Excerpts come from the files as they were found, with personal data and secrets redacted."
    if redact is show_nothing:
        note = "Texts are not shown: this page was made without a redactor to remove personal data and secrets from them."
    groups = []
    for reason in sorted(samples, key=lambda name: (-data.report["reasons"].get(name, {"files": 0})["files"], name)):
        number = data.report["reasons"].get(reason, {"files": len(samples[reason])})["files"]
        title = join([code(reason), f": {formats.things(number, 'file')}, {len(samples[reason])} shown"])
        entries = [_sample(sample, texts, redact) for sample in samples[reason]]
        groups.append(details(title, element("ul", *entries, class_="samples")))
    return join(
        [paragraph(f"A few files for each reason, always the same ones, from different repositories where possible. {note}"),
         *groups]
    )  # fmt: skip


def _sample(sample: Dropped, texts: Mapping[DocumentKey, str], redact: Redactor) -> Html:
    name = document_name(*sample.key)
    facts = [("file", code(name)), *_evidence(sample)]
    listed = element(
        "dl", *(cell for term, fact in facts for cell in (element("dt", term), element("dd", fact))), class_="evidence"
    )
    text = texts.get(sample.key)
    shown = None if text is None else excerpt_of(text, _place(sample.evidence, text), redact)
    return element("li", listed, NO_HTML if shown is None else excerpt(shown, label=f"Excerpt of {name}"))


def _evidence(sample: Dropped) -> list[tuple[str, Html | str]]:
    evidence = sample.evidence
    facts: list[tuple[str, Html | str]] = [("size", formats.size(sample.size_bytes))]
    if evidence.get("value") is not None:
        limit = evidence.get("limit")
        bound = "" if limit is None else f" (the limit is {formats.measured(limit)})"
        facts.append(("measured", f"{formats.measured(evidence['value'])}{bound}"))
    if evidence.get("matched") is not None:
        facts.append(("matched", code(evidence["matched"])))
    if sample.others:
        facts.append(("also broke", join([code(reason) for reason in sample.others], ", ")))
    return facts


def _place(evidence: Mapping[str, Any], text: str) -> int | None:
    """Return where the evidence stands in the text: at its span, else where the phrase that matched is first found."""
    start: int | None = evidence.get("start")
    if start is None and evidence.get("matched"):
        found = text.find(evidence["matched"])
        return None if found < 0 else found
    return start


def _languages(data: Data) -> Html:
    languages = data.report["languages"]
    ordered = sorted(
        languages, key=lambda name: (-languages[name]["kept"]["bytes"], -languages[name]["seen"]["files"], name)
    )
    kept_bytes = data.report["kept"]["bytes"]
    with_files = [name for name in ordered if languages[name]["kept"]["files"]]
    kept = {name: languages[name]["kept"]["bytes"] for name in with_files}
    bars = [
        Bar(name, f"{formats.size(kept[name])}, {formats.share(kept[name], kept_bytes)}", kept[name])
        for name in with_files[:MOST_BARS]
    ]
    rest = sum(kept[name] for name in with_files[MOST_BARS:])
    if rest:
        label = f"{formats.things(len(with_files) - MOST_BARS, 'other language')}"
        bars.append(Bar(label, f"{formats.size(rest)}, {formats.share(rest, kept_bytes)}", rest))
    frame = Frame(f"{data.key}languages-chart", "Kept text by language", "Bytes of the files that are in the dataset.")
    columns = [
        Column("language"),
        *(Column(name, True) for name in ("files seen", "files kept", "kept", "bytes kept", "of the dataset")),
    ]
    rows = [
        (
            name,
            formats.count(languages[name]["seen"]["files"]),
            formats.count(languages[name]["kept"]["files"]),
            formats.share(languages[name]["kept"]["files"], languages[name]["seen"]["files"]),
            formats.size(languages[name]["kept"]["bytes"]),
            formats.share(languages[name]["kept"]["bytes"], kept_bytes),
        )
        for name in ordered
    ]
    first = with_files[0] if with_files else None
    lead = "" if first is None else f" {first} is {formats.share(kept[first], kept_bytes)} of the bytes."
    return join(
        [
            paragraph(f"The dataset has files of {formats.things(len(with_files), 'language')}.{lead}"),
            figures(bar_chart(frame, bars)),
            details(
                "Every language",
                table(columns, rows, caption="Files and bytes by language; (none): no language was recognised"),
            ),
        ]
    )


def _splits(report: Mapping[str, Any]) -> Html:
    columns = [Column("split"), *(Column(name, True) for name in ("files", "bytes", "of the bytes"))]
    rows = [
        (
            name,
            formats.count(entry["files"]),
            formats.size(entry["bytes"]),
            formats.share(entry["bytes"], report["kept"]["bytes"]),
        )
        for name, entry in sorted(report["splits"].items(), key=lambda item: -item[1]["bytes"])
    ]
    redactions = [(name.replace("_", " "), formats.count(number)) for name, number in report["redactions"].items()]
    kinds = [Column("kind"), Column("spans replaced", True)]
    return join(
        [
            paragraph(
                "A repository is in one split as a whole, so that the model is scored on repositories it has not seen."
            ),
            table(columns, rows, caption="Files and bytes by split"),
            paragraph("In the files that are kept, personal data and secrets were replaced by placeholders."),
            table(kinds, redactions, caption="Redactions") if redactions else paragraph("None was found.", class_="note"),
        ]
    )
