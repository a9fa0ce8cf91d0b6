"""Bad requests are told what is wrong, in OpenAI's form, with the value and the rule; the server goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.serve.api.conftest import KEY, Api


@pytest.fixture(autouse=True)
def _still_answers(api: Api) -> Iterator[None]:
    yield
    assert api.get("ready").json() == {"status": "ready"}


def refusal(response: httpx.Response, status: int) -> str:
    """Return the message of an error that has OpenAI's form."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"promt": "x"}, "unknown field 'promt'; did you mean prompt?"),
        ({"prompt": "x", "colour": 1}, "unknown field 'colour'; leave it out"),
        ({"n": 1_000_000_000}, "n is 1000000000: "),
        ({"n": 0}, "n is 0: "),
        ({"prompt": ["x"] * 5, "n": 4}, "5 prompts with n 4 are more than 16 completions: ask for fewer"),
        ({"prompt": ["x"] * 17}, "prompt is "),
        ({"prompt": []}, "prompt is []"),
        ({"prompt": [[]]}, "prompt is "),
        ({"prompt": [-1]}, "prompt is -1"),
        ({"prompt": [10**9]}, "prompt holds the token id 1000000000, and the vocabulary has "),
        ({"prompt": [1, 2], "suffix": "x"}, "a suffix goes with a prompt of text"),
        ({"prompt": 7}, "prompt is 7"),
        ({"temperature": -0.1}, "temperature is -0.1: "),
        ({"top_p": 0}, "top_p is 0: "),
        ({"top_k": 0}, "top_k is 0: "),
        ({"max_tokens": 0}, "max_tokens is 0: "),
        ({"max_tokens": "3"}, "max_tokens is '3': "),
        ({"logprobs": 6}, "logprobs is 6: "),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop is "),
        ({"stop": ""}, "stop is ''"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"best_of": 3}, "best_of is 3 and n is 1: give the same number, or leave best_of out"),
        ({"echo": True}, "echo is True: "),
        ({"logit_bias": {"50": 1.0}}, "logit_bias is "),
        ({"presence_penalty": 0.5}, "presence_penalty is 0.5: "),
        ({"stream": "yes"}, "stream is 'yes'"),
        ([], "the body is []"),
    ],
)
def test_fields_out_of_bounds_are_named(api: Api, body: object, message: str) -> None:
    found = refusal(api.post("v1/completions", body), 400)
    assert found.startswith(message)
    assert len(found) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"prompt": "\xff\xfe"}',
        b'{"prompt": "\\ud800"}',
        b'{"temperature": NaN}',
        b'{"temperature": 1e999}',
        b"[" * 100_000,
        b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"seed": ' + b"9" * 5_000 + b"}",
    ],
    ids=["empty", "cut", "not UTF-8", "half a surrogate pair", "NaN", "infinity", "deep", "deep and closed", "long number"],
)
def test_bodies_that_are_no_request_are_refused(api: Api, body: bytes) -> None:
    for path in ("v1/completions", "infill"):
        response = httpx.post(api.address + path, content=body, headers={"Content-Type": "application/json"}, timeout=30)
        if path == "v1/completions" or response.status_code != 200:  # /infill passes over fields that it does not know
            refusal(response, 400)


def test_a_prompt_over_the_context_is_refused_or_cut(api: Api) -> None:
    context = api.get("about").json()["context"]
    body = {"prompt": "value = limit\n" * context, "max_tokens": 4, "temperature": 0}
    message = refusal(api.post("v1/completions", body), 400)
    assert f"and the context {context:,}" in message
    assert "truncate_prompt_tokens -1" in message
    answer = api.post("v1/completions", {**body, "truncate_prompt_tokens": -1}).json()
    assert answer["usage"]["prompt_tokens"] == context - 4
    cut = api.post("infill", {"input_prefix": body["prompt"], "input_suffix": "\n", "n_predict": 4}).json()
    assert cut["truncated"]
    assert cut["tokens_predicted"] == 4


def test_an_empty_prompt_begins_a_document(api: Api) -> None:
    answer = api.post("v1/completions", {"max_tokens": 4, "temperature": 0}).json()
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}


def test_sentinels_spelled_as_text_are_text(api: Api) -> None:
    def count(text: str) -> int:
        tokens: int = api.post("v1/completions", {"prompt": text, "max_tokens": 1}).json()["usage"]["prompt_tokens"]
        return tokens

    for sentinel in ("<fim-prefix>", "<fim-middle>", "<|endoftext|>"):
        assert count(sentinel) > 3


def test_large_bodies_are_refused_before_they_are_read(api: Api) -> None:
    told = api.post("v1/completions", {"prompt": "x" * 10_000_000})
    assert refusal(told, 413).startswith("the body has 10,000,")
    assert told.headers["connection"] == "close"

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b'{"prompt": "' + b"x" * 100_000

    untold = httpx.post(api.address + "v1/completions", content=parts(), timeout=30)
    assert "1,000,000 are taken" in refusal(untold, 413)


def test_floods_of_headers_are_refused(api: Api) -> None:
    host, _, port = api.address.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        answer = b""
        try:
            for number in range(4_000):
                connection.sendall(f"X-{number}: {'y' * 60}\r\n".encode())
            answer = connection.recv(1_000)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server closed the connection before all was sent
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_unknown_paths_and_methods_are_told(api: Api) -> None:
    assert refusal(api.get("v1/chat/completions"), 404).startswith("there is no /v1/chat/completions")
    assert refusal(api.get("v1/completions"), 405) == "/v1/completions does not take GET"
    assert refusal(httpx.get(api.address + "static/../run.py"), 404)
    assert refusal(httpx.get(api.address + "static/%2e%2e/run.py"), 404)
    assert api.get("docs").status_code == api.get("redoc").status_code == 404


def test_other_names_of_the_host_are_refused_without_keys(api: Api) -> None:
    assert "not to 'evil.example'" in refusal(api.get("about", Host="evil.example:8080"), 403)
    assert refusal(api.get("", Host="evil.example"), 403)
    for name in ("localhost", "127.0.0.1:99", "[::1]:8080"):
        assert api.get("health", Host=name).status_code == 200


def test_keys_open_what_needs_one(keyed_api: Api) -> None:
    for path in ("health", "ready", "", "static/page.js"):
        assert keyed_api.get(path).status_code == 200
    for path in ("about", "metrics", "v1/models", "props", "openapi.json", "nowhere"):
        response = keyed_api.get(path)
        assert refusal(response, 401) == "no API key was given: send `Authorization: Bearer KEY`"
        assert response.headers["www-authenticate"] == "Bearer"
    for given in ("Bearer wrong-key-of-the-tests", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer", KEY):
        assert keyed_api.get("about", Authorization=given).status_code == 401
    for given in (f"Bearer {KEY}", f"bearer {KEY}", "Bearer another-key-of-the-tests"):
        assert keyed_api.get("about", Authorization=given).status_code == 200
    body = {"prompt": "x", "max_tokens": 2}
    refusal(keyed_api.post("v1/completions", body), 401)
    assert keyed_api.post("v1/completions", body, Authorization=f"Bearer {KEY}").status_code == 200
    # A name that the operator chose may lead here; the key is what counts.
    assert keyed_api.get("about", Authorization=f"Bearer {KEY}", Host="code.example.org").status_code == 200


def test_answers_keep_to_themselves(api: Api) -> None:
    for path in ("", "static/page.js", "about", "nowhere"):
        headers = api.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
