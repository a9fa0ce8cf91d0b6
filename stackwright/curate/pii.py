"""Redaction of personal data and secrets: e-mail addresses, IP addresses, private-key blocks.

In: a text, the kinds to look for, and the operator's key. Out: the text with placeholders, and one `Fired` per span with
its place in the original text and a keyed hash: never the value. Spans are sorted and merged before anything is replaced
(FACTS K 15). Cheap tests come first, so that a text without an at sign, digits and dots, or a key header costs little.

What is left alone, because it names nobody: addresses at the domains reserved for examples (RFC 2606), and IP
addresses that are private, reserved, or well-known resolvers (FACTS B4). What looks like an IP address but is a version, a
date or a section number is left too.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stackwright.document import Fired

RULE = "redact"
VERSION = 1

PLACEHOLDERS = {"email": "<EMAIL>", "ip_address": "<IP_ADDRESS>", "private_key": "<KEY>"}

RESOLVERS = frozenset(
    [
        "8.8.8.8",
        "8.8.4.4",
        "1.1.1.1",
        "1.0.0.1",
        "76.76.19.19",
        "76.223.122.150",
        "9.9.9.9",
        "149.112.112.112",
        "208.67.222.222",
        "208.67.220.220",
        "8.26.56.26",
        "8.20.247.20",
        "94.140.14.14",
        "94.140.15.15",
    ]
)
"""Public DNS resolvers: addresses of services, not of people (FACTS B4)."""

# The local part is bounded (RFC 5321: 64) so that a run of letters without an at sign is given up at once.
_EMAIL = re.compile(
    r"(?<![\w.+%/:@-])[A-Za-z0-9_][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w@-])",
    re.ASCII,
)
_RESERVED_DOMAIN = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$", re.IGNORECASE)
# Addresses of machines and services that git hosts define, not of people: git@github.com:owner/repository.
_SERVICE_LOCAL_PART = re.compile(r"^(?:git|hg|svn)$", re.IGNORECASE)
# `name@2x.png` and `package@1.2.beta.js` are file names; a real top-level domain is none of these.
_FILE_ENDING = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|py|js|ts|css|html?|json|txt|md|so|dll|exe|zip|gz|c|h|cpp|rs|go|rb)$", re.IGNORECASE
)

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.+-]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w.-]*\.\d)(?![\w-])", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|:(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?)?(?![\w:]|\.\w)",
    re.ASCII,
)
_VERSION_BEFORE = re.compile(
    r"(?<![a-z])(?:version|release|ver|rev|build|section|oid|pep|rfc|clause|v|§)s?[\s\"'=:(.<>~!_]*$", re.IGNORECASE
)
_SERVER_NEAR = re.compile(r"dns|server", re.IGNORECASE)
_DATE_LIKE = re.compile(r"^(?:19|20)?\d{2}\.(?:0?[1-9]|1[0-2])\.(?:0?[1-9]|[12]\d|3[01])\.")
_CONTEXT = 100

_KEY_BEGIN = re.compile(r"-----BEGIN (?P<name>(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----")
_KEY_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.\-\s\"'`\\]|\\n)*", re.ASCII)
_LEAST_KEY_CHARACTERS, _MOST_KEY_CHARACTERS = 64, 20_000


@dataclass(frozen=True)
class Redaction:
    """A text with its placeholders, and what was replaced."""

    text: str
    fired: tuple[Fired, ...]


@dataclass(frozen=True)
class Span:
    """A place in the original text: characters [start, end) of a kind."""

    start: int
    end: int
    kind: str


def redact(text: str, kinds: Sequence[str], key: bytes) -> Redaction:
    """Replace every span of the given kinds. The same value under the same key has the same hash."""
    spans = find_spans(text, kinds)
    if not spans:
        return Redaction(text, ())
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], PLACEHOLDERS[span.kind]]
        end = span.end
    pieces.append(text[end:])
    return Redaction("".join(pieces), tuple(_evidence(text, span, key) for span in spans))


def redact_excerpt(text: str) -> str:
    """Return a text for people to read, with every kind replaced, whatever the recipe replaces in the dataset."""
    return redact(text, tuple(PLACEHOLDERS), b"").text


def find_spans(text: str, kinds: Sequence[str]) -> list[Span]:
    """Return the spans of the given kinds, in order and without overlaps: of two that overlap, the union stays."""
    found = [span for kind in kinds for span in _FINDERS[kind](text)]
    merged: list[Span] = []
    for span in sorted(found, key=lambda span: (span.start, -span.end, span.kind)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            merged.append(span)
    return merged


def _evidence(text: str, span: Span, key: bytes) -> Fired:
    value = f"{span.kind}\0{text[span.start : span.end]}".encode()
    tag = hmac.new(key, value, hashlib.sha256).hexdigest()[:16]
    return Fired(RULE, VERSION, span.kind, start=span.start, end=span.end, matched=f"hmac-sha256:{tag}")


def _emails(text: str) -> Iterator[Span]:
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        local, _, domain = match[0].partition("@")
        reserved = _RESERVED_DOMAIN.search(domain) or _SERVICE_LOCAL_PART.match(local)
        if not reserved and not _FILE_ENDING.search(domain):
            yield Span(match.start(), match.end(), "email")


def _ip_addresses(text: str) -> Iterator[Span]:
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            if not _is_something_else(text, match) and _names_somebody(match[0]):
                yield Span(match.start(), match.end(), "ip_address")
    if "::" in text or text.count(":") >= 7:
        for match in _IPV6.finditer(text):
            if _names_somebody(match[0]):
                yield Span(match.start(), match.end(), "ip_address")


def _is_something_else(text: str, match: re.Match[str]) -> bool:
    """Return whether four numbers are a version, a date, or too short to be told from a section number."""
    value = match[0]
    before = text[max(match.start() - 24, 0) : match.start()]  # never a negative index (FACTS K 14)
    if _VERSION_BEFORE.search(before) or _DATE_LIKE.match(value):
        return True
    if len(value) == len("1.2.3.4"):
        around = text[max(match.start() - _CONTEXT, 0) : match.end() + _CONTEXT]
        return _SERVER_NEAR.search(around) is None
    return False


def _names_somebody(value: str) -> bool:
    """Return whether an address parses and is public; resolvers, private and reserved ranges are nobody's."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and value not in RESOLVERS


def _private_keys(text: str) -> Iterator[Span]:
    if "PRIVATE KEY" not in text:
        return
    begins = list(_KEY_BEGIN.finditer(text))
    starts = [*(match.start() for match in begins), len(text)]
    for match, next_begin in zip(begins, starts[1:], strict=True):
        # A block ends before the next one, and no key is longer: so the whole search looks at each character twice.
        limit = min(next_begin, match.end() + _MOST_KEY_CHARACTERS)
        body = _KEY_BODY.match(text, match.end(), limit)
        assert body is not None
        end_mark = f"-----END {match['name']}-----"
        end = text.find(end_mark, match.end(), limit)
        is_whole = 0 <= end <= body.end()  # else the end was cut off
        stop = end + len(end_mark) if is_whole else body.end()
        if len(re.sub(r"[^A-Za-z0-9+/]", "", text[match.end() : stop])) >= _LEAST_KEY_CHARACTERS:
            yield Span(match.start(), stop, "private_key")


_FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "email": _emails,
    "ip_address": _ip_addresses,
    "private_key": _private_keys,
}
