"""Model folders: shards and index, what is refused, and conversion from one folder to another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTBigCodeForCausalLM

from stackwright.errors import CheckpointError, StackwrightError
from stackwright.model.convert import convert_folder
from stackwright.model.hub_config import from_hub_config, to_hub_config
from stackwright.model.hub_folder import HubFolder, load_model_folder, save_model_folder
from tests.model.shapes import GPT_BIGCODE, SHAPES, in_transformers, random_ids, random_model

INDEX = "model.safetensors.index.json"


def sharded(folder: Path, name: str = "grouped, untied") -> Path:
    """Return a folder that transformers wrote in several files."""
    theirs = in_transformers(random_model(SHAPES[name]), folder / "whole")
    theirs.save_pretrained(folder / "shards", max_shard_size="40kB")
    assert len(list((folder / "shards").glob("model-*.safetensors"))) > 3
    return folder / "shards"


@pytest.mark.parametrize("name", ["grouped, untied", "multi-query", "multi-head", "untied"])
@torch.inference_mode()
def test_shards_of_transformers_load(name: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path, name)
    ours, expected = load_model_folder(folder), random_model(SHAPES[name])
    assert ours.config == SHAPES[name]
    for tensor_name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[tensor_name])
    assert ours.head.weight is ours.token_embedding.weight or not ours.config.tied_embeddings


@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_converted_folders_load_in_transformers(name: str, tmp_path: Path) -> None:
    model = random_model(SHAPES[name])
    save_model_folder(tmp_path / "ours", model, eot_id=7)
    (tmp_path / "theirs").mkdir()
    shards = convert_folder(HubFolder.open(tmp_path / "ours"), tmp_path / "theirs", 7, torch.float32, 20_000)
    assert len(shards) > 1
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs").eval()
    ids = random_ids(model.config, 2, 30)
    assert torch.allclose(model(ids), theirs(ids).logits, atol=1e-4)
    assert theirs.config.eos_token_id == 7
    assert (tmp_path / "theirs" / INDEX).is_file()
    for shard in shards:
        path = tmp_path / "theirs" / shard.name
        assert path.stat().st_size < 22_000 or len(shard.tensors) == 1
        assert load_file(path).keys() == {tensor.name for tensor in shard.tensors}


def test_a_converted_folder_in_bfloat16_is_half_as_large_and_rounded(tmp_path: Path) -> None:
    model = random_model(SHAPES["grouped, window"])
    save_model_folder(tmp_path / "ours", model, eot_id=0)
    (tmp_path / "half").mkdir()
    (shard,) = convert_folder(HubFolder.open(tmp_path / "ours"), tmp_path / "half", 0, torch.bfloat16)
    tensors = load_file(tmp_path / "half" / shard.name)
    assert torch.equal(tensors["model.embed_tokens.weight"], model.token_embedding.weight.detach().bfloat16())
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


@torch.inference_mode()
def test_the_first_release_of_santacoder_is_recognised_and_converted(tmp_path: Path) -> None:
    model = random_model(GPT_BIGCODE["multi-query"])
    width = model.config.hidden_size
    theirs = in_transformers(model, tmp_path / "new")
    assert isinstance(theirs, GPTBigCodeForCausalLM)
    old: dict[str, torch.Tensor] = {}
    for name, tensor in theirs.state_dict().items():
        if name.startswith("transformer.h.") and name.endswith("c_attn.weight"):
            old[name.replace("c_attn", "q_attn")] = tensor[:width].t().contiguous()
            old[name.replace("c_attn", "kv_attn")] = tensor[width:].t().contiguous()
        elif name.endswith("c_attn.bias"):
            old[name.replace("c_attn", "q_attn")] = tensor[:width].clone()
            old[name.replace("c_attn", "kv_attn")] = tensor[width:].clone()
        elif name.startswith("transformer.h.") and tensor.dim() == 2:
            old[name] = tensor.t().contiguous()
        elif name != "lm_head.weight":
            old[name] = tensor.clone()
    old["transformer.h.0.attn.bias"] = torch.ones(1, 1, 48, 48)
    old["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    folder = tmp_path / "old"
    folder.mkdir()
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadCustomModel"],
        "auto_map": {"AutoModelForCausalLM": "modeling_gpt2_mq.GPT2LMHeadCustomModel"},
        "attention_head_type": "multiquery",
        "activation_function": "gelu_pytorch_tanh",
        "n_embd": 32,
        "n_head": 4,
        "n_layer": 2,
        "n_positions": 48,
        "n_inner": 128,
        "vocab_size": 97,
    }
    (folder / "config.json").write_text(json.dumps(config))
    ids = random_ids(model.config, 2, 48)
    assert torch.allclose(load_model_folder(folder)(ids), theirs(ids).logits, atol=1e-4)
    (tmp_path / "converted").mkdir()
    convert_folder(HubFolder.open(folder), tmp_path / "converted", 0, torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "converted").eval()
    assert type(converted).__name__ == "GPTBigCodeForCausalLM"
    assert torch.allclose(converted(ids).logits, theirs(ids).logits, atol=1e-4)


def change_index(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = {name: file for name, file in {**index["weight_map"], **changes}.items() if file is not None}
    (folder / INDEX).write_text(json.dumps(index))


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    first, second = sorted(folder.glob("model-*.safetensors"))[:2]
    kept = {path: path.read_bytes() for path in folder.iterdir()}

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            HubFolder.open(folder)
        for path, data in kept.items():
            path.write_bytes(data)

    second.write_bytes(kept[second][:-100])
    refused(rf"{second.name} is damaged")
    second.unlink()
    refused(rf"has no {second.name}, which its {INDEX} names")
    duplicated, *_ = load_file(first)
    save_file({**load_file(second), duplicated: load_file(first)[duplicated]}, second)
    refused(rf"tensor {duplicated} is in {first.name} and in .*{second.name}")
    name, *_ = load_file(first)
    save_file({other: tensor for other, tensor in load_file(first).items() if other != name}, first)
    refused(rf"{first.name} lacks the tensor {name}, which {INDEX} says it has")
    change_index(folder, **{"model.norm.weight": "../elsewhere.safetensors"})
    refused(r"names the file '../elsewhere.safetensors', which is not in its own folder")
    (folder / INDEX).write_text('{"weight_map": 3}')
    refused("is damaged")
    HubFolder.open(folder)


def test_a_stored_head_that_is_not_the_embedding_is_refused(tmp_path: Path) -> None:
    model = random_model(SHAPES["multi-query"])
    save_model_folder(tmp_path, model, eot_id=0)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "lm_head.weight": tensors["transformer.wte.weight"].clone()}, path)
    load_model_folder(tmp_path)
    save_file({**tensors, "lm_head.weight": tensors["transformer.wte.weight"] + 1}, path)
    with pytest.raises(CheckpointError, match=r"tie_word_embeddings true, but lm_head.weight is not transformer.wte.weight"):
        load_model_folder(tmp_path)


def test_nothing_is_left_of_a_conversion_that_fails(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    shutil.copytree(folder, tmp_path / "cut")
    last = max((tmp_path / "cut").glob("model-*"))
    opened = HubFolder.open(tmp_path / "cut")
    last.write_bytes(last.read_bytes()[:-50])
    (tmp_path / "out").mkdir()
    with pytest.raises(StackwrightError, match="is damaged"):
        convert_folder(opened, tmp_path / "out", 0, torch.float32)


@pytest.mark.parametrize("name", SHAPES)
def test_a_configuration_comes_back(name: str) -> None:
    assert from_hub_config(to_hub_config(SHAPES[name], 0)) == SHAPES[name]


GROUPED = to_hub_config(SHAPES["grouped, window"], 0)
MULTI_QUERY = to_hub_config(SHAPES["multi-query"], 0)


@pytest.mark.parametrize(
    ("config", "changes", "match"),
    [
        (GROUPED, {"num_key_value_heads": 4}, r"num_attention_heads mod num_key_value_heads 2, but it must be 0"),
        (GROUPED, {"hidden_size": 49}, r"hidden_size mod num_attention_heads 1, but it must be 0"),
        (GROUPED, {"head_dim": 16}, r"head_dim 16, but hidden_size / num_attention_heads 8"),
        (GROUPED, {"use_bias": False}, r"asks for use_bias false, .*; only true is known"),
        (GROUPED, {"mlp_type": "gated"}, r'asks for mlp_type "gated", .*; only "default"'),
        (GROUPED, {"norm_type": "rms_norm"}, r'norm_type "rms_norm"'),
        (GROUPED, {"rope_scaling": {"type": "linear"}}, r"rope_scaling"),
        (GROUPED, {"hidden_act": "silu"}, r'hidden_act "silu"'),
        (GROUPED, {"rope_parameters": {"rope_theta": 5.0}}, r"rope_theta 10000.0, but rope_parameters.rope_theta 5.0"),
        (GROUPED, {"rope_parameters": {"rope_type": "yarn"}}, r'rope_parameters asks for rope_type "yarn"'),
        (GROUPED, {"layer_types": ["full_attention"] * 2}, r"layer_types \['full_attention'\], but with sliding_window 16"),
        (GROUPED, {"num_hidden_layers": None}, r"lacks 'num_hidden_layers'"),
        (GROUPED, {"tie_word_embeddings": "yes"}, r"tie_word_embeddings 'yes', which is not true or false"),
        (MULTI_QUERY, {"num_key_value_heads": 4}, r"num_key_value_heads 4, but multi_query 1"),
        (MULTI_QUERY, {"scale_attn_by_inverse_layer_idx": True}, r"scale_attn_by_inverse_layer_idx true"),
        (MULTI_QUERY, {"n_layer": 2.5}, r"n_layer 2.5, a value of a wrong type"),
        (MULTI_QUERY, {"model_type": "gpt2"}, r"model_type 'gpt2'; give a gpt_bigcode or starcoder2 model"),
    ],
)
def test_contradictions_and_unknown_mathematics_are_refused_with_both_values(
    config: dict[str, Any], changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(CheckpointError, match=match):
        from_hub_config({**config, **changes})


def test_settings_nobody_knows_are_passed_over_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert from_hub_config({**GROUPED, "turbo": 3, "residual_dropout": 0.1}).dropout == 0.1
    assert "turbo 3, which is not known here" in caplog.text
    assert "residual_dropout 0.1, attention_dropout 0.0" in caplog.text
