"""The decoder: folders in and out, the published sizes, the first weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from stackwright.errors import CheckpointError
from stackwright.model.config import ModelConfig
from stackwright.model.hub_folder import load_model_folder, save_model_folder
from stackwright.model.transformer import Transformer
from stackwright.recipe import ModelSettings, load_recipe
from tests.model.shapes import SHAPES, random_ids, random_model


@pytest.fixture(params=SHAPES, ids=str)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.mark.parametrize("multi_query", [True, False])
@torch.inference_mode()
def test_a_folder_written_by_transformers_loads(tmp_path: Path, multi_query: bool) -> None:
    torch.manual_seed(0)
    settings = {"vocab_size": 71, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32, "initializer_range": 0.3}
    theirs = GPTBigCodeForCausalLM(
        GPTBigCodeConfig(**settings, multi_query=multi_query, bos_token_id=0, eos_token_id=0)
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    ours = load_model_folder(tmp_path)
    ids = random_ids(ours.config, 2, 32)
    assert torch.allclose(ours(ids), theirs(ids).logits, atol=1e-4)


@torch.inference_mode()
def test_a_saved_model_comes_back_bit_for_bit(config: ModelConfig, tmp_path: Path) -> None:
    model = random_model(config)
    save_model_folder(tmp_path, model, eot_id=0)
    loaded = load_model_folder(tmp_path)
    assert loaded.config == config
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    assert (loaded.head.weight is loaded.token_embedding.weight) == config.tied_embeddings


@torch.inference_mode()
def test_a_batch_equals_its_rows_and_no_token_sees_the_future(config: ModelConfig) -> None:
    model = random_model(config)
    ids = random_ids(config, 3, 16)
    logits = model(ids)
    for row in range(3):
        assert torch.allclose(logits[row : row + 1], model(ids[row : row + 1]), atol=1e-5)
    changed = ids.clone()
    changed[:, 10:] = 0
    assert torch.equal(model(changed)[:, :10], logits[:, :10])


# FACTS E1: width, layers, heads, key-value heads, positions, vocabulary, parameters.
PUBLISHED = {
    "santacoder": (2048, 24, 16, 1, 2048, 49280, 1_124_886_528),
    "santacoder, multi-head": (2048, 24, 16, 16, 2048, 49280, 1_313_722_368),
    "starcoderbase-1b": (2048, 24, 16, 1, 8192, 49152, 1_137_207_296),
    "starcoderbase-3b": (2816, 36, 22, 1, 8192, 49152, 3_043_311_104),
    "starcoderbase-7b": (4096, 42, 32, 1, 8192, 49152, 7_327_263_232),
    "starcoder": (6144, 40, 48, 1, 8192, 49152, 15_517_456_384),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_met_to_the_digit(name: str) -> None:
    width, layers, heads, kv_heads, positions, vocab, expected = PUBLISHED[name]
    config = ModelConfig(vocab, width, layers, heads, kv_heads, 4 * width, positions)
    assert config.num_parameters() == expected
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert config.head_dim == 128


# FACTS E1 and E2, through the recipes.
RECIPES = {
    "santacoder": 1_124_886_528,
    "starcoder2-3b": 3_030_371_328,
    "starcoder2-7b": 7_173_923_840,
    "starcoder2-15b": 15_957_889_024,
}


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_have_the_published_sizes(name: str) -> None:
    recipe = load_recipe(name)
    after = 5 if recipe.tokenizer.sentinels == "last" else 0
    config = ModelConfig.from_settings(recipe.model, recipe.tokenizer.vocab_size + after)
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == config.num_parameters() == RECIPES[name]


def test_settings_resolve_padding_width_and_sigma() -> None:
    config = ModelConfig.from_settings(ModelSettings(hidden_size=64, num_heads=4), tokenizer_vocab_size=4101)
    assert (config.vocab_size, config.intermediate_size, config.init_std) == (4224, 256, 0.125)
    exact = ModelConfig.from_settings(ModelSettings(hidden_size=64, num_heads=4, vocab_multiple=1), 4101)
    assert exact.vocab_size == 4101
    assert ModelConfig.from_json(config.to_json()) == config
    with pytest.raises(CheckpointError, match="unknown key 'width'"):
        ModelConfig.from_json({**config.to_json(), "width": 3})


def test_initial_weights_have_the_stated_spread() -> None:
    config = ModelConfig(2000, 128, 8, 4, 1, 512, 256, init_std=0.1)
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    tensors = model.state_dict()
    assert float(tensors["token_embedding.weight"].std()) == pytest.approx(0.1, rel=0.02)
    assert float(tensors["blocks.0.feed_forward.up_proj.weight"].std()) == pytest.approx(0.1, rel=0.02)
    for name in ("blocks.3.attention.out_proj.weight", "blocks.7.feed_forward.down_proj.weight"):
        assert float(tensors[name].std()) == pytest.approx(0.1 / 4, rel=0.03)
    assert not any(tensor.any() for name, tensor in tensors.items() if name.endswith("bias"))
    assert all((tensor == 1).all() for name, tensor in tensors.items() if name.endswith("norm.weight"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model_folder(tmp_path, random_model(SHAPES["multi-query"]), eot_id=0)
    return tmp_path


def change_weights(folder: Path, **tensors: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    values = {**load_file(path), **tensors}
    save_file({name: tensor for name, tensor in values.items() if tensor is not None}, path)


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    name = "transformer.h.1.mlp.c_fc.bias"
    change_weights(folder, **{name: torch.zeros(3)})
    with pytest.raises(
        CheckpointError, match=r"tensor transformer.h.1.mlp.c_fc.bias .* has shape \(3,\), .*asks for \(128,\)"
    ):
        load_model_folder(folder)
    change_weights(folder, **{name: None})
    with pytest.raises(CheckpointError, match=r"lacks the tensor transformer.h.1.mlp.c_fc.bias; give a complete"):
        load_model_folder(folder)
    change_weights(folder, **{name: torch.zeros(128), "transformer.h.9.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"holds a tensor that the model does not have: transformer.h.9.extra"):
        load_model_folder(folder)


def test_pickles_damage_and_other_architectures_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged"):
        load_model_folder(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"has no model.safetensors"):
        load_model_folder(folder)
    (folder / "pytest_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"pytest_model.bin is a pickle, which can run code"):
        load_model_folder(folder)
    for text, message in [
        ('{"model_type": "llama"}', r"is of model_type 'llama'; give a gpt_bigcode or starcoder2 model"),
        ('{"model_type": "gpt_bigcode"}', r"lacks 'n_embd'"),
        ('{"model_type": "gpt_bigcode", "activation_function": "relu"}', r'asks for activation_function "relu"'),
        ('{"model_type": "gpt_bigcode", "n_embd": "x", "n_head": 1}', r"value of a wrong type"),
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
    ]:
        (folder / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_model_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config.json"):
        load_model_folder(folder)


@pytest.mark.parametrize(("shape", "is_stored"), [("multi-query", False), ("untied", True)])
def test_a_tied_head_is_not_stored(tmp_path: Path, shape: str, is_stored: bool) -> None:
    save_model_folder(tmp_path, random_model(SHAPES[shape]), eot_id=0)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) == is_stored  # noqa: SIM118 - not a dict
