"""What a completion repeats of the training data, and what is done about it.

In: a prompt and its completion. Out: the citations that reach into the completion, and, by policy, what of it may be given
out. A copy often begins in the prompt: so the end of the prompt is looked at with the completion, and a citation says how
far it reaches back. Text is normalised for the search as the index says; offsets are characters of the completion.

- `allow`: nothing is looked for.
- `annotate`: citations are reported and nothing is changed.
- `block`: a span that the rule forbids is drawn anew with other seeds; where it comes again, the completion ends before it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stackwright.attribute.index import Citation, Index, Match
from stackwright.generate.engine import Completion
from stackwright.govern.licenses.classes import LicenseClass
from stackwright.govern.licenses.expressions import evaluate
from stackwright.serve.worker import Worker

Policy = Literal["annotate", "block", "allow"]

PROMPT_TAIL = 400
"""Characters of the prompt that are looked at with its completion."""

QUICK_CHARACTERS = 4_000
"""A text up to this length is looked up in texts in memory in some 0.1 ms, seldom in ten; going to a thread takes longer."""

ATTEMPTS = 3
"""How often a completion is drawn before a span that may not be given out is withheld."""


@dataclass(frozen=True)
class BlockRule:
    """Which spans may not be given out: by the class of the licences they come under, or by their length.

    A span whose origins are all under a class in `classes` is blocked; so is one of `most_characters` or more, whatever its
    licence. Boilerplate, which stands in very many files, is blocked by neither.
    """

    classes: frozenset[LicenseClass] = frozenset(["weak_copyleft", "copyleft", "non_free", "unknown", "none"])
    most_characters: int | None = None

    def forbids(self, span: Match) -> bool:
        if span.kind == "boilerplate":
            return False
        if self.most_characters is not None and span.end - span.start >= self.most_characters:
            return True
        return all(_class_of(origin.license) in self.classes for origin in span.origins)


def _class_of(license_name: str | None) -> LicenseClass:
    return evaluate(license_name)[0] if license_name else "none"


@dataclass(frozen=True)
class Answer:
    """A completion as it is given out, with what it repeats.

    `withheld` are the spans that were cut off with all that follows them, by their places in the completion that was drawn;
    `attempts` says how many completions were drawn.
    """

    completion: Completion
    citations: tuple[Match, ...] = ()
    withheld: tuple[Match, ...] = ()
    attempts: int = 1
    is_complete: bool = True  # whether the search for citations got to its end


class Citer:
    """Looks texts up in one index, in a thread of its own: one at a time, while the event loop goes on.

    Args:
        most_waiting: texts that may wait; completions are as few as the batch anyway.
    """

    def __init__(self, index: Index, rule: BlockRule | None = None, most_waiting: int | None = None) -> None:
        self._index, self.rule = index, rule or BlockRule()
        self._worker = Worker("index", most_waiting)
        self.seconds = 0.0  # spent in looking up
        self.completions = self.with_citations = 0

    async def search(self, text: str, since: int = 0) -> Citation:
        """Look any text up; spans that end before character `since` are not sought.

        Raises:
            ApiError: 429, when too many texts wait already.
        """
        is_quick = self._index.is_loaded and len(text) <= QUICK_CHARACTERS
        return await self._worker.run(lambda: self._search(text, since), is_quick=is_quick)

    def _search(self, text: str, since: int) -> Citation:
        begun = time.perf_counter()
        found = self._index.cite(text, since)
        self.seconds += time.perf_counter() - begun
        return found

    async def cite(self, prompt: str, text: str) -> tuple[tuple[Match, ...], bool]:
        """Return the spans of a completion that stand in the training data, and whether the search got to its end.

        Offsets are characters of the completion; `start` is negative where a span begins in the prompt.
        """
        tail = prompt[len(prompt) - min(len(prompt), PROMPT_TAIL) :]
        found = await self.search(tail + text, len(tail))
        spans = tuple(
            replace(match, start=match.start - len(tail), end=match.end - len(tail))
            for match in found.matches
            if match.end > len(tail)
        )
        self.completions += 1
        self.with_citations += bool(spans)
        return spans, found.is_complete

    async def annotate(self, prompt: str, completion: Completion) -> Answer:
        """Return a completion with its citations."""
        citations, is_complete = await self.cite(prompt, completion.text)
        return Answer(completion, citations, is_complete=is_complete)

    async def block(self, prompt: str, draw: Callable[[int], Awaitable[Completion]]) -> Answer:
        """Return a completion without spans that may not be given out.

        Args:
            draw: returns the completion of an attempt, 0 the one that was asked for; later ones are drawn with other seeds.
        """
        first: Answer | None = None
        for attempt in range(ATTEMPTS):
            answer = replace(await self.annotate(prompt, await draw(attempt)), attempts=attempt + 1)
            if not self._forbidden(answer.citations):
                return answer
            first = first or answer
        assert first is not None
        return self._withhold(replace(first, attempts=ATTEMPTS))

    def _forbidden(self, spans: Sequence[Match]) -> list[Match]:
        return [span for span in spans if self.rule.forbids(span)]

    def _withhold(self, answer: Answer) -> Answer:
        """End a completion before the first span that may not be given out; none is left if that began in the prompt."""
        forbidden = self._forbidden(answer.citations)
        end = max(0, min(span.start for span in forbidden))
        kept = replace(answer.completion, text=answer.completion.text[:end])
        # What is left of a span that reaches into the text that is given out is still a citation.
        citations = tuple(
            replace(span, end=min(span.end, end)) for span in answer.citations if span.start < end and span not in forbidden
        )
        return replace(answer, completion=kept, citations=citations, withheld=tuple(forbidden))
