"""What the page says of the training data: copies and their origins, the ledger, and requests to take code out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import expect

from stackwright.explanation import explain_run
from stackwright.govern.removals import request_log
from tests.serve.page.browser import AFTER, BEFORE, Window, planted_text


def test_a_completion_that_repeats_training_data_is_underlined_with_its_origin(page: Window, repeated: str) -> None:
    page.settings(mode="continue", temperature="0", tokens="2")
    page.write(repeated, AFTER)
    page.complete()
    assert page.find("#layer .ghost.verbatim").count() > 0
    marked = page.marked()
    assert marked[:20] in repeated
    first = page.find("#origins .span").first
    expect(first.locator(".repo").first).to_have_text(re.compile("directory/"))
    expect(first).to_contain_text(re.compile("src/module0.py"))
    expect(first).to_contain_text(re.compile(r"lines? \d+ .*· (MIT|Apache-2.0|BSD-3-Clause|ISC)"))
    quoted = first.locator("pre").inner_text()
    page.page.keyboard.press("Tab")
    assert page.marked() == marked
    expect(first.locator("pre")).to_have_text(quoted)
    assert quoted.split() == marked.split()
    page.page.keyboard.press("Control+Home")
    page.page.keyboard.type("x = 1\n")
    assert page.marked() == marked


def test_what_is_withheld_is_said(page: Window) -> None:
    origin = {"repo": "directory/x", "path": "a.py", "start_line": 3, "end_line": 3, "license": None}
    span = {"start": 4, "end": 60, "kind": "verbatim", "origins": [origin], "num_origins": 1}
    choice = {"text": "kept", "finish_reason": "content_filter", "citations": [], "withheld": [span]}
    page.answer_with(json.dumps({"choices": [choice]}), "[DONE]")
    page.write(BEFORE, AFTER)
    page.complete()
    expect(page.find("#status")).to_contain_text("the rest was withheld, because it repeats training data")
    expect(page.find("#origins")).to_contain_text("Withheld")
    expect(page.find("#origins .facts")).to_have_text("line 3 · no licence found")


def test_copied_text_in_the_editor_is_underlined_and_listed(page: Window, served_run: Path) -> None:
    planted = planted_text(served_run, "directory/repo02", "src/module1.py", slice(5, 12))
    page.write("# 😀 my own\n" + planted, "\nprint(99)\n")
    page.find("#check").click()
    page.find("#origins .span").first.wait_for()
    assert page.marked().strip() == planted.strip()
    expect(page.find("#origins .span")).to_have_count(1)
    expect(page.find("#origins .repo").first).to_have_text("directory/repo02")
    expect(page.find("#origins .path").first).to_have_text("src/module1.py")
    expect(page.find("#origins .facts").first).to_have_text(re.compile(r"lines \d+ to \d+ · BSD-3-Clause"))
    page.find("#origins .span").first.hover()
    assert "".join(page.find("#layer .active").all_text_contents()).strip() == planted.strip()
    page.find("#origins button").click()
    selected = page.page.evaluate("(t => t.value.slice(t.selectionStart, t.selectionEnd))(document.getElementById('text'))")
    assert selected.strip() == planted.strip()
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.type("!")
    assert page.marked() == ""
    expect(page.find("#origins .span")).to_have_count(0)


def test_the_ledger_is_answered_in_words(page: Window, served_run: Path) -> None:
    explained = explain_run(served_run, "directory/traps")
    page.find("#lookup-target").fill("traps:binary.py")
    page.find("#lookup-send").click()
    expect(page.find("#lookup-answer")).to_contain_text("1 file was seen there; it is not in the dataset.")
    expect(page.find("#removal-target")).to_have_value("directory/traps:binary.py")
    page.find("#lookup-target").fill("directory/traps")
    page.find("#lookup-send").click()
    answer = page.find("#lookup-answer")
    kept = explained.verdicts["keep"]
    expect(answer).to_contain_text(f"directory/traps: {kept} files of {explained.num_documents} are in the dataset")
    expect(answer).to_contain_text(f"exact duplicate {explained.verdicts['exact_duplicate']}")
    expect(page.find("#removal-target")).to_have_value("directory/traps")
    answer.locator("summary").click()
    expect(answer.locator("li", has_text="binary.py")).to_contain_text("left out: binary file")


def test_an_account_is_asked_for_by_its_name(page: Window) -> None:
    # The repositories of the tests' run belong to no account: the numbers are made up, what is sent is not.
    found = {"target": "account:ada", "kind": "account", "num_repositories": 3, "num_kept": 20, "num_dropped": 1}
    answer = json.dumps({**found, "repositories": ["github/ada/one", "github/ada/two"]})
    page.page.route("**/lookup", lambda route: route.fulfill(content_type="application/json", body=answer))
    page.find("#lookup [value=account]").check()
    page.find("#lookup-target").fill("ada")
    with page.page.expect_request("**/lookup") as asked:
        page.find("#lookup-send").click()
    assert asked.value.post_data_json == {"target": "account:ada"}
    expect(page.find("#lookup-answer .verdict")).to_have_text(
        "account:ada: 3 repositories. 20 files of 21 are in the dataset; 1 was left out."
    )
    expect(page.find("#lookup-answer")).to_contain_text("and 1 more repository")
    expect(page.find("#removal-target")).to_have_value("account:ada")


def test_an_account_without_repositories_has_an_answer(refused_page: Window) -> None:
    refused_page.find("#lookup [value=account]").check()
    refused_page.find("#lookup-target").fill("nobody")
    refused_page.find("#lookup-send").click()
    answer = refused_page.find("#lookup-answer .verdict, #lookup .failure:not([hidden])")
    expect(answer).to_contain_text("nobody")
    assert not re.search("undefined|NaN|null", answer.inner_text())


def test_an_unknown_repository_is_one_line_with_the_nearest_names(refused_page: Window) -> None:
    refused_page.find("#lookup-target").fill("directory/repo0")
    refused_page.page.keyboard.press("Enter")
    failure = refused_page.find("#lookup .failure")
    expect(failure).to_be_visible()
    expect(failure).to_contain_text("directory/repo0")
    assert "\n" not in failure.inner_text()


def test_pasted_code_is_looked_up(page: Window, served_run: Path) -> None:
    planted = planted_text(served_run, "directory/repo02", "src/module1.py", slice(5, 12))
    page.find("#lookup [value=code]").check()
    for text, answer in (
        ("😀\n" + planted, "1 span of it stands in the training data."),
        ("a text of one's own, which is long enough and stands in none of the files of this run", "Nothing of it stands"),
        ("short", "Too short to tell"),
    ):
        page.find("#lookup-code").fill(text)
        page.find("#lookup-send").click()
        expect(page.find("#lookup-answer")).to_contain_text(answer)
        if text.endswith(planted):
            expect(page.find("#lookup-answer pre")).to_have_text(planted.strip("\n").rstrip())
            expect(page.find("#lookup-answer .repo").first).to_have_text("directory/repo02")


def test_a_request_is_filed_and_stays_open(page: Window, served_run: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (served_run / "dataset").iterdir()}
    expect(page.find("#removal")).to_contain_text("changes nothing by itself")
    page.find("#removal-target").fill("directory/repo03:src/*.py")
    page.find("#removal-requester").fill("Ada, ada@example.org")
    page.find("#removal-reason").fill("I did not agree")
    page.find("#removal-send").click()
    answer = page.find("#removal-answer")
    expect(answer).to_contain_text("Nothing is removed until an operator applies it.")
    request = request_log(served_run).requests()[-1]
    assert (request.target, request.requester, request.reason) == (
        "directory/repo03:src/*.py",
        "Ada, ada@example.org",
        "I did not agree",
    )
    assert request.state == "open"
    expect(answer).to_contain_text(f"Request {request.id} is filed and open")
    assert {path.name: path.stat().st_mtime_ns for path in (served_run / "dataset").iterdir()} == before
