"""The funnel: how many files and bytes were seen, dropped for which reason, and kept, by language.

In: the corpus ledger (files that were never admitted) and the counts of each curated shard. Out: `report.json`. Bytes
are those of the original files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stackwright.artifact import Table
from stackwright.engine import read_table
from stackwright.govern.licenses import POLICIES

UNKNOWN_LANGUAGE = "(none)"

Entry = dict[str, int]


def _entry() -> Entry:
    return {"files": 0, "bytes": 0}


def _add(entry: Entry, files: int, num_bytes: int) -> None:
    entry["files"] += files
    entry["bytes"] += num_bytes


def build_report(
    corpus_ledger: Table,
    results: Sequence[Mapping[str, Any]],
    near_dedup: Mapping[str, Any] | None,
    examined: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Merge the counts of every shard into one report with a fixed order of keys."""
    by_language: dict[str, dict[str, Entry]] = defaultdict(lambda: defaultdict(_entry))
    for language, reason, files, num_bytes in [*_never_admitted(corpus_ledger), *_outcomes(results)]:
        _add(by_language[language][reason], files, num_bytes)
    reasons: dict[str, Entry] = defaultdict(_entry)
    seen, kept, dropped = _entry(), _entry(), _entry()
    for outcomes in by_language.values():
        for reason, entry in outcomes.items():
            _add(seen, **_as_arguments(entry))
            _add(kept if reason == "keep" else dropped, **_as_arguments(entry))
            if reason != "keep":
                _add(reasons[reason], **_as_arguments(entry))
    return {
        "seen": seen,
        "kept": kept,
        "dropped": dropped,
        "reasons": {name: reasons[name] for name in sorted(reasons)},
        "languages": {name: _language(by_language[name]) for name in sorted(by_language)},
        "redactions": _merged(results, "redactions"),
        "licenses": _merged(results, "licenses"),
        "policies": _policies(examined),
        "splits": _splits(results),
        **({} if near_dedup is None else {"near_dedup": dict(near_dedup)}),
    }


def _as_arguments(entry: Entry) -> dict[str, int]:
    return {"files": entry["files"], "num_bytes": entry["bytes"]}


def _never_admitted(ledger: Table) -> list[tuple[str, str, int, int]]:
    return [
        (row["language"] or UNKNOWN_LANGUAGE, row["reason"], 1, row["size_bytes"] or 0)
        for part in read_table(ledger, ["language", "reason", "size_bytes"])
        for row in part.to_pylist()
    ]


def _outcomes(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int, int]]:
    return [tuple(outcome) for result in results for outcome in result["outcomes"]]


def _language(outcomes: Mapping[str, Entry]) -> dict[str, Any]:
    kept = outcomes.get("keep", _entry())
    seen = _entry()
    for entry in outcomes.values():
        _add(seen, **_as_arguments(entry))
    dropped = {reason: dict(outcomes[reason]) for reason in sorted(outcomes) if reason != "keep"}
    return {"seen": seen, "kept": dict(kept), "dropped": dropped}


def _merged(results: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for result in results:
        for key, count in result[name].items():
            total[key] += count
    return {key: total[key] for key in sorted(total)}


def _policies(examined: Sequence[Mapping[str, Any]]) -> dict[str, Entry]:
    """Return what each licence policy would admit, before any other rule."""
    policies: dict[str, Entry] = {policy: _entry() for policy in POLICIES}
    for name, count in _merged(examined, "admitted").items():
        policy, _, unit = name.rpartition(" ")
        policies[policy][unit] += count
    return policies


def _splits(results: Sequence[Mapping[str, Any]]) -> dict[str, Entry]:
    splits: dict[str, Entry] = defaultdict(_entry)
    for result in results:
        for split, unit, count in result["splits"]:
            splits[split][unit] += count
    return {name: dict(splits[name]) for name in sorted(splits)}
