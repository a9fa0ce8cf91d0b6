"""From token shards to batches: sample k is a pure function of (seed, k).

In: a tokens artefact, a split, the tokenizer. Out: inputs and targets as int64 arrays [B, T]; targets are the inputs one
token later, and -100 where the loss does not look. The loader holds no state worth saving: a run resumes from the number of
its next sample, on any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stackwright.artifact import Artifact
from stackwright.data.fim import FimRule, fim_sample
from stackwright.data.packing import Packing, sample_rng
from stackwright.errors import DataError
from stackwright.recipe import DataSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.tokenizer.special_tokens import FILE_SEP, REPO_NAME
from stackwright.tokenizer.token_shards import load_token_parts

IGNORED_TARGET = -100
"""Target of a token that carries no loss; the value that torch's cross entropy skips."""

Ids = npt.NDArray[np.int64]


class TokenDataset:
    """The documents of one split, mapped into memory."""

    def __init__(self, tokens: Artifact, split: str, tokenizer_sha256: str) -> None:
        self.split = split
        self._parts = load_token_parts(tokens.folder, tokenizer_sha256)
        rows = tokens.table("documents").read(["split", "num_tokens", "num_bytes"])
        chosen = np.flatnonzero(np.array(rows.column("split").to_pylist(), dtype=object) == split)
        self.rows = chosen  # positions in the table, which is in document order
        counts = [len(part.bounds) for part in self._parts]
        self._part = np.repeat(np.arange(len(counts)), counts)[chosen]
        self._first = np.concatenate([part.firsts for part in self._parts])[chosen]
        self.num_tokens: Ids = np.asarray(rows.column("num_tokens"))[chosen].astype(np.int64)
        self.num_bytes: Ids = np.asarray(rows.column("num_bytes"))[chosen].astype(np.int64)

    def __len__(self) -> int:
        return len(self._part)

    def tokens(self, document: int, start: int = 0, stop: int | None = None) -> Ids:
        """Return ids [start, stop) of a document, counted from its beginning; its end-of-text is the last one."""
        first = int(self._first[document])
        end = int(self.num_tokens[document]) if stop is None else stop
        return self._parts[int(self._part[document])].tokens[first + start : first + end].astype(np.int64)


class Loader:
    """Samples of a split, with fill-in-the-middle.

    Raises:
        DataError: the split holds fewer tokens than one sample needs.
    """

    def __init__(self, dataset: TokenDataset, tokenizer: Tokenizer, settings: DataSettings, seed: int) -> None:
        self._dataset, self._tokenizer, self._settings, self._seed = dataset, tokenizer, settings, seed
        self._fim = _fim_rule(settings, tokenizer)
        window = settings.seq_len + 1
        self._packing = Packing(dataset.num_tokens, seed, window, settings.seq_len)
        if self._packing.windows_per_epoch == 0:
            raise DataError(
                f"the {dataset.split} split holds {int(dataset.num_tokens.sum())} tokens, one sample needs {window}",
                "add sources, or lower data.seq_len",
            )

    @property
    def samples_per_epoch(self) -> int:
        return self._packing.windows_per_epoch

    def sample(self, index: int) -> Ids:
        """Return sample `index`: seq_len + 1 ids, after fill-in-the-middle."""
        window = np.concatenate([self._dataset.tokens(*piece) for piece in self._packing.pieces(index)])
        rng = sample_rng(self._seed, index)
        return np.array(fim_sample(window.tolist(), self._tokenizer, self._fim, rng), np.int64)

    def documents_of(self, index: int) -> list[int]:
        """Return the documents (by number in the split) that a sample holds tokens of."""
        return [document for document, _, _ in self._packing.pieces(index)]

    def batch(self, first_sample: int, count: int) -> tuple[Ids, Ids]:
        """Return inputs and targets [count, seq_len] of `count` samples from `first_sample` on."""
        samples = np.stack([self.sample(index) for index in range(first_sample, first_sample + count)])
        inputs, targets = samples[:, :-1], samples[:, 1:].copy()
        if self._settings.mask_fim_padding:
            targets[targets == self._tokenizer.fim.pad] = IGNORED_TARGET
        return inputs, targets

    def iter_batches(self, num_samples: int, batch_size: int) -> Iterator[tuple[Ids, Ids]]:
        """Yield the first samples in batches; the last may be smaller."""
        for first in range(0, num_samples, batch_size):
            yield self.batch(first, min(batch_size, num_samples - first))


def _fim_rule(settings: DataSettings, tokenizer: Tokenizer) -> FimRule:
    return FimRule(
        rate=settings.fim_rate,
        spm_rate=settings.spm_rate,
        unit=settings.fim_unit,
        fragment_rate=settings.fim_fragment_rate,
        file_sep=tokenizer.sentinel_id(FILE_SEP) if settings.fim_repositories else None,
        repo_name=tokenizer.sentinel_id(REPO_NAME) if settings.fim_repositories else None,
        drops_empty=settings.fim_drop_empty,
    )


def open_loader(tokens: Artifact, tokenizer_folder: Path, split: str, settings: DataSettings, seed: int) -> Loader:
    """Open the loader of a split from finished artefacts."""
    tokenizer = Tokenizer.load(tokenizer_folder)
    return Loader(TokenDataset(tokens, split, tokenizer.sha256), tokenizer, settings, seed)
