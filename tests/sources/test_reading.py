"""Any file is admitted or refused with a reason; nothing is guessed and nothing crashes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackwright.sources.reading import Admitted, Refused, read_file
from stackwright.sources.repository import FileEntry, file_entry, iter_tree

LIMIT = 1000


def outcome(path: Path, name: str | None = None) -> Admitted | Refused:
    return read_file(file_entry(name or path.name, str(path)), LIMIT)


def reason(path: Path, name: str | None = None) -> str:
    found = outcome(path, name)
    assert isinstance(found, Refused)
    return found.fired.reason


@pytest.mark.parametrize(
    ("name", "data", "text", "encoding"),
    [
        ("a.py", b"x = 1\r\n", "x = 1\r\n", "utf-8"),
        ("a.py", b"\xef\xbb\xbfx = 1\n", "x = 1\n", "utf-8-sig"),
        ("a.py", b"# coding: latin-1\ns = '\xe9'\n", "# coding: latin-1\ns = 'é'\n", "latin-1"),
        ("a.py", b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\ns = '\x80'\n", None, "cp1252"),
        ("a.txt", "text".encode("utf-16"), "text", "utf-16"),
        ("a.txt", "text".encode("utf-16-le"), None, None),
        ("a.txt", b"\xff\xfe\x00\x00" + "text".encode("utf-32-le"), "text", "utf-32"),
    ],
)
def test_text_is_decoded_by_mark_coding_line_or_utf8(
    tmp_path: Path, name: str, data: bytes, text: str | None, encoding: str | None
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found = outcome(path)
    if encoding is None:
        assert isinstance(found, Refused)
        return
    assert isinstance(found, Admitted)
    assert found.src_encoding == encoding
    assert text is None or found.content == text


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.py", b"x\0", "binary_file"),
        ("a.py", b"s = '\xe9'\n", "undecodable"),
        ("a.c", b'// coding: latin-1\nchar *s = "\xe9";\n', "undecodable"),
        ("a.py", b"x = 1\ny = 2\n# coding: latin-1\n\xe9", "undecodable"),
        ("a.py", b"# coding: no-such-codec\n", "undecodable"),
        ("a.py", b"# coding: rot13\n", "undecodable"),
        ("a.py", b"", "empty_file"),
        ("a.py", b" \n\t\n", "empty_file"),
        ("a.zzz", b"words", "unknown_language"),
        ("a.py", b"x" * (LIMIT + 1), "file_too_large"),
    ],
)
def test_refusals_name_the_rule(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert reason(path) == expected


def test_evidence_says_how_large_and_where(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_bytes(b"x" * 2000)
    (tmp_path / "binary.py").write_bytes(b"abc\0")
    large, binary = outcome(tmp_path / "large.py"), outcome(tmp_path / "binary.py")
    assert isinstance(large, Refused)
    assert isinstance(binary, Refused)
    assert (large.fired.value, large.fired.limit) == (2000, LIMIT)
    assert (binary.fired.start, binary.fired.end) == (3, 4)


def test_content_id_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\r\n")
    found = outcome(path)
    assert found.content_id == subprocess.check_output(["git", "hash-object", "--no-filters", path], text=True).strip()


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    os.symlink("/etc/hostname", tmp_path / "link.py")
    assert reason(tmp_path / "pipe.py") == "not_a_regular_file"
    assert reason(tmp_path / "link.py") == "symlink"


def test_a_file_that_became_a_pipe_or_link_after_listing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    entry = file_entry("a.py", str(path))
    path.unlink()
    os.mkfifo(path)
    found = read_file(entry, LIMIT)
    assert isinstance(found, Refused)
    assert found.fired.reason == "unreadable"
    path.unlink()
    os.symlink("/etc/hostname", path)
    assert isinstance(read_file(entry, LIMIT), Refused)


def test_files_that_vanish_or_grow_after_listing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    entry = file_entry("a.py", str(path))
    path.write_text("x" * 5000)
    grown = read_file(entry, LIMIT)
    path.unlink()
    gone = read_file(entry, LIMIT)
    assert isinstance(grown, Refused)
    assert isinstance(gone, Refused)
    assert (grown.fired.reason, gone.fired.reason) == ("file_too_large", "unreadable")
    assert file_entry("a.py", str(path)).problem == "unreadable"


def test_a_tree_with_loops_and_odd_names_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    (tmp_path / "a" / ".git" / "HEAD").write_text("x")
    (tmp_path / "a" / "b.py").write_text("x")
    os.symlink("..", tmp_path / "a" / "loop")
    (tmp_path / os.fsdecode(b"bad\xff.py")).write_text("x")
    entries = {entry.path: entry.problem for entry in iter_tree(tmp_path)}
    assert entries == {"a/b.py": None, "a/loop": "symlink", "bad\\xff.py": "path_not_utf8"}


def test_a_folder_that_cannot_be_opened_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.py").write_text("x")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert {entry.path: entry.problem for entry in iter_tree(tmp_path)} == {"open.py": None, "closed": "unreadable"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.binary(max_size=200), st.sampled_from(["a.py", "a.txt", "a", "a.h"]))
def test_any_bytes_end_in_a_verdict_that_arrow_can_hold(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = read_file(FileEntry(name, str(path), len(data), 0), LIMIT)
    if isinstance(found, Admitted):
        found.content.encode("utf-8")
        assert found.content.strip()
