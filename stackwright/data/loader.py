"""From token shards to batches: sample k is a pure function of (seed, k).

In: a tokens artefact, a split, the tokenizer. Out: inputs and targets as int64 arrays [B, T]; targets are the inputs one
token later, and -100 where the loss does not look. The loader holds no state worth saving: a run resumes from the number of
its next sample, on any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from stackwright.artifact import Artifact
from stackwright.data.fim import DOCUMENT_SLACK, FimRule, fim_document, fim_sample
from stackwright.data.layout import FileLayout, Layout, RepositoryLayout
from stackwright.data.packing import Packing, Piece, document_rng, sample_rng
from stackwright.data.targets import IGNORED_TARGET
from stackwright.errors import DataError
from stackwright.recipe import DataSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.tokenizer.special_tokens import FILE_SEP, REPO_NAME
from stackwright.tokenizer.token_shards import load_token_parts

Ids = npt.NDArray[np.int64]


class TokenDataset:
    """The documents of one split, mapped into memory."""

    def __init__(self, tokens: Artifact, split: str, tokenizer_sha256: str) -> None:
        self.split = split
        self._parts = load_token_parts(tokens.folder, tokenizer_sha256)
        self._table = tokens.table("documents")
        rows = self._table.read(["split", "num_tokens", "num_bytes"])
        chosen = np.flatnonzero(np.asarray(pa.compute.equal(rows.column("split"), split)))
        self.rows = chosen  # positions in the table, which is in document order
        counts = [len(part.bounds) for part in self._parts]
        self._part = np.repeat(np.arange(len(counts)), counts)[chosen]
        self._first = np.concatenate([part.firsts for part in self._parts])[chosen]
        self.num_tokens: Ids = np.asarray(rows.column("num_tokens"))[chosen].astype(np.int64)
        self.num_bytes: Ids = np.asarray(rows.column("num_bytes"))[chosen].astype(np.int64)

    def __len__(self) -> int:
        return len(self._part)

    @cached_property
    def repos(self) -> list[str]:
        """The repository of each document; read when it is asked for, as names take more memory than all else here."""
        return self._names("repo")

    @cached_property
    def paths(self) -> list[str]:
        """The path of each document in its repository."""
        return self._names("path")

    def _names(self, column: str) -> list[str]:
        names: list[str] = self._table.read([column]).column(column).take(pa.array(self.rows)).to_pylist()
        return names

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
        is_joined = settings.layout == "repositories"
        names = (dataset.repos, dataset.paths) if is_joined else ((), ())
        layout = open_layout(settings, tokenizer, dataset.num_tokens, *names)
        self._packing = Packing(layout, seed, window, settings.seq_len)
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
        window = np.concatenate([self._tokens(piece) for piece in self._packing.pieces(index)])
        if self._settings.fim_level == "document":
            return window
        rng = sample_rng(self._seed, index)
        return np.array(fim_sample(window.tolist(), self._tokenizer, self._fim, rng), np.int64)

    def documents_of(self, index: int) -> list[int]:
        """Return the documents (by number in the split) that a sample holds tokens of."""
        return [piece.document for piece in self._packing.pieces(index)]

    def _tokens(self, piece: Piece) -> Ids:
        """Return the ids of a piece: what stands before the file, the file, and the end-of-text where it is the last."""
        document, tokenizer = piece.document, self._tokenizer
        if self._settings.fim_level == "document":
            rng = document_rng(self._seed, piece.epoch * len(self._dataset) + document)
            ids = fim_document(self._dataset.tokens(document).tolist(), tokenizer, self._fim, rng)
            return np.array(ids[piece.start : piece.stop], np.int64)
        if self._settings.layout == "files":
            return self._dataset.tokens(document, piece.start, piece.stop)
        head = [tokenizer.sentinel_id(FILE_SEP)]
        if piece.is_named:
            name = [tokenizer.sentinel_id(REPO_NAME), *tokenizer.encode(self._dataset.repos[document])]
            head = [*(name if piece.is_first else ()), *head, *tokenizer.encode(path_line(self._dataset.paths[document]))]
        # The segment of a file that is not the last ends before its end-of-text, and so does the piece.
        start, stop = (max(place - len(head), 0) for place in (piece.start, piece.stop))
        return np.concatenate(
            (np.array(head[piece.start : piece.stop], np.int64), self._dataset.tokens(document, start, stop))
        )

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


def path_line(path: str) -> str:
    """Return the first line of a file in a repository that has its name."""
    return f"{path}\n"


def open_layout(
    settings: DataSettings, tokenizer: Tokenizer, lengths: Ids, repos: Sequence[str], paths: Sequence[str]
) -> Layout:
    """Return how the documents of a split stand one after another.

    Args:
        lengths, repos, paths: tokens with end-of-text, repository and path of each document; names are for repositories that
            are joined.
    """
    if settings.layout == "files":
        return FileLayout(lengths + (DOCUMENT_SLACK if settings.fim_level == "document" else 0))
    names = {name: len(tokenizer.encode(name)) for name in set(repos)}
    path_lengths = [len(ids) for ids in tokenizer.encode_batch([path_line(path) for path in paths])]
    name_lengths = np.array([names[name] for name in repos], np.int64)
    return RepositoryLayout(lengths, repos, np.array(path_lengths, np.int64), name_lengths, settings.repository_name_rate)


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
