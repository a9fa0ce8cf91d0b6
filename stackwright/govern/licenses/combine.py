"""What the licences that a text names amount to: which are titles of others, which are offered, which hold together.

In: the matches of a text, and which of the licences it offers a choice of. Out: one expression. A name beside a text of its
family is the text's title; a name without a version stands back behind one with it; what is offered is joined by OR, and
everything else by AND. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from stackwright.govern.licenses.classes import UNKNOWN, LicenseClass, class_of, class_table, worst
from stackwright.govern.licenses.expressions import evaluate, without_version_range
from stackwright.govern.licenses.fingerprints import LLVM_EXCEPTION, NO_TERMS
from stackwright.govern.licenses.recognize import Match
from stackwright.govern.licenses.references import COMMERCIAL, NON_COMMERCIAL, PUBLIC_DOMAIN, RESTRICTIONS, UNNAMED_EXCEPTION

_VAGUE = frozenset(["GPL-1.0-or-later", "LGPL-2.0-or-later", "LicenseRef-BSD", "AGPL-3.0-only"])
"""What a name without a version stands for: dropped where the same text says it more precisely."""

_DEDICATIONS = frozenset(["CC0-1.0", "Unlicense"])
"""They put a work in the public domain: the words "public domain" beside them say nothing of their own."""


def expression_of(matches: Sequence[Match], offered: Collection[str], *, unknown: bool) -> str | None:
    """Return what the matches say together; None when they say nothing. `unknown` adds terms that nobody recognised."""
    texts = {match.expression for match in matches if match.kind == "text"}
    stated = _without_implied([part for part in dict.fromkeys(_stated(matches)) if part != NO_TERMS], texts)
    stated = _with_exceptions(stated)
    if not stated and not unknown:
        return None
    unknown = unknown or UNKNOWN in _with_exceptions([match.expression for match in matches])
    parts = _joined([part for part in stated if part != UNKNOWN], offered)
    if unknown and all(evaluate(part)[0] == "permissive" for part in parts):
        parts.append(UNKNOWN)  # what is not permissive stays so, whatever else the text says
    return " AND ".join(f"({part})" if " " in part and len(parts) > 1 else part for part in parts)


_HALVES = ("OpenSSL-standalone", "SSLeay-standalone")
_GPL, _LESSER = "GPL-1.0-or-later", ("LGPL-", "AGPL-")
_LISTED_BY_EUPL = frozenset(["CECILL-2.1", "OSL-3.0", "GPL-2.0-only"])
_NON_COMMERCIAL = ("-NC-", "-NC", "Noncommercial")


def _without_implied(parts: list[str], texts: Collection[str]) -> list[str]:
    """Leave out what another part implies: the halves of a licence, and words about what a licence says itself."""
    if set(_HALVES).issubset(parts):
        parts = ["OpenSSL" if part == _HALVES[0] else part for part in parts if part != _HALVES[1]]
    if _GPL in parts and any(part.startswith(_LESSER) for part in parts):
        parts = [part for part in parts if part != _GPL]  # their notices speak of it
    if parts and parts[0].startswith("EUPL-") and _LISTED_BY_EUPL.issubset(parts):
        parts = parts[:1]  # its annex, in any language, names the licences that it is compatible with
    if any(words in part for part in parts for words in _NON_COMMERCIAL if part != NON_COMMERCIAL):
        parts = [part for part in parts if part != NON_COMMERCIAL]
    if any(class_of(text) == "non_free" for text in texts):
        parts = [part for part in parts if part not in RESTRICTIONS and part != COMMERCIAL]  # its parameters
    if any(text.startswith("CC-") for text in texts):
        parts = [part for part in parts if part != PUBLIC_DOMAIN]  # its preface speaks of it
    return parts


def _joined(parts: list[str], offered: Collection[str]) -> list[str]:
    """Return what holds: each part, and of those of which the file offers one, their choice."""
    # A name that is offered stands for the part that took its place: the text of its family, or a more precise name.
    families = {_family(name) for name in offered if name not in parts}
    chosen = [part for part in parts if part in offered or _family(part) in families]
    if COMMERCIAL in parts and not chosen:
        # Who sells another licence beside one that asks for sources leaves the choice between the two.
        chosen = [*[part for part in parts if class_of(part) in ("copyleft", "weak_copyleft")][:1], COMMERCIAL]
    if len(chosen) < 2:
        return parts
    choice = " OR ".join(f"({part})" if " " in part else part for part in chosen)
    return [choice, *(part for part in parts if part not in chosen)]


def _stated(matches: Sequence[Match]) -> Iterable[str]:
    """Yield what the matches say, in order. Beside a text, a name of its family is its title.

    "or any later version" is the exception: the text cannot say it, so what does stands in its place.
    """
    matches = sorted(matches, key=lambda match: match.start)
    families = {_family(match.expression): class_of(match.expression) for match in matches if match.kind == "text"}
    tagged = {without_version_range(name) for match in matches if match.kind == "tag" for name in ids(match.expression)}
    later = {match.expression for match in matches if match.expression.endswith("-or-later") and match.kind != "text"}
    precise = {_family(match.expression) for match in matches if match.expression not in _VAGUE}
    dedicated = any(match.expression in _DEDICATIONS or "-PD" in match.expression for match in matches)
    changed = {_family(match.nearest) for match in matches if match.kind == "changed"}
    for match in matches:
        expression = match.expression
        if match.kind == "reference" and _family(expression) in changed - families.keys():
            continue  # the title of a text that is not quite the licence it names
        widened = f"{without_version_range(expression)}-or-later"
        if match.kind != "tag" and _is_tagged(expression, tagged):
            continue  # a tag says how the licences combine that it names
        if match.kind == "reference" and expression in _VAGUE and _family(expression) in precise:
            continue
        if match.kind == "reference" and expression == PUBLIC_DOMAIN and dedicated:
            continue
        if match.kind == "reference" and expression != widened and _is_title(expression, families):
            continue
        yield widened if widened in later else expression


def _is_tagged(expression: str, tagged: Collection[str]) -> bool:
    """Whether a tag names this licence, or a variant of it whose name begins as this one's (`CC-BY-NC-3.0-DE`)."""
    name = without_version_range(expression)
    return name in tagged or any(tag.startswith(f"{name}-") and class_of(tag) == class_of(expression) for tag in tagged)


