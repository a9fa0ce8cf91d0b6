"""Streams are safe to show, completions end for the stated reason, and greedy tokens are those of transformers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from stackwright.errors import CheckpointError, TargetError, UsageError
from stackwright.generate.backend import TorchBackend
from stackwright.generate.engine import complete, forbidden_mask, generate, iter_tokens
from stackwright.generate.infill import build_prompt
from stackwright.generate.load import find_model_folder, load_model
from stackwright.generate.sampling import Sampler, SamplingSettings, filter_top_k, filter_top_p
from stackwright.generate.stream import TextStream
from stackwright.model.hub_folder import save_model_folder
from stackwright.tokenizer.special_tokens import FimIds
from tests.fakes import ByteTokenizer, ScriptedBackend
from tests.model.test_transformer import SHAPES, random_model

CODEC = ByteTokenizer()
FIM = CODEC.fim


def say(text: str | bytes, *, end: list[int] | None = None, **settings: object) -> list[tuple[str, str | None]]:
    data = text if isinstance(text, bytes) else text.encode()
    backend = ScriptedBackend([*data, *([FIM.eot] if end is None else end)], max_seq_len=500)
    values = SamplingSettings(**{"max_new_tokens": 400, **settings})  # type: ignore[arg-type]
    return [(chunk.text, chunk.finish_reason) for chunk in generate(backend, CODEC, [1], values)]


@given(st.text(max_size=30))
def test_a_stream_joins_to_the_text_and_shows_no_broken_character(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    chunks = say(text)
    assert "".join(piece for piece, _ in chunks) == text
    assert chunks[-1][1] == "eot"
    assert all(reason is None for _, reason in chunks[:-1])
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece, _ in chunks)


def test_a_character_cut_off_at_the_end_is_dropped() -> None:
    assert "".join(piece for piece, _ in say("aé".encode()[:-1])) == "a"


@given(st.text(alphabet="ab\n", max_size=25), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_and_nothing_of_it_is_shown(text: str, stop: list[str]) -> None:
    chunks = say(text, stop=tuple(stop))
    shown = "".join(piece for piece, _ in chunks)
    # The stop that is complete first decides; what stands before its beginning is shown.
    ends = [(text.find(word) + len(word), text.find(word)) for word in stop if word in text]
    if ends:
        first_end = min(end for end, _ in ends)
        assert shown == text[: min(start for end, start in ends if end == first_end)]
        assert chunks[-1][1] == "stop"
    else:
        assert (shown, chunks[-1][1]) == (text, "eot")


def test_held_back_text_is_given_out_when_the_stop_does_not_come() -> None:
    stream = TextStream(["END"])
    assert [stream.feed(b"xE"), stream.feed(b"N"), stream.feed(b"x"), stream.feed(b"E"), stream.finish()] == [
        "x",
        "",
        "ENx",
        "",
        "E",
    ]


def test_length_ends_a_completion_and_counts_are_right() -> None:
    completion = complete(ScriptedBackend(b"abcdef"), CODEC, [1, 2], SamplingSettings(max_new_tokens=3))
    assert (completion.text, completion.finish_reason, completion.num_prompt_tokens) == ("abc", "length", 2)
    assert completion.to_json()["num_new_tokens"] == 3


def test_the_context_ends_a_completion() -> None:
    completion = complete(ScriptedBackend(b"a" * 20, max_seq_len=10), CODEC, [1] * 6, SamplingSettings(max_new_tokens=9))
    assert (len(completion.token_ids), completion.finish_reason) == (4, "length")
    with pytest.raises(UsageError, match="a prompt of 10 tokens does not fit a context of 10"):
        complete(ScriptedBackend(b"a", max_seq_len=10), CODEC, [1] * 10, SamplingSettings())


def test_sentinels_and_padding_are_never_drawn() -> None:
    mask = forbidden_mask(CODEC, 300)
    allowed = set(torch.nonzero(mask == 0).flatten().tolist())
    assert allowed == {*range(256), FIM.eot}
    script = [FIM.middle, FIM.pad, FIM.prefix, FIM.suffix, 270]
    completion = complete(ScriptedBackend(script, vocab_size=300), CODEC, [1], SamplingSettings(max_new_tokens=5))
    assert set(completion.token_ids) <= allowed


def test_top_k_and_top_p_keep_what_they_say() -> None:
    scores = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))
    assert torch.isfinite(filter_top_k(scores, 2)).tolist() == [False, True, False, True]
    assert torch.isfinite(filter_top_k(scores, 9)).all()
    assert torch.isfinite(filter_top_p(scores, 0.35)).tolist() == [False, True, False, False]
    assert torch.isfinite(filter_top_p(scores, 0.45)).tolist() == [False, True, False, True]
    assert torch.isfinite(filter_top_p(scores, 0.95)).all()
    assert torch.isfinite(filter_top_p(scores, 1e-9)).sum() == 1


def frequencies(settings: SamplingSettings, draws: int = 4000) -> list[float]:
    sampler, scores = Sampler(settings), torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))
    counts = torch.bincount(torch.tensor([sampler.next(scores) for _ in range(draws)]), minlength=4)
    return (counts / draws).tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        ({"temperature": 1.0, "top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"temperature": 1.0, "top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"temperature": 0.0, "top_k": 3}, [0, 1, 0, 0]),
    ],
)
def test_draws_follow_the_stated_distribution(settings: dict[str, float], expected: list[float]) -> None:
    assert frequencies(SamplingSettings(**settings)) == pytest.approx(expected, abs=0.03)  # type: ignore[arg-type]


def test_the_seed_decides_the_draws() -> None:
    backend = TorchBackend(random_model(SHAPES["untied"]))

    def draw(seed: int) -> list[int]:
        settings = SamplingSettings(max_new_tokens=20, temperature=1.0, seed=seed)
        return list(iter_tokens(backend, NarrowCodec(), [1, 2, 3], settings))

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


class NarrowCodec(ByteTokenizer):
    """A vocabulary as small as the random models'."""

    fim = FimIds(eot=90, prefix=91, middle=92, suffix=93, pad=94)
    vocab_size = 95


