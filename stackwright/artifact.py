"""Artefacts: folders that are complete, unchanged and traceable, or refused.

A folder is an artefact when it holds `manifest.json`, which is written last. A stage fills a staging folder under
`.building/`; files get temporary names, are synced and renamed, so that whatever has its final name is whole. `commit`
digests every file and every table's rows and writes the manifest; `publish` moves the folder into place in one rename.
A run folder therefore holds an artefact whole or not at all, and a killed stage goes on from the parts it had finished.

The manifest has two parts: `content` (hashed: stage and version, configuration, digests of inputs, of each file's bytes
and of each table's rows in document order, counts) and `run` (not hashed: times, host, rates, plots and logs).
Only this module writes tables.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.errors import ArtifactError
from stackwright.files import (
    canonical_json,
    digest_of,
    file_sha256,
    iter_files,
    remove_folder,
    removed_name,
    sync_file,
    sync_folder,
    temporary_name,
    write_bytes,
    write_json,
)
from stackwright.memo import MEMO, Memo

FORMAT = 1
"""Version of the manifest and of the run folder. Folders of another version are refused."""

MANIFEST = "manifest.json"
SCRATCH = ".scratch"

ROW_GROUP_ROWS = 1024
TEXT_ROW_GROUP_ROWS = 32
"""Rows of a table that holds texts are fetched one at a time (a citation is verified against its file), and a row group
is the least that can be read: few rows make that a matter of a millisecond."""

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 3

RUN_SUFFIXES = frozenset({".png", ".svg", ".html", ".log"})
RUN_NAMES = frozenset({"metrics.jsonl"})
"""Plots, pages and logs hold times and rates: they are recorded in `run`, not in the hashed `content`."""


def _row_group_rows(schema: pa.Schema) -> int:
    return TEXT_ROW_GROUP_ROWS if "content" in schema.names else ROW_GROUP_ROWS


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file with the project's fixed settings, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    pq.write_table(
        table,
        temporary,
        row_group_size=_row_group_rows(table.schema),
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
    )
    sync_file(temporary)
    os.replace(temporary, path)


def write_batches(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write several tables of one schema into a scratch file from which each can be read on its own, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, tables[0].schema) as writer:
        for table in tables:
            rows = table.combine_chunks().to_batches()
            writer.write_batch(rows[0] if rows else pa.RecordBatch.from_pylist([], schema=table.schema))
    sync_file(temporary)
    os.replace(temporary, path)


def read_batch(path: Path, index: int) -> pa.Table:
    """Return one of the tables that `write_batches` wrote."""
    with pa.OSFile(str(path), "rb") as file:
        return pa.Table.from_batches([pa.ipc.open_file(file).get_batch(index)])


class TableFile:
    """A Parquet file written a few rows at a time; it gets its name when the `with` block ends without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._schema = path, schema
        self._temporary = temporary_name(path)
        self._writer = pq.ParquetWriter(
            self._temporary, schema, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL
        )

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.write_table(_to_table(rows, self._schema), row_group_size=_row_group_rows(self._schema))

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        if kind is None:
            sync_file(self._temporary)
            os.replace(self._temporary, self._path)


def row_digests(table: pa.Table) -> bytes:
    """Return the SHA-256 of each row, 32 bytes a row, in order.

    A row is hashed as the canonical JSON of its values in column order, so the digest depends on neither the Parquet
    encoding nor the borders of parts and row groups.
    """
    digests = []
    for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_json_value)
            digests.append(hashlib.sha256(text.encode("utf-8")).digest())
    return b"".join(digests)


def _json_value(value: object) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"no canonical form for {type(value).__name__}")


