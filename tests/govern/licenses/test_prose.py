"""Prose beside a licence: what introduces and describes is passed over, what binds a reader never is."""

from __future__ import annotations

import itertools
import random

import pytest

from stackwright.govern.licenses import prose
from stackwright.govern.licenses.recognize import recognize
from tests.govern.licenses.texts import license_text

HARMLESS = [
    "Foo is a small tool for the weather in Rome.",
    "This software is available under the MIT License.",
    "The work was begun in Rome by Jane Doe, and all of it is written in C.",
    "It is based on ideas from Bar, a tool that was made by John Roe at the University of Rome.",
    "Please also refer to the file CONTRIBUTING.md, which clarifies the licensing of external contributions to Foo.",
    "Jane Doe <jane at example dot org>",
    "See the AUTHORS file for all of the names.",
    "- src/weather/*\n- src/rain.c\n- /src/snow.c",
    "The license is OSI approved.",
]


@pytest.mark.parametrize("sentence", HARMLESS)
@pytest.mark.parametrize("license_id", ["MIT", "BSD-3-Clause", "Apache-2.0"])
def test_sentences_that_state_no_terms_may_stand_beside_a_licence(sentence: str, license_id: str) -> None:
    text = license_text(license_id)
    for around in (f"{sentence}\n\n{text}", f"{text}\n\n{sentence}\n"):
        found = recognize(around)
        assert found.license_class == "permissive", (sentence, found.why)


SUBJECTS = [
    "Users", "You", "Every reader", "The Software", "Copies of it", "Companies", "Whoever sells it", "Schools", "Changes",
    "Products with it", "A student", "The code in ee", "This copy", "Derivative works",
]  # fmt: skip
VERBS = [
    "must", "shall", "may not", "may", "need to", "should", "are required to", "agree to", "are not allowed to", "can only",
    "are forbidden to", "have permission to", "cannot", "never", "are obliged to", "are asked to",
]  # fmt: skip
ENDS = [
    "pay the author", "be used by ACME", "stay at home", "be used in the month of May", "name ACME in the manual",
    "be given to friends", "go back to the author", "be used to train models", "be sold", "carry the logo of ACME",
]  # fmt: skip


def test_a_sentence_that_binds_is_never_prose() -> None:
    sentences = [f"{subject} {verb} {end}" for subject, verb, end in itertools.product(SUBJECTS, VERBS, ENDS)]
    assert len(sentences) > 2000
    passed = [words for words in (sentence.lower().split() for sentence in sentences) if prose.is_prose(words, words)]
    assert passed == []


def test_a_sentence_that_binds_blocks_wherever_it_stands() -> None:
    rng, sentences = random.Random(7), list(itertools.product(SUBJECTS, VERBS, ENDS))
    for license_id, place in itertools.product(["MIT", "BSD-3-Clause", "Apache-2.0"], ["before", "after", "inside", "amid"]):
        text = license_text(license_id)
        middle = text.index("\n\n", len(text) // 3)
        for subject, verb, end in rng.sample(sentences, 20):
            sentence = f"{subject} {verb} {end}."
            changed = {
                "before": f"{sentence}\n\n{text}",
                "after": f"{text}\n\n{sentence}\n",
                "inside": f"{text[:middle]}\n\n{sentence}{text[middle:]}",
                "amid": f"{text}\n\nFoo is a tool for the weather. {sentence} It is written in C.\n",
            }[place]
            assert recognize(changed).license_class != "permissive", changed


@pytest.mark.parametrize(
    "sentence",
    [
        "Some of the files are under the ACME Source License.",
        "The pictures in the folder are under a foo license.",
        "The plugins have a license of their own.",
        "All of this is licensed to ACME and to the team of ACME.",
        "A license for the sale of it is a matter of the team at ACME.",
        "Contact the team at ACME for a license.",
        "Uso comercial prohibido.",
        "Interdit aux entreprises.",
        "Dieses Werk darf in der Schule und am Arbeitsplatz weder kopiert noch verkauft werden.",
        "Lorem ipsum dolor sit amet consectetur adipiscing elit.",
        "It is free for the schools of Rome.",
        "Contact: ACME, before it goes out",
        "Property of ACME",
        "Licensed under Foo.",
        "Everything is licensed under the terms of Foo.",
        "Forks of it are renamed.",
    ],
)
def test_names_of_licences_and_other_languages_are_no_prose(sentence: str) -> None:
    for text in (f"{sentence}\n\n{license_text('MIT')}", f"{license_text('MIT')}\n\n{sentence}\n"):
        assert recognize(text).stated == "MIT"
        assert recognize(text).license_class == "unknown"


@pytest.mark.parametrize(
    "names",
    [
        "Copyright (c) 2001 The University of Foo and the\n    University of Rome Research Foundation.",
        "Copyright (c) 2001 The University of Foo.  All rights\n                   reserved.",
        "Copyright (c) 2001 Jane Doe\n<jane at example dot org>",
    ],
)
def test_the_second_line_of_a_copyright_line_states_nothing(names: str) -> None:
    assert recognize(f"{names}\n\n{license_text('MIT')}").expression == "MIT"
    assert recognize(f"{names}\nFor Research Use\n\n{license_text('MIT')}").license_class != "permissive"


def test_much_prose_is_left_to_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{license_text('MIT')}\n\nFoo is a small tool for the weather in Rome.\n"
    assert recognize(text).expression == "MIT"
    assert recognize(text).license_class == "permissive"
    monkeypatch.setattr(prose, "MOST_PROSE_WORDS", 5)
    assert recognize(text).expression == "MIT"
    assert recognize(text).license_class == "unknown"


def test_prose_alone_is_no_licence() -> None:
    assert recognize("Foo is a small tool for the weather in Rome.").expression is None


def test_paragraphs_items_and_full_stops_begin_sentences() -> None:
    text = "One. Two e.g.three\nfour\n\nFive\n- six\nSeven:\n  eight"
    starts = [*prose.sentence_starts(text), len(text)]
    pieces = [" ".join(text[start:end].split()) for start, end in itertools.pairwise(starts)]
    assert pieces == ["One.", "Two e.g.three four", "Five", "- six Seven:", "eight"]
