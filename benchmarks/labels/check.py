"""Checks of the labelled sets: that each record is well formed, and that the labels belong to the bytes they were made from.

In: stackwright/measure/data and, if wanted, a folder of archives. Out: what is wrong, one line each; exit status 1 if there
is anything. Without --archives only the records are checked: keys, the split, the class that follows from the expression, no
pair twice. With it every member is read and its SHA-256 compared, and the share of changed lines is computed again. With
--fetch what the folder lacks is first downloaded by the registries' own clients; --package limits that to some packages.

Example: python benchmarks/labels/check.py --archives archives --fetch --package tld --package sjcl
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from near_pairs import changed_share

DATA = Path(__file__).parents[2] / "stackwright" / "measure" / "data"
FILE_KEYS = {"package", "index", "version", "artifact", "path", "sha256"}
LICENSE_KEYS = FILE_KEYS | {"kind", "spdx", "class", "part"}
PAIR_KEYS = {"a", "b", "label", "kind", "changed_lines", "part"}

CLASSES = ("permissive", "weak_copyleft", "copyleft", "non_free")
"""From the least to the most demanding. `none` stands beside them."""

COPYLEFT = ("AGPL", "GPL", "OSL", "EUPL", "CC-BY-SA", "QPL", "copyleft-next", "LicenseRef-EUPL", "LicenseRef-Volatility")
WEAK = ("LGPL", "MPL", "EPL", "CDDL", "CECILL-C", "APSL", "BitTorrent", "LicenseRef-EPL")
NON_FREE = ("SSPL", "BUSL", "Elastic", "PolyForm", "Hippocratic", "FSL", "CC-BY-NC", "CC-BY-ND", "CPOL", "JSON", "MS-LPL")
FREE_REFERENCES = frozenset(
    f"LicenseRef-{name}" for name in ("BSD", "Public-Domain", "NumPy", "Impacket", "Tariq", "Unicode-Mappings")
)


def class_of(expression: str) -> str:
    """Return the class of an expression: of parts joined by AND the most demanding, of alternatives the least."""
    grouped = re.fullmatch(r"\((.+?)\) AND (.+)", expression)
    if grouped:
        return max((class_of(part) for part in grouped.groups()), key=CLASSES.index)
    for word, choose in ((" OR ", min), (" AND ", max)):
        if word in expression:
            return str(choose((class_of(part) for part in expression.split(word)), key=CLASSES.index))
    name = expression.partition(" WITH ")[0]
    if name in ("NONE", "LicenseRef-See-File"):
        return "none"
    for prefixes, found in ((COPYLEFT, "copyleft"), (WEAK, "weak_copyleft"), (NON_FREE, "non_free")):
        if name.startswith(prefixes):
            return found
    return "non_free" if name.startswith("LicenseRef-") and name not in FREE_REFERENCES else "permissive"


def part_of(package: str) -> str:
    """Return the half of the set that a package belongs to."""
    return "tune" if hashlib.sha256(package.encode()).digest()[0] % 2 == 0 else "test"


def read_records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def record_faults(licenses: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the records themselves."""
    seen: set[tuple[str, ...]] = set()
    for record in licenses:
        where = f"{record['artifact']}:{record['path']}"
        if set(record) - {"note"} != LICENSE_KEYS:
            yield f"{where}: keys {sorted(record)}"
        if record["class"] != class_of(record["spdx"]):
            yield f"{where}: {record['spdx']} is {class_of(record['spdx'])}, not {record['class']}"
        if record["part"] != part_of(record["package"]):
            yield f"{where}: wrong part"
        if (record["sha256"],) in seen:
            yield f"{where}: the same bytes twice"
        seen.add((record["sha256"],))
    for pair in pairs:
        where = f"{pair['a']['path']} and {pair['b']['path']}"
        if set(pair) - {"note"} != PAIR_KEYS or set(pair["a"]) != FILE_KEYS or set(pair["b"]) != FILE_KEYS:
            yield f"{where}: keys"
        if pair["part"] != part_of(min(pair["a"]["package"], pair["b"]["package"])):
            yield f"{where}: wrong part"
        key = tuple(sorted((pair["a"]["sha256"], pair["b"]["sha256"])))
        if key in seen or key[0] == key[1]:
            yield f"{where}: the same pair twice, or one file with itself"
        seen.add(key)