def part_name(table: str, index: int) -> str:
    """Return the path of one part of a table inside its artefact."""
    return f"{table}/part-{index:05d}.parquet"


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says. `content` is hashed into `digest`; `run` is not."""

    key: str
    content: Mapping[str, Any]
    run: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def counts(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self.content["counts"])

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "key": self.key,
            "digest": self.digest,
            "content": dict(self.content),
            "run": dict(self.run),
        }


@dataclass(frozen=True)
class Table:
    """A table of an artefact: Parquet parts that follow one another in document order."""

    name: str
    parts: tuple[Path, ...]
    num_rows: int
    digests: tuple[str, ...] = ()  # SHA-256 of each part, as the manifest has it

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the whole table. Use `read_part` where the text is wanted."""
        return pa.concat_tables([self.read_part(index, columns) for index in range(len(self.parts))])

    def read_part(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one part, all columns or some of them."""
        return pq.read_table(self.parts[index], columns=None if columns is None else list(columns))


@dataclass(frozen=True)
class Artifact:
    """A finished folder that was found complete."""

    folder: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def table(self, name: str) -> Table:
        """Return a table by name; raises `ArtifactError` when the artefact has none of that name."""
        tables = self.manifest.content["tables"]
        if name not in tables:
            raise ArtifactError(f"{self.folder} has no table {name!r}", f"it has: {', '.join(sorted(tables))}")
        record = tables[name]
        files, parts = self.manifest.content["files"], record["parts"]
        digests = tuple(files[part]["sha256"] for part in parts)
        return Table(name, tuple(self.folder / part for part in parts), int(record["rows"]), digests)


def _remake(folder: Path) -> str:
    return f"remove {folder} and run `stackwright build` again to remake it"


def load_artifact(folder: Path, *, verify: Literal["stat", "full"] = "stat") -> Artifact:
    """Open a finished artefact, or refuse it by name.

    With `verify="stat"` a file whose size and time of change are those of the commit is taken as unchanged and any
    other is hashed; with `verify="full"` every file is hashed.

    Raises:
        ArtifactError: the folder is missing, half-written, changed, truncated, or of another version.
    """
    manifest_path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError(f"{folder} does not exist", "run `stackwright build` to make it")
    if not manifest_path.is_file():
        raise ArtifactError(f"{folder} is half-written: it has no {MANIFEST}", _remake(folder))
    manifest = _parse_manifest(manifest_path)
    stats = manifest.run.get("stat", {})
    for name, record in manifest.content["files"].items():
        _verify_file(folder, name, record, None if verify == "full" else stats.get(name))
    return Artifact(folder, manifest)


def _parse_manifest(path: Path) -> Manifest:
    folder = path.parent
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error})", _remake(folder)) from error
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"{path} has format {found!r}, this version reads format {FORMAT}",
            "use the version of stackwright that wrote it, or build into another folder with --out",
        )
    missing = {"key", "digest", "content", "run"} - value.keys()
    if missing or not {"files", "tables", "counts"} <= value["content"].keys():
        raise ArtifactError(f"{path} lacks {', '.join(sorted(missing)) or 'parts of its content'}", _remake(folder))
    manifest = Manifest(key=value["key"], content=value["content"], run=value["run"])
    if manifest.digest != value["digest"]:
        raise ArtifactError(f"{path} was changed: its content does not have the digest it names", _remake(folder))
    return manifest


def _verify_file(folder: Path, name: str, record: Mapping[str, Any], trusted: Sequence[int] | None) -> None:
    path = folder / name
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing", _remake(folder)) from None
    if status.st_size != record["bytes"]:
        raise ArtifactError(f"{path} has {status.st_size} bytes where the manifest says {record['bytes']}", _remake(folder))
    if trusted is not None and [status.st_size, status.st_mtime_ns] == list(trusted):
        return
    if file_sha256(path) != record["sha256"]:
        raise ArtifactError(f"{path} was changed: its SHA-256 is not the manifest's", _remake(folder))


@dataclass(frozen=True)
class Staging:
    """The folder that a stage fills; it becomes the artefact when `commit` is called.

    Pickles, so that workers write their own parts. `scratch` holds what only the running stage needs.
    """

    folder: Path
    schemas: Mapping[str, pa.Schema] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)

    @property
    def scratch(self) -> Path:
        return self.folder / SCRATCH

    @staticmethod
    def open(folder: Path, schemas: Mapping[str, pa.Schema], *, previous: Path | None = None, version: str = "") -> Staging:
        """Make the folder, or go on in the one that a killed stage left.

        Args:
            previous: the artefact that will be replaced, whose results may be used again.
            version: names the code that makes results; those of another version are not used.
        """
        (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
        return Staging(folder, schemas, Memo(folder / MEMO, previous and previous / MEMO, version))

    def write_table_part(self, name: str, index: int, rows: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Write part `index` of table `name`: rows sorted by document, in the table's schema. Returns their number."""
        schema = self.schemas[name]
        table = rows.select(schema.names).cast(schema) if isinstance(rows, pa.Table) else _to_table(rows, schema)
        digests = row_digests(table)
        write_parquet(self.folder / part_name(name, index), table)
        write_bytes(self._digests_path(name, index), digests)
        return int(table.num_rows)

    def part_files(self, name: str, index: int) -> tuple[Path, Path]:
        """Return the files that `write_table_part` writes: rows and their digests."""
        return self.folder / part_name(name, index), self._digests_path(name, index)

    def table_part(self, name: str, index: int) -> pa.Table:
        """Read one part that has been written."""
        return pq.read_table(self.folder / part_name(name, index))

    def table(self, name: str) -> Table:
        """Return what has been written of a table so far."""
        parts = tuple(sorted((self.folder / name).glob("part-*.parquet")))
        return Table(name, parts, sum(pq.read_metadata(part).num_rows for part in parts))

    def write_json(self, name: str, value: object) -> None:
        write_json(self.folder / name, value)

    def write_text(self, name: str, text: str) -> None:
        write_bytes(self.folder / name, text.encode("utf-8"))

    def _digests_path(self, name: str, index: int) -> Path:
        return self.scratch / "rows" / f"{name}-{index:05d}.sha256"

    def _table_record(self, name: str) -> dict[str, Any]:
        parts = sorted((self.folder / name).glob("part-*.parquet"))
        rows, digest = 0, hashlib.sha256()
        for part in parts:
            digests = self._digests_path(name, int(part.stem.removeprefix("part-"))).read_bytes()
            digest.update(digests)
            rows += len(digests) // 32
        return {"parts": [f"{name}/{part.name}" for part in parts], "rows": rows, "rows_sha256": digest.hexdigest()}

    def commit(
        self,
        *,
        key: str,
        stage: str,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        counts: Mapping[str, Any],
        run: Mapping[str, Any],
    ) -> Manifest:
        """Digest everything, drop the scratch folder and write the manifest: from here on this is an artefact."""
        tables = {name: self._table_record(name) for name in sorted(self.schemas)}
        files: dict[str, dict[str, Any]] = {}
        run_files: dict[str, dict[str, Any]] = {}
        stats: dict[str, list[int]] = {}
        for path in iter_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name.startswith((f"{SCRATCH}/", f"{removed_name(self.scratch).name}/", f"{MEMO}/")) or name == MANIFEST:
                continue
            status = path.stat()
            record = {"bytes": status.st_size, "sha256": file_sha256(path)}
            if path.suffix in RUN_SUFFIXES or path.name in RUN_NAMES:
                run_files[name] = record
            else:
                files[name] = record
                stats[name] = [status.st_size, status.st_mtime_ns]
        content = {
            "stage": stage,
            "version": version,
            "config": dict(config),
            "inputs": dict(inputs),
            "files": files,
            "tables": tables,
            "counts": dict(counts),
        }
        # Counts may hold tuples or numpy integers by mistake; a round trip shows it here and not on reading.
        content = json.loads(canonical_json(content))
        manifest = Manifest(key=key, content=content, run={**run, "files": run_files, "stat": stats})
        remove_folder(self.scratch)
        write_json(self.folder / MANIFEST, manifest.to_json())
        sync_folder(self.folder)
        return manifest


def _to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def write_key(folder: Path, key: str) -> Manifest:
    """Let a finished artefact stand for another key: it is kept although what it was made from has changed."""
    manifest = load_artifact(folder).manifest
    kept = replace(manifest, key=key)
    write_json(folder / MANIFEST, kept.to_json())
    return kept


def publish(staging: Path, destination: Path) -> None:
    """Move a committed staging folder into place, replacing what was there.

    A kill between the two renames leaves the committed folder in staging, and the next build publishes it.
    """
    trash = staging.with_name(f"{destination.name}.old")
    shutil.rmtree(trash, ignore_errors=True)
    if destination.exists():
        os.rename(destination, trash)
    os.rename(staging, destination)
    sync_folder(destination.parent)
    shutil.rmtree(trash, ignore_errors=True)
