"""Permissive texts that differ a little: other names and other words for the thing pass, a changed condition does not."""

from __future__ import annotations

import re

import pytest

from stackwright.govern.licenses.recognize import recognize
from tests.govern.licenses.texts import license_text


def flat(license_id: str) -> str:
    """Return a text in one line, from its first sentence on."""
    text = " ".join(license_text(license_id).split())
    return text[re.search(r"Permission is|Redistribution and use", text).start() :]  # type: ignore[union-attr] # it has one


@pytest.mark.parametrize("thing", ["source code", "library", "program", "package"])
def test_one_word_for_the_thing_may_stand_for_another(thing: str) -> None:
    text = flat("BSD-3-Clause").replace("THIS SOFTWARE", f"THIS {thing.upper()}").replace("this software", f"this {thing}")
    assert thing in text
    assert recognize(text).expression == "BSD-3-Clause"


def test_another_word_for_the_thing_may_stand_in_every_place() -> None:
    text = flat("MIT").replace("Software", "Source Code").replace("SOFTWARE", "SOURCE CODE")
    assert text.upper().count("SOURCE CODE") > 6
    assert recognize(text).expression == "MIT"


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("modification,", "modifica-\ntion,"),
        ("MERCHANTABILITY", "MER-\nCHANTABILITY"),
        ("BUSINESS INTERRUPTION", "BUSINESSINTERRUPTION"),
        ("this software without specific", "this software and documentation without specific"),
        ("following disclaimer in", "following disclaimer listed in this license in"),
        ("THIS SOFTWARE IS", "THIS SOFTWARE AND THE ACCOMPANYING DOCUMENTATION IS"),
    ],
)
def test_other_spaces_and_words_that_only_point_leave_the_licence(words: str, others: str) -> None:
    text = flat("BSD-3-Clause")
    assert words in text
    assert recognize(text.replace(words, others)).stated == "BSD-3-Clause"


def test_the_same_denial_may_stand_in_other_words() -> None:
    text = flat("BSD-3-Clause")
    third = re.search(r"Neither the name .*? written permission\.", text)
    assert third is not None
    plain = "The name of the copyright holder {} be used to endorse or promote products derived from this software without"
    for denial in ("may not", "cannot", "must not"):
        changed = text.replace(third[0], f"{plain.format(denial)} specific prior written permission.")
        assert recognize(changed).stated == "BSD-3-Clause", denial


def test_many_small_differences_are_too_many() -> None:
    text = flat("MIT")
    assert recognize(text.replace(" the ", " ", 2)).expression == "MIT"
    assert recognize(re.sub(r" (?:the|this|to|is|be|so|whom)(?= )", "", text)).license_class != "permissive"


@pytest.mark.parametrize("word", ["use, ", "modify, ", "distribute, ", "sublicense, ", "free of charge, "])
def test_no_word_that_gives_may_be_missing(word: str) -> None:
    text = flat("MIT")
    assert word in text
    assert recognize(text.replace(word, "", 1)).license_class != "permissive"


@pytest.mark.parametrize("cut", ["WHETHER IN CONTRACT, STRICT LIABILITY, ", "PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; "])
def test_words_of_a_disclaimer_may_be_missing(cut: str) -> None:
    text = flat("BSD-3-Clause")
    assert cut in text
    assert recognize(text.replace(cut, "")).expression == "BSD-3-Clause"


def test_a_disclaimer_may_be_missing_and_a_condition_may_not() -> None:
    text = flat("MIT")
    grant, disclaimer = text.split("THE SOFTWARE IS PROVIDED")
    assert recognize(grant).expression == "MIT"
    condition = re.search(r"The above copyright notice.*?Software\. ", text)
    assert condition is not None
    assert recognize(f"{grant.replace(condition[0], '')} THE SOFTWARE IS PROVIDED{disclaimer}").expression != "MIT"


def test_each_condition_of_the_three_decides() -> None:
    text = flat("BSD-3-Clause")
    without_third = re.sub(r"3\. Neither.*?permission\.", "", text)
    assert without_third != text
    assert recognize(without_third).expression == "BSD-2-Clause"
    for number in (1, 2):
        without = re.sub(rf"{number}\. Redistributions.*?(?={number + 1}\.)", "", text)
        assert without != text
        assert recognize(without).expression != "BSD-3-Clause"  # without the second it is BSD-Source-Code


def test_a_project_may_be_named_beside_its_contributors() -> None:
    names = r"Neither the name of the copyright holder nor the names of its contributors may be used"
    text, count = re.subn(names, "Neither foo-bar nor the names of its contributors may not be used", flat("BSD-3-Clause"))
    assert count == 1
    assert recognize(text).expression == "BSD-3-Clause"


def test_a_holder_may_stand_where_the_list_names_one() -> None:
    text = license_text("PSF-2.0")
    start = text.index("1. This LICENSE AGREEMENT is between the Python Software Foundation")
    text = re.split(r"BEOPEN\.COM LICENSE", text[start:])[0]
    other = re.sub(r'Python Software\s+Foundation\s+\("PSF"\)|Python Software Foundation|\bPSF\b', "Jane Roe", text)
    assert recognize(re.sub(r"\bPython\b", "foobar", other)).expression == "PSF-2.0"
    harder = other.replace("royalty-free", "royalty-bearing")
    assert harder != other
    assert recognize(harder).license_class != "permissive"


@pytest.mark.parametrize("words", ["for friends", "once licensed", "as GPL", "until May", "for your home"])
def test_a_few_words_that_bind_do_not_pass_in_a_text(words: str) -> None:
    text = flat("MIT")
    at = text.index(", to any person")
    assert recognize(f"{text[:at]} {words}{text[at:]}").license_class != "permissive"