NEWEST_PYTHON = "3.13"
"""Some wheels for any platform ask for a newer Python than the one that runs this."""


def fetch(record: dict[str, Any], folder: Path) -> None:
    """Download one archive with the registry's own client. Of a source archive, pip runs the build to learn its metadata."""
    wanted = f"{record['package']}=={record['version']}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wanted]
    if record["index"] == "npm":
        wanted = f"{record['package']}@{record['version']}"
        tries = [["npm", "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]]
    elif not record["artifact"].endswith(".whl"):
        tries = [[*pip, "--no-binary", ":all:"]]
    else:
        pip += ["--only-binary", ":all:"]
        python, abi, platforms = record["artifact"].removesuffix(".whl").split("-")[-3:]
        tries = [pip, [*pip, "--python-version", NEWEST_PYTHON]]
        if platforms != "any":
            minor = re.search(r"cp3(\d+)", python)
            pip += ["--python-version", f"3.{minor.group(1)}" if minor else NEWEST_PYTHON, "--implementation", "cp"]
            tries = [[*pip, "--abi", abi, *(word for name in platforms.split(".") for word in ("--platform", name))]]
    for command in tries:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    print(f"{wanted} could not be downloaded: {done.stderr.strip().splitlines()[-1:]}")


def read_member(archive: Path, path: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            return pack.read(path)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(path)
        assert file is not None
        return file.read()


def byte_faults(licenses: list[dict[str, Any]], pairs: list[dict[str, Any]], folder: Path) -> Iterator[str]:
    """Yield the members with other bytes and the pairs with another share of changed lines; say how much was not there."""
    archives = {path.name: path for path in folder.rglob("*") if path.is_file()}
    checked = absent = 0
    texts: dict[str, list[str]] = {}
    for record in licenses + [pair[side] for pair in pairs for side in ("a", "b")]:
        if record["artifact"] not in archives:
            absent += 1
            continue
        data = read_member(archives[record["artifact"]], record["path"])
        checked += 1
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            yield f"{record['artifact']}:{record['path']}: other bytes"
        elif "kind" not in record:
            texts[record["sha256"]] = data.decode("utf-8").splitlines()
    for pair in pairs:
        sides = [texts.get(pair[side]["sha256"]) for side in ("a", "b")]
        if sides[0] is not None and sides[1] is not None:
            share = changed_share(sides[0], sides[1])
            if abs(share - pair["changed_lines"]) > 0.001:
                yield f"{pair['a']['path']} and {pair['b']['path']}: {share:.3f} changed, not {pair['changed_lines']}"
    print(f"{checked} members checked, {absent} in archives that are not here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--package", action="append", default=[])
    arguments = parser.parse_args()
    licenses, pairs = read_records("licenses.jsonl"), read_records("near_dup.jsonl")
    faults = list(record_faults(licenses, pairs))
    if arguments.archives is not None:
        if arguments.fetch:
            arguments.archives.mkdir(parents=True, exist_ok=True)
            records = {
                record["artifact"]: record for record in licenses + [pair[side] for pair in pairs for side in ("a", "b")]
            }
            for artifact, record in sorted(records.items()):
                wanted = not arguments.package or record["package"] in arguments.package
                if wanted and not (arguments.archives / artifact).exists():
                    fetch(record, arguments.archives)
        faults += byte_faults(licenses, pairs, arguments.archives)
    print(f"{len(licenses)} licences, {len(pairs)} pairs, {len(faults)} faults")
    for fault in faults:
        print(fault)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
