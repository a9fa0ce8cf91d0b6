"""Candidates for the labelled set of licences: texts that a person then reads.

In: archives of packages (wheels, source archives, npm's) on disk. Out: FOLDER/candidates.jsonl, one row for each member that
is named like a licence or that is a source file, and FOLDER/texts/SHA256, what there is to read of it. `hint` is a rough
sorting by a few distinctive phrases, to put like beside like on the reader's screen; no label is taken from it unread.

A header is the first part of a source file, so only that much of it is kept. The same bytes are listed once per package.

Example: python benchmarks/labels/candidates.py candidates archives/*.whl archives/*.tgz
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

HEADER_BYTES = 3000
LARGEST_MEMBER_BYTES = 400_000
SOURCES_PER_ARCHIVE = 600
"""Of a larger package, source files are chosen by a hash of their path."""
HEADERS_PER_HINT = 3
"""How many headers of one package with the same hint are worth a reader's time."""

LICENCE_NAME = re.compile(
    r"(licen[cs]e|copying|copyright|notice|unlicense|legal|eula|third.?party|terms)[^/]*$|(^|/)licen[cs]es?/[^/]*$",
    re.IGNORECASE,
)
SOURCE_SUFFIXES = frozenset(
    [
        ".py",
        ".pyx",
        ".pyi",
        ".c",
        ".h",
        ".cc",
        ".cpp",
        ".hpp",
        ".cu",
        ".cuh",
        ".js",
        ".mjs",
        ".ts",
        ".tsx",
        ".css",
        ".scss",
        ".sh",
        ".java",
        ".f",
        ".f90",
        ".go",
        ".rs",
    ]
)
SOURCE_SUFFIXES |= frozenset(
    [
        ".m",
        ".r",
        ".pl",
        ".rb",
        ".lua",
        ".sol",
        ".sql",
        ".glsl",
        ".swift",
        ".kt",
        ".php",
        ".cs",
        ".vue",
        ".less",
        ".jsx",
        ".tcl",
        ".el",
        ".asm",
        ".s",
        ".cmake",
    ]
)

HINTS = (
    ("SPDX", r"SPDX-License-Identifier: *([^\n*]+)"),
    ("AGPL", r"affero general public|\bAGPL"),
    ("LGPL", r"(lesser|library) (general )?public|\bLGPL"),
    ("GPL", r"general public licen[sc]e|\bGPL\b"),
    ("SSPL", r"server side public"),
    ("BUSL", r"business source licen[sc]e"),
    ("FSL", r"functional source licen[sc]e"),
    ("Elastic", r"elastic licen[sc]e"),
    ("PolyForm", r"polyform"),
    ("CommonsClause", r"commons clause"),
    ("Hippocratic", r"hippocratic"),
    ("EUPL", r"european union public|\bEUPL\b"),
    ("CeCILL", r"cecill"),
    ("OSL", r"open software licen[sc]e"),
    ("MPL", r"mozilla public"),
    ("EPL", r"eclipse public|eclipse distribution"),
    ("CDDL", r"common development and distribution"),
    ("CPL", r"common public licen[sc]e|IBM public"),
    ("CC", r"creative ?commons|\bCC[- ]BY\b|\bCC0\b"),
    ("OFL", r"SIL open font|\bOFL\b"),
    ("Artistic", r"artistic licen[sc]e"),
    (
        "EULA",
        r"end[- ]user licen[sc]e|\b(nvidia|oracle|microsoft|intel) (software|corporation|america)|proprietary|confidential",
    ),
    ("Apache-1", r"apache (software )?licen[sc]e,? version 1|this product includes software developed by the\s+apache"),
    ("LLVM", r"LLVM exception"),
    ("Apache", r"apache licen[sc]e"),
    ("Unlicense", r"unencumbered software|unlicense"),
    ("WTFPL", r"what the f"),
    ("PSF", r"python software foundation|PSF licen[sc]e"),
    ("BSL-1.0", r"boost software licen[sc]e"),
    ("BlueOak", r"blue oak"),
    ("Unicode", r"unicode,? inc|unicode licen[sc]e"),
    ("BSD-4", r"all advertising materials"),
    ("BSD-Clear", r"no express or implied licenses to any party's patent"),
    ("BSD-3", r"neither the name|names? of (its|the|their)[^.]{0,90}may (not )?be used to endorse"),
    ("BSD-2", r"redistributions? (of|in) "),
    ("BSD", r"\bBSD\b"),
    ("JSON", r"for good, not evil"),
    ("MIT", r"permission is hereby granted, free of charge|\bMIT\b"),
    ("ISC", r"permission to use, copy, modify,? and(/or)? distribute this software"),
    ("Zlib", r"provided .as-is., without any express or implied"),
    ("public-domain", r"public domain"),
    ("see-file", r"see (the )?(accompanying )?(file )?.{0,30}licen[sc]e"),
    ("reserved", r"all rights reserved"),
    ("other", r"licen[sc]e|copyright|permission"),
)
PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in HINTS)


