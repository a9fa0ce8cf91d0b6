"""Which language a file is in, whether it is vendored, and whether a program wrote it.

Decided by file name, then extension, then interpreter line, from `languages.toml`; one extension belongs to one language,
as in The Stack v1. The only look at content is for `.h`, which C, C++ and Objective-C share.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

_CPP_HEADER = re.compile(rb"^\s*(?:class\s+\w+|namespace\s*\w*|template\s*<|using\s+\w+|#include\s*<[a-z_]+>)", re.MULTILINE)
_OBJECTIVE_C_HEADER = re.compile(rb"^\s*(?:@interface|@protocol|@class|#import)\b", re.MULTILINE)
_INTERPRETER = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S+\s+)*)?(?:\S*/)?([\w.+-]+)")
_VERSION_SUFFIX = re.compile(r"[\d.]+$")


@dataclass(frozen=True)
class LanguageTable:
    """The data table, turned into look-ups."""

    by_filename: dict[str, str]
    by_extension: dict[str, str]
    by_interpreter: dict[str, str]
    vendor_folders: frozenset[str]
    vendor_files: re.Pattern[str]
    generated_phrases: re.Pattern[str]
    generated_lines: int
    generated_files: re.Pattern[str]

    @property
    def languages(self) -> list[str]:
        names = {*self.by_filename.values(), *self.by_extension.values(), *self.by_interpreter.values()}
        return sorted(names)


@cache
def language_table() -> LanguageTable:
    """Read the data table once."""
    values = tomllib.loads((resources.files("stackwright.sources") / "languages.toml").read_text("utf-8"))
    look_ups: dict[str, dict[str, str]] = {"filenames": {}, "extensions": {}, "interpreters": {}}
    for language, entry in values["languages"].items():
        for kind, names in entry.items():
            for name in names:
                owner = look_ups[kind].setdefault(name, language)
                assert owner == language, f"{name} belongs to both {owner} and {language}"
    generated = values["generated"]
    return LanguageTable(
        by_filename=look_ups["filenames"],
        by_extension=look_ups["extensions"],
        by_interpreter=look_ups["interpreters"],
        vendor_folders=frozenset(values["vendor"]["folders"]),
        vendor_files=_any_of(values["vendor"]["file_patterns"]),
        generated_phrases=re.compile("|".join(map(re.escape, generated["phrases"])), re.IGNORECASE),
        generated_lines=generated["lines"],
        generated_files=_any_of(generated["file_patterns"]),
    )


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def language_of(path: str, head: bytes) -> str | None:
    """Return the language of a file by its path and first bytes, or None when it is not known."""
    table = language_table()
    name = path.rpartition("/")[2]
    if name in table.by_filename:
        return table.by_filename[name]
    dot = name.rfind(".")
    if dot >= 0:
        extension = name[dot:]
        language = table.by_extension.get(extension) or table.by_extension.get(extension.lower())
        if language == "C" and extension.lower() == ".h":
            return _header_language(head)
        if language is not None:
            return language
    return _interpreter_language(head)


def _header_language(head: bytes) -> str:
    if _OBJECTIVE_C_HEADER.search(head):
        return "Objective-C"
    return "C++" if _CPP_HEADER.search(head) else "C"


def _interpreter_language(head: bytes) -> str | None:
    match = _INTERPRETER.match(head)
    if match is None:
        return None
    table, interpreter = language_table(), match[1].decode("ascii", "replace")
    return table.by_interpreter.get(interpreter) or table.by_interpreter.get(_VERSION_SUFFIX.sub("", interpreter))


def is_vendor(path: str) -> bool:
    """Return whether a path lies in a folder of other people's code, or is a well-known library by its name."""
    table = language_table()
    *folders, name = path.split("/")
    return not table.vendor_folders.isdisjoint(folders) or table.vendor_files.search(name) is not None


def generated_evidence(path: str, text: str) -> str | None:
    """Return what says that a program wrote the file: the phrase in its first lines, or its name. None when nothing does."""
    table = language_table()
    if table.generated_files.search(path.rpartition("/")[2]):
        return path.rpartition("/")[2]
    end = 0
    for _ in range(table.generated_lines):
        end = text.find("\n", end) + 1
        if end == 0:
            end = len(text)
            break
    match = table.generated_phrases.search(text, 0, end)
    return None if match is None else match[0]
