"""Whether a permissive text that differs a little from that of the list is still the same licence.

In: which words of the list's text are missing in a text, and which stand there in addition, run by run. Out: yes or no.
The matching guidelines of SPDX allow other names and other words for the same thing. A whole condition is never one of
these: no word that gives, limits or binds may be missing or added. Of a warranty disclaimer a part, or all, may be missing:
it asks nothing of the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from stackwright.govern.licenses.align import Occurrence
from stackwright.govern.licenses.fingerprints import Fingerprints, load_fingerprints
from stackwright.govern.licenses.words import word_tables

LONGEST_CHANGE = 3
"""Words in one place, in which two versions of the same sentence differ."""

_NAMING = frozenset(["license", "licensed", "agreement"])
_LEAST_COVERAGE = 0.95
_LONGEST_NAME, _OPENS_DISCLAIMER, _MOST_OF_DISCLAIMER = 4, 8, 0.45


@dataclass(frozen=True)
class Differences:
    """The runs in which a text differs from one of the list: numbers of missing words, words that were added."""

    missing: list[list[int]]
    extra: list[list[str]]

    @property
    def num_missing(self) -> int:
        return sum(map(len, self.missing))

    @property
    def num_extra(self) -> int:
        return sum(map(len, self.extra))


def is_same_license(occurrence: Occurrence, added: Iterable[Sequence[str]], prints: Fingerprints) -> bool:
    """Whether a permissive text is there whole: few words differ, in no place many, and none that weighs.

    Args:
        added: the words of each run of `occurrence.extra`.
    """
    template, theirs = occurrence.template, prints.words_of(occurrence.template)
    found = Differences([theirs[start:end].tolist() for start, end in occurrence.missing], [list(words) for words in added])
    found = _without_synonyms(found, prints)
    found = _without_disclaimer(found, occurrence, prints)
    found = _without_fillers(_without_names(found, template.title), template.title, prints)
    few = max(LONGEST_CHANGE, template.required // 100)
    if 1 - found.num_missing / template.required < _LEAST_COVERAGE or found.num_extra > few + found.num_missing:
        return False
    kept = _irreplaceable()
    weighty = word_tables().weighty | word_tables().binding | _NAMING
    return all(len(words) <= LONGEST_CHANGE + 1 and kept.isdisjoint(words) for words in found.missing) and all(
        len(words) <= LONGEST_CHANGE and weighty.isdisjoint(words) for words in found.extra
    )


def _without_synonyms(found: Differences, prints: Fingerprints) -> Differences:
    """Leave out what only says the same in other words: words run together or apart, and names for the thing itself."""
    missing, extra = list(found.missing), []
    for words in found.extra:
        same = next((run for run in missing if _reads_the_same(run, words, prints)), None)
        if same is None:
            extra.append(words)
        else:
            missing.remove(same)
    things, things_here = _numbers_of(word_tables().thing), word_tables().thing
    return Differences(
        [words for words in missing if not things.issuperset(words)],
        [words for words in extra if not things_here.issuperset(words)],
    )


def _reads_the_same(missing: list[int], words: list[str], prints: Fingerprints) -> bool:
    """Whether added words are the missing ones with other spaces ("mer chantability", "theimplied"), or mean the same."""
    if [prints.numbers["".join(words)]] == missing:
        return True
    if len(words) == 1 and len(missing) == 2:
        (word,) = words
        return any([prints.numbers[word[:at]], prints.numbers[word[at:]]] == missing for at in range(1, len(word)))
    joined = " ".join(words)
    return any(
        joined in phrases and any([prints.numbers[word] for word in phrase.split()] == missing for phrase in phrases)
        for phrases in word_tables().same_phrases
    )


def _without_fillers(found: Differences, title: frozenset[int], prints: Fingerprints) -> Differences:
    """Leave out additions that only point or say what the thing is ("and documentation"), and names of a copyright line."""
    tables = word_tables()
    noticed = title | _numbers_of(frozenset(["copyright"]))
    return Differences(
        [words for words in found.missing if not noticed.issuperset(words)],
        [
            words
            for words in found.extra
            if not tables.filler.issuperset(words) and not title.issuperset(prints.numbers[word] for word in words)
        ],
    )


def _without_names(found: Differences, title: frozenset[int]) -> Differences:
    """Leave out names that stand in place of names: a text that names its holder may be given out by another one.

    Only where a text of the list names somebody by a word of its own title ("PSF", "Python"), and once for each name.
    """
    replaced = [words for words in found.missing if title.issuperset(words)]
    if not replaced:
        return found
    tables = word_tables()
    names = [words for words in found.extra if _is_name(words, tables.weighty | tables.legal | tables.binding)]
    if len(names) > len(replaced) or len({word for words in names for word in words}) > _LONGEST_NAME:
        return found
    return Differences(
        [words for words in found.missing if words not in replaced], [words for words in found.extra if words not in names]
    )


def _is_name(words: Sequence[str], terms: frozenset[str]) -> bool:
    return len(words) <= _LONGEST_NAME and terms.isdisjoint(words)


def _without_disclaimer(found: Differences, occurrence: Occurrence, prints: Fingerprints) -> Differences:
    """Leave out what is missing of a warranty disclaimer: words of it, a sentence of it, or all at the end."""
    as_is = [prints.numbers[word] for word in ("is", "provided", "as", "is")]
    size, most = len(prints.words_of(occurrence.template)), _MOST_OF_DISCLAIMER * occurrence.template.required
    missing = []
    for (_, end), words in zip(occurrence.missing, found.missing):
        places = [at for at in range(len(words)) if words[at : at + len(as_is)] == as_is]
        sentence = bool(places) and _numbers_of(word_tables().giving).isdisjoint(words)
        whole = bool(places) and end == size and places[0] < _OPENS_DISCLAIMER
        if _numbers_of(word_tables().disclaiming).issuperset(words) or ((sentence or whole) and len(words) <= most):
            continue
        missing.append(words)
    return Differences(missing, found.extra)


@cache
def _irreplaceable() -> frozenset[int]:
    """Return the numbers of the words that must not be missing: what gives, and what limits."""
    return _numbers_of(word_tables().weighty | word_tables().giving)


@cache
def _numbers_of(words: frozenset[str]) -> frozenset[int]:
    numbers = load_fingerprints().numbers
    return frozenset(number for word in words if (number := numbers[word]) >= 0)
