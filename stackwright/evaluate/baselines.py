"""What a score has to beat: token models without a network, and a compressor.

Unigram and bigram models count the very tokens that the model was trained on (the loader's samples without fill-in-the-
middle), so they differ from it in nothing but the model. The unigram model is smoothed by adding one. The bigram model is
interpolated Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1999, section 2.7): an absolute discount is taken from
every pair that was seen, and what it frees goes to the number of different tokens that a token has followed. The discount
is fitted on the validation split. xz compresses each file alone, without any training.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from stackwright.data.loader import Ids, Loader

Counts = npt.NDArray[np.float64]

DISCOUNTS = tuple(round(0.05 * step, 2) for step in range(8, 20))


class UnigramModel:
    """p(token) = (count + 1) / (total + vocabulary)."""

    def __init__(self, counts: Counts) -> None:
        self._bits = -np.log2((counts + 1) / (counts.sum() + len(counts)))

    def bits(self, stream: Ids) -> float:
        """Return -log2 p of stream[1:]; the first id is the context that nothing is predicted from."""
        return float(self._bits[stream[1:]].sum())


class BigramModel:
    """p(b | a) = max(c(ab) - D, 0) / c(a) + D kinds(a) / c(a) p_continuation(b)."""

    def __init__(self, pairs: Ids, pair_counts: Ids, vocab_size: int, discount: float) -> None:
        first, second = np.divmod(pairs, vocab_size)
        self._vocab_size, self._discount = vocab_size, discount
        self._pairs, self._pair_counts = pairs, pair_counts
        self._context = np.bincount(first, weights=pair_counts, minlength=vocab_size)
        self._kinds = np.bincount(first, minlength=vocab_size).astype(np.float64)
        continuations = np.bincount(second, minlength=vocab_size).astype(np.float64)
        self._continuation = (continuations + 1) / (continuations.sum() + vocab_size)

    def bits(self, stream: Ids) -> float:
        """Return -log2 p of stream[1:], each given the id before it."""
        first, second = stream[:-1], stream[1:]
        wanted = first * self._vocab_size + second
        position = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        seen = np.where(self._pairs[position] == wanted, self._pair_counts[position], 0)
        context = self._context[first]
        known = np.maximum(context, 1)
        direct = np.maximum(seen - self._discount, 0) / known
        freed = np.where(context > 0, self._discount * self._kinds[first] / known, 1.0)
        return float(-np.log2(direct + freed * self._continuation[second]).sum())


def training_stream(loader: Loader, num_samples: int) -> Iterable[Ids]:
    """Yield the samples that were trained on. `loader` must have been opened with fim_rate 0."""
    for index in range(num_samples):
        yield loader.sample(index)


def count_tokens(samples: Iterable[Ids], vocab_size: int) -> tuple[Counts, Ids, Ids]:
    """Return counts of ids, and the pairs (first x vocabulary + second, sorted) with their counts."""
    targets, pairs = [], []
    for sample in samples:
        targets.append(sample[1:])
        pairs.append(sample[:-1] * vocab_size + sample[1:])
    counts = np.bincount(np.concatenate(targets), minlength=vocab_size).astype(np.float64)
    found, pair_counts = np.unique(np.concatenate(pairs), return_counts=True)
    return counts, found, pair_counts.astype(np.int64)


def fit_bigram(pairs: Ids, pair_counts: Ids, vocab_size: int, held_out: Sequence[Ids]) -> tuple[BigramModel, float]:
    """Return the bigram model with the discount that is best on held-out streams, and that discount."""
    models = {discount: BigramModel(pairs, pair_counts, vocab_size, discount) for discount in DISCOUNTS}
    best = min(DISCOUNTS, key=lambda discount: sum(models[discount].bits(stream) for stream in held_out))
    return models[best], best


def xz_bits(text: str) -> float:
    """Return the bits of a text compressed alone by xz at its best setting, headers included."""
    return 8.0 * len(lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))
