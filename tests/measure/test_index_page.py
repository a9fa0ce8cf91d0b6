"""The page of an index is read as HTML or JSON, and pip's own settings say which index is asked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from stackwright.errors import SourceError
from stackwright.measure import index_page
from stackwright.measure.index_page import fetch_from_index, file_address, index_urls, parse_pip_settings
from tests.measure.conftest import LocalIndex
from tests.measure.packages import SDIST

PAGE = "https://index.example/simple/old-tools/"


def test_address_in_html_is_joined_with_the_page_and_loses_its_fragment() -> None:
    html = '<a href="../../f/old%5Ftools-0.9.tar.gz#sha256=00">x</a><a name="y">y</a><a href="a-1.zip">z</a>'
    assert file_address(PAGE, "text/html", html, "old_tools-0.9.tar.gz") == "https://index.example/f/old%5Ftools-0.9.tar.gz"
    assert file_address(PAGE, "text/html", html, "a-1.zip") == f"{PAGE}a-1.zip"
    assert file_address(PAGE, "text/html", html, "a-1") is None


def test_address_in_json_may_be_on_another_host() -> None:
    files = [{"filename": "b.zip", "url": "b.zip"}, {"filename": "a.zip", "url": "https://files.example/7/a.zip"}]
    text = json.dumps({"files": files})
    kind = "application/vnd.pypi.simple.v1+json"
    assert file_address(PAGE, kind, text, "a.zip") == "https://files.example/7/a.zip"
    assert file_address(PAGE, kind, text, "b.zip") == f"{PAGE}b.zip"


def test_environment_goes_before_the_command_and_the_command_before_all() -> None:
    output = (
        ":env:.index-url='https://env.example/simple'\ndownload.cert='d.pem'\ndownload.index-url='https://d.example'\n"
        "global.cert='g.pem'\nglobal.index-url='https://g.example'\ninstall.index-url='https://i.example'\n"
        "global.extra-index-url='https://one.example file:///two'\n"
    )
    settings = parse_pip_settings(output)
    assert settings["cert"] == "d.pem"
    assert index_urls(settings) == ["https://env.example/simple", "https://one.example", "file:///two"]


def test_index_is_the_default_of_pip_when_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    index_page.pip_settings.cache_clear()
    [index] = index_urls(index_page.pip_settings())
    assert re.fullmatch(r"https://\S+/simple/?", index)
    index_page.pip_settings.cache_clear()


def test_no_index_is_asked_when_pip_names_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_page, "pip_settings", dict)
    with pytest.raises(SourceError, match=r"pip's indexes do not give it \(none is set\)"):
        fetch_from_index(SDIST, tmp_path)


def test_further_index_is_asked_when_the_first_has_not_the_file(
    local_index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The further one is a folder, which pip reads as well."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{local_index.address}/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (local_index.folder / "simple").as_uri())
    fetch_from_index(SDIST, tmp_path)
    assert (tmp_path / SDIST.file).read_bytes() == (local_index.folder / "files" / SDIST.file).read_bytes()
    assert local_index.asked == ["/empty/old-tools/"]


def test_each_index_that_has_not_the_file_is_told_with_why(
    local_index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{local_index.address}/empty http://127.0.0.1:9 ftp://127.0.0.1/simple")
    asked = replace(SDIST, file="old_tools-0.8.tar.gz")
    with pytest.raises(SourceError, match=r"\(no file old_tools-0.8.tar.gz; HTTP status 404; URLError; ValueError\)"):
        fetch_from_index(asked, tmp_path)


def test_password_in_an_address_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_page, "pip_settings", lambda: {"index-url": "http://user:secret@127.0.0.1:9/simple"})
    with pytest.raises(SourceError) as caught:
        fetch_from_index(SDIST, tmp_path)
    assert "secret" not in str(caught.value)
