"""Caches and stored rows: what is kept, and that a number finds its row."""

from __future__ import annotations

from pathlib import Path

from stackwright.attribute.texts import StoredTexts
from stackwright.cache import RecentlyUsed
from tests.attribute.corpora import make_dataset


def test_the_least_recently_used_goes_first_when_the_limit_is_passed() -> None:
    made: list[int] = []

    def make(key: int) -> bytes:
        made.append(key)
        return bytes(key)

    cache = RecentlyUsed(make, len, 10)
    for key in (4, 5, 4, 3, 4):
        assert cache.get(key) == bytes(key)
    assert made == [4, 5, 3]
    cache.get(5)
    assert made == [4, 5, 3, 5]
    cache.get(50)  # larger than the limit: kept alone, and not for long
    cache.get(50)
    cache.get(4)
    assert made == [4, 5, 3, 5, 50, 4]


def test_a_number_finds_its_text_in_every_part_and_row_group(tmp_path: Path) -> None:
    texts = {("r", f"{number:03d}"): f"text  {number}" for number in range(100)}
    documents = make_dataset(tmp_path / "dataset", texts, num_parts=3).table("documents")
    stored = StoredTexts(documents, [0, 34, 68, 100])
    assert [stored.get(number).text for number in range(100)] == [f"text  {number}" for number in range(100)]
    assert stored.get(99).data == b"text 99"
