"""Precision and recall of the redaction on labelled sets made by others.

Reads the folder named by STACKWRIGHT_DATA (default: ../shared/data). A found span counts when it overlaps a labelled one by
80 % in both directions, the criterion of the SantaCoder paper. These sets hold prose, not code: they say little about
precision in code, where versions and decorators are what goes wrong.

Example: python benchmarks/redaction_quality.py
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackwright.curate.pii import find_spans

SETS = ("presidio_synth_dataset_v2", "presidio_generated_large")
KINDS = {"EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip_address"}
LEAST_OVERLAP = 0.8


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def overlaps(a: tuple[int, int], b: tuple[int, int]) -> bool:
    common = min(a[1], b[1]) - max(a[0], b[0])
    return common >= LEAST_OVERLAP * max(a[1] - a[0], b[1] - b[0])


def measure(
    records: Iterator[dict[str, Any]], counts: Counter[tuple[str, str]], missed: list[str], wrong: list[str]
) -> None:
    for record in records:
        text = record["full_text"]
        labelled = [
            (KINDS[span["entity_type"]], (span["start_position"], span["end_position"]))
            for span in record["spans"]
            if span["entity_type"] in KINDS
        ]
        found = [(span.kind, (span.start, span.end)) for span in find_spans(text, list(KINDS.values()))]
        for kind, place in labelled:
            hit = any(kind == other and overlaps(place, there) for other, there in found)
            counts[kind, "true" if hit else "missed"] += 1
            if not hit:
                missed.append(text[place[0] : place[1]])
        for kind, place in found:
            if not any(kind == other and overlaps(place, there) for other, there in labelled):
                counts[kind, "wrong"] += 1
                wrong.append(text[place[0] : place[1]])


def main() -> None:
    folder = Path(os.environ.get("STACKWRIGHT_DATA", "../shared/data")) / "pii"
    counts: Counter[tuple[str, str]] = Counter()
    missed: list[str] = []
    wrong: list[str] = []
    for name in SETS:
        measure(read_lines(folder / f"{name}.jsonl.gz"), counts, missed, wrong)
    print("| kind | labelled | precision | recall |\n| --- | ---: | ---: | ---: |")
    for kind in KINDS.values():
        true, lost, false = (counts[kind, name] for name in ("true", "missed", "wrong"))
        print(f"| {kind} | {true + lost} | {true / max(true + false, 1):.3f} | {true / max(true + lost, 1):.3f} |")
    print("\nmissed:", ", ".join(sorted(set(missed))[:12]) or "nothing")
    print("wrong:", ", ".join(sorted(set(wrong))[:12]) or "nothing")


if __name__ == "__main__":
    main()
