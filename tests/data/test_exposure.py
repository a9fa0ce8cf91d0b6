"""How often a document was sampled is what counting through the samples gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import example, given
from hypothesis import strategies as st

from stackwright.artifact import load_artifact
from stackwright.data.exposure import Exposure
from stackwright.data.layout import FileLayout
from stackwright.data.loader import Loader, TokenDataset
from stackwright.data.packing import Packing
from stackwright.recipe import DataSettings
from stackwright.tokenizer.codec import Tokenizer

Counts = npt.NDArray[np.int64]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
    st.integers(1, 30),
    st.integers(0, 99),
    st.lists(st.integers(0, 90), max_size=3),
)
@example([5, 5, 5, 6], 20, 0, [3])  # one window in an epoch: three epochs
@example([1] * 20, 2, 1, [0, 9, 10, 11])  # on both sides of the border of an epoch
@example([40, 1, 1], 10, 2, [4, 3])  # a document of many windows; the fewer samples come last
def test_exposure_agrees_with_counting_through_the_samples(
    lengths: list[int], seq_len: int, seed: int, num_samples: list[int]
) -> None:
    counts = np.array(lengths, np.int64)
    packing = Packing(FileLayout(counts), seed, seq_len + 1, seq_len)
    expected = np.zeros((len(num_samples), len(lengths)), np.int64)
    for row, num in enumerate(num_samples if packing.windows_per_epoch else ()):
        for sample in range(num):
            expected[row, [piece.document for piece in packing.pieces(sample)]] += 1
    everything = np.arange(len(lengths))
    assert np.array_equal(Exposure(FileLayout(counts), seed, seq_len).times_sampled(everything, num_samples), expected)


def test_exposure_is_of_the_documents_asked_for_in_their_order() -> None:
    exposure = Exposure(FileLayout(np.array([7, 30, 12, 9, 25], np.int64)), 3, 10)
    [whole] = exposure.times_sampled(np.arange(5), [11])
    [asked] = exposure.times_sampled(np.array([4, 1]), [11])
    assert list(asked) == [whole[4], whole[1]]
    assert exposure.times_sampled(np.array([], np.int64), [11, 12]).shape == (2, 0)


def counted(loader: Loader, num_documents: int, num_samples: list[int]) -> Counts:
    times = np.zeros((len(num_samples), num_documents), np.int64)
    for row, num in enumerate(num_samples):
        for sample in range(num):
            times[row, loader.documents_of(sample)] += 1
    return times


def test_exposure_of_a_split_agrees_with_its_loader(finished_run: Path) -> None:
    tokenizer = Tokenizer.load(finished_run / "tokenizer")
    dataset = TokenDataset(load_artifact(finished_run / "tokens"), "train", tokenizer.sha256)
    loader = Loader(dataset, tokenizer, DataSettings(seq_len=64), 5)
    num_samples = [48, loader.samples_per_epoch + 17]
    expected = counted(loader, len(dataset), num_samples)
    exposure = Exposure(FileLayout(dataset.num_tokens), 5, 64)
    assert np.array_equal(exposure.times_sampled(np.arange(len(dataset)), num_samples), expected)
    assert (expected[0] == 0).any()
    assert expected.max() > 2


def test_a_split_too_small_for_a_sample_was_never_sampled() -> None:
    assert Exposure(FileLayout(np.array([3, 4], np.int64)), 0, 7).times_sampled(np.arange(2), [100]).tolist() == [[0, 0]]
