"""What a text amounts to: doubt withholds the verdict, stated terms join the expression, a licence of one's own stays so."""

from __future__ import annotations

import re

import pytest

from stackwright.govern.licenses.headers import header_evidence
from stackwright.govern.licenses.recognize import recognize
from tests.govern.licenses.texts import license_text

REMARK = "This work was begun in the winter of 2001 by a group of friends at the harbour of Genoa."
"""Sixteen words that take nothing away."""


def inserted(license_id: str, words: str) -> str:
    """Return a text with words put between two of its sentences."""
    text = license_text(license_id)
    middle = text.index("THE SOFTWARE IS PROVIDED" if license_id == "MIT" else "THIS SOFTWARE IS PROVIDED")
    return f"{text[:middle]}{words}\n\n{text[middle:]}"


def test_words_that_may_mean_anything_withhold_the_verdict_and_not_the_name() -> None:
    found = recognize(f"{license_text('MIT')}\n\nWhoever reads this is asked to think of Genoa.\n")
    assert found.expression == "MIT"
    assert found.license_class == "unknown"
    assert "words that nothing explains" in found.why


def test_a_sentence_that_states_terms_joins_the_expression() -> None:
    found = recognize(f"{license_text('MIT')}\n\nYou may not distribute the software to a company.\n")
    assert found.expression == "MIT AND LicenseRef-unknown"
    assert found.license_class == "unknown"


@pytest.mark.parametrize("license_id", ["MIT", "BSD-3-Clause"])
def test_a_remark_within_a_text_leaves_its_name_and_withholds_the_verdict(license_id: str) -> None:
    text = inserted(license_id, REMARK)
    assert recognize(text).expression == license_id
    assert recognize(text).license_class == "unknown"
    header = header_evidence("\n".join(f"# {line}" for line in text.splitlines()) + "\nx = 1\n", "Python")
    assert header is not None
    assert header.license_class == "unknown"


@pytest.mark.parametrize(
    "terms", ["The software must not be sold to anybody who lives in the town of Genoa.", f"{REMARK} No use for research."]
)
def test_terms_within_a_text_make_it_another(terms: str) -> None:
    assert recognize(inserted("MIT", terms)).expression == "LicenseRef-unknown"


def test_a_long_text_with_a_few_other_words_keeps_its_name_and_no_verdict() -> None:
    text = license_text("Apache-2.0")
    changed, count = re.subn(r"\bacceptance of support\b", "taking on of assistance", text, flags=re.IGNORECASE)
    changed = changed.replace("perpetual,", "lasting and unending in every sense of it,", 1)
    assert (count, changed != text) == (1, True)
    assert recognize(text).license_class == "permissive"
    assert recognize(changed).expression == "Apache-2.0"
    assert recognize(changed).license_class == "unknown"
    harder = text.replace("perpetual,", "perpetual, for anything but commercial purposes in the town,", 1)
    assert recognize(harder).license_class != "permissive"
    assert not (recognize(harder).expression or "").startswith("Apache")


OWN = "The licensee agrees to pay the licensor a fee for the use of the product and not to copy or distribute it. "


def test_a_licence_of_ones_own_may_name_those_of_others() -> None:
    found = recognize(f"{OWN * 12}\n\nParts of the product come under the GPL version 2 or the MIT license.\n{OWN * 3}")
    assert found.expression == "LicenseRef-unknown"
    assert "a licence of its own" in found.why


def test_a_text_that_begins_by_naming_its_licence_is_none_of_ones_own() -> None:
    assert recognize(f"Licensed under the GPL version 2.\n\n{OWN * 15}").expression == "GPL-2.0-only"


def test_few_words_are_no_licence_of_ones_own() -> None:
    found = recognize(f"{OWN * 4}\n\nParts of the product come under the GPL version 2.\n")
    assert found.expression == "GPL-2.0-only"


def test_a_disclaimer_that_stands_alone_says_nothing() -> None:
    mit = license_text("MIT")
    disclaimer = mit[mit.index("THE SOFTWARE IS PROVIDED") :]
    apache = license_text("Apache-2.0")
    found = recognize(f"{apache}\n\n-----\n\n{disclaimer}")
    assert (found.expression, found.license_class) == ("Apache-2.0", "permissive")
    harder = disclaimer.replace("WITHOUT WARRANTY", "for research only, without warranty")
    assert harder != disclaimer
    assert recognize(f"{apache}\n\n-----\n\n{harder}").license_class != "permissive"


def test_a_list_of_files_is_no_licence_although_it_says_the_word() -> None:
    names = "\n".join(f"lib{number}.so is made of a{number}.c" for number in range(40))
    assert recognize(f"Files that come with the license of the product:\n{names}").expression is None


def test_to_say_that_there_are_no_restrictions_restricts_nothing() -> None:
    few = "There are no restrictions on the redistribution and usage of the software."
    assert recognize(f"{license_text('MIT')}\n\n{few}\n").stated == "MIT"
    assert recognize(f"{license_text('MIT')}\n\n{few}\n").expression == "MIT"
    some = few.replace("no restrictions", "restrictions")
    assert recognize(f"{license_text('MIT')}\n\n{some}\n").expression == "MIT AND LicenseRef-unknown"


def test_a_list_of_authors_is_no_licence() -> None:
    assert (
        recognize("Foo is written and modified by Jane Doe, and it was distributed by gaetano and mafro.").expression is None
    )
