"""The part of the data that says what may be used: licences, what each policy would admit, and consent.

In: the report of curate, the tables behind it, and the recipe's section `curate`. Out: bodies of sections. What an older
version did not count is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stackwright.artifact import Artifact, Table
from stackwright.pages import formats
from stackwright.pages.elements import NO_HTML, Column, Content, Html, code, element, join, paragraph, table
from stackwright.pages.samples import query

MOST_LICENSES = 20
MOST_REPOSITORIES = 20

CONSENT_REASONS: Mapping[str, str] = {
    "training_refused": "the repository says no to training on the file",
    "no_consent_given": "the repository does not say yes to training, and the recipe asks for a yes",
}

_POLICIES: Mapping[str, str] = {
    "strict-permissive": "all that governs the file is permissive",
    "stack-v1": "the repository's declaration, else the licence files at its root, are permissive",
    "stack-v2": "the declaration, else the licence files of its folders, by the table of The Stack v2",
    "opt-in": "as strict-permissive, in repositories that say yes to training",
}

_DECLARED = (
    "select repo, revision, count(*) filter (verdict = 'keep') as kept, count(*) filter (verdict = 'drop') as dropped, "
    "coalesce(sum(size_bytes) filter (verdict = 'keep'), 0)::bigint as kept_bytes from rows group by repo, revision"
)
_DETECTED = (
    "select license, count(*) as files, sum(size_bytes)::bigint as bytes from (select size_bytes, unnest(case when "
    "coalesce(len(detected_licenses), 0) = 0 then [null] else detected_licenses end) as license from rows) "
    "group by license order by files desc, license nulls last"
)
_REFUSED = (
    "select repo, count(*) as files, sum(size_bytes)::bigint as bytes, arg_min(fired.matched, path) as evidence "
    "from (select repo, path, size_bytes, unnest(fired) as fired from rows) where fired.rule = 'consent' "
    "group by repo order by files desc, repo"
)


def licenses_body(
    report: Mapping[str, Any], corpus: Artifact, ledger: Table, documents: Table | None, settings: Mapping[str, Any]
) -> Html:
    """Return the section about licences. Without the documents of the dataset the licences found in them are left out."""
    kinds = report["licenses"]
    total = sum(kinds.values())
    parts = [
        f"{formats.count(number)} {name.replace('_', ' ')} ({formats.share(number, total)})"
        for name, number in kinds.items()
    ]
    lead = (
        "A file is judged by its own header, by the licence files of its folder and of those above it, and by what its "
        f"repository declares. {_chosen(settings)}Files by kind of licence: {', '.join(parts)}."
    )
    found = NO_HTML if documents is None else _detected_table(documents)
    return join([paragraph(lead), _policies_table(report, settings), found, _declared_table(corpus, ledger)])


def _chosen(settings: Mapping[str, Any]) -> str:
    policy = settings.get("license_policy")
    if policy is None:
        return ""
    kinds = " or ".join(name.replace("_", " ") for name in settings.get("licenses", ()))
    return f"The recipe's policy is {policy}; files that it finds {kinds} are admitted. "


def _policies_table(report: Mapping[str, Any], settings: Mapping[str, Any]) -> Html:
    """Return what each policy would admit; nothing where an older version did not count it."""
    if "policies" not in report:
        return NO_HTML
    seen, chosen = report["seen"], settings.get("license_policy")
    rows: list[tuple[Content, ...]] = []
    for name, entry in report["policies"].items():
        label: Content = element("strong", name, " (chosen)") if name == chosen else name
        shares = (formats.share(entry[unit], seen[unit]) for unit in ("files", "bytes"))
        rows.append((label, _POLICIES.get(name, ""), formats.count(entry["files"]), formats.size(entry["bytes"]), *shares))
    columns = [Column("policy"), Column("admits a file when")]
    columns += [Column(name, True) for name in ("files", "bytes", "of all files seen", "of all bytes seen")]
    return table(columns, rows, caption="What each policy would admit, before any rule but consent")


def _detected_table(documents: Table) -> Html:
    found = query(documents, _DETECTED)
    rows = [
        (row["license"] or element("em", "none found"), formats.count(row["files"]), formats.size(row["bytes"]))
        for row in found[:MOST_LICENSES]
    ]
    columns = [Column("licence"), Column("files kept", True), Column("bytes kept", True)]
    note = _not_shown(len(found) - len(rows), "more licence")
    return table(columns, rows, caption=f"Licences of the files that are kept; a file under several counts at each{note}")


def _not_shown(more: int, one: str, many: str | None = None) -> str:
    return f"; {formats.things(more, one, many)} not shown" if more > 0 else ""


def _declared_table(corpus: Artifact, ledger: Table) -> Html:
    rows = _declared(corpus, ledger)
    columns = [
        Column("declared licence"),
        *(Column(name, True) for name in ("repositories", "files kept", "bytes kept", "files dropped")),
    ]
    cells = [
        (
            row["declared_license"] or element("em", "none declared"),
            formats.count(row["repositories"]),
            formats.count(row["kept"]),
            formats.size(row["kept_bytes"]),
            formats.count(row["dropped"]),
        )
        for row in rows[:MOST_LICENSES]
    ]
    note = _not_shown(len(rows) - len(cells), "more declaration")
    return table(columns, cells, caption=f"Licences as repositories declare them, and the files of these{note}")


def _declared(corpus: Artifact, ledger: Table) -> list[dict[str, Any]]:
    """Return the declared licences with repositories and files. Declarations are few, so they are joined here."""
    declared = query(corpus.table("repositories"), "select repo, revision, declared_license from rows")
    by_repository = {(row["repo"], row["revision"]): row for row in query(ledger, _DECLARED)}
    names = ("kept", "dropped", "kept_bytes")
    totals: dict[str | None, dict[str, Any]] = {}
    for row in declared:
        name = row["declared_license"]
        total = totals.setdefault(name, {"declared_license": name, "repositories": 0, **dict.fromkeys(names, 0)})
        total["repositories"] += 1
        for unit in names:
            total[unit] += by_repository.get((row["repo"], row["revision"]), {}).get(unit, 0)
    return sorted(totals.values(), key=lambda total: (-total["kept"], -total["dropped"], total["declared_license"] or ""))


def was_refused(report: Mapping[str, Any]) -> bool:
    """Return whether a file was left out for want of consent."""
    return any(reason in report["reasons"] for reason in CONSENT_REASONS)


def consent_body(report: Mapping[str, Any], ledger: Table, settings: Mapping[str, Any]) -> Html:
    """Return the section about what repositories say of training, where that kept files out."""
    reasons = [
        (code(reason), meaning, formats.count(entry["files"]), formats.size(entry["bytes"]))
        for reason, meaning in CONSENT_REASONS.items()
        if (entry := report["reasons"].get(reason))
    ]
    found = query(ledger, _REFUSED)
    rows = [
        (
            code(row["repo"]),
            formats.count(row["files"]),
            formats.size(row["bytes"]),
            element("em", "says nothing") if row["evidence"] is None else code(row["evidence"]),
        )
        for row in found[:MOST_REPOSITORIES]
    ]
    counts = [Column("files", True), Column("bytes", True)]
    policy = f" The recipe's rule is {settings['consent']}." if "consent" in settings else ""
    note = _not_shown(len(found) - len(rows), "more repository", "more repositories")
    return join(
        [
            paragraph(
                "Files that were left out for what their repository says, or does not say, about training: opt-out and "
                f"opt-in files, the attribute ai-training, and clauses of licences.{policy}"
            ),
            table([Column("reason"), Column("meaning"), *counts], reasons, caption="Files left out for want of consent"),
            table(
                [Column("repository"), *counts, Column("what it says, of the first file")],
                rows,
                caption=f"Repositories whose files were left out{note}",
            ),
        ]
    )
