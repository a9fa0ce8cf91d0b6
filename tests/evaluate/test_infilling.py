"""Problems are held out, spread and stable; a perfect answer scores 1, none scores 0; prompts are those of the line."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from stackwright.artifact import Staging, Table, load_artifact, part_name
from stackwright.document import DOCUMENTS
from stackwright.errors import DataError
from stackwright.evaluate.bits_per_byte import MODEL
from stackwright.evaluate.completions import CompletionRecord, dump_completions, load_completions, prompt_digest
from stackwright.evaluate.infilling import (
    LINES_PER_DOCUMENT,
    PREVIOUS_LINE,
    Problem,
    choose_problems,
    complete_problems,
    means_of,
    problem_at,
    qualifying_lines,
    score_completions,
)
from stackwright.log import SilentProgress
from tests.fakes import ByteTokenizer, ScriptedBackend

TASK = SilentProgress().task("infill", 1, "problems")
TEXT = "import os\n\n    total = compute(alpha)\n    total = compute(alpha)\nx = 1\nreturn total + 1\n\n# the very end\n\n"


def document(path: str = "a.py", content: str = TEXT, language: str = "Python") -> dict[str, str]:
    return {"repo": "own/repo", "revision": "1@2", "path": path, "language": language, "content": content}


def table_of(folder: Path, documents: Sequence[dict[str, str]]) -> Table:
    filler = {"content_id": "", "size_bytes": 0, "src_encoding": "utf-8", "source": "directory"}
    flags = {"is_vendor": False, "is_generated": False}
    rows = [{**dict.fromkeys(DOCUMENTS.names), **filler, **flags, **entry} for entry in documents]
    Staging.open(folder, {"documents": DOCUMENTS}).write_table_part("documents", 0, rows)
    return Table("documents", (folder / part_name("documents", 0),), len(rows))


def numbered(path: str, lines: int, language: str = "Python") -> dict[str, str]:
    return document(path, "".join(f"value_{number} = {number} + {path!r}\n" for number in range(lines)), language)


MANY = [numbered(f"{name}.py", 30) for name in "abcdefgh"] + [
    numbered("z.md", 30, "Markdown"),
    numbered("y.md", 2, "Markdown"),
]


def test_a_line_qualifies_by_length_by_being_new_and_by_what_follows() -> None:
    assert qualifying_lines(TEXT) == [1, 3, 6]
    assert qualifying_lines("") == []
    assert qualifying_lines("the only line\n") == []


def test_a_problem_and_its_line_make_the_document() -> None:
    for line in range(1, TEXT.count("\n") + 2):
        problem = problem_at(document(), line)
        assert problem.prefix + problem.reference + problem.suffix == TEXT
        assert problem.task_id == f"own/repo@1@2:a.py#{line}"
        assert problem.reference == TEXT.split("\n")[line - 1]
    assert problem_at(document(), 3).previous_line == "import os"
    assert problem_at(document(), 1).previous_line == ""


def test_problems_are_stable_under_the_seed_and_change_with_it() -> None:
    chosen = [problem.task_id for problem in choose_problems(MANY, 30, seed=0)]
    assert chosen == [problem.task_id for problem in choose_problems(MANY, 30, seed=0)]
    assert set(chosen) != {problem.task_id for problem in choose_problems(MANY, 30, seed=1)}
    assert chosen[:10] == [problem.task_id for problem in choose_problems(MANY, 10, seed=0)]


def test_problems_are_spread_over_documents_and_languages() -> None:
    few, many = choose_problems(MANY, 10, seed=0), choose_problems(MANY, 10_000, seed=0)
    assert Counter(problem.document["language"] for problem in few) == {"Python": 5, "Markdown": 5}
    assert len({problem.document["path"] for problem in few if problem.document["language"] == "Python"}) == 5
    assert max(Counter(problem.document["path"] for problem in many).values()) == LINES_PER_DOCUMENT
    assert len({problem.task_id for problem in many}) == len(many)
    assert choose_problems(MANY, 0, seed=0) == []


class AnsweringBackend:
    """Answers each prompt it knows with its text; anything else with a newline."""

    max_seq_len = 4096

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def open(self, capacity: int) -> AnsweringBackend:
        del capacity
        self.session: ScriptedBackend | None = None
        return self

    def feed(self, ids: Sequence[int]) -> Tensor:
        if self.session is None:
            answer = self.answers.get(prompt_digest(ids), "")
            self.session = ScriptedBackend(f"{answer}\n".encode(), self.max_seq_len)
        return self.session.feed(ids)


def perfect(problems: Sequence[Problem]) -> AnsweringBackend:
    codec = ByteTokenizer()
    prompts = [codec.fim.infill_prompt(codec.encode(p.prefix), codec.encode(p.suffix)) for p in problems]
    return AnsweringBackend({prompt_digest(prompt): p.reference for prompt, p in zip(prompts, problems, strict=True)})


@pytest.mark.parametrize(("knows", "expected"), [(True, 1.0), (False, 0.0)])
def test_perfect_answers_score_one_and_empty_ones_zero(tmp_path: Path, knows: bool, expected: float) -> None:
    documents = table_of(tmp_path / "dataset", MANY)
    problems = choose_problems(MANY, 20, seed=3)
    backend = perfect(problems if knows else [])
    records = complete_problems(backend, ByteTokenizer(), problems, 60, TASK)
    assert {record.finish_reason for record in records} == {"stop"}
    path = tmp_path / "completions.jsonl"
    path.write_text(dump_completions(records))
    rows = score_completions(path, documents)
    assert means_of(rows, MODEL, "exact_match") == expected
    assert means_of(rows, MODEL, "edit_similarity") == expected
    assert means_of(rows, PREVIOUS_LINE, "exact_match") == 0.0
    assert len(rows) == 2 * len(problems)


def record(task_id: str, completion: str, **changes: object) -> CompletionRecord:
    values = {"task": "single_line_infilling", "task_version": 1, "sample": 0, "prompt_sha256": "", "finish_reason": "stop"}
    return CompletionRecord(task_id=task_id, completion=completion, **{**values, **changes})  # type: ignore[arg-type]


def test_white_space_around_a_line_does_not_count_and_the_previous_line_is_copied(tmp_path: Path) -> None:
    documents = table_of(tmp_path / "dataset", [document()])
    path = tmp_path / "answers.jsonl"
    answers = [
        record("own/repo@1@2:a.py#3", "total = compute(alpha) "),
        record("own/repo@1@2:a.py#4", "total = compute(beta)"),
    ]
    path.write_text(dump_completions(answers))
    rows = {(row["line"], row["model"]): row for row in score_completions(path, documents)}
    assert rows[3, MODEL]["exact_match"]
    assert not rows[4, MODEL]["exact_match"]
    assert 0.7 < rows[4, MODEL]["edit_similarity"] < 1
    assert not rows[3, PREVIOUS_LINE]["exact_match"]
    assert rows[4, PREVIOUS_LINE]["exact_match"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (record("own/repo@1@2:a.py#99", ""), r"the dataset has no line own/repo@1@2:a.py#99; score with the dataset"),
        (record("own/repo@1@2:b.py#1", ""), "the dataset has no line"),
        (record("own/repo@1@2:a.py#0", ""), "the dataset has no line"),
        (record("nonsense", ""), "the dataset has no line nonsense"),
        (record("own/repo@1@2:a.py#1", "", task_version=9), "answers single_line_infilling version 9, this scores"),
        (record("own/repo@1@2:a.py#1", "", task="other"), "answers other version 1"),
    ],
)
def test_completions_that_do_not_belong_are_refused(tmp_path: Path, changed: CompletionRecord, message: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(dump_completions([changed]))
    with pytest.raises(DataError, match=message):
        score_completions(path, table_of(tmp_path / "dataset", [document()]))


LINE = dump_completions([record("own/repo@1@2:a.py#1", "x")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no line; generate the completions again"),
        (LINE + "{", "line 2 is not JSON"),
        (LINE + '{"task":"a"}', r"line 2 has keys \['task'\]; write exactly task, task_version"),
        (LINE + "[]", r"line 2 has keys \[\]"),
        (LINE.replace('"sample":0', '"sample":true'), "line 1 has sample = True; write sample as int"),
        (LINE + LINE, "line 2 repeats sample 0 of own/repo@1@2:a.py#1; remove one"),
    ],
)
def test_damaged_completions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_completions(path)


def test_missing_completions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_completions(tmp_path / "none.jsonl")


def test_completions_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = [record("r@1:a.py#1", 'a\u2028b\x85\r"\\ é\n', sample=number) for number in range(2)]
    (tmp_path / "answers.jsonl").write_text(dump_completions(records), newline="")
    assert load_completions(tmp_path / "answers.jsonl") == records


def test_a_long_file_is_cut_to_the_context_around_the_line_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The budget is the context less the answer; what stays is what stands next to the line."""
    long = numbered("long.py", 400)
    backend = ScriptedBackend(b"\n", max_seq_len=64)
    with caplog.at_level(logging.WARNING):
        complete_problems(backend, ByteTokenizer(), [problem_at(long, 200)], 16, TASK)
    fim = ByteTokenizer.fim
    [prompt] = backend.fed
    assert len(prompt) == 64 - 16
    before, after = bytes(prompt[1 : prompt.index(fim.suffix)]), bytes(prompt[prompt.index(fim.suffix) + 1 : -1])
    problem = problem_at(long, 200)
    assert problem.prefix.encode().endswith(before)
    assert problem.suffix.encode().startswith(after)
    assert len(before) > len(after) > 0
    assert caplog.records == []


def test_an_answer_takes_at_most_half_of_a_small_context() -> None:
    backend = ScriptedBackend(b"a" * 100, max_seq_len=20)
    [answer] = complete_problems(backend, ByteTokenizer(), [problem_at(document(), 3)], 48, TASK)
    assert (answer.completion, answer.finish_reason) == ("a" * 10, "length")


def test_problems_of_a_run_are_held_out(finished_run: Path) -> None:
    rows = load_artifact(finished_run / "dataset").table("documents").read().to_pylist()
    splits = {(row["repo"], row["path"]): row["split"] for row in rows}
    infills = load_artifact(finished_run / "evaluation").table("infilling").read().to_pylist()
    assert infills
    assert {splits[row["repo"], row["path"]] for row in infills} == {"test"}
    trained = {repo for (repo, _), split in splits.items() if split == "train"}
    assert not trained & {row["repo"] for row in infills}
