"""The class of a licence: from an SPDX id or a name of our own to permissive, weak_copyleft, copyleft or non_free.

In: an id. Out: its class from `classes.toml`; what is not in the table is unknown, and unknown is never permissive. The
same file holds the exceptions that leave a class as it is and the informal names that package metadata uses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

LicenseType = Literal["permissive", "non_permissive", "no_license"]
LicenseClass = Literal["permissive", "weak_copyleft", "copyleft", "non_free", "unknown", "none"]

BEST_TO_WORST: tuple[LicenseClass, ...] = ("permissive", "weak_copyleft", "copyleft", "non_free", "unknown")
"""What `OR` and `AND` choose by. `none`, where nothing says anything, is no member: it combines with nothing."""

NOASSERTION = "NOASSERTION"
UNKNOWN = "LicenseRef-unknown"
"""Stands in an expression for terms that were not recognised: whatever they are, they are not permissive."""


@dataclass(frozen=True)
class ClassTable:
    """What `classes.toml` says. Ids are compared without regard to case, as SPDX asks."""

    classes: dict[str, LicenseClass]
    spelling: dict[str, str]
    aliases: dict[str, str]
    exceptions: frozenset[str]


@cache
def class_table() -> ClassTable:
    """Return the table; read once per process."""
    values = tomllib.loads((resources.files("stackwright.govern.licenses") / "classes.toml").read_text("utf-8"))
    classes: dict[str, LicenseClass] = {}
    spelling: dict[str, str] = {}
    for name in BEST_TO_WORST[:-1]:
        for license_id in values[name]:
            assert license_id.lower() not in classes, f"{license_id} is listed twice"
            classes[license_id.lower()] = name
            spelling[license_id.lower()] = license_id
    exceptions = frozenset(name.lower() for name in values["exceptions"])
    spelling.update({name.lower(): name for name in values["exceptions"]})
    return ClassTable(classes, spelling, values["aliases"], exceptions)


def class_of(license_id: str) -> LicenseClass:
    """Return the class of one id; unknown when the table has it not."""
    return class_table().classes.get(license_id.lower(), "unknown")


def spelled(license_id: str) -> str:
    """Return an id as the list spells it."""
    return class_table().spelling.get(license_id.lower(), license_id)


def best(classes: Iterable[LicenseClass]) -> LicenseClass:
    return min(classes, key=BEST_TO_WORST.index)


def worst(classes: Iterable[LicenseClass]) -> LicenseClass:
    return max(classes, key=BEST_TO_WORST.index)
