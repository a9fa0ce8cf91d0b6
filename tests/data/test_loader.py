"""Sample k is a pure function of (seed, k), and packing is the plain concatenation it claims to be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.artifact import load_artifact
from stackwright.data.layout import FileLayout
from stackwright.data.loader import Loader, TokenDataset, open_loader
from stackwright.data.packing import Packing, packing_rng
from stackwright.data.targets import IGNORED_TARGET
from stackwright.errors import DataError, TokenizerError
from stackwright.recipe import DataSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.tokenizer.token_shards import load_token_parts, token_dtype


def open_run(run: Path, split: str = "train", seed: int = 0, **settings: object) -> Loader:
    values = DataSettings(**{"seq_len": 32, **settings})  # type: ignore[arg-type]
    return open_loader(load_artifact(run / "tokens"), run / "tokenizer", split, values, seed)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(2, 30), st.integers(0, 99), st.integers(0, 60))
def test_packing_agrees_with_plain_concatenation(lengths: list[int], window: int, seed: int, sample: int) -> None:
    packing = Packing(FileLayout(np.array(lengths, np.int64)), seed, window, window - 1)
    if packing.windows_per_epoch == 0:
        assert sum(lengths) < window
        return
    epoch, index = divmod(sample, packing.windows_per_epoch)
    rng = packing_rng(seed, epoch)
    stream = [(document, place) for document in rng.permutation(len(lengths)) for place in range(lengths[document])]
    windows = [stream[start : start + window] for start in range(0, len(stream) - window + 1, window - 1)]
    expected = windows[rng.permutation(len(windows))[index]]
    assert [
        (piece.document, place) for piece in packing.pieces(sample) for place in range(piece.start, piece.stop)
    ] == expected


def test_an_epoch_holds_every_token_but_the_last_window_once() -> None:
    packing = Packing(FileLayout(np.array([7, 1, 30, 12], np.int64)), 0, 11, 10)
    seen = [piece for index in range(packing.windows_per_epoch) for piece in packing.pieces(index)]
    places = [(piece.document, place) for piece in seen for place in range(piece.start, piece.stop)]
    # Windows share one token with the next: the last target of one is the first input of the other.
    assert len(places) - len(set(places)) <= packing.windows_per_epoch
    assert len(set(places)) >= 50 - 10


def test_samples_do_not_depend_on_order_or_process(finished_run: Path) -> None:
    first, second = open_run(finished_run), open_run(finished_run)
    forward = [first.sample(index) for index in range(20)]
    backward = [second.sample(index) for index in reversed(range(20))]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    far = first.samples_per_epoch * 3 + 1
    assert np.array_equal(first.sample(far), open_run(finished_run).sample(far))


def test_seed_rates_and_length_change_the_samples(finished_run: Path) -> None:
    base = open_run(finished_run).batch(0, 8)[0]
    for settings in ({"seed": 1}, {"fim_rate": 0.0}, {"spm_rate": 1.0, "fim_rate": 1.0}, {"seq_len": 16}):
        assert not np.array_equal(open_run(finished_run, **settings).batch(0, 8)[0], base)  # type: ignore[arg-type]


def test_targets_are_the_next_inputs_and_padding_carries_no_loss(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked, kept = open_run(finished_run, fim_rate=1.0), open_run(finished_run, fim_rate=1.0, mask_fim_padding=False)
    pad = Tokenizer.load(finished_run / "tokenizer").fim.pad
    # Sentinels outweigh what encoding again can save, so padding is rare in real text: here every sample ends in some.
    monkeypatch.setattr("stackwright.data.loader.fim_sample", lambda ids, codec, *_: [*ids[:-3], *[codec.fim.pad] * 3])
    inputs, targets = kept.batch(0, 200)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert (targets == pad).any()
    assert not (targets == IGNORED_TARGET).any()
    same, ignored = masked.batch(0, 200)
    assert np.array_equal(same, inputs)
    assert np.array_equal(ignored == IGNORED_TARGET, targets == pad)


def test_without_fim_a_sample_is_the_text_of_its_documents(finished_run: Path) -> None:
    tokens = load_artifact(finished_run / "tokens")
    tokenizer = Tokenizer.load(finished_run / "tokenizer")
    dataset = TokenDataset(tokens, "train", tokenizer.sha256)
    loader = Loader(dataset, tokenizer, DataSettings(seq_len=32, fim_rate=0.0), 0)
    texts = {
        row["text_id"]: row["content"]
        for row in load_artifact(finished_run / "dataset").table("documents").read().to_pylist()
    }
    rows = tokens.table("documents").read().take(dataset.rows).to_pylist()
    for index in range(10):
        for document in loader.documents_of(index):
            whole = dataset.tokens(document)
            assert whole[-1] == tokenizer.eot
            assert tokenizer.decode(whole) == texts[rows[document]["text_id"]]


def test_splits_do_not_share_documents(finished_run: Path) -> None:
    tokens = load_artifact(finished_run / "tokens")
    sha256 = Tokenizer.load(finished_run / "tokenizer").sha256
    rows = [set(TokenDataset(tokens, split, sha256).rows.tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, rows)) == tokens.table("documents").num_rows == len(set.union(*rows))
    assert all(rows)


def test_too_little_data_says_how_much_there_is(finished_run: Path) -> None:
    with pytest.raises(DataError, match=r"the test split holds \d+ tokens, one sample needs 9000000; add sources"):
        open_run(finished_run, "test", seq_len=8_999_999)


def change_sidecar(folder: Path, **values: object) -> None:
    path = folder / "part-00000.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_token_files_that_do_not_fit_are_refused(run_copy: Path) -> None:
    folder = run_copy / "tokens"
    sha256 = Tokenizer.load(run_copy / "tokenizer").sha256
    assert load_token_parts(folder, sha256)
    with pytest.raises(TokenizerError, match=r"was made with tokenizer \w{12}, not with 000000000000; run"):
        load_token_parts(folder, "0" * 64)
    original = (folder / "part-00000.json").read_text()
    change_sidecar(folder, dtype="<u4")
    with pytest.raises(TokenizerError, match=r"says width <u4, its vocabulary needs <u2"):
        load_token_parts(folder, sha256)
    (folder / "part-00000.json").write_text(original)
    with (folder / "part-00000.bounds").open("r+b") as file:
        file.write((10**6).to_bytes(8, "little"))
    with pytest.raises(TokenizerError, match=r"part-00000.bounds does not fit part-00000.tokens"):
        load_token_parts(folder, sha256)
    os.truncate(folder / "part-00000.tokens", 6)
    with pytest.raises(TokenizerError, match=r"has 6 bytes where its sidecar says \d+"):
        load_token_parts(folder, sha256)
    for path in folder.glob("part-*.json"):
        path.unlink()
    with pytest.raises(TokenizerError, match=r"holds no token shards"):
        load_token_parts(folder, sha256)


def test_width_is_the_narrowest_that_holds_every_id() -> None:
    assert token_dtype(65536).itemsize == 2
    assert token_dtype(65537).itemsize == 4
