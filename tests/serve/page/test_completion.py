"""Completions in the page: asked for, shown at the cursor, accepted, dropped, with the alternatives of each token."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serve.page.browser import AFTER, BEFORE, Window
from tests.serve.page.server import ask

EDITORS_PAGE = Path(__file__).parents[3] / "docs" / "editors.md"


def test_infilling_streams_at_the_cursor_and_tab_accepts_it(page: Window, address: str) -> None:
    page.settings(temperature="0", tokens="8")
    page.write(BEFORE, AFTER)
    page.complete()
    asked = page.asked()
    assert (asked["prompt"], asked["suffix"], asked["stream"], asked["logprobs"]) == (BEFORE, AFTER, True, 5)
    written = ask(address, "v1/completions", {**asked, "stream": False})["choices"][0]["text"]
    assert written
    assert page.text() == BEFORE + AFTER
    assert page.ghost() == written
    assert page.find("#layer").text_content() == BEFORE + written + AFTER + "\n"
    page.page.keyboard.press("Tab")
    assert page.text() == BEFORE + written + AFTER
    assert page.caret() == len(BEFORE + written)
    assert page.ghost() == ""
    page.page.keyboard.press("Control+z")
    assert page.text() == BEFORE + AFTER


def test_continuing_sends_no_suffix(page: Window) -> None:
    page.settings(mode="continue", temperature="0", tokens="4")
    page.write(BEFORE, AFTER)
    page.complete()
    assert "suffix" not in page.asked()
    assert page.ghost()
    page.find("#accept").click()
    assert page.text().startswith(BEFORE)
    assert page.text().endswith(AFTER)
    assert len(page.text()) > len(BEFORE + AFTER)
    expect(page.find("#text")).to_be_focused()


def test_the_settings_are_what_is_asked_for(page: Window) -> None:
    page.settings(temperature="0.7", tokens="3", seed="11", stop="\\n\\n\ndef ")
    page.write(BEFORE, AFTER)
    page.complete()
    asked = page.asked()
    assert (asked["temperature"], asked["max_tokens"], asked["seed"], asked["stop"]) == (0.7, 3, 11, ["\n\n", "def "])
    first = page.ghost()
    page.complete()
    assert page.ghost() == first
    page.settings(seed="12")
    page.complete()
    assert page.ghost() != first


@pytest.mark.parametrize("way", ["key", "button", "typing", "press"])
def test_what_is_dropped_leaves_the_text_as_it_was(page: Window, way: str) -> None:
    page.settings(tokens="8")
    page.write(BEFORE, AFTER)
    page.complete()
    assert page.ghost()
    if way == "key":
        page.page.keyboard.press("Escape")
    elif way == "button":
        page.find("#drop").click()
    elif way == "typing":
        page.page.keyboard.type("x")
    else:
        page.find("#editor").click(position={"x": 200, "y": 200})
    assert page.ghost() == ""
    assert page.text() == BEFORE + ("x" if way == "typing" else "") + AFTER
    expect(page.find("#accept")).to_be_disabled()
    expect(page.find("#drop")).to_be_disabled()
    expect(page.find("#tokens-field")).to_be_hidden()


def test_tokens_are_shown_as_they_come(page: Window) -> None:
    # A stream that this test feeds: the model's own would be over before the browser had drawn it once.
    page.page.evaluate(
        "() => { const fetched = window.fetch; const body = new ReadableStream({ start(feed) { window.feed = feed; } });"
        "window.fetch = (path, ...rest) => path.endsWith('completions') ? Promise.resolve(new Response(body)) "
        ": fetched(path, ...rest); }"
    )
    page.write(BEFORE, AFTER)
    page.page.keyboard.press("Control+Space")
    for text, ghost in (("ab", "ab"), ("é", "abé")):
        event = f"data: {json.dumps({'choices': [{'text': text}]}, ensure_ascii=False)}\n\n"
        # The bytes of a character, and of an event, may come in two pieces.
        for piece in (event.encode()[:-7], event.encode()[-7:]):
            page.page.evaluate("bytes => window.feed.enqueue(new Uint8Array(bytes))", list(piece))
        expect(page.find("#layer .ghost")).to_have_text(ghost)
    expect(page.find("#status")).to_have_text("The model is writing …")
    page.page.keyboard.press("Tab")
    assert page.text() == BEFORE + "abé" + AFTER


def test_dropping_cancels_the_request(page: Window) -> None:
    page.page.route("**/v1/completions", lambda _: None)  # no answer comes
    page.write(BEFORE, AFTER)
    with page.page.expect_event("requestfailed") as failed:
        page.page.keyboard.press("Control+Space")
        expect(page.find("#status")).to_have_text("The model is writing …")
        page.page.keyboard.press("Escape")
    assert failed.value.failure == "net::ERR_ABORTED"
    expect(page.find("#status")).to_have_text("Dropped.")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ('{"error": {"message": "the model\\nstumbled", "code": null}}', "the model stumbled"),
        ("", "the answer ended too early"),
    ],
)
def test_a_stream_that_breaks_leaves_what_came_and_says_so(page: Window, last: str, said: str) -> None:
    page.answer_with('{"choices": [{"text": "abc"}]}', last)
    page.write(BEFORE, AFTER)
    page.page.keyboard.press("Control+Space")
    expect(page.find("#error")).to_be_visible()
    assert page.find("#error").text_content() == said
    assert page.ghost() == "abc"
    page.page.keyboard.press("Tab")
    assert page.text() == BEFORE + "abc" + AFTER


def test_line_breaks_of_other_systems_move_nothing(page: Window) -> None:
    span = {"start": 3, "end": 6, "kind": "verbatim", "origins": [], "num_origins": 1}
    tokens = {"tokens": ["a\r\n", "bcd"], "token_logprobs": [-1, -1], "top_logprobs": [{}, {}], "text_offset": [0, 3]}
    choice = {"text": "a\r\nbcd", "finish_reason": "stop", "citations": [span], "logprobs": tokens}
    page.answer_with(json.dumps({"choices": [choice]}), "[DONE]")
    page.write(BEFORE, AFTER)
    page.complete()
    assert page.ghost() == "a\nbcd"
    assert page.marked() == "bcd"
    assert page.find("#layer [data-token='1']").all_text_contents() == ["bcd"]
    page.page.keyboard.press("Tab")
    assert page.text() == BEFORE + "a\nbcd" + AFTER
    assert page.marked() == "bcd"


def test_pointing_at_a_token_shows_what_else_was_likely(page: Window, address: str) -> None:
    page.settings(temperature="0", tokens="6")
    page.write(BEFORE, AFTER)
    page.complete()
    told = ask(address, "v1/completions", {**page.asked(), "stream": False})["choices"][0]["logprobs"]["top_logprobs"][1]
    box = page.find("#alternatives")
    expect(box).to_be_hidden()
    page.find("#layer [data-token='1']").first.scroll_into_view_if_needed()
    page.page.mouse.move(*page.middle_of("#layer [data-token='1']"))
    expect(box).to_be_visible()
    _assert_alternatives(page, told)
    page.page.mouse.move(5, 5)
    expect(box).to_be_hidden()
    page.page.keyboard.press("Tab")
    page.find("#tokens .token").first.focus()
    page.page.keyboard.press("ArrowRight")
    expect(box).to_be_visible()
    _assert_alternatives(page, told)
    assert page.find("#layer .active").count() > 0


def _assert_alternatives(page: Window, told: dict[str, float]) -> None:
    shown = page.find("#alternatives .share").all_text_contents()
    expected = sorted((100 * math.exp(value) for value in told.values()), reverse=True)
    assert len(shown) >= 5
    assert [float(share.removesuffix(" %")) for share in shown[:5]] == pytest.approx(expected, abs=0.1)


def test_a_refusal_of_the_server_is_one_line(refused_page: Window) -> None:
    refused_page.settings(stop="a\nb\nc\nd\ne")
    refused_page.write(BEFORE, AFTER)
    refused_page.page.keyboard.press("Control+Space")
    error = refused_page.find("#error")
    expect(error).to_be_visible()
    expect(error).to_contain_text("stop")
    assert "\n" not in error.inner_text()
    assert refused_page.ghost() == ""
    refused_page.settings(stop="")
    refused_page.complete()
    expect(error).to_be_hidden()


def test_the_example_for_openais_client_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = EDITORS_PAGE.read_text("utf-8")
    [code] = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    small = code.replace("http://127.0.0.1:8080", address.rstrip("/")).replace('"tiny"', '"small"')
    exec(compile(small, "editors.md", "exec"), {})  # noqa: S102 - our own document
    assert capsys.readouterr().out.split()[-1] in ("stop", "length")
