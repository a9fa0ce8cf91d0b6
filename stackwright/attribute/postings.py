"""Postings: which documents hold a fingerprint, in sorted bit-packed shards that are mapped into memory.

In: pairs of a hash and a document number, both in one 64-bit number: the hash without its lowest `document_bits`, and the
number in their place. Out: a shard file per range of hashes, and look-ups of many hashes at once in it.

A shard keeps the leading bits of each hash. They fall into buckets by the first `bucket_bits`; the other `low_bits` stand
in the record, beside the document's number, in the order of the pairs. A bit string says how many records each bucket
has: a zero for the bucket and then a one for each record (Elias and Fano). The bit of every 64th zero is kept, so a
bucket is found within a few words. A document that does not hold a hash is returned with a probability of at most
1 in 2**(low_bits - 1); one that does is always returned.

    samples   uint32 for every 64th zero, padded to 8 bytes
    buckets   the bit string, padded to 8 bytes, and 8 bytes of zeros
    records   packed `low_bits` + `document_bits`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stackwright.attribute.bits import MAX_WIDTH, Int64s, Uint64s, pack, packed_bytes, place_of_zero, unpack
from stackwright.errors import ArtifactError, DataError
from stackwright.files import write_bytes

LOW_BITS = 8
SAMPLE_EVERY = 64


@dataclass(frozen=True)
class Widths:
    """Bits of the parts of a pair, equal in all shards of an index."""

    document_bits: int
    bucket_bits: int
    low_bits: int

    @staticmethod
    def choose(num_records: int, num_documents: int) -> Widths:
        """Return the widths for an index: one to two records in a bucket."""
        document_bits = document_width(num_documents)
        bucket_bits = max(num_records.bit_length() - 1, 1)
        low_bits = min(LOW_BITS, 64 - document_bits - bucket_bits, MAX_WIDTH - document_bits)
        if low_bits < 1:
            raise DataError(
                f"{num_records} fingerprints of {num_documents} documents do not fit into one index",
                "index parts of the dataset on their own",
            )
        return Widths(document_bits, bucket_bits, low_bits)

    @property
    def record_bits(self) -> int:
        return self.low_bits + self.document_bits


def document_width(num_documents: int) -> int:
    """Return how many bits hold the number of any document."""
    return max((num_documents - 1).bit_length(), 1)


def make_pairs(hashes: Uint64s, documents: Int64s, document_bits: int) -> Uint64s:
    """Return the pairs, sorted, each once."""
    shift = np.uint64(document_bits)
    pairs: Uint64s = (hashes >> shift << shift) | documents.astype(np.uint64)
    return sorted_once(pairs)


def sorted_once(pairs: Uint64s) -> Uint64s:
    """Sort pairs where they lie and return each once."""
    pairs.sort()
    keep = np.ones(len(pairs), bool)
    keep[1:] = pairs[1:] != pairs[:-1]
    return pairs if keep.all() else pairs[keep]


def shard_of(hashes: Uint64s, num_shards: int) -> Int64s:
    """Return the shard of each hash or pair; shards are ranges, so sorted pairs have sorted shards."""
    shards: Int64s = ((hashes >> np.uint64(32)) * np.uint64(num_shards) >> np.uint64(32)).astype(np.int64)
    return shards


@dataclass(frozen=True)
class ShardRecord:
    """What the index says of one shard file."""

    name: str
    first_bucket: int
    num_buckets: int
    num_records: int

    @property
    def num_zeros(self) -> int:
        return self.num_buckets + 1  # one more ends the last bucket

    @property
    def sample_bytes(self) -> int:
        return -(-self.num_zeros // SAMPLE_EVERY) * 4 + 7 & ~7

    @property
    def bucket_bytes(self) -> int:
        return ((self.num_zeros + self.num_records + 63) // 64 + 1) * 8

    def file_bytes(self, widths: Widths) -> int:
        return self.sample_bytes + self.bucket_bytes + packed_bytes(self.num_records, widths.record_bits)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ShardRecord:
        return ShardRecord(value["name"], value["first_bucket"], value["num_buckets"], value["num_records"])


def write_shard(path: Path, pairs: Uint64s, shard: int, num_shards: int, widths: Widths) -> ShardRecord:
    """Write one shard of sorted pairs; returns its record."""
    bucket_shift = np.uint64(64 - widths.bucket_bits)
    low, high = (-(-(number << 32) // num_shards) << 32 for number in (shard, shard + 1))
    first, last = low >> int(bucket_shift), (high - 1) >> int(bucket_shift)
    record = ShardRecord(path.name, first, last - first + 1, len(pairs))
    total = record.num_zeros + record.num_records
    if total >= 2**32:
        raise DataError(f"{path.name} would hold {len(pairs)} fingerprints", "raise index.num_shards")
    buckets = (pairs >> bucket_shift).astype(np.int64) - first
    sampled = np.arange(0, record.num_zeros, SAMPLE_EVERY)
    data = (sampled + np.searchsorted(buckets, sampled)).astype("<u4").tobytes().ljust(record.sample_bytes, b"\0")
    buckets += np.arange(1, len(pairs) + 1)  # in place: a partition of a large dataset is as large as its worker may be
    bits = np.zeros(total, np.uint8)
    bits[buckets] = 1
    data += np.packbits(bits, bitorder="little").tobytes().ljust(record.bucket_bytes, b"\0")
    del bits, buckets
    low_mask = np.uint64((1 << widths.low_bits) - 1)
    lows = (pairs >> np.uint64(64 - widths.bucket_bits - widths.low_bits)) & low_mask
    lows <<= np.uint64(widths.document_bits)
    lows |= pairs & np.uint64((1 << widths.document_bits) - 1)
    data += pack(lows, widths.record_bits)
    assert len(data) == record.file_bytes(widths)
    write_bytes(path, data)
    return record


class Shard:
    """One shard file, mapped into memory."""

    def __init__(self, folder: Path, record: ShardRecord, widths: Widths) -> None:
        path = folder / record.name
        found, expected = path.stat().st_size if path.is_file() else None, record.file_bytes(widths)
        if found != expected:
            state = "is missing" if found is None else f"has {found} bytes where the index says {expected}"
            raise ArtifactError(f"{path} {state}", f"remove {folder} and run `stackwright build` again to remake it")
        mapped: npt.NDArray[np.uint8] = np.memmap(path, np.uint8, "r").view(np.ndarray)
        ends = np.cumsum([record.sample_bytes, record.bucket_bytes])
        self._record, self._widths = record, widths
        self._samples = mapped[: ends[0]].view("<u4")
        self._buckets: Uint64s = mapped[ends[0] : ends[1]].view("<u8")
        self._records = mapped[ends[1] :]

    @property
    def num_records(self) -> int:
        return self._record.num_records

    def look_up(self, hashes: Uint64s) -> tuple[Int64s, Int64s]:
        """Return for the hashes, all of this shard's range, what is found: places in `hashes` and document numbers."""
        widths = self._widths
        buckets = (hashes >> np.uint64(64 - widths.bucket_bits)).astype(np.int64) - self._record.first_bucket
        zeros = np.concatenate([buckets, buckets + 1])
        sampled = self._samples[zeros // SAMPLE_EVERY].astype(np.int64)
        starts = place_of_zero(self._buckets, sampled, zeros % SAMPLE_EVERY) - zeros
        firsts, counts = starts[: len(hashes)], np.diff(starts.reshape(2, -1), axis=0)[0]
        places = expand(firsts, counts)
        asked = np.repeat(np.arange(len(hashes)), counts)
        records = unpack(self._records, widths.record_bits, places)
        lows = (hashes >> np.uint64(64 - widths.bucket_bits - widths.low_bits)) & np.uint64((1 << widths.low_bits) - 1)
        hit = (records >> np.uint64(widths.document_bits)) == lows[asked]
        documents = records[hit] & np.uint64((1 << widths.document_bits) - 1)
        return asked[hit], documents.astype(np.int64)


def expand(firsts: Int64s, counts: Int64s) -> Int64s:
    """Return the numbers from each of `firsts` on, as many as `counts` says, one sequence after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(firsts - ends + counts, counts)
