"""What is given out of a completion that repeats the training data, by policy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stackwright.attribute.index import Citation, Match, Origin
from stackwright.generate.engine import Completion
from stackwright.serve.citing import ATTEMPTS, PROMPT_TAIL, Answer, BlockRule, Citer
from stackwright.serve.faults import ApiError

ORIGIN = Origin("directory/a", "1", "a.py", 1, 3, 0, 60, "c" * 40, "MIT", "train")


class Repeats:
    """Stands for an index that knows some texts, each under a licence, and reads them from disk."""

    is_loaded = False

    def __init__(self, known: dict[str, str | None]) -> None:
        self._known = known
        self.asked: list[tuple[str, int]] = []

    def cite(self, text: str, since: int = 0) -> Citation:
        self.asked.append((text, since))
        matches = [
            Match(text.index(part), text.index(part) + len(part), "verbatim", (replace(ORIGIN, license=name),), 1, False)
            for part, name in self._known.items()
            if part in text and text.index(part) + len(part) > since
        ]
        return Citation(tuple(sorted(matches, key=lambda match: match.start)), len(text), 5, True)


def citer(known: dict[str, str | None], rule: BlockRule | None = None) -> Citer:
    index: Any = Repeats(known)
    return Citer(index, rule)


def completion(text: str) -> Completion:
    return Completion(text, (1, 2, 3), "length", 4)


def blocked(one: Citer, prompt: str, texts: list[str]) -> tuple[Answer, list[int]]:
    attempts: list[int] = []

    async def draw(attempt: int) -> Completion:
        attempts.append(attempt)
        return completion(texts[attempt])

    return asyncio.run(one.block(prompt, draw)), attempts


def test_no_more_texts_wait_than_may() -> None:
    index: Any = Repeats({})
    one = Citer(index, most_waiting=3)

    async def ask(count: int) -> list[object]:
        return await asyncio.gather(*(one.search("text") for _ in range(count)), return_exceptions=True)

    answers = asyncio.run(ask(5))
    assert [isinstance(answer, ApiError) for answer in answers] == [False] * 3 + [True] * 2
    assert isinstance(answers[-1], ApiError)
    assert (answers[-1].status, answers[-1].retry_after) == (429, 1)
    assert not any(isinstance(answer, ApiError) for answer in asyncio.run(ask(3)))


def test_a_span_is_placed_in_the_completion() -> None:
    one = citer({"copied text": "MIT", "of the prompt": "MIT"})
    answer = asyncio.run(one.annotate("is of the prompt, cop", completion("ied text and more")))
    (span,) = answer.citations
    assert (span.start, span.end) == (-3, 8)
    assert answer.completion.text == "ied text and more"
    assert one.completions == one.with_citations == 1


def test_the_end_of_a_long_prompt_is_looked_at() -> None:
    one = citer({"copied": "MIT"})
    asyncio.run(one.cite("x" * 10_000 + "cop", "ied"))
    asyncio.run(one.cite("", "copied"))
    index: Any = one._index
    assert [(len(text), since) for text, since in index.asked] == [(PROMPT_TAIL + 3, PROMPT_TAIL), (6, 0)]


@pytest.mark.parametrize(
    ("licence", "is_forbidden"),
    [("MIT", False), ("MIT OR GPL-3.0-only", False), ("GPL-3.0-only", True), ("MIT AND GPL-3.0-only", True), (None, True)],
)
def test_a_span_is_forbidden_by_the_class_of_its_licences(licence: str | None, is_forbidden: bool) -> None:
    span = Match(0, 60, "verbatim", (replace(ORIGIN, license=licence),), 1, False)
    assert BlockRule().forbids(span) == is_forbidden
    assert not BlockRule().forbids(replace(span, kind="boilerplate"))
    # Who may use one of its origins may use the span.
    assert not BlockRule().forbids(replace(span, origins=(*span.origins, ORIGIN), num_origins=2))


def test_a_span_is_forbidden_by_its_length() -> None:
    span = Match(-10, 50, "verbatim", (ORIGIN,), 1, False)
    assert BlockRule(most_characters=60).forbids(span)
    assert not BlockRule(most_characters=61).forbids(span)


def test_a_forbidden_span_is_drawn_anew() -> None:
    answer, attempts = blocked(citer({"secret": "GPL-3.0-only"}), "", ["a secret", "b secret", "a novelty"])
    assert attempts == [0, 1, 2]
    assert (answer.completion.text, answer.withheld, answer.attempts) == ("a novelty", (), 3)
    answer, attempts = blocked(citer({"secret": "MIT"}), "", ["a secret"])
    assert (answer.completion.text, attempts, len(answer.citations)) == ("a secret", [0], 1)


def test_what_comes_again_is_withheld() -> None:
    one = citer({"secret": "GPL-3.0-only", "said before": "MIT", "before a sec": "MIT"})
    answer, attempts = blocked(one, "", ["said before a secret ends", "b secret", "c secret"])
    assert attempts == list(range(ATTEMPTS))
    assert answer.completion.text == "said before a "
    assert [(span.start, span.end) for span in answer.withheld] == [(14, 20)]
    assert [(span.start, span.end) for span in answer.citations] == [(0, 11), (5, 14)]


def test_nothing_is_left_of_a_copy_that_began_in_the_prompt() -> None:
    answer, _ = blocked(citer({"my secret": None}), "this is my ", ["secret, and more"] * ATTEMPTS)
    assert answer.completion.text == ""
    assert (answer.withheld[0].start, answer.citations) == (-3, ())
