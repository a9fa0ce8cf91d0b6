"""Baselines are proper distributions, strong ones, and on the same bytes as the model."""

from __future__ import annotations

import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stackwright.artifact import load_artifact
from stackwright.data.loader import TokenDataset
from stackwright.evaluate.baselines import BigramModel, UnigramModel, count_tokens, fit_bigram, xz_bits
from stackwright.generate.load import load_model
from stackwright.train.validation import bits_per_byte, choose_documents, score_documents, windows_of

VOCAB = 7
SAMPLES = [np.array([0, 1, 2, 1, 2, 3, 1, 2]), np.array([1, 2, 4, 1, 2, 1])]


def bits_of(model: UnigramModel | BigramModel, first: int, second: int) -> float:
    return model.bits(np.array([first, second], np.int64))


@pytest.mark.parametrize("discount", [0.4, 0.75, 0.95])
def test_bigram_probabilities_sum_to_one_after_every_token(discount: float) -> None:
    _, pairs, pair_counts = count_tokens(SAMPLES, VOCAB)
    model = BigramModel(pairs, pair_counts, VOCAB, discount)
    for first in range(VOCAB):  # 5 and 6 were never seen
        assert math.fsum(2 ** -bits_of(model, first, second) for second in range(VOCAB)) == pytest.approx(1.0)


def test_bigram_agrees_with_its_formula() -> None:
    """p(2 | 1): c(1 2) = 5, c(1) = 5, one kind follows 1; 2 follows two kinds of tokens out of seven pairs."""
    _, pairs, pair_counts = count_tokens(SAMPLES, VOCAB)
    kinds = {(1, 2), (0, 1), (2, 1), (2, 3), (3, 1), (2, 4), (4, 1)}
    assert len(pairs) == len(kinds)
    continuation = (1 + 1) / (len(kinds) + VOCAB)  # one kind of pair ends in 2
    expected = (5 - 0.5) / 5 + 0.5 * 1 / 5 * continuation
    assert 2 ** -bits_of(BigramModel(pairs, pair_counts, VOCAB, 0.5), 1, 2) == pytest.approx(expected)


def test_unigram_is_add_one() -> None:
    counts, _, _ = count_tokens(SAMPLES, VOCAB)
    assert counts.tolist() == [0, 5, 5, 1, 1, 0, 0]
    assert 2 ** -bits_of(UnigramModel(counts), 3, 2) == pytest.approx(6 / 19)
    assert 2 ** -bits_of(UnigramModel(counts), 3, 6) == pytest.approx(1 / 19)


def test_fitted_discount_is_the_best_of_the_grid() -> None:
    rng = np.random.default_rng(0)
    stream = rng.zipf(1.5, 5000) % VOCAB
    _, pairs, pair_counts = count_tokens([stream[:2000]], VOCAB)
    model, discount = fit_bigram(pairs, pair_counts, VOCAB, [stream[2000:]])
    best = model.bits(stream[2000:])
    for other in (0.4, 0.6, 0.95):
        assert best <= BigramModel(pairs, pair_counts, VOCAB, other).bits(stream[2000:]) + 1e-9
    assert 0.4 <= discount <= 0.95


def test_xz_counts_every_byte_of_the_compressed_file() -> None:
    text = "def f(x):\n    return x\n" * 50
    assert xz_bits(text) == 8 * len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 100])
@pytest.mark.parametrize("context", [8, 9])
def test_windows_score_every_token_once_with_half_a_context(length: int, context: int) -> None:
    tokens = np.arange(100, 100 + length)
    seen = []
    for window in windows_of(0, tokens, 0, context):
        assert len(window.inputs) <= context
        for place in np.flatnonzero(window.targets >= 0):
            target = int(window.targets[place])
            seen.append(target)
            # What stands before a target in the document stands before it in the window.
            before = [0, *tokens.tolist()][: target - 100 + 1]
            assert window.inputs[: place + 1].tolist() == before[-(place + 1) :]
            assert place + 1 >= min(target - 100 + 1, context // 2)
    assert seen == tokens.tolist()


@torch.inference_mode()
def test_scores_equal_a_plain_sum_over_tokens(finished_run: Path) -> None:
    loaded, tokens = load_model(finished_run), load_artifact(finished_run / "tokens")
    dataset = TokenDataset(tokens, "test", loaded.tokenizer.sha256)
    document = int(np.argmin(dataset.num_tokens))
    ids = dataset.tokens(document)[:-1].tolist()
    bits = 0.0
    for place, target in enumerate(ids):
        context = [loaded.tokenizer.eot, *ids[:place]]
        assert len(context) <= loaded.model.config.max_seq_len, "choose a shorter document"
        bits -= float(torch.log_softmax(loaded.model(torch.tensor([context]))[0, -1].double(), -1)[target]) / math.log(2)
    [score] = score_documents(loaded.model, dataset, [document], loaded.tokenizer.eot)
    assert score.bits == pytest.approx(bits, rel=1e-4)
    assert bits_per_byte([score]) == pytest.approx(bits / int(dataset.num_bytes[document]), rel=1e-4)


def test_batching_does_not_change_a_score(finished_run: Path) -> None:
    loaded, tokens = load_model(finished_run), load_artifact(finished_run / "tokens")
    dataset = TokenDataset(tokens, "test", loaded.tokenizer.sha256)
    documents = choose_documents(dataset.num_bytes, 10**6)
    wide, narrow = (score_documents(loaded.model, dataset, documents, loaded.tokenizer.eot, size) for size in (4096, 1))
    assert [score.bits for score in wide] == pytest.approx([score.bits for score in narrow], rel=1e-5)


def test_documents_are_chosen_up_to_the_limit_and_at_least_one() -> None:
    sizes = np.array([50, 10, 30, 1000])
    assert sum(sizes[choose_documents(sizes, 95)]) <= 95
    assert len(choose_documents(sizes, 1)) == 1
    assert choose_documents(sizes, 10**6) == [0, 1, 2, 3]
    assert choose_documents(np.zeros(0, np.int64), 100) == []
