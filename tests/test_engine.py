"""The four verbs: the same results from one worker or many, after a kill, and within the memory limit."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from stackwright.engine import (
    INLINE_BYTES,
    PARENT_BYTES,
    WORKER_BYTES,
    Engine,
    Result,
    partition_by_key,
    partition_of,
    read_partition,
)
from stackwright.errors import EngineError

SCHEMA = pa.schema([("word", pa.string()), ("sent_by", pa.int64())])


def square(index: int) -> Result:
    return {"value": index * index, "process": os.getpid()}


def note_run(index: int, *, folder: Path) -> Result:
    (folder / f"ran-{index}-{os.getpid()}").touch()
    return {"value": index}


def fail_on_two(index: int) -> Result:
    if index == 2:
        raise ValueError("shard two is bad")
    return {"value": index}


def die_on_two(index: int) -> Result:
    if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": index}


def send_words(shard: int, *, folder: Path) -> Result:
    words = [f"word{number % 7}" for number in range(shard, shard + 10)]
    rows = pa.Table.from_pylist([{"word": word, "sent_by": shard} for word in words], schema=SCHEMA)
    partition_by_key(rows, "word", 3, folder, shard)
    return {"rows": len(words)}


def count_words(partition: int, *, folder: Path) -> Result:
    rows = read_partition(folder, partition, ["word", "shard"])
    assert rows.column("shard") == rows.column("sent_by")
    return {"words": rows.column("word").to_pylist()}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_shards(tmp_path: Path, workers: int) -> None:
    results = Engine(workers).map_shards("square", square, range(7), tmp_path)
    assert [result["value"] for result in results] == [index * index for index in range(7)]
    assert (len({result["process"] for result in results} - {os.getpid()}) > 0) == (workers > 1)


def test_finished_shards_are_not_run_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shard two is bad"):
        Engine(1).map_shards("step", fail_on_two, range(4), tmp_path)
    ran = tmp_path / "ran"
    ran.mkdir()
    results = Engine(1).map_shards("step", partial(note_run, folder=ran), range(4), tmp_path)
    assert [result["value"] for result in results] == [0, 1, 2, 3]
    assert sorted(path.name.split("-")[1] for path in ran.iterdir()) == ["2", "3"]


def test_a_half_written_result_counts_as_missing(tmp_path: Path) -> None:
    Engine(1).map_shards("step", square, range(2), tmp_path)
    os.rename(tmp_path / "step" / "00001.json", tmp_path / "step" / ".00001.json.tmp-1")
    ran = tmp_path / "ran"
    ran.mkdir()
    Engine(1).map_shards("step", partial(note_run, folder=ran), range(2), tmp_path)
    assert [path.name.split("-")[1] for path in ran.iterdir()] == ["1"]


def test_a_killed_worker_is_named_and_nothing_hangs(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"a worker died while shards .*; run the same command again with fewer"):
        Engine(2).map_shards("step", die_on_two, range(4), tmp_path)


def test_partitions_hold_every_row_once_and_equal_keys_meet(tmp_path: Path) -> None:
    found: dict[int, list[list[str]]] = {}
    for workers in (1, 2):
        scratch = tmp_path / str(workers)
        engine = Engine(workers)
        engine.map_shards("send", partial(send_words, folder=scratch / "words"), range(5), scratch)
        results = engine.reduce_partitions("count", partial(count_words, folder=scratch / "words"), 3, scratch)
        found[workers] = [result["words"] for result in results]
    assert found[1] == found[2]
    assert sum(len(words) for words in found[1]) == 50
    for partition, words in enumerate(found[1]):
        assert words == sorted(words)
        assert all(partition_of(word, 3) == partition for word in words)


def test_memory_limits_the_workers_and_too_little_is_refused_with_the_least() -> None:
    assert Engine(8, PARENT_BYTES + 3 * WORKER_BYTES).concurrency == 3
    assert Engine(2, 100 * WORKER_BYTES).concurrency == 2
    assert Engine(8, PARENT_BYTES + WORKER_BYTES).concurrency == 1
    least = INLINE_BYTES
    with pytest.raises(EngineError, match=r"give at least (\d+)MB") as caught:
        Engine(1, least - 1)
    named = int(caught.value.action.split("least ")[1].removesuffix("MB")) * 1_000_000
    assert Engine(1, named).concurrency == 1


def test_no_workers_are_refused() -> None:
    with pytest.raises(EngineError, match="--workers 0 is not positive"):
        Engine(0)
