"""How often training has sampled a document: the packing, asked the other way round.

In: the lengths of a split's documents, and how many samples were used. Out: for each document that is asked about, how many
of those samples hold at least one of its tokens, its path and end-of-text included. Exact: it is what counting through
`Loader.documents_of` gives, without looking at a sample. A sample is meant as it is cut out of the stream;
fill-in-the-middle may push its last few tokens out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stackwright.data.layout import Layout
from stackwright.data.packing import Packing

Ids = npt.NDArray[np.int64]


class Exposure(Packing):
    """The samples of a training split, by document.

    Memory is a few integers per document and per window, held for one epoch at a time.
    """

    def __init__(self, layout: Layout, seed: int, seq_len: int) -> None:
        # A sample holds one token more than it trains on: the last target, with which the next sample begins.
        super().__init__(layout, seed, seq_len + 1, seq_len)

    def times_sampled(self, documents: Ids, num_samples: Sequence[int]) -> Ids:
        """Return int64 [len(num_samples), len(documents)]: how many of the first samples hold tokens of a document.

        Args:
            documents: numbers in the split.
            num_samples: how many samples were used, one number for each checkpoint; over any number of epochs.
        """
        times = np.zeros((len(num_samples), len(documents)), np.int64)
        per_epoch = self.windows_per_epoch
        num_epochs = -(-max(num_samples, default=0) // per_epoch) if per_epoch else 0
        for epoch in range(num_epochs):
            first, stop = self._windows_of(documents, epoch)
            for row, num in zip(times, num_samples, strict=True):
                used = min(num - epoch * per_epoch, per_epoch)
                if used == per_epoch:
                    row += stop - first
                elif used > 0:
                    before = self._used_before(used)
                    row += before[stop] - before[first]
        return times

    def _windows_of(self, documents: Ids, epoch: int) -> tuple[Ids, Ids]:
        """Return the range [first, stop) of the windows that each document reaches into; windows by place in the stream."""
        self._enter_epoch(epoch)
        order = self._order
        place = np.empty(len(order.documents), np.int64)
        place[order.documents] = np.arange(len(place))
        end = self._ends[place[documents]]
        begin = end - order.lengths[place[documents]]
        # Window w holds the tokens [w * stride, w * stride + window) of the stream; a document that lies wholly behind the
        # last whole window has the empty range there.
        stop = np.minimum((end - 1) // self._stride + 1, self.windows_per_epoch)
        first = np.minimum(np.maximum((begin - self._window) // self._stride + 1, 0), stop)
        return first, stop

    def _used_before(self, used: int) -> Ids:
        """Return for each place in the stream how many of the first `used` samples of the epoch stand before it."""
        is_used = np.zeros(self.windows_per_epoch + 1, np.int64)
        is_used[self._windows[:used] + 1] = 1
        return np.cumsum(is_used)
