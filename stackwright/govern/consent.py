"""Consent: what a repository itself says about training on its files.

In: the paths of a repository's files, and the texts of those that can say something: `.github/ai-opt-out` and
`.github/ai-opt-in`, and every `.gitattributes` that names `ai-training`. Clauses of licences come in as signals from
whoever reads licences. Out: for each path a yes, a no or nothing, with the evidence. Signals of different kinds do not
overrule one another: where one says no, a yes elsewhere does not count.

Patterns and lines mean what they mean to git (gitattributes(5)), but for macros, which are not followed. Texts come from
strangers: matching takes time linear in pattern times path, whatever they hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

SignalKind = Literal["opt_out_file", "opt_in_file", "gitattributes", "license_clause"]
Policy = Literal["honor", "ignore", "opt-in"]

ATTRIBUTE = "ai-training"
ATTRIBUTES_FILE = ".gitattributes"
CONSENT_FILES: Mapping[str, SignalKind] = {"ai-opt-out": "opt_out_file", "ai-opt-in": "opt_in_file"}
CONSENT_FOLDER = ".github/"

MAX_LINE_CHARACTERS = 2048
"""Longer lines of a .gitattributes are ignored, as git does."""

_BLANKS = " \t\r"
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.][-A-Za-z0-9_.]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\(?:[abfnrtv"\\]|[0-3][0-7]{2}))*)"')
_ESCAPE = re.compile(rb'\\([abfnrtv"\\]|[0-3][0-7]{2})')
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True)
class Signal:
    """One statement: where it stands and what it says. `allowed` is None where it takes an outer statement back."""

    kind: SignalKind
    path: str  # the file that holds it
    span: tuple[int, int] | None = None  # characters of that file's text
    allowed: bool | None = False
    pattern: str | None = None  # of a .gitattributes: which files it governs
    line: int | None = None
    folder: str | None = None  # of a licence clause: the prefix that it governs, when not the folder it stands in

    @property
    def evidence(self) -> str:
        """Where it stands, on one line."""
        if self.kind == "gitattributes":
            return f"{self.path} line {self.line}: {self.pattern} {ATTRIBUTE}={str(self.allowed).lower()}"
        return self.path if self.span is None else f"{self.path} characters {self.span[0]} to {self.span[1]}"


class Consent(NamedTuple):
    """What a repository says of one file; `allowed` is None, and so is `evidence`, where it says nothing."""

    allowed: bool | None
    evidence: str | None


def decide(consent: Consent, policy: Policy) -> bool:
    """Return whether a file may be used: honor takes what is not refused, opt-in only what is granted."""
    if policy == "ignore":
        return True
    return consent.allowed is True if policy == "opt-in" else consent.allowed is not False


def read_signals(path: str, text: str) -> tuple[Signal, ...]:
    """Return what a file says about training; nothing for most files. Pure; never raises on any text."""
    folder, name = _split(path)
    if folder == CONSENT_FOLDER:
        kind = CONSENT_FILES.get(name.partition(".")[0].lower())
        return () if kind is None else (Signal(kind, path, allowed=kind == "opt_in_file"),)
    return tuple(_read_attributes(path, text)) if name == ATTRIBUTES_FILE else ()


@dataclass(frozen=True)
class ConsentSignals:
    """The signals of one repository, ready to be asked about its paths."""

    opt_outs: tuple[Signal, ...]
    opt_ins: tuple[Signal, ...]
    clauses: tuple[tuple[str, Signal], ...]  # governed prefix, signal
    attributes: Mapping[str, tuple[tuple[_Pattern, Signal], ...]]  # by folder, the last line first

    @staticmethod
    def build(signals: Iterable[Signal]) -> ConsentSignals:
        """Sort the signals of one repository; those of one .gitattributes come in the order of its lines."""
        signals = list(signals)
        attributes: dict[str, list[tuple[_Pattern, Signal]]] = {}
        for signal in reversed(signals):
            if signal.kind == "gitattributes" and signal.pattern is not None:
                compiled = _compile(signal.pattern)
                if compiled is not None:
                    attributes.setdefault(_split(signal.path)[0], []).append((compiled, signal))
        clauses = [signal for signal in signals if signal.kind == "license_clause"]
        return ConsentSignals(
            tuple(signal for signal in signals if signal.kind == "opt_out_file"),
            tuple(signal for signal in signals if signal.kind == "opt_in_file"),
            tuple((_split(clause.path)[0] if clause.folder is None else clause.folder, clause) for clause in clauses),
            {folder: tuple(lines) for folder, lines in attributes.items()},
        )

    def verdict(self, path: str) -> Consent:
        """Return what the repository says of one of its files."""
        attribute = self._attribute(path)
        own = [] if attribute is None else [attribute]
        clauses = [signal for folder, signal in self.clauses if path.startswith(folder)]
        for allowed in (False, True):
            for signal in (*own, *clauses, *self.opt_outs, *self.opt_ins):
                if signal.allowed is allowed:
                    return Consent(allowed, signal.evidence)
        return Consent(None, None)

    def _attribute(self, path: str) -> Signal | None:
        """Return the line that decides: the last that matches in the innermost folder where one does."""
        folder = path if self.attributes else ""
        while folder:
            folder = _split(folder.removesuffix("/"))[0]
            parts = path.removeprefix(folder).split("/")
            for pattern, signal in self.attributes.get(folder, ()):
                if pattern.matches(parts):
                    return signal
        return None


def _split(path: str) -> tuple[str, str]:
    """Return folder, with its slash or empty, and name."""
    end = path.rfind("/") + 1
    return path[:end], path[end:]


def _read_attributes(path: str, text: str) -> Iterator[Signal]:
    offset = 0
    for number, line in enumerate(text.split("\n"), 1):
        signal = _read_line(path, number, line.removeprefix("\ufeff") if number == 1 else line, offset)
        if signal is not None:
            yield signal
        offset += len(line) + 1


def _read_line(path: str, number: int, line: str, offset: int) -> Signal | None:
    """Read one line of a .gitattributes; None when it says nothing about training, or nothing that git takes."""
    rest = line.strip(_BLANKS)
    if not rest or rest.startswith("#") or len(line) >= MAX_LINE_CHARACTERS:
        return None
    quoted = _QUOTED.match(rest)
    if quoted is not None:
        pattern, rest = _unquote(quoted[1]), rest[quoted.end() :]
    else:
        pattern, *states = re.split(f"[{_BLANKS}]+", rest, maxsplit=1)
        rest = states[0] if states else ""
        if pattern.startswith("[attr]") and pattern != "[attr]":  # defines a macro
            return None
    if pattern.startswith("!"):  # git takes no negative patterns here
        return None
    found: list[bool | None] = []
    for word in re.split(f"[{_BLANKS}]+", rest.strip(_BLANKS)) if rest.strip(_BLANKS) else ():
        name, equals, value = word.removeprefix("-" if word.startswith("-") else "!").partition("=")
        if not _ATTRIBUTE_NAME.fullmatch(name):  # git drops the whole line
            return None
        if name == ATTRIBUTE:
            stated = not equals or value.lower() == "true"  # a value that is not understood is no consent
            found.append(None if word.startswith("!") else stated and not word.startswith("-"))
    if not found:
        return None
    return Signal("gitattributes", path, (offset, offset + len(line.rstrip("\r"))), found[-1], pattern, number)


def _unquote(text: str) -> str:
    """Undo the escapes of a string in C's notation; octal ones are bytes of UTF-8."""

    def unescape(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8)]) if code.isdigit() else _ESCAPED.get(code, code)

    return _ESCAPE.sub(unescape, text.encode("utf-8", "surrogatepass")).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class _Pattern:
    """A pattern of git: an expression for each part of a path, None for `**`. Without a slash it is about the name."""

    segments: tuple[re.Pattern[str] | None, ...]
    is_name: bool

    def matches(self, parts: Sequence[str]) -> bool:
        """Return whether a path matches; `parts` are those below the folder of the pattern's file."""
        if self.is_name:
            parts = parts[-1:]
        reached = {0}  # how many parts the segments so far can stand for
        for number, segment in enumerate(self.segments, 1):
            if segment is not None:
                reached = {end + 1 for end in reached if end < len(parts) and segment.match(parts[end])}
            elif number == len(self.segments):  # a last `**` stands for something: `a/**` is not about `a`
                return min(reached, default=len(parts)) < len(parts)
            elif reached:
                reached = set(range(min(reached), len(parts) + 1))
        return len(parts) in reached


