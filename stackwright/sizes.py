"""Sizes as people type them: `8GB`, `512MiB`."""

from __future__ import annotations

import re

from stackwright.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KIB|MIB|GIB|TIB)?", re.IGNORECASE)
_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("IB", 1024))
}


def parse_size(text: str) -> int:
    """Return the bytes that a text like `8GB` or `512MiB` stands for; raises `UsageError`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"size {text!r} is not a number with a unit", "write it like 8GB or 512MiB")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])
