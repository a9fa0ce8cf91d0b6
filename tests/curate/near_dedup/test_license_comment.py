"""An opening comment that states a licence is left out of the comparison, and nothing else is."""

from __future__ import annotations

import pytest

from stackwright.curate.near_dedup.license_comment import MOST_CHARACTERS, end_of_license_comment

WORDS = "Copyright 2020 The Makers\nLicensed under some terms, see LICENSE.\n"


def commented(before: str, each: str, after: str) -> str:
    return before + "".join(f"{each}{line}\n" for line in WORDS.splitlines()) + after


@pytest.mark.parametrize(
    "comment",
    [
        commented("", "# ", ""),
        commented("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n#\n", "# ", ""),
        commented("", "// ", ""),
        commented("/*\n", " * ", " */\n"),
        commented("/**\n", " * ", " */\n"),
        commented("<!--\n", "  ", "-->\n"),
        commented('"""\n', "", '"""\n'),
        commented("", "-- ", ""),
        commented("", ";; ", ""),
        commented("", "% ", ""),
        commented("(*\n", " ", "*)\n"),
        commented("<?php\n/*\n", " * ", " */\n"),
        commented("\ufeff", "# ", ""),
        commented("/* Copyright 1999 someone else */\n/*\n", " * ", " */\n"),
        "# SPDX-License-Identifier: MIT\n",
    ],
)
def test_a_license_comment_ends_where_the_file_begins(comment: str) -> None:
    code = "value = compute(1)\nmore = 2\n"
    assert (comment + code)[end_of_license_comment(comment + code) :].lstrip() == code


@pytest.mark.parametrize(
    "text",
    [
        "# What this module does.\nx = 1\n",
        "x = 1\n# Copyright 2020 The Makers\n",
        "#include <license.h>\nint x;\n",
        "#define COPYRIGHT 1\n",
        '"""A long page about parsing.\n' + "words and words\n" * 60 + 'The licence of the input does not matter."""\n',
        "/* Copyright 2020, and the comment is never closed\nint x;\n",
        "",
    ],
)
def test_any_other_text_stays_whole(text: str) -> None:
    assert end_of_license_comment(text) == 0


def test_an_endless_comment_is_looked_at_up_to_a_limit() -> None:
    text = "# Copyright 2020 The Makers\n" * 100_000
    assert 0 < end_of_license_comment(text) <= MOST_CHARACTERS
    assert end_of_license_comment("/*" * 200_000) == 0
