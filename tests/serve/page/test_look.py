"""How the page looks and is reached: colours, narrow windows, keyboard, names, keys, and nothing from elsewhere."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

import stackwright
from tests.serve.page.browser import AFTER, BEFORE, Window, planted_text, window
from tests.serve.page.server import serving

WEB = Path(stackwright.__file__).parent / "serve" / "web"


def test_all_that_the_page_loads_comes_from_its_own_server(page: Window, address: str) -> None:
    page.write(BEFORE, AFTER)
    page.complete()
    assert len(page.requests) > 8
    assert [request.url for request in page.requests if not request.url.startswith(address)] == []
    policy = page.requests[0].response()
    assert policy is not None
    assert (policy.header_value("content-security-policy") or "").startswith("default-src 'self'")


def test_the_page_says_what_is_served(page: Window) -> None:
    expect(page.find("#model")).to_contain_text("context of 64 tokens")
    expect(page.find("#figures")).to_contain_text("annotate")
    assert "bits per byte" in page.find("#figures").inner_text()
    page.find(
        "summary",
    ).filter(has_text="Model card").click()
    expect(page.find("#card")).to_contain_text("Model Summary")
    expect(page.find("#card table").first).to_be_visible()
    assert "pipeline_tag" not in page.find("#card").inner_text()


def test_dark_follows_the_system_and_the_switch(browser: Browser, address: str) -> None:
    with window(browser, address, color_scheme="dark") as page:
        assert page.style("body", "background-color") == "rgb(21, 23, 26)"
        expect(page.find("#theme")).to_have_attribute("aria-pressed", "true")
        page.find("#theme").click()
        assert page.style("body", "background-color") == "rgb(253, 253, 251)"
        page.page.reload()
        assert page.style("body", "background-color") == "rgb(253, 253, 251)"
    with window(browser, address, color_scheme="light") as page:
        assert page.style("body", "background-color") == "rgb(253, 253, 251)"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, address: str, served_run: Path, width: int) -> None:
    with window(browser, address, viewport={"width": width, "height": 844}) as page:
        page.wait_until_known()
        page.write(planted_text(served_run, "directory/repo02", "src/module1.py", slice(5, 12)) + "x" * 300)
        page.find("#check").click()
        page.find("#origins .span").first.wait_for()
        page.complete()
        page.find("#lookup-target").fill("directory/traps")
        page.find("#lookup-send").click()
        page.find("#lookup-answer summary").click()
        page.find("#card-field summary").click()
        assert page.sideways() == 0
        assert page.complaints == []


def test_every_control_has_a_name(page: Window) -> None:
    page.settings(tokens="4")
    page.write(BEFORE, AFTER)
    page.complete()
    page.find("#card-field summary").click()
    assert page.nameless_controls() == []
    page.find("#lookup [value=code]").check()
    page.page.evaluate("document.getElementById('key-form').hidden = false")
    assert page.nameless_controls() == []


def test_whatever_has_the_focus_shows_it(page: Window) -> None:
    page.page.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(60):
        page.page.keyboard.press("Tab")
        name, width = page.page.evaluate(
            "(() => { const at = document.activeElement; const ring = at.id === 'text' ? at.closest('.editor') : at;"
            "return [at.id || at.name || at.tagName, getComputedStyle(ring).outlineStyle === 'none' ? '0px' "
            ": getComputedStyle(ring).outlineWidth]; })()"
        )
        if name == "BODY":
            break
        seen.add(name)
        assert width != "0px", name
    assert seen >= {"text", "ask", "check", "theme", "temperature", "stop", "lookup-target", "removal-send"}


def test_progress_and_errors_are_announced(page: Window) -> None:
    assert page.find("#status").get_attribute("role") == "status"
    assert page.find("#error").get_attribute("role") == "alert"
    assert page.find("#lookup-answer").get_attribute("role") == "status"
    assert page.find("#layer").get_attribute("aria-hidden") == "true"


def test_a_server_that_wants_a_key_is_given_it(browser: Browser, served_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# of the tests\nopen-sesame-1234567890\n")
    keys.chmod(0o600)
    with serving(served_run, "--api-key-file", str(keys)) as address, window(browser, address) as page:
        expect(page.find("#key-form")).to_be_visible()
        expect(page.find("#key")).to_be_focused()
        page.find("#key").fill("wrong")
        with page.page.expect_response("**/about"):
            page.find("#key-save").click()
        expect(page.find("#key-form")).to_be_visible()
        page.find("#key").fill("open-sesame-1234567890")
        page.find("#key-save").click()
        expect(page.find("#key-form")).to_be_hidden()
        expect(page.find("#model")).to_contain_text("tokens")
        expect(page.find("#error")).to_be_hidden()
        page.write(BEFORE, AFTER)
        page.complete()
        assert page.page.evaluate("[sessionStorage.length, Object.values(localStorage).join()]") == [1, ""]
        assert all("Failed to load resource" in complaint for complaint in page.complaints)


def test_markup_in_a_card_stays_text(page: Window) -> None:
    card = "# One\n\n<img src=x onerror=alert(1)> and [a](javascript:alert(1)), [b](https://example.org)\n\n- **c**\n\n"
    made: dict[str, Any] = page.page.evaluate(
        "async card => { const { cardOf } = await import('/static/card.js'); const box = document.createElement('div');"
        "box.append(...cardOf(card)); const tags = [...box.querySelectorAll('*')].map(e => e.tagName);"
        "return { text: box.textContent, tags, links: [...box.querySelectorAll('a')].map(a => a.href) }; }",
        card + "```\n<b>\n```\n",
    )
    assert "<img src=x onerror=alert(1)>" in made["text"]
    assert made["tags"] == ["H3", "P", "A", "UL", "LI", "STRONG", "PRE"]
    assert made["links"] == ["https://example.org/"]


def test_colours_are_those_of_the_reports() -> None:
    report = (WEB.parents[1] / "pages" / "style.css").read_text("utf-8")
    light, dark = report.split("@media", 1)
    ours = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", (WEB / "page.css").read_text("utf-8"))
    shared = [(name, one, other) for name, one, other in ours if f"--{name}: " in light]
    assert len(shared) >= 12
    for name, one, other in shared:
        assert f"--{name}: {one};" in light
        assert f"--{name}: {other};" in dark


def test_every_file_of_the_page_is_in_the_package() -> None:
    settings = tomllib.loads((WEB.parents[2] / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["stackwright"]
    files = [path.relative_to(WEB.parents[1]).as_posix() for path in WEB.iterdir()]
    assert len(files) > 10
    assert [file for file in files if not any(fnmatch.fnmatch(file, pattern) for pattern in patterns)] == []
