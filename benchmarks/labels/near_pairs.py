"""Candidates for the labelled set of near duplicates: pairs of files that a person then compares.

In: archives of packages on disk. Out: FOLDER/pairs.jsonl with the two files, why they were paired (`kind`, a first guess)
and `changed_lines`, the share of lines that differ; FOLDER/members/SHA256 with the bytes. Pairs come from: two versions of a
package at one path; files of one name in different packages, or in different folders of one package, that share some lines;
files of one package that share many lines, whatever they are called; files in one folder; files drawn blindly. None of them
is a label yet.

The share is 1 - 2M/T of the lines, M being the lines that difflib matches in order and T all lines of both files, without
their ends and with nothing treated as junk: 0 for equal files, 1 for files that have no line in common.

Example: python benchmarks/labels/near_pairs.py pairs archives/*.whl archives/*.tgz
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import itertools
import json
import random
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from candidates import is_source, package_of

LEAST_LINES, MOST_LINES = 4, 2500
LARGEST_BYTES = 200_000
FILES_PER_ARCHIVE = 900
PAIRS_PER_PACKAGE = 12
"""Of each kind: no single project fills the reader's screen."""

LEAST_SHARED_LINES = 0.05
"""Files of one name that share less than this part of their distinct lines are left to the blind draws."""

CLOSE_SHARED_LINES = 0.25
CLOSE_DRAWS = 6000
"""Draws from one package for pairs that share many lines: licence notices, banners, generated code, copies."""


@dataclass(frozen=True)
class Member:
    """One text file of an archive."""

    index: str
    package: str
    version: str
    artifact: str
    path: str
    sha256: str
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def record(self) -> dict[str, str]:
        keys = ("package", "index", "version", "artifact", "path", "sha256")
        return {key: str(getattr(self, key)) for key in keys}


def read_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of a sample of the source files, chosen by a hash of the path so that versions agree on it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            sizes = {entry.filename: entry.file_size for entry in pack.infolist() if not entry.is_dir()}
            for name in sample(sizes):
                yield name, pack.read(name)
    else:
        with tarfile.open(archive) as tar:
            members = {member.name: member for member in tar if member.isfile()}
            for name in sample({name: member.size for name, member in members.items()}):
                file = tar.extractfile(members[name])
                assert file is not None
                yield name, file.read()


def sample(sizes: dict[str, int]) -> list[str]:
    sources = [name for name, size in sizes.items() if is_source(name) and 0 < size <= LARGEST_BYTES]
    return sorted(sources, key=lambda name: hashlib.sha256(name.encode()).digest())[:FILES_PER_ARCHIVE]


def members_of(archive: Path, keep: Path) -> list[Member]:
    """Return the readable files of an archive, each with its lines, and keep their bytes."""
    index, package, version = package_of(archive)
    members = []
    for path, data in read_archive(archive):
        try:
            lines = tuple(data.decode("utf-8").splitlines())
        except UnicodeDecodeError:
            continue
        if LEAST_LINES <= len(lines) <= MOST_LINES:
            digest = hashlib.sha256(data).hexdigest()
            (keep / digest).write_bytes(data)
            members.append(Member(index, package, version, archive.name, path, digest, lines))
    return members


def changed_share(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the share of lines that differ: 1 minus difflib's ratio."""
    return 1.0 - difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()


def shared_lines(first: Member, second: Member) -> float:
    left, right = set(first.lines), set(second.lines)
    return len(left & right) / len(left | right)


def version_pairs(groups: dict[str, list[Member]]) -> Iterator[tuple[str, Member, Member]]:
    for members in groups.values():
        paths = defaultdict(list)
        for member in members:
            paths[member.path].append(member)
        for same in paths.values():
            for first, second in itertools.combinations(same, 2):
                if first.version != second.version:
                    yield "version", first, second


def name_pairs(groups: dict[str, list[Member]]) -> Iterator[tuple[str, Member, Member]]:
    """Files of one name: in two packages, or in two folders of one version of a package."""
    names = defaultdict(list)
    for member in itertools.chain.from_iterable(groups.values()):
        names[member.name].append(member)
    for same in names.values():
        for first, second in itertools.combinations(same[:60], 2):
            twin = first.package == second.package
            if twin and (first.artifact != second.artifact or first.path == second.path):
                continue
            if shared_lines(first, second) >= LEAST_SHARED_LINES:
                yield ("twin" if twin else "same-name"), first, second


def close_pairs(groups: dict[str, list[Member]], seed: int) -> Iterator[tuple[str, Member, Member]]:
    """Files of one archive that share many lines, whatever they are called."""
    for number, package in enumerate(sorted(groups)):
        draw = random.Random(f"{seed}:close:{number}")
        members = groups[package]
        for _ in range(CLOSE_DRAWS if len(members) > 1 else 0):
            first, second = draw.sample(members, 2)
            if first.artifact == second.artifact and shared_lines(first, second) >= CLOSE_SHARED_LINES:
                yield "close", first, second


def drawn_pairs(groups: dict[str, list[Member]], seed: int) -> Iterator[tuple[str, Member, Member]]:
    """Neighbours in one folder, and files drawn blindly from two packages."""
    for number, package in enumerate(sorted(groups)):
        draw = random.Random(f"{seed}:{number}")
        folders = defaultdict(list)
        for member in groups[package]:
            folders[member.artifact, str(PurePosixPath(member.path).parent)].append(member)
        for key in sorted(folders):
            if len(folders[key]) > 1:
                first, second = draw.sample(folders[key], 2)
                yield "neighbour", first, second
        other = groups[draw.choice(sorted(groups))]
        yield "unrelated", draw.choice(groups[package]), draw.choice(other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keep = arguments.folder / "members"
    keep.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Member]] = defaultdict(list)
    for archive in arguments.archives:
        members = members_of(archive, keep)
        if members:
            groups[members[0].package] += members
    taken: dict[tuple[str, str, str], int] = defaultdict(int)
    found = (
        version_pairs(groups),
        name_pairs(groups),
        close_pairs(groups, arguments.seed),
        drawn_pairs(groups, arguments.seed),
    )
    shuffled = sorted(
        itertools.chain(*found), key=lambda pair: hashlib.sha256(f"{pair[1].sha256}{pair[2].sha256}".encode()).digest()
    )
    with (arguments.folder / "pairs.jsonl").open("w", encoding="utf-8") as out:
        for kind, first, second in shuffled:
            key = (kind, first.package, second.package)
            if first.sha256 == second.sha256 or taken[key] >= PAIRS_PER_PACKAGE:
                continue
            taken[key] += 1
            changed = round(changed_share(first.lines, second.lines), 3)
            row = {"a": first.record(), "b": second.record(), "kind": kind, "changed_lines": changed}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
