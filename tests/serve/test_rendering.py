"""What is told of the tokens of a completion ends where its text ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stackwright.generate.engine import Completion
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.stream import TokenScores
from stackwright.serve.citing import Answer
from stackwright.serve.completing import Wanted
from stackwright.serve.infill_api import _Infill
from stackwright.serve.rendering import TokenTexts
from stackwright.serve.schema import InfillBody
from tests.generate.test_engine import NarrowCodec

CODEC = NarrowCodec()


def scored(text: str) -> tuple[TokenScores, ...]:
    return tuple(TokenScores(token, -1.0, ((token, -1.0),)) for token in CODEC.encode(text))


@pytest.mark.parametrize(("end", "names"), [(None, "a_secret"), (8, "a_secret"), (2, "a_"), (0, "")])
def test_tokens_beyond_the_text_are_not_told(end: int | None, names: str) -> None:
    found = TokenTexts(CODEC).logprobs(scored("a_secret"), end)
    assert "".join(found["tokens"]) == names
    assert found["text_offset"] == list(range(len(names)))


def test_places_go_on_from_part_to_part() -> None:
    texts = TokenTexts(CODEC)
    assert [place for place, _ in texts.placed(scored("ab"))] == [0, 1]
    assert [place for place, _ in texts.placed(scored("cd"), 3)] == [2]


def test_an_infilling_tells_no_token_of_what_was_withheld() -> None:
    completer: Any = SimpleNamespace(codec=CODEC)
    wanted = Wanted((1,), "", SamplingSettings(), num_scores=1)
    drawn = scored("a_secret")
    completion = Completion("a_", tuple(score.token_id for score in drawn), "length", 1, drawn)
    shown = _Infill(completer, InfillBody(n_probs=1), "small", wanted)._answer(Answer(completion))
    assert "".join(token["token"] for token in shown["completion_probabilities"]) == "a_"
