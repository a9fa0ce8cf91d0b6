"""Names of licences in prose: those that a file is under, and those that it only speaks of."""

from __future__ import annotations

import pytest

from stackwright.govern.licenses.reading import Reading
from stackwright.govern.licenses.recognize import Match, recognize
from tests.govern.licenses.texts import GNU_NOTICE, license_text


@pytest.mark.parametrize(
    "sentence",
    [
        "The license is approved by the OSI and the FSF as GPL-compatible.",
        "It is GPL friendly.",
        "It is compatible with the GNU General Public License.",
        "The MIT license, unlike the GPL, is short.",
        "This is an Apache License 2.0 compatible license.",
    ],
)
def test_a_licence_that_is_only_compared_with_adds_nothing(sentence: str) -> None:
    assert recognize(f"{license_text('MIT')}\n\n{sentence}\n").expression == "MIT"


def test_a_licence_that_holds_beside_a_comparison_still_holds() -> None:
    text = f"{license_text('MIT')}\n\nIt is GPL compatible, and the tests are under the GPL version 2.\n"
    assert recognize(text).license_class == "copyleft"


APPENDIX = """How to Apply These Terms to Your New Programs

If you write a program, put this at its start:

    {notice}

    This program is handed out in the hope that it is of use, but nobody vouches for that. The rest of the terms stand above.

You may also add how you can be reached, and whoever employs you may have to sign a paper that says that it has no claim on
the program. The General Public License keeps your program out of those of others that are closed. If it is a library,
you may like to have it used by them as well. If this is what you want to do, use the GNU Lesser General Public License
instead of this License.
"""


def test_the_appendix_of_a_text_is_no_notice_of_the_file() -> None:
    # A text of the family is needed for its appendix to be one: alone the same words are a notice.
    appendix = APPENDIX.format(notice=GNU_NOTICE.format(kind="", version=2))
    assert recognize(appendix).expression == "GPL-2.0-or-later AND LGPL-2.0-or-later"
    reading = Reading(appendix)
    reading.matches.append(Match("GPL-2.0-only", "text", 0, 0, 1, 1))
    reading.match_references()
    assert [match.expression for match in reading.matches] == ["GPL-2.0-only"]
    assert reading.explained.all()


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("No part of this book may be copied.", "LicenseRef-Proprietary"),
        ("To work with Foo you have to purchase a license.", "LicenseRef-Proprietary"),
        ("It is for use only with ACME products.", "LicenseRef-Proprietary"),
        ("You may not use this Software except in connection with the ACME services.", "LicenseRef-Proprietary"),
        ("The files may not be copied or distributed without a word from ACME.", "LicenseRef-Proprietary"),
        ("The following uses require prior written permission: all.", "LicenseRef-Proprietary"),
    ],
)
def test_what_takes_rights_away_has_a_name(text: str, expression: str) -> None:
    found = recognize(text)
    assert found.stated == expression
    assert found.license_class == "non_free"


def test_software_of_others_that_is_proprietary_says_nothing_of_this_one() -> None:
    text = f"{GNU_NOTICE.format(kind='', version=2)}\n\nTo build it into proprietary software, ask us.\n"
    assert recognize(text).expression == "GPL-2.0-or-later"
    assert recognize("This is proprietary software.").license_class == "non_free"


def test_a_changed_licence_is_not_the_licence() -> None:
    assert recognize("Licensed under the Modified MIT license.").license_class == "unknown"


def test_the_licence_that_comes_later_is_not_the_one_that_holds() -> None:
    found = recognize("Business Source License 1.1\n\nChange License: GNU General Public License v2.0 or later\n")
    assert found.expression == "BUSL-1.1"


def test_parameters_of_the_business_source_license_are_no_licences_of_their_own() -> None:
    found = recognize("Business Source License 1.1\n\nChange Date: 2030-01-01\n\nChange License: MIT\n")
    assert found.expression == "BUSL-1.1"


def test_what_was_made_for_research_may_be_used_for_all() -> None:
    made = "The Software has been developed for research purposes only."
    assert recognize(f"{made}\n\n{license_text('BSD-3-Clause')}").expression == "BSD-3-Clause"
    assert (
        recognize(f"{made.replace('developed', 'licensed')}\n\n{license_text('BSD-3-Clause')}").license_class == "non_free"
    )


def test_a_name_does_not_reach_into_the_next_paragraph() -> None:
    found = recognize(f"All of it is under a foo license.\n\nThe MIT License\n\n{license_text('MIT')}")
    assert found.expression == "MIT"
    assert found.license_class == "unknown"  # "foo" is the name of none


@pytest.mark.parametrize("text", ["Copyright 2020 ACME. All Rights Reserved.", "Foo\n\n© ACME\nAll rights reserved\n"])
def test_rights_reserved_in_a_copyright_line_say_nothing(text: str) -> None:
    assert recognize(text).expression is None


def test_all_rights_reserved_by_itself_is_no_licence_to_anybody() -> None:
    assert recognize("All rights reserved.").expression == "LicenseRef-Proprietary"