def iter_members(archive: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield path, size and bytes of each member that might be read; paths as the archive writes them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            names = chosen({entry.filename: entry.file_size for entry in pack.infolist() if not entry.is_dir()})
            for name in names:
                yield name, pack.getinfo(name).file_size, pack.read(name)
    else:
        with tarfile.open(archive) as pack:
            members = {member.name: member for member in pack if member.isfile()}
            for name in chosen({name: member.size for name, member in members.items()}):
                file = pack.extractfile(members[name])
                assert file is not None
                yield name, members[name].size, file.read()


def chosen(sizes: dict[str, int]) -> list[str]:
    """Return the members named like licences and a sample of the source files, in the archive's order."""
    small = [name for name, size in sizes.items() if 0 < size <= LARGEST_MEMBER_BYTES]
    sources = sorted((name for name in small if is_source(name)), key=lambda name: hashlib.sha256(name.encode()).digest())
    wanted = set(sources[:SOURCES_PER_ARCHIVE]) | {name for name in small if LICENCE_NAME.search(name)}
    return [name for name in sizes if name in wanted]


def is_source(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SOURCE_SUFFIXES


def hint_of(text: str) -> str:
    """Return the name of the first phrase found, `none` without one; of a tag, with what it says."""
    for name, pattern in PATTERNS:
        found = pattern.search(text)
        if found:
            return f"SPDX {found.group(1).strip()}" if name == "SPDX" else name
    return "none"


def package_of(archive: Path) -> tuple[str, str, str]:
    """Return index, name and version from the archive's own metadata, for file names alone are ambiguous."""
    if archive.suffix == ".tgz" and not zipfile.is_zipfile(archive):
        with tarfile.open(archive) as pack:
            for member in pack:
                if member.name.count("/") == 1 and member.name.endswith("/package.json"):
                    file = pack.extractfile(member)
                    assert file is not None
                    about = json.loads(file.read())
                    return "npm", about["name"], about["version"]
    name = archive.name
    if name.endswith(".whl"):
        distribution, version = name.split("-")[:2]
    else:
        distribution, _, version = re.sub(r"\.(tar\.(gz|bz2|xz)|zip|tgz)$", "", name).rpartition("-")
    return "pypi", re.sub(r"[-_.]+", "-", distribution).lower(), version


def rows_of(archive: Path, texts: Path) -> Iterator[dict[str, object]]:
    """Yield the candidates of one archive and keep what there is to read of each."""
    index, package, version = package_of(archive)
    seen: set[str] = set()
    per_hint: dict[str, int] = {}
    for path, size, data in iter_members(archive):
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen or b"\0" in data[:HEADER_BYTES]:
            continue
        kind = "header" if is_source(path) else "license_file"
        text = (data[:HEADER_BYTES] if kind == "header" else data).decode("utf-8", "replace")
        hint = hint_of(text)
        if kind == "header":
            per_hint[hint] = per_hint.get(hint, 0) + 1
            if per_hint[hint] > HEADERS_PER_HINT:
                continue
        seen.add(digest)
        (texts / digest).write_text(text, encoding="utf-8")
        row = {"package": package, "index": index, "version": version, "artifact": archive.name, "path": path}
        yield row | {"sha256": digest, "kind": kind, "hint": hint, "size": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    arguments = parser.parse_args()
    texts = arguments.folder / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    with (arguments.folder / "candidates.jsonl").open("a", encoding="utf-8") as out:
        for archive in arguments.archives:
            for row in rows_of(archive, texts):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
