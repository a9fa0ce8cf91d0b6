"""Licence expressions: from what a repository, a file or a package declares to a verdict.

In: an SPDX expression, or the informal name that package metadata holds. Out: a `LicenseVerdict`. `OR` takes the best of
and `AND` the worst; a known exception (`WITH`) leaves the class of its licence. What is not in the table is unknown, and
unknown is never permissive. Nothing declared is no_license; NOASSERTION is non_permissive (FACTS K 18). Never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, Licensing

from stackwright.govern.licenses.classes import LicenseClass, LicenseType, best, class_of, class_table, spelled, worst

_CACHED = 65_536
_GNU_ID = re.compile(r"[AL]?GPL-\d\.\d\+?")
_ID = re.compile(r"[\w.+:-]+")


@dataclass(frozen=True)
class LicenseVerdict:
    """What is decided of a file: its type and class, the licences it is under (sorted SPDX ids), and one line of evidence.

    The class is `none` exactly when the type is no_license.
    """

    license_type: LicenseType
    license_class: LicenseClass
    licenses: tuple[str, ...]
    evidence: str


@lru_cache(_CACHED)
def judge(declared: str | None) -> LicenseVerdict:
    """Return the verdict on a declaration. Pure; never raises on any text."""
    text = " ".join((declared or "").split())
    if not text or text.upper() == "NONE":
        return LicenseVerdict("no_license", "none", (), text or "nothing declared")
    license_class, licenses = evaluate(text)
    return verdict_of(license_class, licenses, text)


def verdict_of(license_class: LicenseClass, licenses: tuple[str, ...], evidence: str) -> LicenseVerdict:
    """Return the verdict that a class and its licences amount to."""
    if license_class == "none":
        return LicenseVerdict("no_license", "none", (), evidence)
    license_type: LicenseType = "permissive" if license_class == "permissive" else "non_permissive"
    return LicenseVerdict(license_type, license_class, licenses, evidence)


@lru_cache(_CACHED)
def evaluate(text: str) -> tuple[LicenseClass, tuple[str, ...]]:
    """Return class and ids of a declaration that is not empty. A `;` joins classifiers, all of which hold."""
    judged = [_evaluate_one(part.strip()) for part in text.split(";") if part.strip()]
    ids = {license_id for _, names in judged for license_id in names}
    return worst([license_class for license_class, _ in judged] or ["unknown"]), tuple(sorted(ids))


def normal_expression(text: str) -> str:
    """Return an informal name as the expression it stands for; anything else as it is."""
    text = " ".join(text.split())
    return class_table().aliases.get(text.lower(), text)


def spelled_expression(text: str) -> str:
    """Return a declaration as an expression with every id as the present list spells it; what is no expression as it is."""
    expression = _parsed(text)
    return (
        normal_expression(text)
        if expression is None
        else _ID.sub(lambda match: _present(spelled(match[0])), str(expression))
    )


def _present(license_id: str) -> str:
    """Return an id of the GNU family in the spelling that says whether later versions are meant."""
    if _GNU_ID.fullmatch(license_id) is None:
        return license_id
    return f"{license_id.removesuffix('+')}-or-later" if license_id.endswith("+") else f"{license_id}-only"


def without_version_range(license_id: str) -> str:
    """Return an id of the GNU family without its `-only`, `-or-later` or `+`.

    The text of these licences is the same for one version and for "any later version": a file that holds the text cannot
    tell which was meant, a declaration can.
    """
    for suffix in ("-or-later", "-only", "+"):
        license_id = license_id.removesuffix(suffix)
    return license_id


def _evaluate_one(text: str) -> tuple[LicenseClass, list[str]]:
    expression = _parsed(text)
    if expression is None:
        return "unknown", []
    return _class_of(expression), sorted({spelled(key) for key in _ids(expression)})


def _parsed(text: str) -> Any:
    """Return the tree of an expression or an informal name; None for anything else."""
    try:
        return Licensing().parse(normal_expression(text), simple=True)
    except (ExpressionError, ValueError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def _class_of(expression: Any) -> LicenseClass:
    if isinstance(expression, LicenseWithExceptionSymbol):
        known = expression.exception_symbol.key.lower() in class_table().exceptions
        return _class_of(expression.license_symbol) if known else "unknown"
    if isinstance(expression, LicenseSymbol):
        return class_of(expression.key)
    parts = [_class_of(part) for part in expression.args]
    return best(parts) if expression.operator.strip() == "OR" else worst(parts)


def _ids(expression: Any) -> list[str]:
    if isinstance(expression, LicenseWithExceptionSymbol):
        return [expression.license_symbol.key]
    if isinstance(expression, LicenseSymbol):
        return [expression.key]
    return [license_id for part in expression.args for license_id in _ids(part)]
