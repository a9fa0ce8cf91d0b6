"""Many requests at once draw the tokens that each draws alone, however they are read, guessed, reused and interrupted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stackwright.errors import UsageError
from stackwright.generate.backend import TorchBackend
from stackwright.generate.engine import complete, forbidden_mask, iter_tokens
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.scheduler import GenerationRequest, Scheduler, SchedulerLimits, Ticket
from stackwright.generate.stream import Chunk
from stackwright.model.config import ModelConfig
from stackwright.model.transformer import Transformer
from tests.generate.test_engine import NarrowCodec
from tests.model.test_transformer import SHAPES, random_model

CODEC = NarrowCodec()
LIMITS = SchedulerLimits(max_rows=4)


def backend_of(shape: str, compiled: bool = False) -> TorchBackend:
    return TorchBackend(random_model(SHAPES[shape]), compiled)


def random_prompts(count: int, longest: int, seed: int = 0) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(90) for _ in range(rng.randint(1, longest))) for _ in range(count)]


def run(scheduler: Scheduler, requests: Sequence[GenerationRequest]) -> list[list[Chunk]]:
    """Return the chunks of every request."""
    said: list[list[Chunk]] = [[] for _ in requests]
    for request, chunks in zip(requests, said):
        scheduler.submit(request, chunks.append)
    finish(scheduler)
    return said


def finish(scheduler: Scheduler) -> None:
    for _ in range(10_000):
        if not scheduler.step():
            return
    raise AssertionError("the scheduler does not come to an end")


def ids_of(chunks: Sequence[Chunk]) -> list[int]:
    return [token for chunk in chunks for token in chunk.token_ids]


def alone(backend: TorchBackend, prompt: tuple[int, ...], values: SamplingSettings) -> list[int]:
    tokens = list(iter_tokens(backend, CODEC, prompt, values))
    return tokens[: tokens.index(CODEC.fim.eot)] if CODEC.fim.eot in tokens else tokens


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("shape", ["multi-query", "multi-head", "odd", "untied"])
@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        replace(LIMITS, prefill_chunk=3),
        replace(LIMITS, max_rows=1),
        replace(LIMITS, max_rows=1, guesses=0),
        replace(LIMITS, kept_bytes=0),
        replace(LIMITS, max_rows=9),
    ],
    ids=["rows", "chunks", "guesses", "one row", "nothing kept", "many rows"],
)
def test_tokens_are_those_that_each_request_draws_alone(shape: str, limits: SchedulerLimits, compiled: bool) -> None:
    backend = backend_of(shape)
    values = [SamplingSettings(max_new_tokens=3 + 5 * number % 17) for number in range(9)]
    prompts = random_prompts(9, 20)
    requests = [GenerationRequest(prompt, value) for prompt, value in zip(prompts, values)]
    expected = [alone(backend, prompt, value) for prompt, value in zip(prompts, values)]
    scheduler = Scheduler(backend_of(shape, compiled), CODEC, limits)
    assert [ids_of(chunks) for chunks in run(scheduler, requests)] == expected


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_request_has_its_own_seed_whoever_else_is_there(temperature: float) -> None:
    backend, prompt = backend_of("multi-query"), (4, 8, 15, 16, 23, 42)
    values = [SamplingSettings(max_new_tokens=15, temperature=temperature, top_k=20, seed=seed) for seed in range(6)]
    found = [
        ids_of(chunks) for chunks in run(Scheduler(backend, CODEC, LIMITS), [GenerationRequest(prompt, v) for v in values])
    ]
    assert found == [alone(backend, prompt, value) for value in values]
    assert (len({tuple(ids) for ids in found}) > 1) == (temperature > 0)


def test_requests_join_and_leave_between_two_tokens() -> None:
    backend, (first, second, third) = backend_of("multi-query"), random_prompts(3, 12, seed=5)
    scheduler = Scheduler(backend, CODEC, LIMITS)
    said: dict[str, list[Chunk]] = {name: [] for name in "abc"}
    long, short = SamplingSettings(max_new_tokens=20), SamplingSettings(max_new_tokens=4)
    scheduler.submit(GenerationRequest(first, long), said["a"].append)
    for _ in range(5):
        scheduler.step()
    assert 0 < len(ids_of(said["a"])) < 20
    scheduler.submit(GenerationRequest(second, short), said["b"].append)
    scheduler.submit(GenerationRequest(third, long), said["c"].append)
    while not said["b"] or said["b"][-1].finish_reason is None:
        scheduler.step()
    assert scheduler.num_running == 2
    finish(scheduler)
    assert ids_of(said["a"]) == alone(backend, first, long)
    assert ids_of(said["b"]) == alone(backend, second, short)
    assert ids_of(said["c"]) == alone(backend, third, long)


def test_a_long_prompt_does_not_hold_up_the_others() -> None:
    backend = TorchBackend(random_model(ModelConfig(97, 32, 2, 4, 1, 128, 400)))
    scheduler = Scheduler(backend, CODEC, SchedulerLimits(max_rows=2, prefill_chunk=10, guesses=0))
    said: list[Chunk] = []
    scheduler.submit(GenerationRequest((1, 2, 3), SamplingSettings(max_new_tokens=60)), said.append)
    scheduler.step()
    late: list[Chunk] = []
    prompt = tuple(number % 90 for number in range(300))
    scheduler.submit(GenerationRequest(prompt, SamplingSettings(max_new_tokens=5)), late.append)
    before = len(ids_of(said))
    while not late:
        scheduler.step()
    # Thirty chunks of the prompt, and a token of the other request with each.
    assert len(ids_of(said)) - before == 30
    finish(scheduler)
    assert ids_of(late) == alone(backend, prompt, SamplingSettings(max_new_tokens=5))


def test_a_cancelled_request_says_nothing_more_and_frees_its_row() -> None:
    backend, (first, second) = backend_of("multi-query"), random_prompts(2, 10, seed=3)
    scheduler = Scheduler(backend, CODEC, replace(LIMITS, max_rows=2))
    values = SamplingSettings(max_new_tokens=25)
    gone: list[Chunk] = []
    kept: list[Chunk] = []
    ticket = scheduler.submit(GenerationRequest(first, values), gone.append)
    scheduler.submit(GenerationRequest(second, values), kept.append)
    for _ in range(6):
        scheduler.step()
    ticket.cancel()
    heard = len(gone)
    scheduler.step()
    assert scheduler.num_running == 1
    finish(scheduler)
    assert len(gone) == heard
    assert ids_of(kept) == alone(backend, second, values)
    assert (scheduler.counts.cancelled, scheduler.counts.finished) == (1, 1)


def test_a_request_that_is_cancelled_while_it_waits_never_begins() -> None:
    scheduler = Scheduler(backend_of("multi-query"), CODEC, replace(LIMITS, max_rows=1))
    said: list[list[Chunk]] = [[], []]
    request = GenerationRequest((1, 2), SamplingSettings(max_new_tokens=3))
    tickets = [scheduler.submit(request, chunks.append) for chunks in said]
    tickets[1].cancel()
    finish(scheduler)
    assert (len(ids_of(said[0])), said[1], scheduler.counts.cancelled) == (3, [], 1)


def test_the_next_request_of_an_editor_begins_where_it_differs() -> None:
    backend = backend_of("multi-query")
    scheduler = Scheduler(backend, CODEC, LIMITS)
    prompt, values = tuple(range(10, 40)), SamplingSettings(max_new_tokens=4)
    (first,) = run(scheduler, [GenerationRequest(prompt, values)])
    typed = (*prompt, *ids_of(first)[:2], 7)
    (second,) = run(scheduler, [GenerationRequest(typed, values)])
    assert ids_of(second) == alone(backend, typed, values)
    assert scheduler.counts.reused_tokens == len(typed) - 1
    (third,) = run(scheduler, [GenerationRequest((*prompt[:20], 1, 2, 3), values)])
    assert ids_of(third) == alone(backend, (*prompt[:20], 1, 2, 3), values)
    assert scheduler.counts.reused_tokens == len(typed) - 1 + 20


def test_requests_with_one_prompt_read_it_once() -> None:
    backend, prompt = backend_of("multi-head"), tuple(range(30))
    scheduler = Scheduler(backend, CODEC, replace(LIMITS, kept_bytes=0))
    values = [SamplingSettings(max_new_tokens=6, temperature=1.0, seed=seed) for seed in range(4)]
    found = run(scheduler, [GenerationRequest(prompt, value) for value in values])
    assert [ids_of(chunks) for chunks in found] == [alone(backend, prompt, value) for value in values]
    assert scheduler.counts.reused_tokens == 3 * 29


def repeating_model() -> Transformer:
    """Return a model that says what followed its last token before, as positions and the other tokens hardly count."""
    model = random_model(SHAPES["multi-query"])
    with torch.no_grad():
        model.position_embedding.weight.mul_(0.01)
        for block in model.blocks:
            block.attention.out_proj.weight.mul_(0.01)  # type: ignore[union-attr, operator] # it is a block
    return model


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
def test_guesses_save_passes_and_change_nothing(compiled: bool) -> None:
    backend, values = TorchBackend(repeating_model(), compiled), SamplingSettings(max_new_tokens=30)
    quick, plain = (Scheduler(backend, CODEC, replace(LIMITS, guesses=guesses)) for guesses in (32, 0))
    for prompt in random_prompts(6, 12, seed=9):
        expected = alone(backend, prompt, values)
        assert [ids_of(chunks) for chunks in run(quick, [GenerationRequest(prompt, values)])] == [expected]
        assert [ids_of(chunks) for chunks in run(plain, [GenerationRequest(prompt, values)])] == [expected]
    assert quick.counts.guessed_tokens > 40
    assert quick.counts.steps < plain.counts.steps - 30
    assert plain.counts.guessed_tokens == 0


def test_a_guess_that_holds_an_end_ends_there() -> None:
    backend = TorchBackend(repeating_model())
    prompt = random_prompts(6, 12, seed=9)[0]
    said = alone(backend, prompt, SamplingSettings(max_new_tokens=30))
    for end in range(1, len(said)):
        values = SamplingSettings(max_new_tokens=end)
        (chunks,) = run(Scheduler(backend, CODEC, LIMITS), [GenerationRequest(prompt, values)])
        assert ids_of(chunks) == said[:end]
        assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]


def test_stop_texts_and_end_of_text_end_a_request_among_others() -> None:
    backend, values = backend_of("odd"), SamplingSettings(max_new_tokens=20)
    prompts = random_prompts(8, 10, seed=11)
    texts = [complete(backend, CODEC, prompt, values).text for prompt in prompts]
    stops = [replace(values, stop=(text[4:7],) if len(text) > 8 else ()) for text in texts]
    expected = [complete(backend, CODEC, prompt, stop) for prompt, stop in zip(prompts, stops)]
    found = run(Scheduler(backend, CODEC, LIMITS), [GenerationRequest(p, s) for p, s in zip(prompts, stops)])
    assert ["".join(chunk.text for chunk in chunks) for chunks in found] == [completion.text for completion in expected]
    assert [chunks[-1].finish_reason for chunks in found] == [completion.finish_reason for completion in expected]
    assert "stop" in [completion.finish_reason for completion in expected]


def test_a_prompt_without_room_is_refused_and_the_context_ends_a_completion() -> None:
    backend = backend_of("multi-query")  # a context of 48
    scheduler = Scheduler(backend, CODEC, LIMITS)
    with pytest.raises(UsageError, match="a prompt of 48 tokens does not fit a context of 48"):
        scheduler.submit(GenerationRequest((1,) * 48, SamplingSettings()), lambda _: None)
    (chunks,) = run(scheduler, [GenerationRequest(tuple(range(45)), SamplingSettings(max_new_tokens=9))])
    assert (len(ids_of(chunks)), chunks[-1].finish_reason) == (3, "length")


def test_rows_become_longer_when_a_request_needs_it() -> None:
    backend = TorchBackend(random_model(ModelConfig(97, 32, 2, 4, 1, 128, 700)))
    prompts = [tuple(number * 7 % 90 for number in range(length)) for length in (5, 9, 640, 300)]
    values = SamplingSettings(max_new_tokens=30)
    scheduler = Scheduler(backend, CODEC, LIMITS)
    said: list[list[Chunk]] = [[] for _ in prompts]
    for number, prompt in enumerate(prompts):
        scheduler.submit(GenerationRequest(prompt, values), said[number].append)
        if number:
            for _ in range(6):
                scheduler.step()
    finish(scheduler)
    assert [ids_of(chunks) for chunks in said] == [alone(backend, prompt, values) for prompt in prompts]


@torch.inference_mode()
def test_scores_are_the_models_own() -> None:
    backend, prompt = backend_of("multi-query"), (3, 1, 4, 1, 5)
    values = SamplingSettings(max_new_tokens=6, temperature=1.3, top_k=3, seed=4)
    others = [GenerationRequest(other, SamplingSettings(max_new_tokens=8)) for other in random_prompts(3, 9)]
    chunks = run(Scheduler(backend, CODEC, LIMITS), [GenerationRequest(prompt, values, num_scores=4), *others])[0]
    ids = list(prompt)
    for chunk in chunks:
        (scores,) = chunk.scores
        logits_V = backend.model(torch.tensor([ids]))[0, -1]
        logprobs_V = torch.log_softmax(logits_V + forbidden_mask(CODEC, logits_V.numel()), dim=-1)
        assert scores.token_id == chunk.token_ids[0]
        assert scores.logprob == pytest.approx(float(logprobs_V[scores.token_id]), abs=1e-4)
        assert [token for token, _ in scores.likeliest] == torch.topk(logprobs_V, 4).indices.tolist()
        assert all(token < CODEC.vocab_size and token not in (91, 92, 93, 94) for token, _ in scores.likeliest)
        ids.append(scores.token_id)
    plain = run(Scheduler(backend, CODEC, LIMITS), [GenerationRequest(prompt, values)])[0]
    assert not any(chunk.scores for chunk in plain)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 40))
def test_any_order_of_events_gives_every_request_its_tokens(seed: int, rows: int, chunk: int) -> None:
    rng = random.Random(seed)
    backend = _BACKEND
    scheduler = Scheduler(backend, CODEC, SchedulerLimits(rows, chunk, rng.choice([0, 10_000, 10**7]), rng.random() < 0.7))
    beginning = tuple(rng.randrange(90) for _ in range(10))
    told: list[tuple[GenerationRequest, Ticket, list[Chunk]]] = []
    for _ in range(8):
        prompt = (*beginning[: rng.randint(0, 10)], *(rng.randrange(90) for _ in range(rng.randint(1, 12))))
        values = SamplingSettings(max_new_tokens=rng.randint(1, 20), temperature=rng.choice([0.0, 0.0, 0.8]), seed=seed)
        request, chunks = GenerationRequest(prompt, values), []
        told.append((request, scheduler.submit(request, chunks.append), chunks))
        for _ in range(rng.randint(0, 6)):
            scheduler.step()
        if rng.random() < 0.2:
            rng.choice(told)[1].cancel()
    finish(scheduler)
    for request, ticket, chunks in told:
        expected = alone(backend, request.prompt, request.settings)
        found = ids_of(chunks)
        assert found == (expected[: len(found)] if ticket.cancelled and not ticket.finished else expected)


_BACKEND = TorchBackend(random_model(SHAPES["multi-query"]))
