"""Completions name what they repeat; the ledger answers; a filed request waits for the operator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackwright.govern.removals import request_log
from stackwright.serve.faults import ApiError
from stackwright.serve.lookups import HourlyLimit
from tests.serve.api.conftest import KEY, Api
from tests.serve.page.browser import planted_text
from tests.serve.page.server import serving

REPO, PATH = "directory/repo01", "src/module0.py"


@pytest.fixture(scope="module")
def copied(api: Api, api_run: Path) -> tuple[str, dict[str, object]]:
    """A prompt that the model continues as a file of the run does, and the choice that says so."""
    text = planted_text(api_run, REPO, PATH, slice(None))
    for cut in range(90, len(text)):
        if not text[cut].isspace():  # blanks count for nothing in a copy
            body = {"prompt": text[cut - 90 : cut], "max_tokens": 2, "temperature": 0}
            choice = api.post("v1/completions", body).json()["choices"][0]
            if any(span["kind"] == "verbatim" for span in choice["citations"]):
                return body["prompt"], choice  # type: ignore[return-value]
    raise AssertionError("the model continues no place of the file as the file does")


def test_a_completion_says_what_it_repeats(api: Api, copied: tuple[str, dict[str, object]]) -> None:
    prompt, choice = copied
    assert choice["withheld"] == []
    assert choice["citations_complete"] is True
    origins = [
        (origin["repo"], origin["path"], origin["license"])
        for span in choice["citations"]  # type: ignore[attr-defined]
        for origin in span["origins"]
    ]
    assert (REPO, PATH, "Apache-2.0") in origins
    for span in choice["citations"]:  # type: ignore[attr-defined]
        whole = prompt + str(choice["text"])
        cited = whole[len(prompt) + span["start"] : len(prompt) + span["end"]]
        assert span["start"] < 0 < span["end"] <= len(str(choice["text"]))
        assert " ".join(cited.split()) in " ".join(planted_text(api.run, REPO, PATH, slice(None)).split())


def test_the_last_event_of_a_stream_has_the_citations(api: Api, copied: tuple[str, dict[str, object]]) -> None:
    prompt, choice = copied
    body = {"prompt": prompt, "max_tokens": 2, "temperature": 0, "stream": True}
    lines = api.post("v1/completions", body).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert events[-1]["choices"][0]["citations"] == choice["citations"]
    assert all("citations" not in event["choices"][0] for event in events[:-1])
    infilled = api.post("infill", {"input_prefix": prompt, "input_suffix": "", "n_predict": 2}).json()
    assert set(infilled) >= {"citations", "withheld", "citations_complete"}


def test_what_is_blocked_comes_in_one_event(api: Api, copied: tuple[str, dict[str, object]]) -> None:
    """A copy of permissive code is cited and given out; nothing of an answer is given out before it was looked up."""
    prompt, choice = copied
    with serving(api.run / "release", "--index", str(api.run / "index"), "--policy", "block") as address:
        blocking = Api(address, api.run)
        assert blocking.get("about").json()["policy"] == "block"
        body = {"prompt": prompt, "max_tokens": 2, "temperature": 0, "n": 2, "logprobs": 0}
        for answer in blocking.post("v1/completions", body).json()["choices"]:
            assert (answer["text"], answer["citations"]) == (choice["text"], choice["citations"])
            assert (answer["withheld"], answer["finish_reason"]) == ([], choice["finish_reason"])
        lines = blocking.post("v1/completions", {**body, "stream": True}).text.split("\n\n")
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert sorted(event["choices"][0]["index"] for event in events) == [0, 1]
        assert [event["choices"][0]["text"] for event in events] == [choice["text"]] * 2
        infilled = blocking.post("infill", {"input_prefix": prompt, "input_suffix": "", "n_predict": 2, "n_probs": 1})
        assert len(infilled.json()["completion_probabilities"]) == infilled.json()["tokens_predicted"]
        assert blocking.metric("stackwright_cited_completions_total") == 5


def test_a_model_without_index_and_run_says_so(release_api: Api) -> None:
    about = release_api.get("about").json()
    assert (about["policy"], about["has_index"], about["has_run"]) == ("allow", False, False)
    assert about["card"].startswith("---\n")
    choice = release_api.post("v1/completions", {"prompt": "import math", "max_tokens": 2}).json()["choices"][0]
    assert (choice["citations"], choice["withheld"]) == ([], [])
    for path, body in (
        ("cite", {"text": "x"}),
        ("lookup", {"target": REPO}),
        ("removal-requests", {"target": REPO, "requester": "Ada", "reason": "mine"}),
    ):
        response = release_api.post(path, body)
        assert response.status_code == 404
        assert "this server has no" in response.json()["error"]["message"]


def test_any_text_is_cited(api: Api) -> None:
    text = "# mine\n" + planted_text(api.run, REPO, PATH, slice(4, 20))
    found = api.post("cite", {"text": text}).json()
    assert found["matches"]
    assert found["matches"][0]["origins"][0]["repo"].startswith("directory/")
    assert api.post("cite", {"text": "short"}).json()["matches"] == []


def test_the_ledger_answers(api: Api) -> None:
    repository = api.post("lookup", {"target": REPO}).json()
    assert repository["kind"] == "repository"
    assert repository["num_documents"] == sum(repository["verdicts"].values()) > 3
    assert len(repository["documents"]) <= 20
    file = api.post("lookup", {"target": f"{REPO}:{PATH}"}).json()
    assert (file["kind"], file["verdicts"]) == ("document", {"keep": 1})
    unknown = api.post("lookup", {"target": "directory/repo1"})
    assert unknown.status_code == 404
    assert "'repo01'" in unknown.json()["error"]["message"]
    account = api.post("lookup", {"target": "account:nobody"})
    assert account.status_code == 404
    assert "no repository of 'nobody' was seen" in account.json()["error"]["message"]


def test_a_filed_request_is_recorded_and_changes_nothing(api: Api) -> None:
    answer = api.post("removal-requests", {"target": REPO, "requester": "Ada <ada@example.org>", "reason": "I wrote it"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "open"
    assert answer.json()["num_files"] > 3
    (request,) = [one for one in request_log(api.run).requests() if one.id == answer.json()["id"]]
    assert (request.target, request.requester, request.state) == (REPO, "Ada <ada@example.org>", "open")
    found = api.post("lookup", {"target": REPO}).json()
    assert found["verdicts"]["keep"] > 3
    assert [one["id"] for one in found["requests"]] == [request.id]
    absent = api.post("removal-requests", {"target": "directory/elsewhere", "requester": "Ada", "reason": "mine"})
    assert absent.json()["num_files"] == 0
    bad = api.post("removal-requests", {"target": "repo01", "requester": "Ada", "reason": "mine"})
    assert bad.status_code == 400
    assert "'repo01' is not a target" in bad.json()["error"]["message"]
    for field in ("target", "requester", "reason"):
        whole = {"target": REPO, "requester": "Ada", "reason": "mine"}
        assert api.post("removal-requests", {**whole, field: ""}).status_code == 400
        assert api.post("removal-requests", {**whole, field: "x" * 1_001}).status_code == 400


def test_one_address_files_five_requests_an_hour(keyed_api: Api) -> None:
    statuses = []
    for number in range(6):
        body = {"target": f"directory/repo{number:02d}", "requester": "Ada", "reason": "mine"}
        response = keyed_api.post("removal-requests", body, Authorization=f"Bearer {KEY}")
        statuses.append(response.status_code)
    assert statuses == [200] * 5 + [429]
    assert 3_500 < int(response.headers["retry-after"]) <= 3_600


def test_limits_are_by_hour_and_by_client() -> None:
    now = [0.0]
    limit = HourlyLimit(each=2, in_all=3, clock=lambda: now[0])
    limit.take("one")
    now[0] = 600
    limit.take("one")
    with pytest.raises(ApiError, match="2 requests an hour are taken; ask again in 3001 s"):
        limit.take("one")
    limit.take("other")
    with pytest.raises(ApiError, match="3 requests an hour are taken"):
        limit.take("third")
    now[0] = 3_600
    limit.take("one")
    with pytest.raises(ApiError):
        limit.take("third")
