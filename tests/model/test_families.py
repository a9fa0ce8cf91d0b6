"""Both families as transformers computes them: whole rows, beyond the window, and token by token through the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stackwright.generate.backend import TorchBackend
from stackwright.generate.rows import RowsDecoder
from stackwright.model.config import ModelConfig
from stackwright.model.kv_cache import RING_MARGIN, RowsCache
from stackwright.model.masks import SdpaSight, documents_of
from tests.model.shapes import GPT_BIGCODE, SHAPES, in_transformers, random_ids, random_model

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


@pytest.fixture(params=SHAPES, ids=str)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.inference_mode()
def test_logits_equal_those_of_transformers(config: ModelConfig, dtype: torch.dtype, tmp_path: Path) -> None:
    model = random_model(config)
    theirs = in_transformers(model, tmp_path, dtype)
    ids = random_ids(config, 3, config.max_seq_len)
    ours, expected = model.to(dtype)(ids), theirs(ids).logits
    assert ours.dtype == dtype
    assert torch.allclose(ours, expected, rtol=0, atol=TOLERANCE[dtype])
    assert sum(parameter.numel() for parameter in theirs.parameters()) == config.num_parameters()
    assert type(theirs).__name__ == ("GPTBigCodeForCausalLM" if config in GPT_BIGCODE.values() else "Starcoder2ForCausalLM")


# With a window of one their cache keeps every token, and what they decode is not what they compute of the whole row.
DECODED = [name for name, config in SHAPES.items() if config.sliding_window != 1]


@pytest.mark.parametrize("name", DECODED)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.inference_mode()
def test_decoding_equals_that_of_transformers(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    config = SHAPES[name]
    model = random_model(config)
    theirs = in_transformers(model, tmp_path, dtype)
    ids = random_ids(config, 1, config.max_seq_len)
    begin = config.max_seq_len // 3
    decoder, cache = RowsDecoder(model.to(dtype)), RowsCache(config, 1, config.max_seq_len, dtype)
    ours, expected = [decoder.read(ids[0, :begin].tolist(), cache, 0)], theirs(ids[:, :begin], use_cache=True)
    for place in range(begin, config.max_seq_len):
        assert torch.allclose(ours[-1], expected.logits[0, -1], rtol=0, atol=TOLERANCE[dtype])
        ours.append(decoder.step([[int(ids[0, place])]], cache)[0])
        expected = theirs(ids[:, place : place + 1], cache=expected.past_key_values, use_cache=True)
    assert torch.allclose(ours[-1], expected.logits[0, -1], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("pieces", [[20, 1, 1, 1], [1] * 23, [7, 9, 7], [23]])
@torch.inference_mode()
def test_reading_and_stepping_equal_the_whole_row(config: ModelConfig, pieces: list[int]) -> None:
    model = random_model(config)
    ids = random_ids(config, 1, sum(pieces))
    logits_TV = model(ids)[0]
    decoder, cache, read = RowsDecoder(model), RowsCache(config, 3, 8), 0
    for size in pieces:
        cache.reserve(read + size)
        tokens = ids[0, read : read + size].tolist()
        before = cache.lengths[0]
        stepped_TV = decoder.step([tokens], cache)
        cache.set_length(0, before)
        assert torch.allclose(decoder.read(tokens, cache, 0), logits_TV[read + size - 1], atol=1e-4)
        assert torch.allclose(stepped_TV, logits_TV[read : read + size], atol=1e-4)
        read += size
    assert cache.lengths[0] == sum(pieces)


@torch.inference_mode()
def test_rows_of_different_lengths_do_not_see_each_others_places(config: ModelConfig) -> None:
    model = random_model(config)
    long, short = (random_ids(config, 1, length, seed=length) for length in (31, 5))
    decoder, cache = RowsDecoder(model), RowsCache(config, 2, 35)
    cache.keys_LBKTD.normal_()  # what earlier requests left behind
    cache.values_LBKTD.normal_()
    decoder.read(long[0, :-2].tolist(), cache, 0)
    decoder.read(short[0, :-1].tolist(), cache, 1)
    stepped_NV = decoder.step([long[0, -2:].tolist(), short[0, -1:].tolist()], cache)
    assert torch.allclose(stepped_NV, torch.cat((model(long)[0, -2:], model(short)[0, -1:])), atol=1e-4)


@torch.inference_mode()
def test_documents_of_one_row_are_computed_as_if_alone(config: ModelConfig) -> None:
    model = random_model(config)
    parts = [random_ids(config, 1, length, seed=length).clamp(min=1) for length in (5, 1, 17)]
    ends = [torch.cat((part[:, :-1], torch.zeros(1, 1, dtype=torch.long)), dim=1) for part in parts]
    row = torch.cat(ends, dim=1)
    documents_BT, positions_BT = documents_of(row, eot=0)
    packed = model(row, SdpaSight(config.window, documents_BT), positions_BT)
    assert torch.allclose(packed, torch.cat([model(part) for part in ends], dim=1), atol=1e-4)


LONG = ModelConfig(61, 32, 2, 4, 2, 64, 4 * RING_MARGIN, positions="rope", sliding_window=19)


@torch.inference_mode()
def test_a_ring_keeps_no_more_than_the_window_and_forgets_nothing_that_is_seen() -> None:
    model = random_model(LONG)
    ids = random_ids(LONG, 1, LONG.max_seq_len)
    logits_TV, rows = model(ids)[0], TorchBackend(model).open_rows(2)
    tokens, read = ids[0].tolist(), 0
    rows.reserve(LONG.max_seq_len)
    for size in (300, 1, 200, 33, 1, 256, 100):
        rows.feed(0, tokens[read : read + size])
        read += size
        wrong = rows.step([[5] * 30])  # a guess, forgotten again
        assert wrong.shape == (30, LONG.vocab_size)
        rows.truncate(0, read)
        stepped_TV = rows.step([tokens[read : read + 3]])
        assert torch.allclose(stepped_TV, logits_TV[read : read + 3], atol=1e-4)
        read += 3
        saved = rows.save(0)
        assert saved.keys_LKTD.size(2) <= 19 + RING_MARGIN
        assert rows.load(1, saved, read)
        both_NV = rows.step([[], tokens[read : read + 2]])
        assert torch.allclose(both_NV, logits_TV[read : read + 2], atol=1e-4)
        assert rows.copy(0, 1, read)
        both_NV = rows.step([[], tokens[read : read + 2]])
        assert torch.allclose(both_NV, logits_TV[read : read + 2], atol=1e-4)
    assert not rows.copy(0, 1, 100)
    assert not rows.load(1, rows.save(0), 100)
    assert rows.length(1) == read + 2
