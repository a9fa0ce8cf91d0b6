"""The task `single_line_infilling`: a held-out file with one line taken out, which the model writes.

In: held-out documents, a backend and a tokenizer. Out: completions, then rows of the table `infilling`. As in SantaCoder's
fill-in-the-middle benchmark the middle is the whole content of the line, indentation included, and both sides are stripped
before they are compared. The model writes greedily and ends at the newline. Scoring needs no model: it reads the completions
file back and takes the references from the dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stackwright.artifact import Table
from stackwright.errors import DataError
from stackwright.evaluate.bits_per_byte import MODEL
from stackwright.evaluate.completions import CompletionRecord, load_completions, prompt_digest
from stackwright.evaluate.edit_similarity import edit_similarity
from stackwright.evaluate.held_out import Row, name_of, read_documents
from stackwright.generate.backend import Backend
from stackwright.generate.engine import complete
from stackwright.generate.infill import build_prompt
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.stream import Codec
from stackwright.log import Task

TASK = "single_line_infilling"
TASK_VERSION = 1

PREVIOUS_LINE = "previous line"

LEAST_CHARACTERS = 8
LINES_PER_DOCUMENT = 6
"""Lines of one file at most: many lines of few files would say little of other files (see `bootstrap`)."""

CHARACTERS_PER_TOKEN = 16
"""Characters of a side that are encoded for each token of the context; what is farther away would be cut off anyway."""

INFILLING = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # from 1
        pa.field("sample", pa.int64(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("exact_match", pa.bool_(), nullable=False),
        pa.field("edit_similarity", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Problem:
    """One line of a document. `before` and `after` are the lines around it."""

    document: Row  # repo, revision, path, language
    before: Sequence[str]
    reference: str
    after: Sequence[str]

    @property
    def line(self) -> int:
        """The number of the line, from 1."""
        return len(self.before) + 1

    @property
    def task_id(self) -> str:
        return f"{name_of(self.document)}#{self.line}"

    @property
    def prefix(self) -> str:
        return "".join(f"{line}\n" for line in self.before)

    @property
    def suffix(self) -> str:
        return "".join(f"\n{line}" for line in self.after)

    @property
    def previous_line(self) -> str:
        """The nearest line above that is not blank: what the baseline answers."""
        return next((line for line in reversed(self.before) if line.strip()), "")


def problem_at(document: Row, line: int) -> Problem:
    """Return the problem that takes out a line, counted from 1, of a document with its `content`."""
    lines = document["content"].split("\n")
    return Problem(document, lines[: line - 1], lines[line - 1], lines[line:])


def qualifying_lines(content: str) -> list[int]:
    """Return the numbers, from 1, of the lines that may be asked for.

    A line has at least `LEAST_CHARACTERS` characters without the white space around it, is not the line above once more,
    and is followed by something.
    """
    lines = [line.strip() for line in content.split("\n")]
    last = max((place for place, line in enumerate(lines) if line), default=0)
    return [
        place + 1
        for place, line in enumerate(lines[:last])
        if len(line) >= LEAST_CHARACTERS and (place == 0 or line != lines[place - 1])
    ]


def choose_problems(documents: Sequence[Row], count: int, seed: int) -> list[Problem]:
    """Return up to `count` problems, the same for the same seed; the first n are those that a smaller `count` gives.

    Lines are ranked within their document by a keyed hash, and at most `LINES_PER_DOCUMENT` are taken. Languages take turns;
    within a language every document gives its first line before any gives its second, in the order of the hashes.
    """
    queues: dict[str, list[tuple[int, bytes, Row, int]]] = {}
    for document in documents:
        keyed = sorted((_line_key(seed, document, line), line) for line in qualifying_lines(document["content"]))
        queue = queues.setdefault(document["language"], [])
        queue += [(rank, key, document, line) for rank, (key, line) in enumerate(keyed[:LINES_PER_DOCUMENT])]
    for queue in queues.values():
        queue.sort(key=lambda entry: entry[:2])
    longest = max((len(queue) for queue in queues.values()), default=0)
    turns = (queues[name][turn] for turn in range(longest) for name in sorted(queues) if turn < len(queues[name]))
    return [problem_at(document, line) for (_, _, document, line), _ in zip(turns, range(count))]


def _line_key(seed: int, document: Row, line: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{name_of(document)}\n{line}".encode(), digest_size=8).digest()


def tokens_per_line(max_seq_len: int, max_new_tokens: int) -> int:
    """Return how many tokens an answer may have: at most half of the context, so that half is left to the prompt."""
    return min(max_new_tokens, max_seq_len // 2)


def complete_problems(
    backend: Backend, codec: Codec, problems: Sequence[Problem], max_new_tokens: int, task: Task
) -> list[CompletionRecord]:
    """Return the greedy answer to each problem, in the order given."""
    new_tokens = tokens_per_line(backend.max_seq_len, max_new_tokens)
    settings = SamplingSettings(max_new_tokens=new_tokens, stop=("\n",))
    records = []
    for problem in problems:
        prompt = _prompt(codec, problem, backend.max_seq_len - new_tokens)
        answer = complete(backend, codec, prompt, settings)
        records.append(
            CompletionRecord(
                TASK, TASK_VERSION, problem.task_id, 0, prompt_digest(prompt), answer.text, answer.finish_reason
            )
        )
        task.advance(1)
    return records


def _prompt(codec: Codec, problem: Problem, max_tokens: int) -> list[int]:
    most = CHARACTERS_PER_TOKEN * max_tokens
    return build_prompt(codec, problem.prefix[-most:], problem.suffix[:most], max_tokens, warn=False)


def score_completions(path: Path, documents: Table) -> list[dict[str, Any]]:
    """Score a completions file: two rows of the table `infilling` for each line, the model's and the previous line's.

    Args:
        path: completions of this task, see `completions`.
        documents: the table `documents` of the dataset, where the references are.

    Raises:
        DataError: the file is not as it should be, or names a document or line that the dataset does not have.
    """
    records = load_completions(path)
    for record in records:
        if (record.task, record.task_version) != (TASK, TASK_VERSION):
            raise DataError(
                f"{path} answers {record.task} version {record.task_version}, this scores {TASK} version {TASK_VERSION}",
                "generate the completions again",
            )
    problems = _find_problems([record.task_id for record in records], documents)
    rows = []
    for record in records:
        problem = problems[record.task_id]
        for model, answer in ((MODEL, record.completion), (PREVIOUS_LINE, problem.previous_line)):
            rows.append(_score_row(problem, record.sample, model, answer))
    # A stable sort: of one line the model's row stays the first.
    return sorted(rows, key=lambda row: (row["repo"], row["revision"], row["path"], row["line"], row["sample"]))


def _find_problems(task_ids: Sequence[str], documents: Table) -> dict[str, Problem]:
    parsed = {task_id: task_id.rpartition("#") for task_id in task_ids}
    texts = read_documents(documents, {name for name, _, _ in parsed.values()})
    problems = {}
    for task_id, (name, _, line) in parsed.items():
        num_lines = texts[name]["content"].count("\n") + 1 if name in texts else 0
        if not (line.isascii() and line.isdecimal() and 1 <= int(line) <= num_lines):
            raise DataError(f"the dataset has no line {task_id}", "score with the dataset that the problems were taken from")
        problems[task_id] = problem_at(texts[name], int(line))
    return problems


def _score_row(problem: Problem, sample: int, model: str, answer: str) -> dict[str, Any]:
    given, wanted = answer.strip(), problem.reference.strip()
    return {
        **{name: problem.document[name] for name in ("repo", "revision", "path", "language")},
        "line": problem.line,
        "sample": sample,
        "model": model,
        "exact_match": given == wanted,
        "edit_similarity": edit_similarity(given, wanted),
    }


def means_of(rows: Sequence[Mapping[str, Any]], model: str, metric: str) -> float | None:
    """Return the mean of a metric over the rows of a model; None where there are none."""
    values = [float(row[metric]) for row in rows if row["model"] == model]
    return sum(values) / len(values) if values else None
