"""Licence detection: how many texts of the SPDX list are recognised, what passes as permissive and should not, how quickly.

The list comes from npm, and every text is read as it is, rewrapped, in comment signs, with a title and other holders, and
with a sentence that takes something away. Speed is measured on the licence files and the source files that are installed
for the running Python, by one process.

Example: python benchmarks/license_detection.py --files 25000
"""

from __future__ import annotations

import argparse
import random
import re
import sysconfig
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stackwright.govern.licenses import header_evidence, is_license_file
from stackwright.govern.licenses.classes import class_of
from stackwright.govern.licenses.fingerprints import load_fingerprints
from stackwright.govern.licenses.make_fingerprints import LIST_VERSION, fetch_list
from stackwright.govern.licenses.recognize import Recognition, recognize

SUFFIXES = (".py", ".pyi", ".js", ".c", ".h", ".hpp", ".cpp", ".cu", ".cuh")
TERMS = (
    "You may not use this software for commercial purposes.",
    "The Software shall be used for Good, not Evil.",
    "You may not use this software to train machine learning models.",
    "You must pay the author for each copy.",
    "Employees of ACME must not use this software.",
    "You may not offer the software as a service to others.",
    "All changes must be published under these same terms.",
)


def rewrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 60) for part in re.split(r"\n\s*\n", text))


def settings_of(text: str, name: str) -> Iterable[tuple[str, str]]:
    """Yield a text as it is found in files."""
    yield "as it is", text
    yield "rewrapped", rewrapped(text)
    yield "in comment signs", "\n".join(f" * {line}" for line in text.splitlines())
    yield "title and holders", f"{name}\n\nCopyright (c) 2008-2021 Jane Q. Doe. All rights reserved.\n\n{text}"


def measure_recognition(texts: Mapping[str, Mapping[str, Any]]) -> None:
    """Print, per setting, how many texts are recognised as themselves and how many wrongly pass as permissive."""
    same = {license_id: template.ids for template in load_fingerprints().templates for license_id in template.ids}
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for license_id, entry in texts.items():
        for setting, text in settings_of(entry["licenseText"], entry["name"]):
            found = recognize(text)
            right[setting] += found.expression in same[license_id]
            wrong[setting] += found.license_class == "permissive" and class_of(license_id) != "permissive"
    for setting, count in right.items():
        print(f"{setting}: {count} of {len(texts)} recognised as themselves, {wrong[setting]} wrongly permissive")


def measure_further_terms(texts: Mapping[str, Mapping[str, Any]], seed: int) -> None:
    """Print how many permissive texts stay permissive with a sentence or with 15 words that do not belong to them."""
    rng = random.Random(seed)
    permissive = [
        entry["licenseText"] for license_id, entry in sorted(texts.items()) if class_of(license_id) == "permissive"
    ]
    words = sorted({word for text in permissive for word in re.findall(r"[a-z]{3,12}", text.lower())})
    changes: dict[str, Callable[[], str]] = {
        "a sentence of terms": lambda: rng.choice(TERMS),
        "15 words": lambda: " ".join(rng.choices(words, k=15)),
    }
    for name, change in changes.items():
        passed = total = 0
        for text in permissive:
            for _ in range(3):
                breaks = [0, len(text), *(match.end() for match in re.finditer(r"\s", text))]
                at = rng.choice(breaks)
                total += 1
                passed += recognize(f"{text[:at]} {change()} {text[at:]}").license_class == "permissive"
        print(f"permissive texts with {name} put in: {passed} of {total} pass as permissive")


def read_files(folders: Iterable[Path], wanted: Callable[[str], bool], most: int, seed: int) -> list[str]:
    """Return the texts of some of the files below the folders, each text once."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and wanted(path.as_posix()))
    random.Random(seed).shuffle(paths)
    texts = (path.read_text("utf-8", errors="replace") for path in paths[:most])
    return list(dict.fromkeys(texts))


def timed(name: str, texts: list[str], run: Callable[[str], Recognition | object | None]) -> None:
    """Print texts a second, by wall time and by the time of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    for text in texts:
        run(text)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(map(len, texts)) / 1e6
    print(f"{name}: {len(texts):,} texts, {size:.1f} MB, {len(texts) / cpu:,.0f} a CPU second, {wall:.1f} s of wall time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=25_000, help="most source files whose headers are read")
    parser.add_argument(
        "--folder", type=Path, action="append", help="folders with licence and source files, in place of Python's"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts, _ = fetch_list(LIST_VERSION, Path(folder))
    start = time.perf_counter()
    load_fingerprints()
    print(f"fingerprints loaded in {time.perf_counter() - start:.2f} s")
    measure_recognition(texts)
    measure_further_terms(texts, arguments.seed)
    folders = arguments.folder or [Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib")]
    licenses = read_files(folders, is_license_file, 10_000, arguments.seed)
    timed("licence files", licenses, recognize)
    sources = read_files(folders, lambda path: path.endswith(SUFFIXES), arguments.files, arguments.seed)
    timed("headers", sources, header_evidence)


if __name__ == "__main__":
    main()
