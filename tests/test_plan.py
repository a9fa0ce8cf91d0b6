"""The planner: the figures of the model cards to the digit, and arithmetic against models that exist."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from stackwright.cli import app
from stackwright.errors import UsageError
from stackwright.model.footprint import (
    count_parameters,
    forward_flops_per_token,
    kv_cache_bytes,
    mean_tokens_seen,
    model_card_bytes,
)
from stackwright.plan import Plan
from stackwright.recipe import load_recipe
from tests.model.shapes import SHAPES, random_ids, random_model

CARDS = {
    "starcoder2-3b": {"float32": "12624.81", "bfloat16": "6312.41", "int8": "3434.07", "int4": "1994.90"},
    "starcoder2-7b": {"float32": "29232.57", "bfloat16": "14616.29", "int8": "7670.52", "int4": "4197.64"},
    "starcoder2-15b": {"float32": "64502.65", "bfloat16": "32251.33", "int8": "16900.18", "int4": "9224.60"},
}


@pytest.mark.parametrize("name", CARDS)
def test_the_footprints_of_the_cards_to_the_digit(name: str) -> None:
    config = Plan.of(load_recipe(name)).config
    found = {precision: f"{model_card_bytes(config, precision) / 1e6:.2f}" for precision in CARDS[name]}  # type: ignore[arg-type]
    assert found == CARDS[name]


def test_what_is_published_of_weights_and_cache() -> None:
    seven = Plan.of(load_recipe("starcoder2-7b"))
    assert (count_parameters(seven.config).linear, count_parameters(seven.config).others) == (6_945_767_424, 228_156_416)
    here = seven.to_json()["weights_bytes"]
    assert (f"{here['float32'] / 1e6:.2f}", f"{here['bfloat16'] / 1e6:.2f}") == ("28695.70", "14347.85")
    per_token = {"santacoder": 12_288, "starcoder2-3b": 30_720, "starcoder2-7b": 65_536, "starcoder2-15b": 81_920}
    for name, size in per_token.items():
        config = Plan.of(load_recipe(name)).config
        assert kv_cache_bytes(config, 1) == size
        assert kv_cache_bytes(config, config.max_seq_len) == size * (2048 if name == "santacoder" else 4096)


def test_santacoders_training_is_of_the_published_size() -> None:
    plan = Plan.of(load_recipe("santacoder"), num_gpus=96, gpu="v100")
    assert plan.tokens_per_step == 393_216
    assert plan.tokens == 235_929_600_000
    assert plan.flops == pytest.approx(2.1e21, rel=0.1)  # theirs leaves the mask out of account and counts 6 N per token


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("num_tokens", [1, 17, 40])
def test_a_token_sees_as_many_as_the_mask_lets_it(name: str, num_tokens: int) -> None:
    config = SHAPES[name]
    seen = [min(place + 1, config.window or num_tokens) for place in range(num_tokens)]
    assert mean_tokens_seen(config, num_tokens) == pytest.approx(sum(seen) / num_tokens)


@pytest.mark.parametrize("name", ["multi-query", "multi-head", "grouped, no window", "rope, multi-head"])
def test_flops_are_those_that_torch_counts(name: str) -> None:
    config, num_tokens = SHAPES[name], 40
    # The plain form of attention: torch does not count the fused one of a processor. It knows no mask.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        random_model(config)(random_ids(config, 1, num_tokens))
    unseen = config.num_layers * 4 * config.hidden_size * (num_tokens - mean_tokens_seen(config, num_tokens))
    assert (forward_flops_per_token(config, num_tokens) + unseen) * num_tokens == pytest.approx(counter.get_total_flops())


def test_ranks_share_what_can_be_shared_and_days_follow_the_gpus() -> None:
    recipe = load_recipe("starcoder2-3b")
    one, many = Plan.of(recipe), Plan.of(recipe, num_gpus=8)
    assert one.training_bytes()["optimizer"] == 8 * 3_030_371_328
    assert many.training_bytes()["optimizer"] == 3_030_371_328
    assert many.training_bytes()["activations"] == one.training_bytes()["activations"]
    assert one.seconds == pytest.approx(8 * many.seconds)
    assert not Plan.of(load_recipe("starcoder2-15b")).to_json()["training"]["fits"]
    with pytest.raises(UsageError, match="GPU 'h10' is not known; did you mean 'h100'"):
        Plan.of(recipe, gpu="h10")


def test_the_command_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["plan", "starcoder2-7b", "--gpus", "432"])
    assert shown.exit_code == 0
    for text in ("7,173,923,840 parameters", "29,232.57", "4,197.64", "65,536 bytes a token", "on 432 h100"):
        assert text in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "model card" not in CliRunner().invoke(app, ["plan", "santacoder"]).output
    facts = json.loads(CliRunner().invoke(app, ["plan", "tiny", "--json", "--set", "train.steps=5"]).output)
    assert facts["training"]["tokens"] == 5 * 2048


@pytest.mark.parametrize(
    ("name", "base"), [("starcoder2-3b", 3.1e12), ("starcoder2-7b", 3.5e12), ("starcoder2-15b", 4.1e12)]
)
def test_the_long_part_of_a_training_counts(name: str, base: float) -> None:
    """FACTS F4: the published tokens of the base, and 200 G more at 16,384, where a token costs more attention."""
    recipe = load_recipe(name)
    whole, alone = Plan.of(recipe), Plan.of(recipe.model_copy(update={"long_context": None}))
    assert alone.tokens == pytest.approx(base, rel=0.03)
    assert whole.tokens - alone.tokens == pytest.approx(200e9, rel=1e-4)
    assert (whole.flops - alone.flops) / (whole.tokens - alone.tokens) > alone.flops / alone.tokens
