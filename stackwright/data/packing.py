"""From a sample's number to a window of tokens.

In epoch e the documents (each with its end-of-text) are put in an order drawn from (seed, e) and concatenated; the stream is
cut into windows of `window` tokens that begin `stride` tokens apart, and the windows are put in an order drawn from the same
key. Sample k is window k mod W of epoch k // W. So sample k is a pure function of (seed, k): the whole state of the data is
one integer, and any number of workers can read any part. The last, partial window of an epoch is dropped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_PACKING_DOMAIN, _FIM_DOMAIN = 1, 2


def packing_rng(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator that orders an epoch."""
    return _keyed_rng(_PACKING_DOMAIN, seed, epoch)


def sample_rng(seed: int, sample: int) -> np.random.Generator:
    """Return the generator of one sample's fill-in-the-middle."""
    return _keyed_rng(_FIM_DOMAIN, seed, sample)


def _keyed_rng(domain: int, seed: int, index: int) -> np.random.Generator:
    # Philox is a keyed function of a counter: generators of different keys are independent without any warming up.
    return np.random.Generator(np.random.Philox(key=[domain << 32 | seed, index]))


class Packing:
    """The order of documents and windows, for documents of the given lengths.

    Memory is a few integers per document, held for one epoch at a time.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], seed: int, window: int, stride: int) -> None:
        self._lengths, self._seed, self._window, self._stride = lengths, seed, window, stride
        total = int(lengths.sum())
        self.windows_per_epoch = max((total - window) // stride + 1, 0)
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._ends: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._windows: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def pieces(self, sample: int) -> list[tuple[int, int, int]]:
        """Return the pieces of a sample as (document, first token in it, last token + 1), in order."""
        epoch, index = divmod(sample, self.windows_per_epoch)
        self._enter_epoch(epoch)
        start = int(self._windows[index]) * self._stride
        stop = start + self._window
        pieces = []
        position = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            document, end = int(self._order[position]), int(self._ends[position])
            begin = end - int(self._lengths[document])
            pieces.append((document, start - begin, min(stop, end) - begin))
            start = end
            position += 1
        return pieces

    def _enter_epoch(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        rng = packing_rng(self._seed, epoch)
        self._order = rng.permutation(len(self._lengths))
        self._ends = np.cumsum(self._lengths[self._order])
        self._windows = rng.permutation(self.windows_per_epoch)
        self._epoch = epoch
