"""The licence verdict: from what a repository declares to permissive, non_permissive or no_license.

In: an SPDX expression, or the informal name that package metadata holds. Out: a `LicenseVerdict`. `OR` takes the best of
and `AND` the worst; a known exception (`WITH`) leaves the class of its licence. What is not in the table is unknown, and
unknown is never permissive. Nothing declared is no_license; NOASSERTION is non_permissive (FACTS K 18).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from license_expression import ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, Licensing

LicenseType = Literal["permissive", "non_permissive", "no_license"]
LicenseClass = Literal["permissive", "weak_copyleft", "copyleft", "non_free", "unknown"]

# From best to worst: what `OR` and `AND` choose by.
_ORDER: tuple[LicenseClass, ...] = ("permissive", "weak_copyleft", "copyleft", "non_free", "unknown")


@dataclass(frozen=True)
class LicenseVerdict:
    """The class of a declaration, the licences it names (sorted SPDX ids), and the declaration as evidence."""

    license_type: LicenseType
    license_class: LicenseClass | None
    licenses: tuple[str, ...]
    evidence: str


@dataclass(frozen=True)
class _Table:
    classes: dict[str, LicenseClass]  # by id in lower case: SPDX ids are compared without regard to case
    spelling: dict[str, str]
    aliases: dict[str, str]
    exceptions: frozenset[str]


@cache
def _table() -> _Table:
    values = tomllib.loads((resources.files("stackwright.govern") / "licenses.toml").read_text("utf-8"))
    classes: dict[str, LicenseClass] = {}
    spelling: dict[str, str] = {}
    for name in _ORDER[:-1]:
        for license_id in values[name]:
            assert license_id.lower() not in classes, f"{license_id} is listed twice"
            classes[license_id.lower()] = name
            spelling[license_id.lower()] = license_id
    exceptions = frozenset(name.lower() for name in values["exceptions"])
    return _Table(classes, spelling, values["aliases"], exceptions)


@cache
def judge(declared: str | None) -> LicenseVerdict:
    """Return the verdict on a declaration. Pure; never raises on any text."""
    text = " ".join((declared or "").split())
    if not text or text.upper() == "NONE":
        return LicenseVerdict("no_license", None, (), text or "nothing declared")
    judged = [_judge_one(part.strip()) for part in text.split(";") if part.strip()]
    licenses = sorted({license_id for _, ids in judged for license_id in ids})
    classes: list[LicenseClass] = [license_class for license_class, _ in judged] or ["unknown"]
    worst = max(classes, key=_ORDER.index)
    license_type: LicenseType = "permissive" if worst == "permissive" else "non_permissive"
    return LicenseVerdict(license_type, worst, tuple(licenses), text)


def _judge_one(text: str) -> tuple[LicenseClass, list[str]]:
    """Return class and ids of one expression or informal name."""
    text = _table().aliases.get(text.lower(), text)
    try:
        expression = Licensing().parse(text, simple=True)
    except (ExpressionError, ValueError, TypeError, AttributeError, IndexError):
        return "unknown", []
    if expression is None:
        return "unknown", []
    return _class_of(expression), sorted({_spelled(key) for key in _ids(expression)})


def _class_of(expression: Any) -> LicenseClass:
    if isinstance(expression, LicenseWithExceptionSymbol):
        known = expression.exception_symbol.key.lower() in _table().exceptions
        return _class_of(expression.license_symbol) if known else "unknown"
    if isinstance(expression, LicenseSymbol):
        return _table().classes.get(expression.key.lower(), "unknown")
    parts = [_class_of(part) for part in expression.args]
    choose = min if expression.operator.strip() == "OR" else max
    return choose(parts, key=_ORDER.index)


def _ids(expression: Any) -> list[str]:
    if isinstance(expression, LicenseWithExceptionSymbol):
        return [expression.license_symbol.key]
    if isinstance(expression, LicenseSymbol):
        return [expression.key]
    return [license_id for part in expression.args for license_id in _ids(part)]


def _spelled(license_id: str) -> str:
    return _table().spelling.get(license_id.lower(), license_id)
