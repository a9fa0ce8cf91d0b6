"""When two licence expressions say the same.

In: an SPDX expression as a reader or a detector wrote it, or `NONE`. Out: its normal form, equal for expressions that
differ only in the order, repetition, nesting or spelling of their parts. `AND` and `OR` stay apart, for they decide what is
allowed.

- The name after `LicenseRef-` is chosen by whoever writes it (SPDX 2.3, annex D) and is not compared; which licence class
  such a text belongs to is scored by itself.
- `LicenseRef-See-File`, the labels' word for "the terms are in another file", names no licence and is `NONE`.
- With `any_version`, `-only`, `-or-later` and `+` are left out: the text of the GPL is the same for both, only a notice
  can tell which is meant.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from license_expression import ExpressionError, ExpressionParseError, Licensing

NONE = "NONE"
POINTER = "LicenseRef-See-File"

_VERSION_RANGE = re.compile(r"(?:-only|-or-later|\+)$")
_GNU_WITHOUT_RANGE = re.compile(r"((?:[al]?gpl|gfdl)-[\d.]+)(\+?)")
_LOCAL_NAME = re.compile(r"(licenseref|additionref)-.*")


def normal_form(expression: str, *, any_version: bool = False) -> str:
    """Return the normal form. What is no expression is compared letter by letter, in lower case."""
    tree = _parsed(expression)
    return expression.strip().casefold() if tree is None else _normal(tree, any_version)


def licenses_in(expression: str, *, any_version: bool = False) -> frozenset[str]:
    """Return the licences that an expression names, in normal form, however they are joined."""
    tree = _parsed(expression)
    return frozenset([expression.strip().casefold()] if tree is None else _leaves(tree, any_version))


@cache
def _licensing() -> Any:
    return Licensing()


def _parsed(expression: str) -> Any:
    try:
        return _licensing().parse(expression)
    except (ExpressionError, ExpressionParseError):
        return None


def _normal(tree: Any, any_version: bool) -> str:
    if not tree.args:
        return _normal_id(tree, any_version)
    parts = sorted({_normal(part, any_version) for part in _flat(tree)})
    return parts[0] if len(parts) == 1 else f"({f' {tree.operator.strip()} '.join(parts)})"


def _flat(tree: Any) -> list[Any]:
    """Return the operands, with those of operands of the same kind in their place."""
    return [leaf for part in tree.args for leaf in (_flat(part) if isinstance(part, type(tree)) else [part])]


def _leaves(tree: Any, any_version: bool) -> list[str]:
    if not tree.args:
        return [_normal_id(tree, any_version)]
    return [leaf for part in tree.args for leaf in _leaves(part, any_version)]


def _normal_id(symbol: Any, any_version: bool) -> str:
    """Return an id, or an id WITH an exception, in lower case and in the present spelling of the GNU family."""
    license_id, _, exception = str(symbol.render("{symbol.key}")).partition(" WITH ")
    if license_id.casefold() in (NONE.casefold(), POINTER.casefold()):
        return NONE
    name = _without_local_name(license_id)
    if gnu := _GNU_WITHOUT_RANGE.fullmatch(name):
        name = f"{gnu[1]}{'-or-later' if gnu[2] else '-only'}"
    if any_version:
        name = _VERSION_RANGE.sub("", name)
    return f"{name} with {_without_local_name(exception)}" if exception else name


def _without_local_name(license_id: str) -> str:
    return _LOCAL_NAME.sub(r"\1", license_id.casefold())
