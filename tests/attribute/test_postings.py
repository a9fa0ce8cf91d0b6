"""Bits and postings: packed numbers come back, and a look-up is a dictionary's."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.attribute.bits import pack, packed_bytes, place_of_zero, unpack
from stackwright.attribute.postings import (
    Shard,
    ShardRecord,
    Widths,
    expand,
    make_pairs,
    shard_of,
    write_shard,
)
from stackwright.errors import ArtifactError


@given(width=st.integers(1, 57), seed=st.integers(0, 999), count=st.integers(0, 200))
def test_packed_numbers_come_back(width: int, seed: int, count: int) -> None:
    rng = random.Random(seed)
    values = [rng.choice([0, (1 << width) - 1, rng.randrange(1 << width)]) for _ in range(count)]
    packed = pack(np.array(values, np.uint64), width)
    assert len(packed) == packed_bytes(count, width)
    places = [rng.randrange(count) for _ in range(50)] if count else []
    found = unpack(np.frombuffer(packed, np.uint8), width, np.array(places, np.int64))
    assert found.tolist() == [values[place] for place in places]


def test_numbers_of_several_chunks_come_back() -> None:
    values = np.arange(150_000, dtype=np.uint64)
    packed = np.frombuffer(pack(values, 19), np.uint8)
    assert np.array_equal(unpack(packed, 19, np.arange(150_000)), values)


@given(share=st.sampled_from([0.02, 0.5, 0.98]), seed=st.integers(0, 999))
def test_the_place_of_a_zero_is_found(share: float, seed: int) -> None:
    rng = random.Random(seed)
    bits = [int(rng.random() < share) for _ in range(640)]
    words = np.packbits(np.array(bits, np.uint8), bitorder="little").view("<u8")
    zeros = [place for place, bit in enumerate(bits) if not bit]
    asked = [(start, rank) for start in (0, 1, 63, 64, 200) for rank in range(len([z for z in zeros if z >= start]))]
    if asked:
        starts, ranks = (np.array(column) for column in zip(*asked, strict=True))
        found = place_of_zero(words, starts, ranks).tolist()
        assert found == [[z for z in zeros if z >= start][rank] for start, rank in asked]


def test_sequences_are_written_one_after_another() -> None:
    assert expand(np.array([5, 9, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]


def build(folder: Path, pairs: np.ndarray, num_shards: int, widths: Widths) -> list[Shard]:
    owners = shard_of(pairs, num_shards)
    records = [
        write_shard(folder / f"shard-{shard}.postings", pairs[owners == shard], shard, num_shards, widths)
        for shard in range(num_shards)
    ]
    return [Shard(folder, ShardRecord.from_json(record.to_json()), widths) for record in records]


@pytest.mark.parametrize("num_shards", [1, 3, 4])
@pytest.mark.parametrize(("num_hashes", "num_documents"), [(1, 1), (40, 3), (3000, 64), (3000, 70), (20_000, 5000)])
def test_a_look_up_finds_what_a_dictionary_finds(
    tmp_path: Path, num_shards: int, num_hashes: int, num_documents: int
) -> None:
    rng = random.Random(num_hashes)
    known: dict[int, set[int]] = {}
    for _ in range(num_hashes):
        hashed = rng.randrange(2**64)
        known[hashed] = {rng.randrange(num_documents) for _ in range(rng.choice([1, 1, 1, 2, 40, 300]))}
    hashes, documents = zip(*((hashed, number) for hashed, numbers in known.items() for number in numbers), strict=True)
    document_bits = max((num_documents - 1).bit_length(), 1)
    pairs = make_pairs(np.array(hashes, np.uint64), np.array(documents), document_bits)
    shards = build(tmp_path, pairs, num_shards, Widths.choose(len(pairs), num_documents))
    absent = [rng.randrange(2**64) for _ in range(5000)]
    asked = np.array([*known, *absent], np.uint64)
    found: dict[int, set[int]] = {place: set() for place in range(len(asked))}
    owners = shard_of(asked, num_shards)
    for number, shard in enumerate(shards):
        own = np.flatnonzero(owners == number)
        for place, document in zip(*(column.tolist() for column in shard.look_up(asked[own])), strict=True):
            found[int(own[place])].add(document)
    missed = [hashed for place, hashed in enumerate(known) if not known[hashed] <= found[place]]
    assert not missed
    false_hits = sum(bool(found[place]) for place in range(len(known), len(asked)))
    assert false_hits < 5000 / 128 * 2


def test_a_shard_without_records_finds_nothing(tmp_path: Path) -> None:
    (shard,) = build(tmp_path, np.zeros(0, np.uint64), 1, Widths.choose(0, 0))
    places, documents = shard.look_up(np.array([0, 5, 2**64 - 1], np.uint64))
    assert len(places) == len(documents) == 0


def test_a_truncated_shard_is_refused_by_name(tmp_path: Path) -> None:
    widths = Widths.choose(4, 4)
    record = write_shard(tmp_path / "shard-0.postings", np.arange(4, dtype=np.uint64), 0, 1, widths)
    path = tmp_path / record.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"shard-0\.postings has \d+ bytes where the index says \d+; remove"):
        Shard(tmp_path, record, widths)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"shard-0\.postings is missing"):
        Shard(tmp_path, record, widths)
