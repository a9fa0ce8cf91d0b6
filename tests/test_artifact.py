"""Artefacts are whole and unchanged, or refused by name with what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.artifact import MANIFEST, Artifact, Staging, load_artifact, publish, row_digests
from stackwright.errors import ArtifactError
from stackwright.files import digest_of, write_bytes

SCHEMA = pa.schema([pa.field("path", pa.string(), nullable=False), pa.field("size", pa.int64())])


def make(folder: Path, rows: list[dict[str, Any]], *, parts: int = 1, run: dict[str, Any] | None = None) -> Artifact:
    staging = Staging.open(folder.with_name(folder.name + ".staging"), {"files": SCHEMA})
    step = -(-len(rows) // parts)
    for index in range(parts):
        staging.write_table_part("files", index, rows[index * step : (index + 1) * step])
    staging.write_text("note.txt", "something to damage")
    staging.write_text("plot.svg", "<svg/>")
    staging.commit(key="k", stage="test", version=1, config={}, inputs={}, counts={"rows": len(rows)}, run=run or {})
    publish(staging.folder, folder)
    return load_artifact(folder)


ROWS = [{"path": f"file{index:03d}", "size": index or None} for index in range(40)]


def test_rows_come_back_in_order_and_are_counted(tmp_path: Path) -> None:
    artifact = make(tmp_path / "a", ROWS, parts=3)
    assert artifact.table("files").read().to_pylist() == ROWS
    assert artifact.table("files").num_rows == 40


def test_digest_of_rows_does_not_depend_on_parts(tmp_path: Path) -> None:
    one, three = make(tmp_path / "a", ROWS), make(tmp_path / "b", ROWS, parts=3)
    assert one.manifest.content["tables"]["files"]["rows_sha256"] == three.manifest.content["tables"]["files"]["rows_sha256"]
    changed = make(tmp_path / "c", [*ROWS[:-1], {"path": "file039", "size": 40}])
    assert (
        changed.manifest.content["tables"]["files"]["rows_sha256"] != one.manifest.content["tables"]["files"]["rows_sha256"]
    )


def test_run_facts_and_plots_are_not_in_the_digest(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", ROWS, run={"host": "x"}), make(tmp_path / "b", ROWS, run={"host": "y"})
    assert first.digest == second.digest
    assert "plot.svg" not in first.manifest.content["files"]
    assert "plot.svg" in first.manifest.run["files"]


@given(st.lists(st.tuples(st.text(), st.none() | st.integers(-(2**62), 2**62)), min_size=1, max_size=5))
def test_rows_with_different_values_have_different_digests(values: list[tuple[str, int | None]]) -> None:
    if any("\ud800" <= character <= "\udfff" for text, _ in values for character in text):
        return  # lone surrogates cannot enter a table
    table = pa.Table.from_pylist([{"path": text, "size": size} for text, size in values], schema=SCHEMA)
    digests = row_digests(table)
    found = [digests[index * 32 : index * 32 + 32] for index in range(len(values))]
    assert len(set(found)) == len(set(values))


def damage_truncate(folder: Path) -> None:
    os.truncate(folder / "note.txt", 3)


def damage_change(folder: Path) -> None:
    (folder / "note.txt").write_text("something else here!"[:19])


def damage_remove_file(folder: Path) -> None:
    (folder / "files" / "part-00000.parquet").unlink()


def damage_remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def damage_manifest_text(folder: Path) -> None:
    (folder / MANIFEST).write_text("{ not json")


def damage_manifest_counts(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    value["content"]["counts"]["rows"] = 41
    (folder / MANIFEST).write_text(json.dumps(value))


def damage_manifest_list(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


def damage_format(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    value["format"] = 99
    (folder / MANIFEST).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncate, r"note.txt has 3 bytes where the manifest says 19; remove .*build` again"),
        (damage_change, r"note.txt was changed: its SHA-256 is not the manifest's; remove"),
        (damage_remove_file, r"part-00000.parquet is missing; remove"),
        (damage_remove_manifest, r"is half-written: it has no manifest.json; remove"),
        (damage_manifest_text, r"manifest.json is not JSON"),
        (damage_manifest_counts, r"manifest.json was changed: its content does not have the digest it names"),
        (damage_manifest_list, r"has format None, this version reads format 1"),
        (damage_format, r"has format 99, this version reads format 1; use the version of stackwright that wrote it"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = make(tmp_path / "a", ROWS).folder
    damage(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_artifact(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_change_that_keeps_size_and_time_is_found_by_the_full_check(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", ROWS).folder
    path = folder / "note.txt"
    status = path.stat()
    damage_change(folder)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    load_artifact(folder)
    with pytest.raises(ArtifactError, match="was changed"):
        load_artifact(folder, verify="full")


def test_a_copied_artifact_is_accepted(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(make(tmp_path / "a", ROWS).folder, tmp_path / "copy")
    assert load_artifact(tmp_path / "copy").table("files").num_rows == 40


def test_missing_folder_and_missing_table_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist; run `stackwright build`"):
        load_artifact(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="has no table 'rows'; it has: files"):
        make(tmp_path / "a", ROWS).table("rows")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_counts_must_be_plain_json(tmp_path: Path) -> None:
    staging = Staging.open(tmp_path / "s", {})
    with pytest.raises(TypeError):
        staging.commit(key="k", stage="t", version=1, config={}, inputs={}, counts={"x": {1, 2}}, run={})
    assert not (tmp_path / "s" / MANIFEST).exists()


def test_digest_of_equal_values_is_equal_whatever_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2, None]}) == digest_of({"b": [2, None], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_kill_while_scratch_is_dropped_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose result is there and whose files are gone would be taken for finished."""
    staging = Staging.open(tmp_path / "a", {"files": SCHEMA})
    staging.write_table_part("files", 0, ROWS)
    step = staging.scratch / "step"
    write_bytes(step / "00000.json", b"{}")

    def kill(folder: Path, **_: object) -> None:
        if Path(folder).exists():
            raise KeyboardInterrupt

    commit: dict[str, Any] = {
        "key": "k",
        "stage": "test",
        "version": 1,
        "config": {},
        "inputs": {},
        "counts": {"rows": 40},
        "run": {},
    }
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            staging.commit(**commit)
    assert not staging.scratch.exists()
    assert not (staging.folder / MANIFEST).exists()
    again = Staging.open(tmp_path / "a", {"files": SCHEMA})
    again.write_table_part("files", 0, ROWS)
    again.commit(**commit)
    assert sorted(path.name for path in again.folder.iterdir()) == ["files", MANIFEST]
    assert load_artifact(again.folder).table("files").num_rows == 40
