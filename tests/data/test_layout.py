"""Repositories in the stream: every file once in an epoch, together with those of its repository, under its name or not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.data.exposure import Exposure
from stackwright.data.layout import RepositoryLayout
from stackwright.data.loader import Loader
from stackwright.data.packing import Packing, packing_rng
from stackwright.errors import RecipeError
from stackwright.recipe import DataSettings, load_recipe
from stackwright.tokenizer.special_tokens import FILE_SEP, REPO_NAME
from tests.data.test_fim import text_of, undo
from tests.fakes import ByteTokenizer

IDS = {REPO_NAME: 300, FILE_SEP: 301}


class RepositoryTokenizer(ByteTokenizer):
    """Bytes, with the sentinels of repositories."""

    def sentinel_id(self, sentinel: str) -> int:
        return IDS[sentinel]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


class Files:
    """Stands for a split: files with their tokens."""

    split = "train"

    def __init__(self, files: list[tuple[str, str, str]]) -> None:
        self.repos, self.paths, self.texts = map(list, zip(*files, strict=True))
        self.num_tokens = np.array([len(text) + 1 for text in self.texts], np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    def tokens(self, document: int, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        return np.array([*self.texts[document].encode(), ByteTokenizer.fim.eot], np.int64)[start:stop]


FILES = [
    ("a/one", "x.py", "first text"),
    ("b/two", "y.py", "second"),
    ("a/one", "deep/z.py", "third text, longer"),
    ("a/one", "w.py", ""),
    ("c", "v.py", "of its own"),
]


def open_loader(seq_len: int, **settings: Any) -> Loader:
    values = DataSettings(**{"seq_len": seq_len, "fim_rate": 0.0, "layout": "repositories", **settings})
    return Loader(Files(FILES), RepositoryTokenizer(), values, seed=4)  # type: ignore[arg-type]


def streams(loader: Loader, epochs: int) -> list[list[int]]:
    """Return the stream of each epoch as far as its windows reach, put together from samples."""
    found = []
    for epoch in range(epochs):
        first, windows = epoch * loader.samples_per_epoch, {}
        for number in range(loader.samples_per_epoch):
            sample = loader.sample(first + number).tolist()
            windows[int(loader._packing._windows[number])] = sample
        assert all(windows[index][-1] == windows[index + 1][0] for index in range(len(windows) - 1))
        found.append([token for index in range(len(windows)) for token in windows[index][:-1]])
    return found


def parse(stream: list[int]) -> list[tuple[str | None, list[tuple[str | None, str]]]]:
    """Return the whole repositories of a stream: name or None, and the path or None and text of each file."""
    repositories, document = [], list[int]()
    for token in stream:
        if token != ByteTokenizer.fim.eot:
            document.append(token)
            continue
        text = "".join("\0R" if t == IDS[REPO_NAME] else "\0F" if t == IDS[FILE_SEP] else chr(t) for t in document)
        head, *files = text.split("\0F")
        name = head.removeprefix("\0R") if head else None
        pairs = [tuple(file.split("\n", 1)) if name else (None, file) for file in files]
        repositories.append((name, pairs))
        document = []
    return repositories  # type: ignore[return-value]


def test_repositories_stand_together_with_and_without_their_names() -> None:
    found, named, orders = streams(open_loader(16), 100), 0, set[tuple[str, ...]]()
    texts = {repo: {text for name, _, text in FILES if name == repo} for repo, _, _ in FILES}
    repo_of = {text: repo for repo, _, text in FILES}
    path_of = {text: path for _, path, text in FILES}
    num_repositories = 0
    for stream in found:
        for name, files in parse(stream):
            repo = repo_of[files[0][1]]
            assert name in (None, repo)
            assert {text for _, text in files} == texts[repo]
            assert [path for path, _ in files] == [path_of[text] if name else None for _, text in files]
            named += name is not None
            num_repositories += 1
            if repo == "a/one":
                orders.add(tuple(text for _, text in files))
    assert num_repositories > 100  # the last of an epoch may be cut off
    assert abs(named / num_repositories - 0.5) < 0.15
    assert len(orders) == 6


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_share_of_names_is_the_recipes(rate: float) -> None:
    for stream in streams(open_loader(16, repository_name_rate=rate), 5):
        assert all((name is not None) == (rate == 1.0) for name, _ in parse(stream))


def test_at_document_level_whole_documents_are_transformed_before_they_are_packed() -> None:
    """Every document of an epoch is whole, in either order or as it was, and ends before its padding."""
    fim, texts, transformed = ByteTokenizer.fim, {text for _, _, text in FILES}, Counter[str]()
    settings = {"layout": "files", "fim_level": "document", "fim_rate": 0.5}
    for stream in streams(open_loader(16, **settings), 60):
        documents, document = list[list[int]](), list[int]()
        for token in stream:
            if token == fim.eot:
                documents.append(document)
                document = []
            elif token != fim.pad:
                document.append(token)
        assert len(documents) >= len(FILES) - 2  # the last of an epoch may be cut off
        for ids in documents:
            text = text_of(undo(ids))
            assert text in texts
            if text:
                transformed["yes" if fim.prefix in ids else "no"] += 1
    assert abs(transformed["yes"] / transformed.total() - 0.5) < 0.12


def test_at_document_level_a_sample_is_a_function_of_its_number() -> None:
    settings = {"layout": "files", "fim_level": "document", "fim_rate": 1.0}
    first, second = open_loader(16, **settings), open_loader(16, **settings)
    for index in (3, 0, 17, 200):
        assert np.array_equal(first.sample(index), second.sample(index))
    inputs, targets = first.batch(0, 20)
    assert (targets[inputs == ByteTokenizer.fim.eot] == -100).sum() > 0  # padding after a document carries no loss


def test_document_level_is_for_files() -> None:
    with pytest.raises(RecipeError, match=r'fim_level "document" is for data.layout "files"'):
        load_recipe("starcoder2-3b", ["data.fim_level='document'"])


FILE = st.tuples(st.integers(1, 40), st.integers(0, 4), st.integers(1, 9))


@given(
    st.lists(FILE, min_size=1, max_size=20), st.integers(1, 30), st.integers(0, 99), st.lists(st.integers(0, 90), max_size=3)
)
def test_exposure_agrees_with_counting_through_the_samples(
    files: list[tuple[int, int, int]], seq_len: int, seed: int, num_samples: list[int]
) -> None:
    lengths, repos, paths = (np.array(column, np.int64) for column in zip(*files, strict=True))
    layout = RepositoryLayout(lengths, [str(repo) for repo in repos], paths, repos + 1, 0.5)
    packing = Packing(layout, seed, seq_len + 1, seq_len)
    expected = np.zeros((len(num_samples), len(files)), np.int64)
    for row, num in enumerate(num_samples if packing.windows_per_epoch else ()):
        for sample in range(num):
            expected[row, [piece.document for piece in packing.pieces(sample)]] += 1
    everything = np.arange(len(files))
    assert np.array_equal(Exposure(layout, seed, seq_len).times_sampled(everything, num_samples), expected)


@given(st.lists(FILE, min_size=1, max_size=20), st.integers(0, 99))
def test_no_epoch_is_shorter_than_the_least(files: list[tuple[int, int, int]], seed: int) -> None:
    lengths, repos, paths = (np.array(column, np.int64) for column in zip(*files, strict=True))
    for rate in (0.0, 0.5):
        layout = RepositoryLayout(lengths, [str(repo) for repo in repos], paths, repos + 1, rate)
        drawn = layout.draw(packing_rng(seed, 0))
        assert sorted(drawn.documents) == list(range(len(files)))
        assert (drawn.lengths.sum() == layout.least_tokens) if rate == 0.0 else (drawn.lengths.sum() >= layout.least_tokens)


@pytest.mark.parametrize("setting", ["data.layout='repositories'", "data.fim_repositories=true"])
def test_sentinels_must_be_there(setting: str) -> None:
    with pytest.raises(RecipeError, match=r"needs tokenizer.repository_sentinels true, it is false"):
        load_recipe("tiny", [setting])
