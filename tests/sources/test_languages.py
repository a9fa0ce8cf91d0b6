"""Languages by name, extension and interpreter line; vendored and generated files by their marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.sources.languages import generated_evidence, is_vendor, language_of, language_table


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("a/b.py", b"", "Python"),
        ("a/B.PY", b"", "Python"),
        ("x.R", b"", "R"),
        ("x.pyx", b"", "Cython"),
        ("x.C", b"", "C"),
        ("CMakeLists.txt", b"", "CMake"),
        ("notes.txt", b"", "Text"),
        ("deep/Makefile", b"", "Makefile"),
        ("LICENSE", b"", "Text"),
        ("run", b"#!/usr/bin/env -S python3.11 -u\n", "Python"),
        ("run", b"#!/bin/bash\n", "Shell"),
        ("run", b"#! /usr/bin/perl -w\n", "Perl"),
        ("run", b"plain words", None),
        ("x.unknown", b"#!/usr/bin/env node\n", "JavaScript"),
        ("x.h", b"#include <stdio.h>\nint f(void);\n", "C"),
        ("x.h", b"#pragma once\nnamespace a {\n", "C++"),
        ("x.h", b"#import <Foundation/Foundation.h>\n@interface A\n", "Objective-C"),
        ("x.hpp", b"", "C++"),
        (".gitignore", b"", "Ignore List"),
        ("noextension.", b"", None),
    ],
)
def test_language_of_a_file(path: str, head: bytes, language: str | None) -> None:
    assert language_of(path, head) == language


def test_table_is_large_and_has_no_double_claims() -> None:
    table = language_table()
    assert len(table.languages) >= 120
    assert all(extension.startswith(".") for extension in table.by_extension)


@given(st.text(), st.binary())
def test_any_name_and_head_have_an_answer(path: str, head: bytes) -> None:
    assert language_of(path, head) in {*language_table().languages, None}
    is_vendor(path)


def test_vendored_folders_are_whole_names() -> None:
    assert is_vendor("pip/_vendor/rich/table.py")
    assert is_vendor("web/jquery-3.1.js")
    assert not is_vendor("pip/vendored_things/table.py")
    assert not is_vendor("vendor.py")


@pytest.mark.parametrize(
    ("path", "text", "evidence"),
    [
        ("a.py", "# Was GENERATED automatically\n", "GENERATED automatically"),
        ("a.py", "1\n2\n3\n4\n# auto-generated\n", "auto-generated"),
        ("a.py", "1\n2\n3\n4\n5\n# auto-generated\n", None),
        ("a_pb2.py", "x", "a_pb2.py"),
        ("package-lock.json", "{}", "package-lock.json"),
        ("a.py", "we generated this automatically\n", None),
        ("a.py", "", None),
    ],
)
def test_generated_files_are_known_by_phrase_or_name(path: str, text: str, evidence: str | None) -> None:
    assert generated_evidence(path, text) == evidence
