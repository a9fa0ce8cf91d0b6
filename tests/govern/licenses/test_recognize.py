"""Licence texts, whole and changed: a text is the licence when nearly all of it is there and nothing else is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackwright.govern.licenses.recognize import recognize, recognize_prose
from stackwright.govern.licenses.words import read_words
from tests.govern.licenses.texts import GNU_NOTICE, license_text

IDS = ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0"]
PERMISSIVE = IDS[:-1]


def without_heading(license_id: str) -> str:
    """Return a text from its first sentence on, without the copyright lines that precede it."""
    text = license_text(license_id)
    start = re.search(r"Permission is|Redistribution and use|Apache License|Mozilla Public License Version", text)
    assert start is not None
    return text[start.start() :]


def rewrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 50) for part in re.split(r"\n\s*\n", text))


CHANGES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "rewrapped": rewrapped,
    "in comment signs": lambda text: "\n".join(f" * {line}" for line in text.splitlines()),
    "in capitals": str.upper,
    "with other quotation marks": lambda text: text.replace('"', "“"),
    "with carriage returns": lambda text: text.replace("\n", "\r\n"),
    "in HTML": lambda text: "<html><body><p>" + text.replace("<", "&lt;").replace("\n\n", "</p><p>") + "</p></body></html>",
    "with other holders": lambda text: (
        f"Copyright (c) 1999-2024, Jane Q. Doe and contributors\n(c) 2001 ACME, Inc.\n\n{text}"
    ),
    "with a British spelling": lambda text: text.replace("license", "licence"),
    "with a title": lambda text: f"# License\n\n{text}",
}


@pytest.mark.parametrize("license_id", IDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_text_is_recognised_however_it_is_set(license_id: str, change: str) -> None:
    found = recognize(CHANGES[change](without_heading(license_id)))
    assert found.expression == license_id
    assert found.remainder == 0
    (match,) = [match for match in found.matches if match.kind == "text"]
    assert match.coverage > 0.99


def test_a_holder_may_be_named_where_the_text_names_one() -> None:
    text = re.sub(
        r"BY THE COPYRIGHT HOLDERS? AND CONTRIBUTORS", "BY ACME CORP. AND ITS FRIENDS", without_heading("BSD-3-Clause")
    )
    assert "ACME" in text
    assert recognize(text).expression == "BSD-3-Clause"


def test_names_may_stand_between_title_and_terms() -> None:
    names = "Copyright 2020 many\n\nJane Doe, John Roe, Mary Major, Richard Miles"
    assert recognize(f"MIT License\n\n{names}\n\n{without_heading('MIT')}").expression == "MIT"
    apache = without_heading("Apache-2.0")
    terms = apache.index("TERMS AND CONDITIONS")
    assert recognize(f"{apache[:terms]}\n{names}\n\n{apache[terms:]}").expression == "Apache-2.0"


def test_a_match_says_where_the_text_stands() -> None:
    before = "Foo, a library\nCopyright 2020 Jane Doe\n\n"
    text = without_heading("BSD-2-Clause")
    (match,) = recognize(before + text).matches
    assert (before + text)[match.start :].startswith("Redistribution and use")
    assert match.start_line == 4
    assert match.end == len((before + text).rstrip().rstrip("."))


WORDS = st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9), min_size=15, max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PERMISSIVE), WORDS, st.floats(0, 1))
def test_fifteen_further_words_are_never_passed_over(license_id: str, words: list[str], place: float) -> None:
    text = without_heading(license_id)
    breaks = [match.end() for match in re.finditer(r"\s", text)]
    at = breaks[int(place * (len(breaks) - 1))]
    found = recognize(f"{text[:at]}{' '.join(words)} {text[at:]}")
    assert found.license_class != "permissive", found


TERMS = [
    "The Software shall be used for Good, not Evil.",
    "The Software may not be used for commercial purposes.",
    "You may not use the Software to train machine learning models.",
    "You must pay the author for each copy.",
    "Employees of ACME must not use this.",
    "The grant of rights does not include the right to sell the Software.",
    "You may not offer the Software as a service.",
    "Changes must be published under the same terms.",
    "This license ends after one year.",
]


@pytest.mark.parametrize("license_id", PERMISSIVE)
@pytest.mark.parametrize("terms", TERMS)
def test_a_permissive_text_with_further_terms_is_not_permissive(license_id: str, terms: str) -> None:
    text = without_heading(license_id)
    middle = text.index("\n\n", len(text) // 3)
    for changed in (f"{terms}\n\n{text}", f"{text}\n\n{terms}\n", f"{text[:middle]}\n\n{terms}{text[middle:]}"):
        assert recognize(changed).license_class != "permissive", changed


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("without restriction", "with this restriction"),
        ("free of charge", "for a fee"),
        ("any person", "any natural person for personal use"),
        ("and/or sell copies", "but not sell copies"),
        ("sublicense, and/or sell", "copy"),
        ("to deal in the Software", "to look at the Software"),
    ],
)
def test_a_few_words_that_change_the_terms_make_it_another_text(words: str, others: str) -> None:
    text = " ".join(license_text("MIT").split())
    assert words in text
    assert recognize(text.replace(words, others)).license_class != "permissive"


def test_a_changed_text_says_what_it_was_changed_from() -> None:
    text = without_heading("MIT").replace("any person", "any person who is no competitor of ACME and pays its dues")
    assert "MIT with" in recognize(text).why


@pytest.mark.parametrize("missing", [0.3, 0.5, 0.8])
def test_a_piece_of_a_text_is_not_the_text(missing: float) -> None:
    text = without_heading("MIT")
    assert recognize(text[: int(len(text) * (1 - missing))]).license_class != "permissive"


def test_all_the_texts_of_a_file_hold() -> None:
    found = recognize(f"{license_text('MIT')}\n\n-----\n\n{license_text('BSD-2-Clause')}")
    assert found.expression == "MIT AND BSD-2-Clause"
    assert recognize(f"{license_text('MIT')}\n\n{license_text('MPL-2.0')}").license_class == "weak_copyleft"


def test_a_choice_is_offered_between_those_that_are_named_beside_it() -> None:
    offer = "Licensed under either of the Apache License 2.0 or the MIT license at your option.\n\n"
    found = recognize(offer + license_text("Apache-2.0") + "\n\n" + license_text("MIT"))
    assert found.expression == "Apache-2.0 OR MIT"
    assert recognize("Dual licensed under the MIT license or the GPL version 2.").license_class == "permissive"


def test_a_choice_between_two_does_not_reach_a_third() -> None:
    offer = "Licensed under the Apache License 2.0 or the MIT license at your option.\n\n"
    found = recognize(offer + license_text("Apache-2.0") + "\n\n" + license_text("MIT") + "\n\n" + license_text("MPL-2.0"))
    assert found.license_class == "weak_copyleft"


def test_a_choice_offers_only_what_is_named_in_one_row() -> None:
    found = recognize(
        "Foo is licensed under the MIT license, but bar is under either the GPL version 2 or the GPL version 3."
    )
    assert found.license_class != "permissive"
    found = recognize(
        "Foo is under the MIT license, and bar, but not foo, under either the GPL version 2 or the GPL version 3."
    )
    assert found.expression == "(GPL-2.0-only OR GPL-3.0-only) AND MIT"


def test_a_name_that_takes_more_away_than_the_text_of_its_family_is_no_title() -> None:
    text = license_text("BSD-3-Clause")
    assert recognize(f"The BSD license\n\n{text}").expression == "BSD-3-Clause"
    text = license_text("CC-BY-4.0")
    assert recognize(f"CC BY 4.0\n\n{text}").expression == "CC-BY-4.0"
    assert recognize(f"{text}\n\nThe pictures are under CC BY-NC 4.0.").license_class == "non_free"


def test_a_licence_that_a_file_says_it_is_not_under_does_not_count() -> None:
    assert recognize("This is not released under the MIT license.").license_class == "unknown"
    assert recognize("This is not in the public domain.").license_class == "non_free"


def test_or_any_later_version_holds_for_every_mention_of_the_version() -> None:
    found = recognize("Licensed under the GPL version 2.\n\n" + GNU_NOTICE.format(kind="", version=2))
    assert found.expression == "GPL-2.0-or-later"


def test_any_later_version_is_no_choice_of_licences() -> None:
    found = recognize(license_text("MIT") + "\n\n" + GNU_NOTICE.format(kind="", version=2))
    assert found.expression == "MIT AND GPL-2.0-or-later"
    assert found.license_class == "copyleft"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MIT License", "MIT"),
        ("Licensed under the ISC license.", "ISC"),
        ("The contents are secret.\n\nAll rights reserved.", "LicenseRef-Proprietary"),
        ("This software is the confidential and proprietary information of ACME.", "LicenseRef-Proprietary"),
        ("For research purposes only.", "LicenseRef-Non-Commercial"),
        ("No AI training.\n\nLicensed under the MIT license.", "LicenseRef-No-AI-Training AND MIT"),
        ("https://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("You may copy this software if you agree to the conditions that the licensor will grant.", "LicenseRef-unknown"),
    ],
)  # fmt: skip
def test_short_files(text: str, expression: str) -> None:
    assert recognize(text).expression == expression


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TODO",
        "Jane Doe <jane@example.org>\nJohn Roe <john@example.org>\n",
        "Foo\nCopyright 2014 The Foo Authors\n\nThis product includes software developed at\nThe Foo Foundation.\n",
        "See the file COPYING for details.",
    ],
)
def test_attributions_and_pointers_are_no_licence(text: str) -> None:
    assert recognize(text).expression is None


def test_what_lies_beyond_the_bound_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    text = license_text("MIT")
    assert recognize(f"{text}\n\n{text}").expression == "MIT"
    monkeypatch.setattr("stackwright.govern.licenses.reading.MOST_WORDS", len(read_words(text).words))
    assert recognize(f"{text}\n\n{text}").expression == "MIT"
    assert recognize(f"{text}\n\n{text}").license_class == "unknown"


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_no_text_raises_and_noise_is_not_permissive(text: str) -> None:
    found = recognize(text)
    assert found.license_class != "permissive" or found.matches


def test_a_readme_speaks_of_its_licence_in_its_section() -> None:
    section = "## License\n\nLicensed under the MIT license, see LICENSE.\n"
    readme = f"# Foo\n\nUnlike Bar, which is GPL, Foo is quick.\n\n{section}\n## Thanks\n\nGPL.\n"
    assert recognize_prose(readme).stated == "MIT"
    assert recognize_prose("Foo\n===\n\nFoo is licensed under the GPLv3.\n").stated == "GPL-3.0-only"
    assert recognize_prose("# Foo\n\nCompares licences: MIT, GPL.\n").stated is None
