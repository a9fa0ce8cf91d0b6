"""A licence text as a row of words: what the fingerprints are made from, and what a text is compared by.

In: any text. Out: `TextWords`, its words in lower case with the place of each, and which of them are compared. The rules
follow the matching guidelines of SPDX in our own way: comment signs, punctuation, markup, bullets, numbers and addresses say
nothing; spellings that mean the same are one word; copyright lines, placeholders and the places where a licence names its
holder (`provided by … "as is"`) may hold any name, within a bound. Both sides go through this one function, so what is left
out of a fingerprint is left out of a text too, and nothing else is.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from itertools import accumulate

VERSION = 3
"""Of these rules: fingerprints made under another version do not fit."""

_WORD = re.compile(r"[^\W_]+")

_TAG = re.compile(
    r"<(?:style|script)\b.{0,20000}?</(?:style|script)>|<!--+|--+>|<!doctype[^<>]*>"
    r"|</?(?:p|br|h[1-6]|div|span|a|b|i|u|ul|ol|li|html|head|body|title|meta|pre|code|em|strong|center|hr|font|table|tbody|tr"
    r"|td|th|blockquote|tt|dl|dt|dd|sup|sub|link|img|section|article|main|small|big)\b[^<>]*>",
    re.DOTALL,
)
_ESCAPED_BREAK = "\\n"  # as in a text within JSON
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#x?[0-9a-f]{1,6});")
_ANGLES = {"&lt;": "<", "&gt;": ">"}
_PLACEHOLDER = re.compile(
    r"<[^<>\s]{1,120}>|\((?:copyrightholdersname|trademarkedname)\)"
    r"|[<\[{]{1,2}[^<>\[\]{}]{0,60}\b(?:years?|yyyy|names?|holders?|owners?|authors?|organi[sz]ation|program|entity|entities|insert"
    r"|title|company|fullname|email|inhaber)\b[^<>\[\]{}]{0,60}[>\]}]{1,2}"
)
# An address is found by its sign, and read from there to both sides: looking for one at every word takes far longer.
_ADDRESS_SIGN = re.compile(r"://|: //|@(?=[\w-]+\.\w)|\.(?:org|com|net|io|edu|gov|dev)\b")
_ADDRESS_REST = re.compile(r"[^\s<>\"'`]*")
_ADDRESS_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_+")
_COMMENT_WORD = re.compile(r"^[ \t]*(?:dnl|rem|@c(?:omment)?|\.\\\")(?=[ \t]|$)", re.MULTILINE)

# A line that states a copyright, as against one of a text that speaks of copyright: a sign, a year or a name follows.
_COPYRIGHT = re.compile(
    r"^[^\w\n©]*(?:(?:portions?|parts?|some parts|modifications?|changes|code|documentation|translation|all|this \w+|the"
    r"|original|some|additional|and|license text:?)(?: \w+)?[ :]+(?:are |is )?)?"
    r"(?:(?:copyrights?|copyrighted|copr\.?)\b(?![^\w\n<\[{]*(?:and|or|is|in|to|of|the|that|are|for|on|as|under|may|shall|must|has"
    r"|have|which|who|does|notices?|holders?|owners?|laws?|licen[sc]es?|licen[sc]ing|statements?|treat\w+|interests?|acts?"
    r"|rights?|disclaimers?|lines?|information|permissions?|protection|infring\w+|patents?|subsists?|claims?|doctrine"
    r"|material|work|works|file|below|above|appears?|applies|mark|marks|years?|management|with|within|lies|assign\w+|term"
    r"|date|you|your|we|legend|dates|itself|exceptions?|offices?|notification|in|also|means)\b)[^\w\n]*[\w©<\[{(]"
    r"|(?:©|\(c\)[^\w\n]{0,3}(?:copyright|\d{4}))|developed by:)"
    # … to the end of the line, but not into terms that begin on it.
    r".*?(?=[.,;][^\w\n]{1,4}(?:permission|redistributions?|this|the (?:above|author|contents?|copyright|following|holder"
    r"|licen[sc]e|program|right|software|source|terms|use)|you|licensed|everyone|use|all (?!rights)|unless"
    r"|provided|may|except|for|a |if|it|subject|these|distributed)\b|$)",
    re.MULTILINE,
)
# Whose permission, and whose opinions these are not: a name up to the end of the sentence.
_SENTENCE_END = re.compile(
    r"(?:(?:authori[sz]ation|permission|consent)[^\w.;:]+(?:from|of)"
    r"|either[^\w.;:]+express(?:ed)?[^\w.;:]+or[^\w.;:]+implied[^\w.;:]+of)"
    r"[^\w.;:]+(?P<slot>(?:\w+[^\w.;:]+){0,9}\w+)(?=\.(?:\s|$)|\s*\Z)"
)

# No name and no copyright line has these.
_TERMS = re.compile(
    r"\b(?:not|non|must|shall|only|except|unless|without|prohibited|forbidden|may|permission|noncommercial|commercial|purposes?"
    r"|fees?|pay|licen[sc]e[ds]?|(?:re)?distribut\w+|requires|granted|terms|allowed|agree\w*|required?)\b",
    re.IGNORECASE,
)
# … but those that belong to the place: `neither the name … may be used`.
_OF_SLOT = re.compile(r"(?:may|shall|can|will|must|cannot)(?: not)? be used $")
_LOWER_WORD = re.compile(r"\b[a-z]{4,}\b")
_MOST_PROSE_WORDS, _MOST_NOTICE_WORDS = 5, 40

RESERVED = re.compile(r"\ball[^\w]+rights?[^\w]+reserved(?:[^\w]+worldwide)?\b")

_ROMAN = frozenset(["ii", "iii", "iv", "vi", "vii", "viii", "ix", "xi", "xii", "xiii", "xiv", "xv"])


@dataclass(frozen=True)
class WordTables:
    """What `words.toml` says."""

    slots: tuple[re.Pattern[str], ...]
    additions: tuple[re.Pattern[str], ...]
    weighty: frozenset[str]
    giving: frozenset[str]
    legal: frozenset[str]
    thing: frozenset[str]
    disclaiming: frozenset[str]
    disclaimer: frozenset[str]
    describing: frozenset[str]
    binding: frozenset[str]
    common: frozenset[str]
    about_licenses: frozenset[str]
    filler: frozenset[str]
    title: frozenset[str]
    copyright_line: frozenset[str]
    same: dict[str, str]
    same_phrases: tuple[frozenset[str], ...]


@cache
def word_tables() -> WordTables:
    """Return the tables; read once per process."""
    values = tomllib.loads((resources.files("stackwright.govern.licenses") / "words.toml").read_text("utf-8"))
    slots = (re.sub(r"<(\d+)>", r"(?:\\S+ ){0,\1}?", slot) for slot in values["slots"])
    return WordTables(
        slots=tuple(re.compile(slot) for slot in slots),
        additions=tuple(re.compile(addition) for addition in values["additions"]),
        same=values["same"],
        same_phrases=tuple(frozenset(phrases) for phrases in values["same_phrases"]),
        **{
            name: frozenset(values[name])
            for name in (
                *("weighty", "giving", "thing", "disclaiming", "disclaimer", "legal", "describing", "binding", "common"),
                *("about_licenses", "filler", "title", "copyright_line"),
            )
        },
    )


def canonical_word(word: str) -> str:
    """Return the spelling that stands for a word; '' for bullets and numbers, which are not compared."""
    if len(word) == 1 or word in _ROMAN or word.isdigit():
        return ""
    return word_tables().same.get(word, word)


@dataclass(frozen=True)
class TextWords:
    """The words of a text. `low` is the text in lower case, letter for letter as long, with markup blanked."""

    low: str
    words: list[str]
    named: list[tuple[int, int]] = field(default_factory=list)  # ranges of words that are names, not terms
    reserved: list[tuple[int, int]] = field(default_factory=list)  # "all rights reserved"

    @cached_property
    def joined(self) -> str:
        """The words joined by one space: what short forms are looked for in."""
        return " ".join(self.words)

    @cached_property
    def offsets(self) -> list[int]:
        """Where each word begins in `joined`."""
        return [0, *accumulate(len(word) + 1 for word in self.words)]

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where each word stands in the text, in characters."""
        return [match.span() for match in _WORD.finditer(self.low)]

    @cached_property
    def starts(self) -> list[int]:
        return [start for start, _ in self.spans]

    def words_between(self, start: int, end: int) -> tuple[int, int]:
        """Return the words that stand between two places of the text."""
        return bisect_left(self.starts, start), bisect_left(self.starts, end)

    def word_range(self, start: int, end: int) -> tuple[int, int]:
        """Return the words that a span of `joined` touches."""
        return bisect_right(self.offsets, start) - 1, bisect_left(self.offsets, end)


