"""Requests in the shapes that editors send, as their documentation has them: answered with what each reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serve.api.conftest import Api

SHAPES = Path(__file__).parent / "shapes"
CASES = [
    pytest.param(shape, id=f"{file.stem}-{number}")
    for file in sorted(SHAPES.glob("*.json"))
    for number, shape in enumerate(json.loads(file.read_text("utf-8")))
]


def value_at(answer: Any, path: str) -> Any:
    for part in path.split("/"):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer


@pytest.mark.parametrize("shape", CASES)
def test_an_editor_gets_what_it_reads(api: Api, shape: dict[str, Any]) -> None:
    response = api.post(shape["path"], shape["body"])
    assert response.status_code == 200, response.text
    if shape.get("stream"):
        lines = [line for line in response.text.split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        assert events
    else:
        events = [response.json()]
    for event in events:
        for path in shape["reads"]:
            assert value_at(event, path) is not None


def test_reading_a_prompt_ahead_makes_the_next_request_begin_where_it_differs(api: Api) -> None:
    before = api.metric("stackwright_reused_tokens_total")
    body = {"input_prefix": "counter = 1\n" * 3, "input_suffix": "\nreturn counter\n"}
    ahead = api.post("infill", {**body, "n_predict": 0}).json()
    assert (ahead["content"], ahead["tokens_predicted"]) == ("", 0)
    known = api.metric("stackwright_reused_tokens_total")
    asked = api.post("infill", {**body, "n_predict": 5}).json()
    assert asked["tokens_predicted"] == 5
    assert api.metric("stackwright_reused_tokens_total") - known == asked["tokens_evaluated"] - 1 > before - known


def test_chunks_of_other_files_stand_before_the_prefix(api: Api) -> None:
    def evaluated(extra: list[str]) -> int:
        body = {
            "input_prefix": "x = ",
            "input_suffix": "\n",
            "n_predict": 1,
            "input_extra": [{"text": text} for text in extra],
        }
        tokens: int = api.post("infill", body).json()["tokens_evaluated"]
        return tokens

    context = api.get("about").json()["context"]
    alone = evaluated([])
    assert evaluated(["def other(value):\n    return value"]) > alone + 5
    # One that does not fit a quarter of the context is left out, and so are those before it.
    assert evaluated(["y = 1", "value = limit\n" * context]) == alone


def test_an_infilling_streams_to_an_end(api: Api) -> None:
    body = {"input_prefix": "def alpha(value):\n", "input_suffix": "\n", "n_predict": 12, "n_probs": 3}
    whole = api.post("infill", body).json()
    lines = [line for line in api.post("infill", {**body, "stream": True}).text.split("\n\n") if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(event["content"] for event in events) == whole["content"]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert (whole["stop_type"], whole["tokens_predicted"]) == ("limit", 12)
    assert len(whole["completion_probabilities"]) == 12
    for token in whole["completion_probabilities"]:
        assert token["top_logprobs"][0]["logprob"] == token["logprob"]
        assert len(token["top_logprobs"]) == 3
    assert whole["timings"]["predicted_n"] == 12
    assert whole["timings"]["predicted_per_second"] > 0


def test_what_clients_of_llama_ask_first_is_answered(api: Api) -> None:
    props = api.get("props").json()
    assert props["default_generation_settings"]["n_ctx"] == api.get("about").json()["context"]
    assert props["total_slots"] == 16
    assert api.get("health").json() == {"status": "ok"}
