"""From a sample's number to a window of tokens.

In epoch e the documents are put in an order drawn from (seed, e) and concatenated (see layout.py); the stream is cut into
windows of `window` tokens that begin `stride` tokens apart, and the windows are put in an order drawn from the same key.
Sample k is window k mod W of epoch k // W. So sample k is a pure function of (seed, k): the whole state of the data is
one integer, and any number of workers can read any part. The last, partial window of an epoch is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stackwright.data.layout import EpochOrder, Layout

_PACKING_DOMAIN, _FIM_DOMAIN, _DOCUMENT_FIM_DOMAIN = 1, 2, 3


def packing_rng(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator that orders an epoch."""
    return _keyed_rng(_PACKING_DOMAIN, seed, epoch)


def sample_rng(seed: int, sample: int) -> np.random.Generator:
    """Return the generator of one sample's fill-in-the-middle."""
    return _keyed_rng(_FIM_DOMAIN, seed, sample)


def document_rng(seed: int, number: int) -> np.random.Generator:
    """Return the generator of one document's fill-in-the-middle in one epoch; `number` tells both."""
    return _keyed_rng(_DOCUMENT_FIM_DOMAIN, seed, number)


def _keyed_rng(domain: int, seed: int, index: int) -> np.random.Generator:
    # Philox is a keyed function of a counter: generators of different keys are independent without any warming up.
    return np.random.Generator(np.random.Philox(key=[domain << 32 | seed, index]))


@dataclass(frozen=True)
class Piece:
    """A part of a document's segment of the stream: its tokens from `start` to `stop`."""

    epoch: int
    document: int
    start: int
    stop: int
    is_named: bool
    is_first: bool
    is_last: bool


class Packing:
    """The order of documents and windows.

    Memory is a few integers per document, held for one epoch at a time.
    """

    def __init__(self, layout: Layout, seed: int, window: int, stride: int) -> None:
        self._layout, self._seed, self._window, self._stride = layout, seed, window, stride
        self.windows_per_epoch = max((layout.least_tokens - window) // stride + 1, 0)
        self._epoch = -1
        self._order: EpochOrder
        self._ends: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._windows: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def pieces(self, sample: int) -> list[Piece]:
        """Return the pieces of a sample, in order."""
        epoch, index = divmod(sample, self.windows_per_epoch)
        self._enter_epoch(epoch)
        order, start = self._order, int(self._windows[index]) * self._stride
        stop = start + self._window
        pieces = []
        place = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            end = int(self._ends[place])
            begin = end - int(order.lengths[place])
            marks = (bool(marks[place]) for marks in (order.is_named, order.is_first, order.is_last))
            pieces.append(Piece(epoch, int(order.documents[place]), start - begin, min(stop, end) - begin, *marks))
            start = end
            place += 1
        return pieces

    def _enter_epoch(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        rng = packing_rng(self._seed, epoch)
        self._order = self._layout.draw(rng)
        self._ends = np.cumsum(self._order.lengths)
        self._windows = rng.permutation(self.windows_per_epoch)
        self._epoch = epoch
