"""One file: read, decoded, named and described, or refused with the reason.

In: a listed file. Out: `Admitted` or `Refused`; never an exception, whatever the bytes. Text is decoded as UTF-8, by its
byte-order mark, or by the coding line that Python defines (PEP 263). Nothing is guessed: bytes of unknown encoding are
refused, and line ends stay as they are.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from dataclasses import dataclass

from stackwright.document import Fired, git_blob_id
from stackwright.sources.languages import generated_evidence, is_vendor, language_of
from stackwright.sources.notices import MAX_NOTICE_BYTES
from stackwright.sources.repository import FileEntry

RULE = "collect"
VERSION = 1

HEAD_BYTES = 4096

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODING_LINE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK_OR_COMMENT = re.compile(rb"^[ \t\f]*(?:#|\r?$)")


@dataclass(frozen=True)
class Admitted:
    """What is known about an admitted file; fields as in the documents table."""

    content_id: str
    language: str
    size_bytes: int
    src_encoding: str
    content: str
    is_vendor: bool
    is_generated: bool


@dataclass(frozen=True)
class Refused:
    """Why a file was not admitted, with what is known about it."""

    fired: Fired
    content_id: str | None = None
    language: str | None = None


def read_file(entry: FileEntry, max_file_bytes: int) -> Admitted | Refused:
    """Read a listed file and admit it, or say which rule it breaks."""
    if entry.problem is not None:
        return _refuse(entry.problem)
    if entry.size_bytes > max_file_bytes:
        return _refuse("file_too_large", value=entry.size_bytes, limit=max_file_bytes)
    try:
        data = _read_bytes(entry.location, max_file_bytes)
    except OSError:
        return _refuse("unreadable")
    if len(data) > max_file_bytes:  # it grew since it was listed
        return _refuse("file_too_large", value=len(data), limit=max_file_bytes)
    return _admit(entry.path, data)


def read_notice(entry: FileEntry) -> tuple[str, str] | None:
    """Return content id and text of a notice; None when it is no readable text."""
    if entry.problem is not None or entry.size_bytes > MAX_NOTICE_BYTES:
        return None
    try:
        data = _read_bytes(entry.location, MAX_NOTICE_BYTES)
    except OSError:
        return None
    if len(data) > MAX_NOTICE_BYTES or (b"\0" in data and _marked_encoding(data) is None):
        return None
    encoding = _marked_encoding(data) or "utf-8"
    return git_blob_id(data), data.decode(encoding, "replace")


def _read_bytes(location: str, max_file_bytes: int) -> bytes:
    # The entry may have become a link or a pipe since it was listed: neither is followed nor waited for.
    descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        return file.read(max_file_bytes + 1)


def _admit(path: str, data: bytes) -> Admitted | Refused:
    content_id = git_blob_id(data)
    encoding = _marked_encoding(data)
    if encoding is None and (offset := data.find(b"\0")) >= 0:
        return _refuse("binary_file", content_id=content_id, start=offset)
    language = language_of(path, data[:HEAD_BYTES])
    if language is None:
        return _refuse("unknown_language", content_id=content_id)
    if encoding is None:
        encoding = _declared_encoding(data) if language == "Python" else "utf-8"
    try:
        text = data.decode(encoding)
        text.encode("utf-8")  # some codecs let lone surrogates through, which no table can hold
    except (UnicodeError, LookupError, ValueError) as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else None
        return _refuse("undecodable", content_id=content_id, language=language, start=start, matched=encoding)
    if not text.strip():
        return _refuse("empty_file", content_id=content_id, language=language)
    return Admitted(
        content_id=content_id,
        language=language,
        size_bytes=len(data),
        src_encoding=encoding,
        content=text,
        is_vendor=is_vendor(path),
        is_generated=generated_evidence(path, text) is not None,
    )


def _marked_encoding(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _declared_encoding(data: bytes) -> str:
    """Return the encoding that a coding line among the first two lines of a Python file names, else UTF-8."""
    for line in data.split(b"\n", 2)[:2]:
        match = _CODING_LINE.match(line)
        if match is not None:
            name = match[1].decode("ascii", "replace").lower()
            return "utf-8" if name.replace("_", "-") in ("utf-8", "utf8") else name
        if not _BLANK_OR_COMMENT.match(line):
            break
    return "utf-8"


def _refuse(
    reason: str,
    *,
    content_id: str | None = None,
    language: str | None = None,
    value: float | None = None,
    limit: float | None = None,
    start: int | None = None,
    matched: str | None = None,
) -> Refused:
    end = None if start is None else start + 1
    fired = Fired(RULE, VERSION, reason, value=value, limit=limit, start=start, end=end, matched=matched)
    return Refused(fired, content_id, language)