def _compile(text: str) -> _Pattern | None:
    """Compile a pattern; None when it is cut off. One that ends with a slash names a folder, and so matches no file."""
    segments: list[list[str | None]] = [[]]  # of expressions for one character, and None for `*`
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            if position == len(text):
                return None
            character, position = text[position], position + 1
            piece: str | None = re.escape(character)
        elif character == "[":
            bracket = _bracket(text, position)
            if bracket is None:
                return None
            piece, position = bracket
        else:
            piece = {"*": None, "?": "."}.get(character, re.escape(character))
        if character == "/":
            segments.append([])
        else:
            segments[-1].append(piece)
    is_name = "/" not in text  # one at the beginning, or in a set of characters, only ties the pattern to its folder
    if text.startswith("/"):
        del segments[0]
    return _Pattern(tuple(map(_segment, segments)), is_name)


def _segment(pieces: Sequence[str | None]) -> re.Pattern[str] | None:
    if len(pieces) > 1 and not any(pieces):
        return None
    runs: list[str] = [""]
    for piece in pieces:
        if piece is None:
            runs.append("")
        else:
            runs[-1] += piece
    first, *later = runs
    # What follows a `*` is taken at its first place for good, which loses no match and keeps the time linear.
    middle = "".join(f"(?>.*?{run})" for run in later[:-1])
    return re.compile(first + middle + (f".*{later[-1]}" if later else "") + r"\Z", re.DOTALL)


_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\[:([^\]]*):\]")
_ITEM = re.compile(r"\\(.)|([^\\])", re.DOTALL)


def _bracket(text: str, position: int) -> tuple[str, int] | None:
    """Read a set of characters from behind its `[`: the expression and where it ends; None when it is not closed."""
    negated = text[position : position + 1] in ("!", "^")
    position += negated
    start, items = position, []
    while position == start or text[position : position + 1] != "]":
        named = _CLASS.match(text, position)
        first = _ITEM.match(text, position)
        if named is not None:
            if named[1] not in _CLASSES:
                return None
            items.append(_CLASSES[named[1]])
            position = named.end()
            continue
        if first is None:
            return None
        low, position = first[1] or first[2], first.end()
        last = _ITEM.match(text, position + 1)
        if text[position : position + 1] != "-" or last is None or last[2] == "]":
            items.append(re.escape(low))
            continue
        high, position = last[1] or last[2], last.end()
        # Of an empty range git still takes the first character.
        items.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else re.escape(low))
    return f"[{'^' if negated else ''}{''.join(items)}]", position + 1
