"""Short forms: tags, notices and sentences that name a licence instead of holding its text.

In: the words of a text, joined by one space, with the words of recognised texts left out. Out: `Reference`s: which
expression a phrase stands for and which words it takes. Phrases that say nothing of their own ("see the LICENSE file for
details") are found too, so that what is left over is what nobody has explained.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from stackwright.govern.licenses.classes import UNKNOWN, class_of
from stackwright.govern.licenses.expressions import evaluate, spelled_expression
from stackwright.govern.licenses.fingerprints import NO_TERMS

PROPRIETARY = "LicenseRef-Proprietary"
NO_TRAINING = "LicenseRef-No-AI-Training"
COMMERCIAL = "LicenseRef-Commercial"
PUBLIC_DOMAIN = "LicenseRef-public-domain"
UNNAMED_EXCEPTION = "AdditionRef-exception"
NON_COMMERCIAL = "LicenseRef-Non-Commercial"

RESTRICTIONS = frozenset([PROPRIETARY, NO_TRAINING, NON_COMMERCIAL, "LicenseRef-Field-of-Use", "LicenseRef-Commons-Clause"])
"""Names for what takes rights away, as against those of licences."""


def is_own_terms(expression: str) -> bool:
    """Whether a name of ours stands for terms of somebody's own, which have no name."""
    return expression.startswith("LicenseRef-") and class_of(expression) in ("non_free", "unknown")


@dataclass(frozen=True)
class Reference:
    """A phrase that stands for an expression; characters of the joined words.

    `vague` when the licence has versions and the phrase names none of them.
    """

    expression: str
    start: int
    end: int
    vague: bool = False


@dataclass(frozen=True)
class _Form:
    """One phrase of `phrases.toml`, looked for only where its key occurs."""

    key: str
    pattern: re.Pattern[str]
    expression: Callable[[re.Match[str]], str]
    versioned: bool = False


@dataclass(frozen=True)
class _Phrases:
    stating: tuple[_Form, ...]  # they name a licence, or take rights away
    plain: tuple[tuple[str, re.Pattern[str]], ...]


@cache
def _phrases() -> _Phrases:
    values = tomllib.loads((resources.files("stackwright.govern.licenses") / "phrases.toml").read_text("utf-8"))
    parts: dict[str, str] = {}
    for name, part in values["parts"].items():
        parts[name] = _filled(part, parts)
    stating = [
        _Form(
            entry["key"],
            re.compile(rf"\b(?:{_filled(entry['phrase'], parts)})\b"),
            _reader(entry),
            "versions" in entry,
        )
        for entry in (*values["name"], *values["term"])
    ]
    plain = [(entry["key"], re.compile(rf"\b(?:{_filled(entry['phrase'], parts)})(?!\S)")) for entry in values["plain"]]
    return _Phrases(tuple(stating), tuple(plain))


