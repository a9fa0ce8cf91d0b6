"""Results that a stage uses again: what a shard function made, kept by the digest of all that it depends on.

A stage's functions are pure, so when nothing a result depends on has changed, the result has not changed either. `once`
runs a function whose key is new and links the files of one whose key is known. Entries lie in the artefact's own folder
(`.memo/`), outside its manifest, and only those that the latest run of the stage used are carried over: entry and
artefact come and go together, so nothing of a file that was taken out survives in a memo.

An entry is verified by size and SHA-256 before it is used; a damaged one is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackwright.files import digest_of, file_sha256, link_file, temporary_name, write_json

MEMO = ".memo"
RESULT_FILE = "result.json"

Result = dict[str, Any]


@dataclass(frozen=True)
class Memo:
    """The entries of the artefact being made (`current`) and of the one that it replaces (`previous`); pickles."""

    current: Path | None = None  # None keeps nothing
    previous: Path | None = None
    salt: str = ""  # stage and version: a new version knows nothing of the old one's results

    def once(self, step: str, key: object, outputs: Sequence[Path], compute: Callable[[], Result]) -> Result:
        """Return the result of `compute`, running it only where `key` is new, with `outputs` in place either way.

        Args:
            key: everything that decides the result, as a JSON value.
            outputs: the files that `compute` writes, always in this order. They are never written to again.
        """
        if self.current is None:
            return compute()
        name = digest_of([self.salt, step, key])[:40]
        entry = self.current / step / name
        record = _take(entry, outputs)
        if record is None and self.previous is not None:
            record = _take(self.previous / step / name, outputs)
            if record is not None:
                _keep(entry, outputs, record)
        if record is None:
            record = {"result": compute(), "sha256": [file_sha256(output) for output in outputs]}
            _keep(entry, outputs, record)
        result: Result = record["result"]
        return result


def _take(entry: Path, outputs: Sequence[Path]) -> Result | None:
    """Put the files of an entry in place and return its record; None when it is missing or damaged."""
    try:
        record: Result = json.loads((entry / RESULT_FILE).read_text("utf-8"))
        sources = [entry / str(number) for number in range(len(outputs))]
        if record["sha256"] != [file_sha256(source) for source in sources]:
            shutil.rmtree(entry)
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for source, output in zip(sources, outputs, strict=True):
        link_file(source, output)
    return record


def _keep(entry: Path, outputs: Sequence[Path], record: Result) -> None:
    """Make an entry of finished files, whole or not at all."""
    temporary = temporary_name(entry)
    shutil.rmtree(temporary, ignore_errors=True)
    for number, output in enumerate(outputs):
        link_file(output, temporary / str(number))
    write_json(temporary / RESULT_FILE, record)
    try:
        os.rename(temporary, entry)
    except OSError:  # another worker made it meanwhile, for a shard of equal contents
        if not (entry / RESULT_FILE).is_file():
            raise
        shutil.rmtree(temporary)
