"""Make the fingerprints from the texts of the SPDX list: `python -m stackwright.govern.licenses.make_fingerprints`.

In: the list in npm's `spdx-license-list`, fetched by `npm pack` into a temporary folder and thrown away, and two texts that
the list has not. Out: two files beside this one. `fingerprints.npz` holds hashes of words and, for each text, the row of
their numbers; `fingerprints.json` says which ids have which text, which words of it may be missing, and which version of
which list it was. Texts that read the same are stored once, under the id that claims least.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sysconfig
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from stackwright.errors import DataError
from stackwright.files import write_bytes
from stackwright.govern.licenses.fingerprints import LLVM_EXCEPTION, NO_TERMS, word_hash
from stackwright.govern.licenses.words import VERSION, TextWords, canonical_word, read_words

PACKAGE = "spdx-license-list"
LIST_VERSION = "6.12.0"

# Ids that the list keeps only because they were used once. A text of theirs counts as that of the id that follows them.
_RENAMED = {
    "BSD-2-Clause-FreeBSD": "BSD-2-Clause-Views",
    "BSD-2-Clause-NetBSD": "BSD-2-Clause",
    "GPL-1.0+": "GPL-1.0-or-later",
    "GPL-2.0+": "GPL-2.0-or-later",
    "GPL-3.0+": "GPL-3.0-or-later",
    "LGPL-2.0+": "LGPL-2.0-or-later",
    "LGPL-2.1+": "LGPL-2.1-or-later",
    "LGPL-3.0+": "LGPL-3.0-or-later",
    "Nunit": "zlib-acknowledgement",
    "StandardML-NJ": "SMLNJ",
    "bzip2-1.0.5": "bzip2-1.0.6",
}

# Two texts that licence files hold and the list does not: from the first words to the last, in the licence of the running
# Python and in that of a package that is installed with this one.
_PYTHON_HISTORY = re.compile(r"A\. HISTORY OF THE SOFTWARE.*?(?=PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n-)", re.DOTALL)
_NEWER_HISTORY = re.compile(r"(?<=OTHERWISE USING PYTHON)\W+Python software and documentation are licensed under")
_EXCEPTION_OF_LLVM = re.compile(
    r"LLVM Exceptions to the Apache 2\.0 License.*?with\s+respect\s+to\s+the\s+Combined\s+Software\.", re.DOTALL
)

# A text's first lines are its title as long as they are short, end no sentence and say what it is.
_TITLE = re.compile(r"licen[sc]e|notice|disclaimer|version|agreement|public domain|dedication|legal code|permission notice")
_TITLE_WORDS = 14
# Creative Commons puts a preface before its terms and a note after them; both are often left out.
_PREFACE = re.compile(r"creative commons corporation\W+(?:\W?creative commons\W+)?is not a law firm", re.IGNORECASE)
_AFTER_PREFACE = re.compile(
    r"^\W*(?:by exercising the licensed rights|statement of purpose|licen[sc]e\W*$)", re.IGNORECASE | re.MULTILINE
)
_AFTERWORD = re.compile(
    r"creative commons is not a party to (?:its public|this licen[sc]e)|creative commons may be contacted", re.IGNORECASE
)

# What follows is about how to use the text and often left out. Only near the end: the same words open other texts.
_APPENDIX = re.compile(
    r"end of terms and conditions|^mariadb hereby grants you permission|^\W*exhibit a\b|^\W*gnu general public license\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_APPENDIX_FROM = 0.12


@dataclass(frozen=True)
class Text:
    """One text of the list: its compared words and which may be missing."""

    words: tuple[str, ...]
    optional: tuple[tuple[int, int], ...]


def compared_words(found: TextWords) -> tuple[str, ...]:
    """Return the words of a text that are compared, in order."""
    left_out = {index for start, end in found.named + found.reserved for index in range(start, end)}
    words = (canonical_word(word) for index, word in enumerate(found.words) if index not in left_out)
    return tuple(word for word in words if word)


def read_text(text: str, name: str = "") -> Text:
    """Return the words of a text of the list, with its title and its appendix as what may be missing.

    A line of nothing but words of the licence's `name` is its title too.
    """
    text = re.sub(r"\A\s*licen[sc]e text:\s*", "", text, flags=re.IGNORECASE)
    words = compared_words(read_words(text))
    optional = []
    title = _count(text[: _body_start(text, name)])
    if title:
        optional.append((0, title))
    for pattern in (_APPENDIX, _AFTERWORD):
        starts = (_count(text[: match.start()]) for match in pattern.finditer(text))
        start = next((start for start in starts if start > max(title, _APPENDIX_FROM * len(words))), None)
        if start is not None:
            optional.append((start, len(words)))
            break
    return Text(words, tuple(optional))


def _count(text: str) -> int:
    return len(compared_words(read_words(text)))


def _body_start(text: str, name: str) -> int:
    """Return where the terms begin: after the title, and after the preface of Creative Commons."""
    if _PREFACE.search(text):
        body = _AFTER_PREFACE.search(text, _title_end(text, name) + 1)
        if body is not None:
            return body.start()
    return _title_end(text, name)


def _title_end(text: str, name: str) -> int:
    end, named = 0, set(compared_words(read_words(name)))
    for line in text.splitlines(keepends=True):
        short = line.strip().lower()
        says = _TITLE.search(short) is not None or named.issuperset(compared_words(read_words(short)))
        if short and (len(short.split()) > _TITLE_WORDS or short.endswith((".", ",")) or not says):
            break
        end += len(line)
    return end if end < len(text) else 0


def representative(ids: list[str]) -> list[str]:
    """Return ids of one text, first the one that claims least: this version only, and nothing about invariant sections.

    Names that the list has replaced come last.
    """
    return sorted(
        ids,
        key=lambda name: (
            *(name in _RENAMED, "invariant" in name, not name.endswith("-only"), name.endswith("+"), len(name), name),
        ),
    )


def fingerprints_of(
    texts: Mapping[str, Mapping[str, Any]], further: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return facts and arrays for the texts of a list (by id, `name` and `licenseText`) and for further texts by id."""
    groups: dict[Text, list[str]] = {}
    read: dict[tuple[str, ...], Text] = {}
    for license_id in sorted(set(texts) - _RENAMED.keys()):
        text = read_text(texts[license_id]["licenseText"], texts[license_id]["name"])
        groups.setdefault(read.setdefault(text.words, text), []).append(license_id)
    for ids in groups.values():
        ids += [old for old, new in _RENAMED.items() if new in ids and old in texts]
    for license_id, further_text in (further or {}).items():
        groups[_further(further_text)] = [license_id]
    titles = {text: _title_words(texts, ids) for text, ids in groups.items()}
    known = sorted({word for text in groups for word in text.words}.union(*titles.values()), key=word_hash)
    numbers = {word: number for number, word in enumerate(known)}
    assert len(known) < 2**16, "the numbers of words have 16 bits"
    entries: list[dict[str, Any]] = []
    row: list[int] = []
    for text, ids in groups.items():
        title = sorted(numbers[word] for word in titles[text])
        entries.append({"ids": representative(ids), "words": len(text.words), "optional": text.optional, "title": title})
        row.extend(numbers[word] for word in text.words)
    hashes = np.array([word_hash(word) for word in known], dtype=np.uint32)
    return {"rules": VERSION, "texts": entries}, {"hashes": hashes, "row": np.array(row, dtype=np.uint16)}


