"""The parts that answers of every interface share: probabilities of tokens, reasons why a completion ended, citations."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from typing import Any

from stackwright.generate.stream import Codec, TokenScores
from stackwright.serve.citing import Answer

FINISH_REASONS: Mapping[str, str] = {"eot": "stop", "stop": "stop", "length": "length"}
WITHHELD_REASON = "content_filter"


def finish_reason(answer: Answer) -> str:
    """Return why a completion ended, in OpenAI's words."""
    return WITHHELD_REASON if answer.withheld else FINISH_REASONS[answer.completion.finish_reason]


def citation_fields(answer: Answer) -> dict[str, Any]:
    """Return our own fields of an answer: what the completion repeats, and what of it was kept back."""
    return {
        "citations": [span.to_json() for span in answer.citations],
        "withheld": [span.to_json() for span in answer.withheld],
        "citations_complete": answer.is_complete,
    }


class TokenTexts:
    """Names the tokens of one completion, one after the other, with where each begins in its text."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def name(self, token_id: int) -> str:
        """Return a token as text. Bytes that are no whole character become U+FFFD."""
        return self._codec.token_bytes(token_id).decode("utf-8", "replace")

    def placed(self, scores: Iterable[TokenScores], end: int | None = None) -> list[tuple[int, TokenScores]]:
        """Return the next tokens with where each begins, in characters.

        Those that begin at `end` or later are left out: of a stop text, or of what was withheld, nothing may be seen.
        """
        found = []
        for score in scores:
            if end is None or self._length < end:
                found.append((self._length, score))
            self._length += len(self._decoder.decode(self._codec.token_bytes(score.token_id)))
        return found

    def logprobs(self, scores: Iterable[TokenScores], end: int | None = None) -> dict[str, Any]:
        """Return OpenAI's `logprobs` of the tokens that `placed` returns."""
        kept = self.placed(scores, end)
        return {
            "tokens": [self.name(score.token_id) for _, score in kept],
            "token_logprobs": [score.logprob for _, score in kept],
            "top_logprobs": [{self.name(token): value for token, value in score.likeliest} for _, score in kept],
            "text_offset": [place for place, _ in kept],
        }