def _is_title(expression: str, families: Mapping[str, LicenseClass]) -> bool:
    """Whether a name may stand for a text of its family, as a title does; not when it takes more away than the text."""
    text_class = families.get(_family(expression))
    return text_class is not None and worst([evaluate(expression)[0], text_class]) == text_class


_EXTENDED = {
    LLVM_EXCEPTION: ("Apache-2.0",),
    UNNAMED_EXCEPTION: ("GPL-", "LGPL-", "AGPL-"),
    "Autoconf-exception-2.0": ("GPL-2.0",),
    "Autoconf-exception-3.0": ("GPL-3.0",),
    "Bison-exception-2.2": ("GPL-2.0", "GPL-3.0"),
    "Bootloader-exception": ("GPL-",),
    "Classpath-exception-2.0": ("GPL-2.0", "GPL-3.0"),
    "Font-exception-2.0": ("GPL-2.0", "GPL-3.0"),
    "GCC-exception-2.0": ("GPL-2.0",),
    "GCC-exception-3.1": ("GPL-3.0",),
    "Universal-FOSS-exception-1.0": ("GPL-2.0",),
}
"""Exceptions that texts and notices hold, and what the licences begin with that they belong to."""


EXCEPTIONS_OF_OLD_IDS = {
    "GPL-2.0-with-autoconf-exception": "Autoconf-exception-2.0",
    "GPL-2.0-with-bison-exception": "Bison-exception-2.2",
    "GPL-2.0-with-classpath-exception": "Classpath-exception-2.0",
    "GPL-2.0-with-font-exception": "Font-exception-2.0",
    "GPL-2.0-with-GCC-exception": "GCC-exception-2.0",
    "GPL-3.0-with-autoconf-exception": "Autoconf-exception-3.0",
    "GPL-3.0-with-GCC-exception": "GCC-exception-3.1",
}
"""The list keeps the texts of these exceptions under ids that it has replaced by `… WITH …`."""


def _with_exceptions(parts: list[str]) -> list[str]:
    """Join an exception with the licence that it belongs to; alone it says nothing that is known."""
    parts = _with_present_ids(parts)
    exceptions = [part for part in parts if part.lower() in class_table().exceptions]
    if len(exceptions) > 1:
        parts = [part for part in parts if part != UNNAMED_EXCEPTION]  # it introduces the one that has a name
    for exception in [part for part in parts if part.lower() in class_table().exceptions]:
        begins = _EXTENDED.get(exception, ())
        extended = next((part for part in parts if part.startswith(begins) and " " not in part), None) if begins else None
        if extended is None and exception == UNNAMED_EXCEPTION:
            parts = [part for part in parts if part != exception]  # words of something else
        elif extended is None:
            parts = [UNKNOWN if part == exception else part for part in parts]
        else:
            joined = (f"{part} WITH {exception}" if part == extended else part for part in parts)
            parts = [part for part in joined if part != exception]
    return parts


def _with_present_ids(parts: list[str]) -> list[str]:
    """Return an old id of an exception as that exception, with its licence where no other part is that."""
    present: list[str] = []
    for part in parts:
        if part in EXCEPTIONS_OF_OLD_IDS:
            licensed = part.partition("-with-")[0]
            if not any(other.startswith(f"{licensed}-") and other not in EXCEPTIONS_OF_OLD_IDS for other in parts):
                present.append(f"{licensed}-only")
            present.append(EXCEPTIONS_OF_OLD_IDS[part])
        else:
            present.append(part)
    return present


def ids(expression: str) -> tuple[str, ...]:
    return evaluate(expression)[1]


def _family(expression: str) -> str:
    """Return what the versions of a licence have in common: `GPL` of `GPL-2.0-only`, `BSD` of `LicenseRef-BSD`."""
    return expression.removeprefix("LicenseRef-").partition("-")[0].partition(" ")[0]