def _further(text: str) -> Text:
    """Return the words of a further text; what newer Pythons say after their history may be missing."""
    words, newer = compared_words(read_words(text)), _NEWER_HISTORY.search(text)
    return Text(words, ((_count(text[: newer.start()]), len(words)),) if newer else ())


def _title_words(texts: Mapping[str, Mapping[str, Any]], ids: list[str]) -> set[str]:
    return {word for name in ids if name in texts for word in compared_words(read_words(f"{name} {texts[name]['name']}"))}


def _member(archive: Path, name: str) -> Any:
    """Return a JSON file out of an archive, which is not unpacked."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None, name
        return json.load(file)


def fetch_list(version: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fetch the list with npm; returns its texts by id and the facts of the package."""
    command = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    package, texts = (_member(archive, f"package/{name}.json") for name in ("package", "spdx-full"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    source = {"package": PACKAGE, "version": package["version"], "license": package["license"], "sha256": digest}
    return texts, source


def further_texts() -> dict[str, str]:
    """Return the texts that the list has not, from the licences of the running Python and of Apache Arrow."""
    python = (Path(sysconfig.get_path("stdlib")) / "LICENSE.txt").read_text("utf-8")
    arrow = next(file for file in metadata.files("pyarrow") or () if file.name == "LICENSE.txt").read_text("utf-8")
    found = {NO_TERMS: _PYTHON_HISTORY.search(python), LLVM_EXCEPTION: _EXCEPTION_OF_LLVM.search(arrow)}
    missing = [license_id for license_id, match in found.items() if match is None]
    if missing:
        raise DataError(
            f"the installed licences do not hold {', '.join(missing)}", "run it where Python and pyarrow ship them"
        )
    return {license_id: match[0] for license_id, match in found.items() if match is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the fingerprints of the texts of the SPDX list.")
    parser.add_argument("--version", default=LIST_VERSION, help="version of npm's spdx-license-list")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the two files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts, source = fetch_list(arguments.version, Path(folder))
    facts, arrays = fingerprints_of(texts, further_texts())
    np.savez_compressed(arguments.out / "fingerprints.npz", allow_pickle=False, **arrays)
    entries = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in facts["texts"])
    head = json.dumps({"source": source, "rules": facts["rules"]}, indent=1)[:-2]
    write_bytes(arguments.out / "fingerprints.json", f'{head},\n "texts": [\n{entries}\n]}}\n'.encode())


if __name__ == "__main__":
    main()