def _filled(phrase: str, parts: dict[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda match: parts[match[1]], phrase)


def _reader(entry: dict[str, Any]) -> Callable[[re.Match[str]], str]:
    """Return what reads the expression out of a match."""
    if "rule" in entry:
        return _RULES[entry["rule"]]
    license_id, versions = entry["id"], entry.get("versions")
    if versions is None:
        return lambda _: license_id

    def with_version(match: re.Match[str]) -> str:
        groups = match.groupdict()
        version = f"{groups.get('major')}.{groups.get('minor') or 0}"
        if groups.get("major") is not None and version not in versions:
            return UNKNOWN  # a version that the list does not have
        return f"{license_id}-{version if version in versions else entry['default']}"

    return with_version


_LATER = re.compile(
    r"\b(?:(?:any|or)(?: \(?at your option\)?)? (?:later|newer|higher|greater)|or above|and later|and above|any subsequent"
    r"|or at your option)\b"
)
_TWO_OR_THREE = re.compile(r"\b(?:version |v)?2(?: 0)? or (?:version |v)?3\b(?! or)")
_GNU_VERSION = re.compile(
    r"\b(?:versions?|v|either|license|licence) (?:v )?(?P<major>[123])(?: (?P<minor>[01])\b)?"
    r"|\bv(?P<vmajor>[123])\b(?: (?P<vminor>[01])\b)?"
)


def _gnu(match: re.Match[str]) -> str:
    """Return the id of a licence of the GNU family: the version stands before its name or after it."""
    groups = match.groupdict()
    kind = (groups.get("kind") or "").strip()
    family = {"affero": "AGPL", "a": "AGPL", "lesser": "LGPL", "library": "LGPL", "l": "LGPL"}.get(kind, "GPL")
    major, minor = groups.get("major"), groups.get("minor")
    before, after = match.string[max(0, match.start() - 40) : match.start()], match.string[match.end() : match.end() + 160]
    # "… version 2 of the GNU General Public License": what else stands before the name may belong to another one.
    before = before if before.rstrip().endswith((" of the", " of")) else ""
    around = f"{before} {match[0]} {after.partition('general public')[0]}"
    if not major:
        found = _GNU_VERSION.search(around)
        if found:
            major, minor = found["major"] or found["vmajor"], found["minor"] or found["vminor"]
    if not major:
        return {"AGPL": "AGPL-3.0-only", "LGPL": "LGPL-2.0-or-later", "GPL": "GPL-1.0-or-later"}[family]
    if family == "GPL" and _TWO_OR_THREE.search(around):
        return "GPL-2.0-only OR GPL-3.0-only"
    later = "or-later" if _LATER.search(around) else "only"
    if family == "AGPL" and major != "1":
        major = "3"
    if family == "LGPL" and major == "1":
        major = "2"
    return f"{family}-{major}.{minor if family == 'LGPL' and major == '2' and minor else 0}-{later}"


def _creative_commons(match: re.Match[str]) -> str:
    words = match["terms"]
    parts = ["BY"]
    if re.search(r"\bnc\b|non ?commercial", words):
        parts.append("NC")
    if re.search(r"\bnd\b|no ?deriv", words):
        parts.append("ND")
    if re.search(r"\bsa\b|share ?alike", words):
        parts.append("SA")
    version = f"{match['major']}.{match['minor'] or 0}" if match["major"] else "4.0"
    return f"CC-{'-'.join(parts)}-{version}"


def _bsd(match: re.Match[str]) -> str:
    words = match[0]
    if re.search(r"\b(?:0|zero)\b", words):
        return "0BSD"
    if re.search(r"\b(?:2|two|simplified|freebsd)\b", words):
        return "BSD-2-Clause"
    if re.search(r"\b(?:3|three|new|modified|revised)\b", words):
        return "BSD-3-Clause"
    if re.search(r"\b(?:4|four|original|old)\b", words):
        return "BSD-4-Clause"
    return "LicenseRef-BSD"


def _cecill(match: re.Match[str]) -> str:
    return f"CECILL-{match['kind'].upper()}" if match["kind"] else "CECILL-2.1"


def _gfdl(match: re.Match[str]) -> str:
    version = f"{match['major']}.{match['minor']}"
    return f"GFDL-{version if version in ('1.1', '1.2', '1.3') else '1.1'}-only"


def _functional_source(match: re.Match[str]) -> str:
    future = match["future"]
    return f"FSL-1.1-{'MIT' if future == 'mit' else 'ALv2'}" if future else "LicenseRef-Source-Available"


def _polyform(match: re.Match[str]) -> str:
    """Return the id of the list for the PolyForm licences that it has."""
    kind = match["kind"].title().replace(" ", "-")
    license_id = f"PolyForm-{kind}-1.0.0"
    return license_id if class_of(license_id) != "unknown" else "LicenseRef-PolyForm"


_RULES = {
    "bsd": _bsd,
    "cecill": _cecill,
    "creative_commons": _creative_commons,
    "functional_source": _functional_source,
    "gfdl": _gfdl,
    "gnu": _gnu,
    "polyform": _polyform,
}

# "MIT" alone is a school or a word; after the name of a licence it is one.
_BARE = re.compile(r"(?: licen[sc]e)? (?:and|or) (?:the )?(?P<name>mit|isc|bsd|psf)\b(?! (?:university|lab|media))")
_BARE_NAMES = {"mit": "MIT", "isc": "ISC", "bsd": "LicenseRef-BSD", "psf": "PSF-2.0"}

CHOICE = re.compile(
    r"\b(?:dual|tri|multi)(?:ly|ple)? licen|\blicen[sc]ed under both\b|\byour choice of\b"
    r"|\b(?:at|of) your (?:option|choice|choosing)\b"
    r"|\b(?:at|of) (?:your|the) discretion(?: of the (?:users?|licensees?))?\b|\bwhichever (?:one )?you\b"
    r"|\byou (?:may|can) (?:choose|select|pick|elect)\b|\bchoose (?:either|one|any|between|whichever|which)\b"
    r"|\b(?:under|of|by) either\b|\b(?:any|either|one) of the following (?:\w+ )?licen"
    r"|\balternatively\b|\beither the\b"
    r"|\beclipse public licen[sc]e v ?2 0 and (?:the )?eclipse distribution\b"  # its foundation means: whichever you like
)
_ANY_LATER = re.compile(r"\bor at your option any (?:later|newer|future)|\bat your option any (?:later|newer|future)")

_TAG = re.compile(r"spdx-licen[sc]e-identifier[ \t]*[:=][ \t]*[\"']?(?P<value>[a-z0-9(][a-z0-9.+() \t:-]*)")
_FIELD = re.compile(
    r"(?:^|[\s@*#;/\"'_])licen[sc]e(?:__)?[ \t]*[\"']?[ \t]*[:=]+[ \t]*[\"'(\[{]?"
    r"(?P<value>[a-z0-9][a-z0-9.+ /(),:-]{1,70})",
    re.MULTILINE,
)
_JAVADOC = re.compile(r"@licen[sc]e[ \t]+(?P<value>[a-z0-9][a-z0-9.+ /(),-]{1,60})")
# "MIT © Jane Doe"
_BEFORE_HOLDER = re.compile(
    r"^[ \t]*(?P<value>mit|isc|bsd-[23]-clause|apache-2\.0|cc0-1\.0|unlicense)[ \t]*(?=©|\(c\)|copyright)", re.MULTILINE
)
# A file beside this one that is named after its licence.
_FILE_NAME = re.compile(r"\b(?:un)?licen[sc]e[-._](?P<name>mit|bsd|apache)(?:-?2(?:\.0)?)?(?:\.(?:txt|md))?(?![\w-])")
_OF_FILE_NAME = {"mit": "MIT", "bsd": "LicenseRef-BSD", "apache": "Apache-2.0"}
_LOCAL = re.compile(r"licenseref-(?P<name>[a-z0-9.-]+)")
_ADDRESS = re.compile(
    r"opensource\.org/licen[sc]es?/(?P<osi>[a-z0-9.-]+)|apache\.org/licen[sc]es/licen[sc]e-(?P<apache>[12]\.\d)"
    r"|creativecommons\.org/(?P<cc>licenses/[a-z-]+/\d\.\d|publicdomain/zero/1\.0)|gnu\.org/(?:licen[sc]es|copyleft)/"
    r"(?:old-licen[sc]es/)?(?P<gnu>[al]?gpl(?:-[123]\.[01])?)"
    r"|mozilla\.org/(?:en-us/)?mpl/(?P<mpl>\d\.\d)|mit-license\.org(?P<mit>)|boost\.org/license_1_0(?P<boost>)"
)


def find_references(joined: str) -> list[Reference]:
    """Return the phrases that name a licence, in order; where two overlap, the one that begins first and is longer."""
    found = [
        Reference(form.expression(match), *match.span(), form.versioned and _is_vague(match))
        for form in _phrases().stating
        if form.key in joined
        for match in form.pattern.finditer(joined)
    ]
    found.sort(key=lambda reference: (reference.start, -reference.end))
    found = list(_without_overlaps(found))
    found += [
        Reference(_BARE_NAMES[match["name"]], *match.span("name"))
        for reference in found
        if reference.expression != NO_TERMS and (match := _BARE.match(joined, reference.end)) is not None
    ]
    precise = {_family(reference) for reference in found if not reference.vague}
    return [
        Reference(NO_TERMS, reference.start, reference.end)
        if reference.vague and _family(reference) in precise
        else reference
        for reference in _without_overlaps(sorted(found, key=lambda reference: reference.start))
    ]


def _is_vague(match: re.Match[str]) -> bool:
    groups = match.groupdict()
    return groups.get("major") is None and groups.get("bare") is None


def _family(reference: Reference) -> str:
    return reference.expression.partition("-")[0]


def _without_overlaps(found: list[Reference]) -> Iterator[Reference]:
    end = -1
    for reference in found:
        if reference.start >= end:
            yield reference
            end = reference.end


def find_plain(joined: str) -> list[tuple[int, int]]:
    """Return the phrases that say nothing of their own."""
    return [
        match.span() for key, pattern in _phrases().plain if key in joined for match in pattern.finditer(joined) if match[0]
    ]


def find_choices(joined: str) -> list[tuple[int, int]]:
    """Return the words that offer one of several licences, as against all of them."""
    spare = [match.span() for match in _ANY_LATER.finditer(joined)]
    found = (match.span() for match in CHOICE.finditer(joined))
    return [(start, end) for start, end in found if not any(first <= start < last for first, last in spare)]


_APPENDIX = re.compile(
    r"\bhow to apply these terms to your (?:new )?(?:programs|libraries)\b(?: \S+){50,700}"
    r" (?:instead of this licen[sc]e(?: but first please read(?: \S+){0,8}? (?:lgpl|html))?|that s all there is to it"
    r"|follow the gnu (?:a|affero )?gpl(?: see(?: \S+){0,3}? licenses)?)\b(?: (?:html|not|why|lgpl|licenses))*"
)


def find_appendices(joined: str) -> list[tuple[int, int]]:
    """Return where the licences of the GNU project say how to apply them: an example of a notice, and advice."""
    if "how to apply these terms" not in joined:
        return []
    return [match.span() for match in _APPENDIX.finditer(joined)]


def find_tags(low: str) -> list[Reference]:
    """Return tags and fields in a text in lower case: characters of the text, with the declaration as the expression."""
    found = [Reference(spelled_expression(match["value"]), *match.span("value")) for match in _BEFORE_HOLDER.finditer(low)]
    if "licen" not in low:
        return found
    for match in _TAG.finditer(low):
        value = match["value"].strip().rstrip("-:. ")
        local = _LOCAL.fullmatch(value)
        if local is not None and evaluate(value)[0] == "unknown" and evaluate(local["name"])[0] != "unknown":
            value = local["name"]  # a name of one's own for a licence of the list: `LicenseRef-Apache2`
        value = spelled_expression(value)
        found.append(Reference(value, match.start(), match.end()))
    for pattern in (_FIELD, _JAVADOC):
        for match in pattern.finditer(low):
            value = spelled_expression(match["value"].strip(" .,)-"))
            if evaluate(value)[0] != "unknown":
                found.append(Reference(value, match.start(), match.end()))
    return found


def find_addresses(low: str) -> list[Reference]:
    """Return the licences that well-known addresses stand for, and names of files."""
    found = [Reference(_OF_FILE_NAME[match["name"]], *match.span()) for match in _FILE_NAME.finditer(low)]
    for match in _ADDRESS.finditer(low):
        expression = _address_expression(match)
        if expression is not None:
            found.append(Reference(expression, *match.span()))
    return found


def _address_expression(match: re.Match[str]) -> str | None:
    kind = match.lastgroup
    value = match[kind] if kind else ""
    match kind:
        case "osi":
            name = spelled_expression(value.removesuffix(".php").removesuffix(".html").removesuffix("-license"))
            return name if evaluate(name)[0] != "unknown" else None
        case "apache":
            return f"Apache-{value}"
        case "cc":
            return "CC0-1.0" if value.startswith("public") else "CC-" + "-".join(value.split("/")[1:]).upper()
        case "gnu":
            vague = {"gpl": "GPL-1.0-or-later", "lgpl": "LGPL-2.0-or-later", "agpl": "AGPL-3.0-only"}
            return vague.get(value) or f"{value.upper()}-only"
        case "mpl":
            return f"MPL-{value}"
        case "mit":
            return "MIT"
        case "boost":
            return "BSL-1.0"
    return None
