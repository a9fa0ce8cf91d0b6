"""One named file of a package, taken from the page of a Python package index.

In: an `Archive`. Out: the file in a folder. pip offers no way to fetch a source archive without running its build for
metadata, which would execute the package. The page that pip itself reads (PEP 503 as HTML, PEP 691 as JSON) names every file
with its address, so the one that is wanted is fetched from there: from `index-url` and then `extra-index-url` of pip's own
settings, with pip's certificates.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

from stackwright.errors import SourceError
from stackwright.measure.records import Archive
from stackwright.sources.installed import normalized_name

TIMEOUT_SECONDS = 60
LARGEST_PAGE_BYTES = 50_000_000
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.1"
SCHEMES = ("http", "https", "file")


def fetch_from_index(archive: Archive, folder: Path) -> None:
    """Write the file that a label names into a folder.

    Raises:
        SourceError: no index of pip's settings can be read, or none has the file.
    """
    settings = pip_settings()
    problems = []
    for index in index_urls(settings):
        page = f"{index.rstrip('/')}/{normalized_name(archive.package)}/"
        try:
            address = file_address(*_read_page(page, settings), archive.file)
            if address is not None:
                _download(address, folder / archive.file, settings)
                return
            problems.append(f"no file {archive.file}")
        except HTTPError as error:
            problems.append(f"HTTP status {error.code}")
            error.close()
        except (OSError, HTTPException, ValueError) as error:
            problems.append(type(error).__name__)  # the message may hold an address with a password
    raise SourceError(
        f"pip's indexes do not give it ({'; '.join(problems) or 'none is set'})", "ask another index with PIP_INDEX_URL"
    )


def index_urls(settings: Mapping[str, str]) -> list[str]:
    """Return the indexes that pip is set to use, in its order."""
    return [*settings.get("index-url", "").split(), *settings.get("extra-index-url", "").split()]


@cache
def pip_settings() -> Mapping[str, str]:
    """Return pip's own settings for a download, with its default for the index; read once per process."""
    settings = parse_pip_settings(_ask_pip("config", "list"))
    # pip tells its default nowhere but in its help, which would break long lines without a width.
    default = re.search(r"Package Index\s+\(default\s+(\S+)\)", _ask_pip("download", "--help"))
    return {"index-url": default[1], **settings} if default else settings


def _ask_pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    wide = {**os.environ, "COLUMNS": "999"}
    done = subprocess.run(command, env=wide, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout


def parse_pip_settings(output: str) -> dict[str, str]:
    """Read the lines `section.key='value'`; a section of the command goes before `global`, the environment before both."""
    settings: dict[str, str] = {}
    for section in ("global", "download", ":env:"):
        for name, value in re.findall(rf"^{re.escape(section)}\.([\w-]+)=(.*)$", output, re.MULTILINE):
            settings[name] = str(ast.literal_eval(value))
    return settings


def file_address(page: str, content_type: str, text: str, file: str) -> str | None:
    """Return the address of a file that a page lists, None when it does not."""
    links = _json_links(text) if content_type.endswith("json") else _html_links(text)
    for name, link in links:
        if name == file:
            return urljoin(page, link).partition("#")[0]
    return None


def _json_links(text: str) -> Iterator[tuple[str, str]]:
    for entry in json.loads(text)["files"]:
        yield entry["filename"], entry["url"]


def _html_links(text: str) -> Iterator[tuple[str, str]]:
    parser = _Links()
    parser.feed(text)
    for link in parser.links:
        yield unquote(urlsplit(link).path).rpartition("/")[2], link


class _Links(HTMLParser):
    """Collects where the anchors of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _read_page(page: str, settings: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the page's own address, its type and its text."""
    with _open(page, settings) as response:
        data = response.read(LARGEST_PAGE_BYTES)
        return response.url, response.headers.get_content_type(), data.decode("utf-8", "replace")


def _download(address: str, path: Path, settings: Mapping[str, str]) -> None:
    with _open(address, settings) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)


def _open(address: str, settings: Mapping[str, str]) -> Any:
    scheme = urlsplit(address).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r}")
    if scheme == "file" and address.endswith("/"):
        address += "index.html"  # as pip reads a folder
    context = ssl.create_default_context(cafile=settings.get("cert")) if scheme == "https" else None
    request = Request(address, headers={"Accept": ACCEPT, "User-Agent": "stackwright"})
    return urlopen(request, timeout=TIMEOUT_SECONDS, context=context)
