"""Held-out loss in bits per byte, which compares models whatever their tokenizer.

Bits per byte = total -log2 p of the tokens / UTF-8 bytes of the text they stand for. Each document is scored on its own: the
first token is predicted from end-of-text, and the end-of-text that closes it is not scored, since no byte stands for it.
Long documents are scored in windows of the context that overlap by half: every token is scored once, and all but those
of the first window have at least half a context before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stackwright.data.loader import Ids, TokenDataset
from stackwright.data.targets import IGNORED_TARGET
from stackwright.model.transformer import Transformer
from stackwright.train.loss import target_nats
from stackwright.train.ranks import Ranks, one_rank

_CHOICE_DOMAIN = 3 << 32  # 1 and 2 are the loader's


@dataclass(frozen=True)
class DocumentScore:
    """Score of one document. `bits` is the sum over its tokens."""

    document: int
    bits: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True)
class Window:
    """A piece of a document for one forward pass; targets outside the part to be scored are ignored."""

    document: int
    inputs: Ids
    targets: Ids


def windows_of(document: int, tokens: Ids, eot: int, context: int) -> Iterator[Window]:
    """Cut a document (without its end-of-text) into windows that score every token exactly once."""
    stream = np.concatenate([[eot], tokens])
    stride = max(context // 2, 1)
    scored = 0  # targets scored so far; target i is tokens[i], predicted from stream[: i + 1]
    while scored < len(tokens):
        stop = min(context if scored == 0 else scored + stride, len(tokens))
        start = max(stop - context, 0)
        targets = tokens[start:stop].copy()
        targets[: scored - start] = IGNORED_TARGET
        yield Window(document, stream[start:stop], targets)
        scored = stop


def choose_documents(sizes: Ids, most: int) -> list[int]:
    """Return documents from the front of a fixed random order while their sizes add up to at most `most`.

    At least one is returned where there is one. Whole documents only; numbers are sorted.
    """
    order = np.random.Generator(np.random.Philox(key=[_CHOICE_DOMAIN, 0])).permutation(len(sizes))
    chosen: list[int] = []
    total = 0
    for document in order.tolist():
        if not chosen or total + sizes[document] <= most:
            chosen.append(document)
            total += int(sizes[document])
    return sorted(chosen)


def score_documents(
    model: Transformer,
    dataset: TokenDataset,
    documents: Sequence[int],
    eot: int,
    batch_tokens: int = 4096,
    ranks: Ranks | None = None,
) -> list[DocumentScore]:
    """Return the score of each document, in the order given. Ranks that share a model out share the work; all must call."""
    was_training = model.training
    model.eval()
    context = model.config.max_seq_len
    windows = [
        window for document in documents for window in windows_of(document, dataset.tokens(document)[:-1], eot, context)
    ]
    nats = _all_nats(model, list(_batches(windows, batch_tokens)), ranks or one_rank())
    bits = dict.fromkeys(documents, 0.0)
    for window, value in zip(windows, nats, strict=True):
        bits[window.document] += value / math.log(2)
    model.train(was_training)
    return [
        DocumentScore(document, bits[document], int(dataset.num_tokens[document]) - 1, int(dataset.num_bytes[document]))
        for document in documents
    ]


def _all_nats(model: Transformer, batches: Sequence[list[Window]], ranks: Ranks) -> tuple[float, ...]:
    """Return the nats of every window of all batches, of which each rank computes every `size`-th."""
    found: list[float] = []
    for start in range(0, len(batches), ranks.size):
        group = batches[start : start + ranks.size]
        # Every rank goes through the model as often as the others: whoever has nothing left repeats a batch for nothing.
        mine = group[ranks.rank] if ranks.rank < len(group) else group[0]
        nats = _window_nats(model, mine)
        for number, batch in enumerate(group):
            found.extend(nats if number == ranks.rank else [0.0] * len(batch))
    return ranks.total(*found) if found else ()


def _batches(windows: Iterable[Window], batch_tokens: int) -> Iterator[list[Window]]:
    batch: list[Window] = []
    longest = 0
    for window in windows:
        longest = max(longest, len(window.inputs))
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest = [], len(window.inputs)
        batch.append(window)
    if batch:
        yield batch


def _window_nats(model: Transformer, batch: Sequence[Window]) -> list[float]:
    """Return the summed nats of each window. Padding stands at the end, where causal attention cannot see it."""
    length = max(len(window.inputs) for window in batch)
    inputs = np.zeros((len(batch), length), np.int64)
    targets = np.full((len(batch), length), IGNORED_TARGET, np.int64)
    for row, window in enumerate(batch):
        inputs[row, : len(window.inputs)] = window.inputs
        targets[row, : len(window.targets)] = window.targets
    nats_BT = target_nats(model, torch.from_numpy(inputs).to(model.device), torch.from_numpy(targets).to(model.device))
    return [float(value) for value in nats_BT.sum(dim=1, dtype=torch.float64)]


def bits_per_byte(scores: Iterable[DocumentScore]) -> float:
    """Return total bits over total bytes; not a number when there are no bytes."""
    listed = list(scores)
    num_bytes = sum(score.num_bytes for score in listed)
    return sum(score.bits for score in listed) / num_bytes if num_bytes else math.nan
