"""Evidence of a licence: what says it, and how far it reaches.

In: paths. Out: whether a file's name says that it holds a licence, and which folder it governs. A licence reaches by
string prefix of its folder with the final slash (FACTS K 19): `lib/` governs `lib/a.c` and not `lib2/a.c`. A Python wheel
keeps its licences beside the code they govern, in `NAME.dist-info`, and below its `licenses/` in the folders of the
source tree (PEP 639).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from stackwright.govern.licenses.classes import LicenseClass, class_of
from stackwright.govern.licenses.expressions import evaluate
from stackwright.sources.notices import is_license_name

EvidenceKind = Literal["license_file", "header", "metadata", "recipe"]

_WHEEL_FOLDER = re.compile(r"(?P<around>(?:.*/)?)[^/]+\.(?:dist-info|egg-info)/(?:licenses/(?P<inside>(?:.*/)?))?[^/]+")
_PACKAGED_FOLDER = re.compile(r"(?P<around>(?:.*/)?)(?:META-INF|debian|\.github)/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Evidence:
    """One statement about a licence. `expression` is None when the file says nothing about its licence.

    `path` names what says it: a file of the repository, or the origin of a declaration. `detail` is for a reader.
    """

    repo: str
    revision: str
    path: str
    kind: EvidenceKind
    expression: str | None
    license_class: LicenseClass
    detail: str
    folder: str = ""  # the prefix of the paths that a licence file governs

    @cached_property
    def licenses(self) -> tuple[str, ...]:
        return evaluate(self.expression)[1] if self.expression else ()

    @property
    def line(self) -> str:
        """One line: the file and what it says."""
        return f"{self.path}: {self.expression}" + (f" ({self.detail})" if self.detail else "")


def is_license_file(path: str) -> bool:
    """Whether a file's name says that it may hold a licence. Of prose (`is_prose_name`) only what it says of that counts."""
    # The name alone: a folder named `license` may hold programs.
    return is_license_name(path.rpartition("/")[2]) or _is_text_of_id(path)


def _is_text_of_id(path: str) -> bool:
    """Whether a file is `LICENSES/MIT.txt` and the like (REUSE)."""
    folder, _, name = path.rpartition("/")
    in_licenses = folder.rpartition("/")[2].lower() in ("licenses", "licences", "license", "licence")
    return in_licenses and class_of(re.sub(r"\.(?:txt|md)$", "", name)) != "unknown"


def governed_folder(path: str) -> str:
    """Return the prefix of the paths that a licence file governs: '' for all, else a folder with its slash."""
    wheel = _WHEEL_FOLDER.fullmatch(path)
    if wheel is not None:
        return wheel["around"] + (wheel["inside"] or "")
    packaged = _PACKAGED_FOLDER.fullmatch(path)
    if packaged is not None:
        return packaged["around"]
    return path[: path.rfind("/") + 1]
