"""Completions as JSON Lines: what a model answered, kept before anything is scored.

One object a line: `task`, `task_version`, `task_id`, `sample`, `prompt_sha256`, `completion`, `finish_reason`. A file holds
everything that scoring needs of the model, so that it can be scored again, by others, without the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from stackwright.errors import DataError
from stackwright.files import canonical_json, digest_of


@dataclass(frozen=True)
class CompletionRecord:
    """One answer. `prompt_sha256` is of the prompt's token ids as canonical JSON: exactly what the model was shown."""

    task: str
    task_version: int
    task_id: str
    sample: int
    prompt_sha256: str
    completion: str
    finish_reason: str


_TYPES: dict[str, type] = {"task_version": int, "sample": int}
_KEYS = {field.name: _TYPES.get(field.name, str) for field in fields(CompletionRecord)}


def prompt_digest(prompt: Iterable[int]) -> str:
    """Return the digest that stands for a prompt in a completions file."""
    return digest_of(list(prompt))


def dump_completions(records: Iterable[CompletionRecord]) -> str:
    """Return the text of a completions file."""
    return "".join(canonical_json(asdict(record)) + "\n" for record in records)


def load_completions(path: Path) -> list[CompletionRecord]:
    """Read a completions file.

    Raises:
        DataError: the file cannot be read, holds nothing, or a line is not as described above or stands there twice.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"completions {path} cannot be read ({error})", "give a JSON Lines file in UTF-8") from error
    # Only "\n" ends a line: a completion may hold other characters that `splitlines` would cut at.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f"completions {path} holds no line", "generate the completions again")
    records: dict[tuple[str, str, int], CompletionRecord] = {}
    for number, line in lines:
        record = _parse(line, f"{path} line {number}")
        key = (record.task, record.task_id, record.sample)
        if key in records:
            raise DataError(f"{path} line {number} repeats sample {record.sample} of {record.task_id}", "remove one of them")
        records[key] = record
    return list(records.values())


def _parse(line: str, where: str) -> CompletionRecord:
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error})", "generate the completions again") from error
    keys = value.keys() if isinstance(value, dict) else set()
    if keys != _KEYS.keys():
        raise DataError(f"{where} has keys {sorted(keys)}", f"write exactly {', '.join(_KEYS)}")
    for name, expected in _KEYS.items():
        if type(value[name]) is not expected:  # `True` is no sample number
            raise DataError(f"{where} has {name} = {value[name]!r}", f"write {name} as {expected.__name__}")
    return CompletionRecord(**value)
