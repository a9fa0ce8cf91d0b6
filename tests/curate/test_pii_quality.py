"""The redaction on other people's labelled sets: what was measured must not get worse."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path


def test_emails_and_addresses_of_labelled_prose_are_found(shared_data: Path) -> None:
    path = Path(__file__).parent.parent.parent / "benchmarks" / "redaction_quality.py"
    spec = importlib.util.spec_from_file_location("redaction_quality", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    counts: Counter[tuple[str, str]] = Counter()
    for name in benchmark.SETS:
        benchmark.measure(benchmark.read_lines(shared_data / "pii" / f"{name}.jsonl.gz"), counts, [], [])
    assert counts["email", "true"] == 107
    assert counts["ip_address", "true"] == 24  # the one that is left names a private network
    assert counts["email", "missed"] + counts["email", "wrong"] + counts["ip_address", "wrong"] == 0
