"""The page in a real browser, served by a real server with the model, index and ledger of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.serve.page.browser import Window, launch, planted_text, window
from tests.serve.page.server import ask, serving


@pytest.fixture(scope="session")
def served_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of its own, as requests are written into it."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("served") / "small", symlinks=True))


@pytest.fixture(scope="session")
def address(served_run: Path) -> Iterator[str]:
    with serving(served_run) as address:
        yield address


@pytest.fixture(scope="module")
def open_browser() -> Iterator[Callable[[str], Browser]]:
    """Return a function that starts the browser of this module, once."""
    started: list[Browser] = []
    with sync_playwright() as playwright:

        def start(chromium: str) -> Browser:
            if not started:
                started.append(launch(playwright, chromium))
            return started[0]

        yield start
        for browser in started:
            browser.close()


@pytest.fixture
def browser(open_browser: Callable[[str], Browser], needs_program: Callable[[str], str]) -> Browser:
    return open_browser(needs_program("chromium"))


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Window]:
    """The page, used by a test after which the console must be silent."""
    with window(browser, address) as opened:
        opened.wait_until_known()
        yield opened
        assert opened.complaints == []


@pytest.fixture
def refused_page(browser: Browser, address: str) -> Iterator[Window]:
    """The page for a test that has the server refuse something, which the browser itself notes in the console."""
    with window(browser, address) as opened:
        opened.wait_until_known()
        yield opened
        assert all("Failed to load resource" in complaint for complaint in opened.complaints)


@pytest.fixture(scope="session")
def repeated(served_run: Path, address: str) -> str:
    """A text of the training data that the model continues as its file does, so that the completion is a copy."""
    text = planted_text(served_run, "directory/repo01", "src/module0.py", slice(None))
    for cut in range(90, len(text)):
        if text[cut].isspace():  # blanks count for nothing in a copy
            continue
        prompt = "# 😀\n" + text[cut - 90 : cut]
        body = {"model": "small", "prompt": prompt, "max_tokens": 2, "temperature": 0}
        if any(span["kind"] == "verbatim" for span in ask(address, "v1/completions", body)["choices"][0]["citations"]):
            return prompt
    raise AssertionError("the model continues no place of the file as the file does")
