"""The index stage: equal bytes however it was run, and damage that is refused by name."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stackwright.artifact import MANIFEST, Artifact, load_artifact
from stackwright.attribute import stage
from stackwright.attribute.index import Index
from stackwright.attribute.stage import INDEX_FILE
from stackwright.errors import ArtifactError
from stackwright.files import write_json
from tests.attribute.corpora import Name, finish_index, index_context, make_dataset, make_index, words


def sample_texts() -> dict[Name, str]:
    rng = random.Random(11)
    header = words(rng, 250)
    return {
        (f"repo{number % 7}", f"{number:03d}.py"): (header if number % 3 else "") + words(rng, 200) for number in range(420)
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """420 files, so many with one header that its k-grams are common."""
    return make_dataset(tmp_path_factory.mktemp("run") / "dataset", sample_texts(), num_parts=3)


@pytest.fixture(scope="module")
def digest(dataset: Artifact) -> str:
    """The digest of the index of `dataset`, made without interruption by one worker."""
    folder = dataset.folder.parent / "index"
    finish_index(index_context(folder, dataset))
    return load_artifact(folder, verify="full").digest


def test_two_workers_write_the_bytes_of_one(dataset: Artifact, digest: str, tmp_path: Path) -> None:
    finish_index(index_context(tmp_path / "index", dataset, workers=2))
    assert load_artifact(tmp_path / "index").digest == digest


@pytest.mark.parametrize("step", ["_fingerprint_part", "_find_common", "_fingerprint_windows", "_pack"])
def test_a_killed_stage_goes_on_to_the_same_bytes(
    dataset: Artifact, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    context, calls = index_context(tmp_path / "index", dataset), list[int]()
    original: Callable[..., stage.Result] = getattr(stage, step)

    def dies_at_second(number: int, **settings: object) -> stage.Result:
        calls.append(number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(number, **settings)

    monkeypatch.setattr(stage, step, dies_at_second)
    with pytest.raises(KeyboardInterrupt):
        finish_index(context)
    finish_index(context)
    assert calls.count(calls[0]) == 1  # what was finished is not done again
    assert load_artifact(tmp_path / "index").digest == digest


def test_row_n_of_the_table_is_document_n(dataset: Artifact, digest: str) -> None:
    index = dataset.folder.parent / "index"
    firsts = json.loads((index / INDEX_FILE).read_text("utf-8"))["first_documents"]
    table = load_artifact(index).table("documents")
    assert firsts[-1] == table.num_rows == 420
    names = ("repo", "revision", "path", "content_id", "detected_licenses", "license_type", "split")
    for part in range(len(table.parts)):
        assert table.read_part(part, names) == dataset.table("documents").read_part(part, names)
        assert firsts[part + 1] - firsts[part] == table.read_part(part).num_rows
    assert digest


def test_counts_say_what_was_indexed(dataset: Artifact, digest: str) -> None:
    counts = load_artifact(dataset.folder.parent / "index").manifest.counts
    texts = sample_texts()
    assert counts["documents"] == 420
    assert counts["bytes"] == sum(len(text.encode()) for text in texts.values())
    assert counts["normalized_bytes"] == sum(len(" ".join(text.split()).encode()) for text in texts.values())
    assert counts["common_grams"] > 5
    assert digest


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small run folder with dataset and index that a test may damage."""
    make_index(tmp_path / "run", {("r", f"{number}.py"): words(random.Random(number), 300) for number in range(5)})
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["shard-00001.postings", "common.grams", "index.json", "documents/part-00000.parquet"])
def test_missing_truncated_and_changed_files_are_refused_by_name(small: Path, name: str) -> None:
    path = small / "index" / name
    data = path.read_bytes()
    damages: list[tuple[bytes | None, str]] = [(None, "is missing"), (data + b"x", "bytes where the manifest says")]
    if data:
        damages.append((data[:-1] + bytes([data[-1] ^ 1]), "was changed"))
    for damaged, problem in damages:
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=f"{name} .*{problem}.*; remove .*index and run"):
            Index.open(small / "index")
        path.write_bytes(data)
    assert Index.open(small / "index")


def test_a_half_written_index_is_refused(small: Path) -> None:
    (small / "index" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"index is half-written"):
        Index.open(small / "index")


def test_a_folder_that_is_no_index_is_refused(small: Path) -> None:
    with pytest.raises(ArtifactError, match=r"dataset is not an index: it has no index\.json; name the folder index"):
        Index.open(small / "dataset")


def test_an_index_of_another_dataset_is_refused(small: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", {("r", "0.py"): "other"})
    with pytest.raises(ArtifactError, match=r"index was made of the dataset \w{12}, .*other is \w{12}; name the dataset"):
        Index.open(small / "index", other.folder)
    moved = Path(shutil.copytree(small / "dataset", tmp_path / "moved"))
    shutil.rmtree(small / "dataset")
    with pytest.raises(ArtifactError, match="dataset does not exist"):
        Index.open(small / "index")
    assert Index.open(small / "index", moved)


def test_an_index_of_another_version_is_refused(small: Path) -> None:
    folder = small / "index"
    facts = json.loads((folder / INDEX_FILE).read_text("utf-8"))
    write_json(folder / INDEX_FILE, {**facts, "version": 99})
    # The manifest is made to agree, as the other version would have written it.
    context = index_context(folder, load_artifact(small / "dataset"))
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    for part in range(2):
        rows = pq.read_table(folder / "documents" / f"part-{part:05d}.parquet")
        context.staging.write_table_part("documents", part, rows)
    context.staging.commit(
        key="k", stage="index", version=1, config={}, inputs=manifest["content"]["inputs"], counts={}, run={}
    )
    with pytest.raises(ArtifactError, match="has version 99, this one reads version 2; remove"):
        Index.open(folder)


def test_other_lengths_of_span_hold_what_they_promise(tmp_path: Path) -> None:
    text = words(random.Random(5), 400, "abcdefgh")
    overrides = ["index.least_span=24", "index.gram_bytes=12", "index.num_shards=3", "index.boilerplate_repos=1"]
    index = make_index(tmp_path, {("r", "a"): text}, *overrides)
    start = next(place for place in range(100, 200) if not text[place : place + 24].isspace())
    plain = " ".join(text.split())
    assert [len(plain[start : start + length]) for length in (23, 24)] == [23, 24]
    assert not index.cite(f"Q{plain[start : start + 23]}Q").matches
    (match,) = index.cite(f"Q{plain[start : start + 24]}Q").matches
    assert (match.start, match.end, match.kind) == (1, 25, "boilerplate")