@pytest.mark.parametrize("shape", ["multi-query", "multi-head"])
def test_greedy_tokens_equal_those_of_transformers(tmp_path: Path, shape: str) -> None:
    model = random_model(SHAPES[shape])
    save_model_folder(tmp_path, model, eot_id=0)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompt = torch.tensor([[5, 17, 3, 60]])
    expected = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=30, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    session = TorchBackend(model).open(40)
    found, fed = [], prompt[0].tolist()
    for _ in range(30):
        found.append(int(session.feed(fed).argmax()))
        fed = found[-1:]
    assert found == expected[0, 4:].tolist()


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_single_tokens_equal_the_forward_pass(shape: str, compiled: bool) -> None:
    model = random_model(SHAPES[shape])
    ids = torch.randint(0, model.config.vocab_size, (1, 25), generator=torch.Generator().manual_seed(2))
    session, full = TorchBackend(model, compiled).open(25), model(ids)
    assert torch.allclose(session.feed(ids[0, :10].tolist()), full[0, 9], atol=1e-4)
    for place in range(10, 25):
        assert torch.allclose(session.feed([int(ids[0, place])]), full[0, place], atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_a_few_tokens_of_some_rows_equal_the_forward_pass(shape: str, compiled: bool) -> None:
    model = random_model(SHAPES[shape])
    for block in model.blocks:
        block.attention.qkv_proj.weight.mul_(8)  # so that it matters which query looks at which keys
    ids_BT = torch.randint(0, model.config.vocab_size, (3, 25), generator=torch.Generator().manual_seed(3))
    rows, full_BTV = TorchBackend(model, compiled).open_rows(3), model(ids_BT)
    for row, length in enumerate((10, 3, 14)):
        rows.feed(row, ids_BT[row, :length].tolist())
    for counts in [(1, 1, 1), (3, 0, 1), (0, 2, 0), (1, 5, 4)]:
        before = [rows.length(row) for row in range(3)]
        added = [ids_BT[row, before[row] : before[row] + count].tolist() for row, count in enumerate(counts)]
        expected = [full_BTV[row, before[row] + place] for row, count in enumerate(counts) for place in range(count)]
        assert torch.allclose(rows.step(added), torch.stack(expected), atol=1e-4)
        assert [rows.length(row) for row in range(3)] == [length + count for length, count in zip(before, counts)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens 0 is not positive; give 1 or more"),
        ({"temperature": -1.0}, "temperature -1.0 is not a number from 0 up; give 0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"top_p": 0.0}, "top_p 0.0 is not above 0 and up to 1; give 1"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"top_k": 0}, "top_k 0 is not positive; leave it out"),
        ({"stop": ("",)}, "a stop text is empty; leave it out"),
        ({"seed": 2**64}, "does not fit 64 bits"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SamplingSettings(**settings)  # type: ignore[arg-type]


def test_prompts_keep_what_is_next_to_the_gap(caplog: pytest.LogCaptureFixture) -> None:
    assert build_prompt(CODEC, "ab", None, 10) == [97, 98]
    assert build_prompt(CODEC, "", None, 10) == [FIM.eot]
    assert build_prompt(CODEC, "ab", "yz", 10) == [FIM.prefix, 97, 98, FIM.suffix, 121, 122, FIM.middle]
    assert build_prompt(CODEC, "", "", 10) == [FIM.prefix, FIM.suffix, FIM.middle]
    with caplog.at_level(logging.WARNING):
        assert build_prompt(CODEC, "abcdef", None, 3) == [100, 101, 102]
        assert build_prompt(CODEC, "a" * 50 + "b", "y" + "z" * 50, 12) == [
            FIM.prefix, *b"aaaaab", FIM.suffix, *b"yzz", FIM.middle,
        ]  # fmt: skip
        assert len(build_prompt(CODEC, "ab", "z" * 50, 12)) == 12
    assert "the prompt has 6 tokens; 3 fit the context" in caplog.text
    with pytest.raises(UsageError, match="a prompt may have 3 tokens, at least 4 are needed; lower --max-new-tokens"):
        build_prompt(CODEC, "a", "b", 3)


def test_a_model_is_found_by_run_release_checkpoint_and_running_training(run_copy: Path) -> None:
    assert find_model_folder(run_copy) == run_copy / "release"
    assert find_model_folder(run_copy / "release") == run_copy / "release"
    assert find_model_folder(run_copy / "checkpoints") == run_copy / "checkpoints" / "step-000012"
    assert find_model_folder(run_copy / "checkpoints" / "step-000004").name == "step-000004"
    (run_copy / "release").rename(run_copy / "gone")
    assert find_model_folder(run_copy) == run_copy / "checkpoints" / "step-000012"
    (run_copy / ".building").mkdir(exist_ok=True)
    (run_copy / "checkpoints").rename(run_copy / ".building" / "checkpoints-0123")
    assert find_model_folder(run_copy) == run_copy / ".building" / "checkpoints-0123" / "step-000012"
    with pytest.raises(TargetError, match=r"tokens holds no model yet; run `stackwright build`"):
        find_model_folder(run_copy / "tokens")
    with pytest.raises(TargetError, match=r"model nothing is not a folder; give a run"):
        load_model("nothing")


def test_a_folder_without_our_template_finds_it_among_the_tokens(run_copy: Path) -> None:
    release = run_copy / "release"
    (release / "fim.json").unlink()
    loaded = load_model(release)
    assert loaded.tokenizer.template.prefix == "<fim-prefix>"
    assert complete(loaded.backend, loaded.tokenizer, [1], SamplingSettings(max_new_tokens=4)).token_ids
    text = (release / "tokenizer.json").read_text()
    (release / "tokenizer.json").write_text(text.replace("<fim-pad>", "<other>"))
    with pytest.raises(CheckpointError, match="has no fill-in-the-middle sentinels"):
        load_model(release)
