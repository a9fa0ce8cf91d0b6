"""The real `openai` client gets from the server what the library draws."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from stackwright.generate.engine import complete
from stackwright.generate.infill import build_prompt
from stackwright.generate.load import LoadedModel, load_model
from stackwright.generate.sampling import SamplingSettings
from tests.serve.api.conftest import Api

PROMPT = "def alpha_1(value, limit=3):\n"


@pytest.fixture(scope="module")
def loaded(api_run: Path) -> LoadedModel:
    return load_model(api_run)


def drawn(loaded: LoadedModel, prompt: str, suffix: str | None = None, **values: object) -> str:
    settings = SamplingSettings(**values)  # type: ignore[arg-type]
    ids = build_prompt(loaded.tokenizer, prompt, suffix, 10_000)
    return complete(loaded.backend, loaded.tokenizer, ids, settings).text


def test_greedy_completions_are_those_of_the_library(api: Api, loaded: LoadedModel) -> None:
    answer = api.openai.completions.create(model="small", prompt=PROMPT, max_tokens=20, temperature=0)
    assert answer.choices[0].text == drawn(loaded, PROMPT, max_new_tokens=20)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(loaded.tokenizer.encode(PROMPT)), 20)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 20


def test_a_suffix_makes_the_prompt_a_gap(api: Api, loaded: LoadedModel) -> None:
    answer = api.openai.completions.create(model="small", prompt=PROMPT, suffix="    return x", max_tokens=12, temperature=0)
    assert answer.choices[0].text == drawn(loaded, PROMPT, "    return x", max_new_tokens=12)
    assert answer.choices[0].text != drawn(loaded, PROMPT, max_new_tokens=12)


def test_sampling_and_stops_are_those_of_the_library(api: Api, loaded: LoadedModel) -> None:
    for seed in (1, 2):
        answer = api.openai.completions.create(
            model="small", prompt=PROMPT, max_tokens=20, temperature=0.9, top_p=0.8, seed=seed, extra_body={"top_k": 30}
        )
        values = {"temperature": 0.9, "top_p": 0.8, "top_k": 30, "seed": seed}
        assert answer.choices[0].text == drawn(loaded, PROMPT, max_new_tokens=20, **values)
    whole = drawn(loaded, PROMPT, max_new_tokens=20)
    stop = whole[5:8]
    stopped = api.openai.completions.create(model="small", prompt=PROMPT, max_tokens=20, temperature=0, stop=[stop])
    assert stopped.choices[0].text == whole[: whole.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    # Tokens of the stop text are drawn and counted, and nobody sees them.
    scored = api.openai.completions.create(
        model="small", prompt=PROMPT, max_tokens=20, temperature=0, stop=[stop], logprobs=0
    )
    (choice,) = scored.choices
    assert choice.logprobs is not None
    assert all(offset < len(choice.text) for offset in choice.logprobs.text_offset)
    assert len(choice.logprobs.tokens) < scored.usage.completion_tokens  # type: ignore[union-attr]


def test_choices_have_seeds_of_their_own(api: Api) -> None:
    def ask(seed: int) -> list[str]:
        answer = api.openai.completions.create(model="small", prompt=PROMPT, max_tokens=16, n=4, seed=seed)
        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
        return [choice.text for choice in answer.choices]

    first = ask(10)
    assert len(set(first)) == 4
    assert ask(10) == first
    assert ask(11)[:3] == first[1:]  # choice i of a prompt is drawn with seed + i


def test_several_prompts_are_answered_in_order(api: Api, loaded: LoadedModel) -> None:
    prompts = [PROMPT, "import math\n", "export const"]
    answer = api.openai.completions.create(model="small", prompt=prompts, max_tokens=9, temperature=0, n=2)
    texts = [choice.text for choice in answer.choices]
    assert texts == [drawn(loaded, prompt, max_new_tokens=9) for prompt in prompts for _ in range(2)]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(len(loaded.tokenizer.encode(prompt)) for prompt in prompts)
    ids = [loaded.tokenizer.encode(prompt) for prompt in prompts]
    again = api.openai.completions.create(model="small", prompt=ids, max_tokens=9, temperature=0)
    assert [choice.text for choice in again.choices] == texts[::2]


def test_a_stream_joins_to_the_whole(api: Api) -> None:
    values = {
        "model": "small",
        "prompt": [PROMPT, "é😀 ="],
        "max_tokens": 24,
        "temperature": 0.8,
        "n": 2,
        "seed": 5,
        "logprobs": 2,
    }
    whole = api.openai.completions.create(**values)
    events = list(api.openai.completions.create(**values, stream=True, stream_options={"include_usage": True}))
    texts, reasons, names = [""] * 4, [[] for _ in range(4)], [[] for _ in range(4)]
    for event in events[:-1]:
        (choice,) = event.choices
        texts[choice.index] += choice.text
        reasons[choice.index].append(choice.finish_reason)
        names[choice.index] += choice.logprobs.tokens
    assert texts == [choice.text for choice in whole.choices]
    assert names == [choice.logprobs.tokens for choice in whole.choices]
    for index, choice in enumerate(whole.choices):
        assert reasons[index] == [None] * (len(reasons[index]) - 1) + [choice.finish_reason]
    assert len(events) > 8
    assert events[-1].choices == []
    assert events[-1].usage == whole.usage
    assert len({event.id for event in events}) == 1


def test_probabilities_belong_to_the_tokens(api: Api) -> None:
    answer = api.openai.completions.create(model="small", prompt=PROMPT, max_tokens=10, temperature=0, logprobs=3)
    (choice,) = answer.choices
    found = choice.logprobs
    assert found is not None
    assert "".join(found.tokens) == choice.text
    for token, logprob, best, offset in zip(found.tokens, found.token_logprobs, found.top_logprobs, found.text_offset):
        assert choice.text[offset:].startswith(token)
        assert best[token] == logprob == max(best.values()) <= 0
        assert len(best) == 3


def test_the_model_is_listed(api: Api) -> None:
    (model,) = api.openai.models.list().data
    assert model.id == "small"
    assert api.openai.models.retrieve("small") == model
    with pytest.raises(openai.NotFoundError, match="there is no model 'large'; this server has 'small'"):
        api.openai.models.retrieve("large")


def test_refusals_reach_the_client_with_value_and_rule(api: Api) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature is -1") as caught:
        api.openai.completions.create(model="small", prompt="x", temperature=-1)
    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"
