"""The page in a real browser, with words for what a person does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Playwright, Request

from stackwright.artifact import load_artifact

BEFORE, AFTER = "def alpha(value):\n    total = ", "\n    return total\n"
"""The two sides of a gap."""

NAMED_ROLES = frozenset({"button", "textbox", "searchbox", "radio", "combobox", "spinbutton", "link", "checkbox", "slider"})


def launch(playwright: Playwright, chromium: str) -> Browser:
    # Chromium's sandbox refuses to start as root, which is who runs in a container.
    return playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])


class Window:
    """A page that is open in a browser. `complaints` are its console errors and uncaught exceptions."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request))  # a built-in method cannot listen
        page.goto(address)

    def wait_until_known(self) -> None:
        """Wait until the page has heard what the server serves."""
        self.page.locator("#figures dd").first.wait_for()

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def write(self, before: str, after: str = "") -> None:
        """Make the editor hold a text, with the cursor in it, as if it had been typed."""
        self.find("#text").fill(before + after)
        self.page.evaluate(
            "units => { const text = document.getElementById('text'); text.focus(); text.setSelectionRange(units, units); }",
            len(before.encode("utf-16-le")) // 2,
        )

    def settings(self, **values: str) -> None:
        for name, value in values.items():
            field = self.find(f"#settings [name={name}]")
            if name == "mode":
                self.find(f"#settings [name=mode][value={value}]").check()
            elif name == "language":
                field.select_option(value)
            else:
                field.fill(value)

    def complete(self) -> None:
        """Ask for a completion and wait for its end."""
        self.find("#text").focus()
        self.page.keyboard.press("Control+Space")
        self.page.wait_for_function(
            "() => /Tab accepts|Nothing was written/.test(document.getElementById('status').textContent)"
        )

    def answer_with(self, *events: str) -> None:
        """Have completions answered by these events: some answers no small model can be made to give."""
        body = "".join(f"data: {event}\n\n" for event in events)
        answer = {"content_type": "text/event-stream", "body": body}
        self.page.route("**/v1/completions", lambda route: route.fulfill(**answer))

    def asked(self) -> dict[str, Any]:
        """Return the body of the latest request for a completion."""
        body = [request for request in self.requests if request.url.endswith("/v1/completions")][-1].post_data
        assert body is not None
        asked: dict[str, Any] = json.loads(body)
        return asked

    def text(self) -> str:
        return self.find("#text").input_value()

    def ghost(self) -> str:
        return "".join(self.find("#layer .ghost").all_text_contents())

    def marked(self) -> str:
        """Return what is underlined."""
        return "".join(self.find("#layer .verbatim").all_text_contents())

    def caret(self) -> int:
        caret: int = self.page.evaluate("document.getElementById('text').selectionEnd")
        return caret

    def style(self, selector: str, name: str) -> str:
        value: str = self.page.evaluate(
            "([selector, name]) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)",
            [selector, name],
        )
        return value

    def middle_of(self, selector: str) -> tuple[float, float]:
        """Return a point on the screen in the last visible piece of an element; a line break before it is none."""
        left, top, width, height = self.page.evaluate(
            "selector => { const boxes = [...document.querySelector(selector).getClientRects()];"
            "const box = boxes.filter(box => box.width > 0).at(-1); return [box.left, box.top, box.width, box.height]; }",
            selector,
        )
        return left + width / 2, top + height / 2

    def sideways(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    def nameless_controls(self) -> list[str]:
        """Return the controls that have no name for who cannot see them."""
        session = self.page.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED_ROLES]
        assert controls
        return [str(node["role"]) for node in controls if not node.get("name", {}).get("value")]


@contextmanager
def window(browser: Browser, address: str, **settings: Any) -> Iterator[Window]:
    """Open the page in a fresh profile."""
    context = browser.new_context(**settings)
    try:
        yield Window(context.new_page(), address)
    finally:
        context.close()


def planted_text(run_folder: Path, repository: str, path: str, lines: slice) -> str:
    """Return lines of a file as the run's dataset holds it."""
    rows = load_artifact(run_folder / "dataset").table("documents").read(["repo", "path", "content"]).to_pylist()
    [text] = [row["content"] for row in rows if (row["repo"], row["path"]) == (repository, path)]
    return "\n".join(str(text).split("\n")[lines])
