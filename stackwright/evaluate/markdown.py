"""results.md: the results as tables that read well both as Markdown and in a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from stackwright.evaluate import bits_per_byte, infilling
from stackwright.evaluate.bits_per_byte import MODEL
from stackwright.evaluate.bootstrap import LEAST_DOCUMENTS

WIDTH = 80


def results_page(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    parts = ["# Scores on held-out repositories", textwrap.fill(f"{results['headline']}.", WIDTH, break_on_hyphens=False)]
    tasks = results["tasks"]
    if tasks:
        parts.append(_about(results))
    if bits_per_byte.TASK in tasks:
        parts += ["## Bits per byte: lower is better", *_bits_tables(tasks[bits_per_byte.TASK])]
    if infilling.TASK in tasks:
        parts += ["## Single-line infilling: higher is better", *_infilling_tables(tasks[infilling.TASK])]
    if results["checkpoints"]:
        parts += ["## Checkpoints", _about_part(results["checkpoint_part"]), _checkpoint_table(results["checkpoints"])]
    return "\n\n".join(parts) + "\n"


def _about(results: Mapping[str, Any]) -> str:
    text = (
        f"Scored on {results['num_documents']:,} files ({results['num_bytes']:,} bytes) of {results['num_repositories']:,} "
        f"repositories, {results['split']} split. In brackets: the {results['settings']['interval']:.0%} interval over "
        f"files, left out where there are fewer than {LEAST_DOCUMENTS} files."
    )
    return textwrap.fill(text, WIDTH)


def _about_part(part: Mapping[str, Any]) -> str:
    text = (
        f"On a part of the same: {part['num_documents']:,} files ({part['num_bytes']:,} bytes)"
        f" and {part['num_problems']:,} lines. So the last row is not the score above."
    )
    return textwrap.fill(text, WIDTH)


def interval_text(interval: Mapping[str, float], num_documents: int, digits: int = 2) -> str:
    """Return `2.08 [2.01, 2.15]`, the value alone where there are too few documents for an interval."""
    value = f"{interval['value']:.{digits}f}"
    if num_documents < LEAST_DOCUMENTS:
        return value
    return f"{value} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"


def _bits_tables(task: Mapping[str, Any]) -> list[str]:
    count, differences = task["num_documents"], task["differences"]
    overall = [
        [name, interval_text(score, count), interval_text(differences[name], count) if name in differences else ""]
        for name, score in _in_order(task["models"])
    ]
    others = [name for name, _ in _in_order(task["models"]) if name != MODEL]
    by_language = [
        [
            language,
            f"{entry['num_documents']:,}",
            interval_text(entry["models"][MODEL], entry["num_documents"]),
            *(f"{entry['models'][name]['value']:.2f}" for name in others),
        ]
        for language, entry in task["languages"].items()
    ]
    return [
        markdown_table(["model", "bits per byte", f"{MODEL} minus it"], overall),
        markdown_table(["language", "files", MODEL, *map(_short, others)], by_language),
    ]


def _in_order(models: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the model first and then the baselines from the best on, whatever the order in the file."""
    return sorted(models.items(), key=lambda item: (item[0] != MODEL, item[1]["value"], item[0]))


def _infilling_tables(task: Mapping[str, Any]) -> list[str]:
    def cells(entry: Mapping[str, Any], model: str) -> list[str]:
        scores = entry["models"][model]
        return [interval_text(scores[metric], entry["num_documents"]) for metric in ("exact_match", "edit_similarity")]

    languages = task["languages"].items()
    return [
        markdown_table(
            ["model", "exact match", "edit similarity"],
            [[name, *cells(task, name)] for name in sorted(task["models"], key=lambda name: name != MODEL)],
        ),
        markdown_table(
            ["language", "lines", f"exact match, {MODEL}", f"edit similarity, {MODEL}"],
            [[language, f"{entry['num_problems']:,}", *cells(entry, MODEL)] for language, entry in languages],
        ),
    ]


def _checkpoint_table(lines: Sequence[Mapping[str, Any]]) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    rows = [
        [f"{line['step']:,}", f"{line['tokens']:,}"]
        + [number(line[key]) for key in ("bits_per_byte", "exact_match", "edit_similarity")]
        for line in lines
    ]
    return markdown_table(["step", "tokens", "bits per byte", "exact match", "edit similarity"], rows)


def _short(model: str) -> str:
    """Return the head of a model's name: `bigram of tokens` becomes `bigram`."""
    return model.replace(",", "").split()[0]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are padded to one width: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *map(line, rows)])
