"""The `installed` source: what is installed for the running Python, each distribution a repository.

Every Python environment holds tens of megabytes of real, versioned code with declared licences, so a run needs no
download. The files of a distribution are those its RECORD lists inside `site-packages`, without what the installer wrote
(RECORD itself, compiled bytecode, scripts with the environment's path in them). The standard library is one more repository.
"""

from __future__ import annotations

import platform
import re
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from stackwright.recipe import InstalledSource
from stackwright.sources.repository import SKIPPED_FOLDERS, FileEntry, Repository, file_entry, iter_tree, sorted_files

KIND = "installed"
OWN_NAME = "stackwright"
STANDARD_LIBRARY = "python-stdlib"

# Written by the installer, not by the authors; they name paths of this machine.
_INSTALLER_FILES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
# Made when this interpreter was built or installed.
_BUILT_FOLDERS = ("config-", "lib-dynload", "site-packages", "dist-packages")
_BUILT_FILES = re.compile(r"_sysconfig(?:data|_vars)_.*")


def normalized_name(name: str) -> str:
    """Return a distribution's name in the one spelling that indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def list_installed(settings: InstalledSource) -> list[Repository]:
    """Return every chosen distribution of the running environment, and the standard library, as repositories."""
    include = {normalized_name(name) for name in settings.include}
    exclude = {normalized_name(name) for name in settings.exclude} | {OWN_NAME}
    found: dict[str, Repository] = {}
    for distribution in metadata.distributions():
        name = normalized_name(distribution.metadata["Name"] or "")
        wanted = name and name not in exclude and (not include or name in include)
        if wanted and name not in found:  # the first on the path is the one that is imported
            found[name] = _distribution(name, distribution)
    if settings.standard_library:
        found[STANDARD_LIBRARY] = _standard_library()
    return list(found.values())


def _distribution(name: str, distribution: metadata.Distribution) -> Repository:
    license_text, origin = declared_license(distribution.metadata)
    return Repository(
        repo=f"{KIND}/{name}",
        revision=distribution.version or "unknown",
        source=KIND,
        files=sorted_files(_distribution_files(distribution)),
        declared_license=license_text,
        license_origin=origin,
    )


def _distribution_files(distribution: metadata.Distribution) -> Iterator[FileEntry]:
    seen: set[str] = set()
    for file in distribution.files or ():
        path = PurePosixPath(file.as_posix())
        inside = not path.is_absolute() and ".." not in path.parts
        made_here = path.name in _INSTALLER_FILES and path.parent.name.endswith((".dist-info", ".egg-info"))
        compiled = path.suffix == ".pyc" or not SKIPPED_FOLDERS.isdisjoint(path.parts)
        if inside and not made_here and not compiled and str(path) not in seen:
            seen.add(str(path))
            yield file_entry(str(path), str(file.locate()))


def declared_license(fields: metadata.PackageMetadata) -> tuple[str | None, str | None]:
    """Return what a distribution declares as its licence and where: the expression, the short text, or the classifiers."""
    expression = _field(fields, "License-Expression")
    if expression:
        return expression, "METADATA License-Expression"
    text = _field(fields, "License")
    if text and len(text) <= 80 and "\n" not in text and text.upper() != "UNKNOWN":
        return text, "METADATA License"
    named = [value.rpartition(" :: ")[2] for value in fields.get_all("Classifier") or () if value.startswith("License ::")]
    licenses = sorted({name for name in named if name != "OSI Approved"})
    if licenses:
        return "; ".join(licenses), "METADATA Classifier"
    return None, None


def _field(fields: metadata.PackageMetadata, name: str) -> str | None:
    value = fields.get_all(name)
    return str(value[0]).strip() if value else None


def _standard_library() -> Repository:
    root = Path(sysconfig.get_path("stdlib"))
    top = {entry.name for entry in root.iterdir() if entry.name.startswith(_BUILT_FOLDERS)}
    files = (entry for entry in iter_tree(root, skip=top) if not _BUILT_FILES.fullmatch(entry.path))
    return Repository(
        repo=f"{KIND}/{STANDARD_LIBRARY}",
        revision=platform.python_version(),
        source=KIND,
        files=sorted_files(files),
        declared_license="PSF-2.0",
        license_origin="LICENSE of CPython",
    )