def read_words(text: str) -> TextWords:
    """Return the words of a text."""
    low = _blanked(_lower(text), text)
    found = TextWords(low, _WORD.findall(low))
    joined, tables = found.joined, word_tables()
    for pattern in (*tables.slots, *tables.additions):
        for match in pattern.finditer(joined):
            if match["slot"] and (pattern in tables.additions or _TERMS.search(_OF_SLOT.sub("", match["slot"])) is None):
                found.named.append(found.word_range(*match.span("slot")))
    if "reserved" in joined:
        found.reserved.extend(found.word_range(*match.span()) for match in RESERVED.finditer(joined))
    return found


def _lower(text: str) -> str:
    """Lower the case without changing any place; a few letters grow when they are lowered."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _blanked(low: str, text: str) -> str:
    """Replace by spaces what says nothing: every word keeps its place."""
    if _ESCAPED_BREAK in low:
        low = low.replace(_ESCAPED_BREAK, "  ")
    if "&" in low:
        low = _ENTITY.sub(lambda match: _ANGLES.get(match[0], "").ljust(len(match[0])), low)
    if "<" in low:
        low = _TAG.sub(_blank, low)
    if "cop" in low or "©" in low or "(c)" in low or "developed by:" in low:
        low = _COPYRIGHT.sub(lambda match: _blank(match) if _is_notice(text[match.start() : match.end()]) else match[0], low)
    if "<" in low or "[" in low or "{" in low or "name" in low:
        low = _PLACEHOLDER.sub(lambda match: match[0] if _TERMS.search(match[0]) else _blank(match), low)
    low = _without_addresses(low)
    low = _COMMENT_WORD.sub(_blank, low)
    return _SENTENCE_END.sub(_blank_slot, low)


def _is_notice(line: str) -> bool:
    """Whether a copyright line holds years and names, and neither prose nor terms."""
    prose = [word for word in _LOWER_WORD.findall(line) if word not in word_tables().copyright_line]
    return len(prose) <= _MOST_PROSE_WORDS and line.count(" ") <= _MOST_NOTICE_WORDS and _TERMS.search(line) is None


def _without_addresses(low: str) -> str:
    pieces, done = [], 0
    for sign in _ADDRESS_SIGN.finditer(low):
        start, end = sign.start(), sign.end()
        if start < done:
            continue
        while start > done and low[start - 1] in _ADDRESS_LETTERS:
            start -= 1
        if start < sign.start():
            if sign[0][0] != "." or low[end : end + 1] == "/":
                end = _ADDRESS_REST.match(low, end).end()  # type: ignore[union-attr] # matches anywhere
            pieces += [low[done:start], " " * (end - start)]
            done = end
    return "".join([*pieces, low[done:]])


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _blank_slot(match: re.Match[str]) -> str:
    if _TERMS.search(match["slot"]):
        return match[0]
    start, end = match.start("slot") - match.start(), match.end("slot") - match.start()
    return match[0][:start] + re.sub(r"[^\n]", " ", match["slot"]) + match[0][end:]
