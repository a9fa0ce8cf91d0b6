"""A run after a change redoes what depends on it, and equals a run that began with the change."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stackwright.artifact import load_artifact
from stackwright.build import build
from stackwright.memo import MEMO, Memo
from stackwright.recipe import Recipe
from tests.corpus import edited_copy, make_repositories, python_text, small_recipe, write

FOLDERS = ("corpus", "dataset", "tokens", "index")
COUNT = 12


def recipe_for(world: Path) -> Recipe:
    return small_recipe(world, "collect.shard_bytes=3000", "index.least_span=24", "index.gram_bytes=12")


def build_to_index(world: Path, run: Path) -> None:
    build(recipe_for(world), run, to_stage="index", workers=1, keep_tokenizer=True)


def remove_a_repository(world: Path) -> None:
    shutil.rmtree(world / "repo03")


def add_a_source(world: Path) -> None:
    write(world / "repo02b" / "pyproject.toml", '[project]\nlicense = "MIT"\n')
    for number in range(9):
        body = "\n".join(f"def late_{number}_{line}(value):\n    return value * {line}\n" for line in range(40))
        write(world / "repo02b" / f"late{number}.py", body)
    shutil.copytree(world / "repo01", world / "zz_fork")


def take_a_snapshot(world: Path) -> None:
    for path in sorted((world / "repo05").rglob("*.py"))[:3]:
        path.write_text(path.read_text("utf-8") + "\n\ndef added_in_the_snapshot():\n    return 'new'\n", "utf-8")


def change_the_licence(world: Path) -> None:
    write(world / "repo01" / "pyproject.toml", '[project]\nname = "repo1"\nlicense = "GPL-3.0-only"\n')


def add_a_licence_file(world: Path) -> None:
    write(world / "repo01" / "LICENSE", "SPDX-License-Identifier: GPL-3.0-only\n")


def change_nothing_that_counts(world: Path) -> None:
    os.utime(next((world / "repo04").rglob("*.py")), (1, 1))


def remove_what_copies_were_kept_for(world: Path) -> None:
    shutil.rmtree(world / "first")


def digests(run: Path) -> dict[str, str]:
    """Return the digest of each artefact: rows, files, counts, all that is not a time or a host."""
    return {name: load_artifact(run / name, verify="full").digest for name in FOLDERS}


def parts(run: Path) -> dict[tuple[str, int], str]:
    """Return inode -> name of every part of the run's tables and tokens: a part that was used again has the same inode."""
    files = [file for name in FOLDERS for file in (run / name).rglob("part-*") if MEMO not in file.parts]
    return {(file.suffix, file.stat().st_ino): file.relative_to(run).as_posix() for file in files}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a world; tests work on copies of both."""
    folder = tmp_path_factory.mktemp("base")
    make_repositories(folder / "world", count=COUNT)
    text = python_text(random.Random(7), 20)  # long enough to open a shard of its own
    for name, content in (("first", text), ("second", text), ("third", edited_copy(text))):
        write(folder / "world" / name / "shared.py", content)
        write(folder / "world" / name / "package.json", f'{{"name": "{name}", "license": "MIT"}}')
    build_to_index(folder / "world", folder / "run")
    return folder


@pytest.fixture
def place(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "change",
    [
        remove_a_repository,
        remove_what_copies_were_kept_for,
        add_a_source,
        take_a_snapshot,
        change_the_licence,
        add_a_licence_file,
        change_nothing_that_counts,
    ],
)
def test_an_incremental_run_equals_a_full_one(place: Path, change: Callable[[Path], None]) -> None:
    build_to_index(place / "world", place / "run")  # the copies have other times: all is listed anew
    before = parts(place / "run")
    change(place / "world")
    full = place / "full"
    full.mkdir()
    shutil.copy(place / "run" / "run.json", full)
    shutil.copytree(place / "run" / "tokenizer", full / "tokenizer")
    build_to_index(place / "world", full)
    build_to_index(place / "world", place / "run")
    assert digests(place / "run") == digests(full)
    after = parts(place / "run")
    kept = after.keys() & before.keys()
    assert len(kept) > 0.6 * len(after), f"{len(kept)} of {len(after)} parts were used again"


def test_a_removed_repository_leaves_no_trace_in_what_is_kept_for_later(place: Path) -> None:
    build_to_index(place / "world", place / "run")
    names = {row["repo"] for row in load_artifact(place / "run" / "dataset").table("documents").read(["repo"]).to_pylist()}
    assert "directory/repo03" in names
    entries = {entry for name in FOLDERS for entry in (place / "run" / name / MEMO).rglob("result.json")}
    shutil.rmtree(place / "world" / "repo03")
    build_to_index(place / "world", place / "run")
    left = {entry for name in FOLDERS for entry in (place / "run" / name / MEMO).rglob("result.json")}
    assert len(left - entries) > 0
    assert len(entries - left) > 0, "entries that depend on the repository are gone"
    examined = list((place / "run" / "dataset" / MEMO / "examine").rglob("0"))
    assert all("directory/repo03" not in pq.read_table(file, columns=["repo"]).column(0).to_pylist() for file in examined)


def test_a_damaged_entry_is_made_anew(place: Path) -> None:
    build_to_index(place / "world", place / "run")
    for entry in (place / "run" / "tokens" / MEMO / "encode").iterdir():
        file = entry / "0"
        if file.stat().st_size:
            data = bytearray(file.read_bytes())
            data[0] ^= 1
            file.unlink()  # the artefact has the same file under its own name
            file.write_bytes(data)
    remove_a_repository(place / "world")
    build_to_index(place / "world", place / "run")
    shutil.copytree(place / "run", place / "full")
    for name in FOLDERS:
        shutil.rmtree(place / "full" / name)
    build_to_index(place / "world", place / "full")
    assert digests(place / "run") == digests(place / "full")


def test_forcing_a_stage_uses_nothing_again(place: Path) -> None:
    build_to_index(place / "world", place / "run")
    before = {file.name: file.stat().st_ino for file in (place / "run" / "tokens").glob("part-*.tokens")}
    recipe = recipe_for(place / "world")
    build(recipe, place / "run", to_stage="tokens", from_stage="tokens", workers=1)
    after = {file.name: file.stat().st_ino for file in (place / "run" / "tokens").glob("part-*.tokens")}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_result_is_made_once_and_again_when_its_key_changes(tmp_path: Path) -> None:
    calls: list[int] = []
    output = tmp_path / "out" / "file"

    def compute() -> dict[str, int]:
        calls.append(len(calls))
        write(output, f"made {len(calls)} times")
        return {"calls": len(calls)}

    memo = Memo(tmp_path / "first", salt="v1")
    assert memo.once("step", [1], [output], compute) == {"calls": 1}
    output.unlink()
    assert memo.once("step", [1], [output], compute) == {"calls": 1}
    assert output.read_text() == "made 1 times"
    later = Memo(tmp_path / "second", previous=tmp_path / "first", salt="v1")
    assert later.once("step", [1], [output], compute) == {"calls": 1}
    assert later.once("step", [2], [output], compute) == {"calls": 2}
    assert Memo(tmp_path / "third", previous=tmp_path / "first", salt="v2").once("step", [1], [output], compute) == {
        "calls": 3
    }
    assert not (tmp_path / "first" / "step").joinpath("x").exists()
    assert len(list((tmp_path / "second" / "step").iterdir())) == 2
