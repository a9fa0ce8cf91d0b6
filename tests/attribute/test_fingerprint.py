"""Fingerprints: what a window's k-gram depends on, and that the vectorised code is the definition."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.attribute import fingerprint
from stackwright.attribute.fingerprint import Scheme, hash_character_spans, hash_spans, window_runs

SCHEMES = [Scheme(50, 28), Scheme(50, 20), Scheme(24, 8), Scheme(60, 43), Scheme(51, 50)]
MASK = 2**64 - 1


def reference_place(window: bytes, scheme: Scheme) -> int:
    """The definition, for one window: where its k-gram begins."""
    best = None
    for place in range(len(window) - scheme.order_bytes + 1):
        value = int.from_bytes(window[place : place + scheme.order_bytes], "little")
        value = (value << (64 - 8 * scheme.order_bytes)) & MASK
        value = value * 0x9E3779B97F4A7C15 & MASK
        value ^= value >> 29
        value = value * 0xC2B2AE3D27D4EB4F & MASK
        if best is None or value >> 32 < best[0]:
            best = (value >> 32, place)
    assert best is not None
    return best[1] % (scheme.least_span - scheme.gram_bytes + 1)


def places_of(data: bytes, ends: list[int], scheme: Scheme) -> dict[int, int]:
    """Return window -> place of its k-gram, from the runs."""
    runs = window_runs(data, np.array(ends), scheme)
    places = {}
    for first, count, gram in zip(runs.first.tolist(), runs.count.tolist(), runs.gram.tolist(), strict=True):
        for window in range(first, first + count):
            assert window not in places
            places[window] = gram
    return places


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@given(text=st.one_of(st.binary(max_size=200), st.text("ab", max_size=200).map(str.encode)))
def test_vectorised_places_are_those_of_the_definition(scheme: Scheme, text: bytes) -> None:
    expected = {
        window: window + reference_place(text[window : window + scheme.least_span], scheme)
        for window in range(len(text) - scheme.least_span + 1)
    }
    assert places_of(text, [len(text)], scheme) == expected


@given(before=st.binary(max_size=90), window=st.binary(min_size=50, max_size=50), after=st.binary(max_size=90))
def test_the_gram_of_a_window_depends_on_its_bytes_alone(before: bytes, window: bytes, after: bytes) -> None:
    data = before + window + after
    place = places_of(data, [len(data)], SCHEMES[0])[len(before)] - len(before)
    assert place == places_of(window, [50], SCHEMES[0])[0]
    assert 0 <= place <= 22


@given(lengths=st.lists(st.integers(0, 120), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_windows_never_cross_the_border_of_a_text(lengths: list[int], seed: int) -> None:
    texts = [random.Random(seed + number).randbytes(length) for number, length in enumerate(lengths)]
    ends = np.cumsum(lengths).tolist()
    expected = {}
    for text, end in zip(texts, ends, strict=True):
        own = places_of(text, [len(text)], SCHEMES[0]) if text else {}
        expected.update({end - len(text) + window: end - len(text) + place for window, place in own.items()})
    assert places_of(b"".join(texts), ends, SCHEMES[0]) == expected


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(3).randbytes(1500)
    whole = places_of(data, [700, 730, 1500], SCHEMES[0])
    monkeypatch.setattr(fingerprint, "CHUNK_WINDOWS", 64)
    assert places_of(data, [700, 730, 1500], SCHEMES[0]) == whole


def test_fewer_than_one_gram_in_fourteen_is_kept_of_random_text() -> None:
    data = random.Random(1).randbytes(200_000)
    runs = window_runs(data, np.array([len(data)]), SCHEMES[0])
    assert len(runs.gram) / len(data) < 1 / 14  # plain winnowing with this k: 2/24


@given(data=st.binary(min_size=60, max_size=80), length=st.integers(8, 50), place=st.integers(0, 10))
def test_equal_bytes_have_equal_hashes_and_every_byte_counts(data: bytes, length: int, place: int) -> None:
    own = data[place : place + length]
    hashed = int(hash_spans(data, np.array([place]), length)[0])
    assert hashed == int(hash_spans(own, np.array([0]), length)[0])
    for changed in (0, length // 2, length - 1):
        other = bytearray(own)
        other[changed] ^= 1
        assert int(hash_spans(bytes(other), np.array([0]), length)[0]) != hashed


def test_hashes_of_similar_grams_fill_their_leading_bits_evenly() -> None:
    data = b"".join(b"value_%07d = other.value_%07d " % (number, number) for number in range(4096))
    leading = hash_spans(data, np.arange(4096) * 36, 30) >> np.uint64(60)
    counts = np.bincount(leading.astype(np.int64), minlength=16)
    assert counts.min() > 180  # 256 each, standard deviation 16
    assert counts.max() < 335


@given(lengths=st.lists(st.integers(30, 130), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_character_spans_hash_whole_characters_of_one_text(lengths: list[int], seed: int) -> None:
    rng = random.Random(seed)
    texts = ["".join(rng.choice("aé漢😀") for _ in range(length)) for length in lengths]
    encoded = [text.encode() for text in texts]
    data, ends = b"".join(encoded), np.cumsum([len(text) for text in encoded])
    starts = np.arange(len(data) - 50)
    kept, hashes = hash_character_spans(data, starts[: max(len(starts), 0)], 50, ends)
    expected = {}
    begin = 0
    for text in texts:
        for index in range(len(text) - 49):
            start = begin + len(text[:index].encode())
            if start < len(data) - 50:
                expected[start] = text[index : index + 50]
        begin += len(text.encode())
    assert starts[kept].tolist() == sorted(expected)
    by_hash = dict(zip(hashes.tolist(), (expected[start] for start in sorted(expected)), strict=True))
    assert len(by_hash) == len(set(expected.values()))
    assert all(by_hash[hashed] == expected[start] for hashed, start in zip(hashes.tolist(), sorted(expected), strict=True))


@pytest.mark.parametrize("alphabet", ["ab", "éà", "漢字", "😀🎉"])
def test_every_character_of_a_character_span_counts(alphabet: str) -> None:
    text = alphabet[0] * 50
    changed = [text[:place] + alphabet[1] + text[place + 1 :] for place in range(50)]
    start, hashes = np.array([0]), set()
    for variant in [text, *changed]:
        data = variant.encode() + alphabet[0].encode()
        kept, hashed = hash_character_spans(data, start, 50, np.array([len(data)]))
        assert kept.all()
        hashes.add(int(hashed[0]))
    assert len(hashes) == 51
