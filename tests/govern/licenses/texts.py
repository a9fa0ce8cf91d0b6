"""Licence texts for the tests: read from what is installed beside the package, so that none is kept in the repository."""

from __future__ import annotations

from functools import cache
from importlib import metadata

_SOURCES = {
    "MIT": ("pydantic", "LICENSE"),
    "Apache-2.0": ("packaging", "LICENSE.APACHE"),
    "BSD-2-Clause": ("packaging", "LICENSE.BSD"),
    "BSD-3-Clause": ("idna", "LICENSE.md"),
    "PSF-2.0": ("typing_extensions", "LICENSE"),
    "MPL-2.0": ("hypothesis", "LICENSE.txt"),
    "CC-BY-4.0": ("license_expression", "cc-by-4.0.LICENSE"),
}


@cache
def license_text(license_id: str) -> str:
    """Return a text as some distribution ships it."""
    distribution, name = _SOURCES[license_id]
    (file,) = [file for file in metadata.files(distribution) or () if file.name == name]
    return file.read_text("utf-8")


GNU_NOTICE = """This program is free software: you can redistribute it and/or modify it under the terms of the GNU
{kind}General Public License as published by the Free Software Foundation, either version {version} of the License, or
(at your option) any later version."""
