"""Where Hugging Face's names and ours meet: configuration, tensors and folders in the `gpt_bigcode` layout.

In multi-query mode `c_attn` holds all queries, then the key, then the value, as our `qkv_proj` does. In multi-head mode its
rows are interleaved head by head (query, key, value of head 0, then of head 1 …), and are regrouped here. Matrices are
(out, in), unlike GPT-2's. A tied head is not stored (FACTS E1, K 36).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stackwright.errors import CheckpointError
from stackwright.files import sync_file, write_json
from stackwright.model.config import ModelConfig
from stackwright.model.transformer import Transformer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GENERATION_FILE = "generation_config.json"
MODEL_TYPE = "gpt_bigcode"

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")

# Our names within a block -> theirs.
_BLOCK_NAMES = {
    "attention_norm": "ln_1",
    "attention.qkv_proj": "attn.c_attn",
    "attention.out_proj": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up_proj": "mlp.c_fc",
    "feed_forward.down_proj": "mlp.c_proj",
}
_TOP_NAMES = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "head": "lm_head",
}


def hub_name(name: str) -> str:
    """Return Hugging Face's name of one of our tensors."""
    module, _, kind = name.rpartition(".")
    if module in _TOP_NAMES:
        return f"{_TOP_NAMES[module]}.{kind}"
    _, layer, rest = module.split(".", 2)
    return f"transformer.h.{layer}.{_BLOCK_NAMES[rest]}.{kind}"


def _is_interleaved(config: ModelConfig, name: str) -> bool:
    return ".qkv_proj." in name and config.num_kv_heads == config.num_heads and config.num_heads > 1


def _interleave(tensor: Tensor, config: ModelConfig) -> Tensor:
    """Regroup rows from all q, all k, all v to q, k, v of each head."""
    rest = tensor.shape[1:]
    return tensor.view(3, config.num_heads, config.head_dim, *rest).transpose(0, 1).reshape(-1, *rest)


def _group(tensor: Tensor, config: ModelConfig) -> Tensor:
    """Undo `_interleave`."""
    rest = tensor.shape[1:]
    return tensor.view(config.num_heads, 3, config.head_dim, *rest).transpose(0, 1).reshape(-1, *rest)


def to_hub_tensors(model: Transformer) -> dict[str, Tensor]:
    """Return the model's tensors under Hugging Face's names; a tied head is left out."""
    config = model.config
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "head.weight" and config.tied_embeddings:
            continue
        value = tensor.detach()
        tensors[hub_name(name)] = (_interleave(value, config) if _is_interleaved(config, name) else value).contiguous()
    return tensors


def from_hub_tensors(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return a state dict of ours from Hugging Face's tensors.

    Raises:
        CheckpointError: a tensor is missing, of another shape, or unknown; `where` names the file in the message.
    """
    with torch.device("meta"):
        expected = Transformer(config).state_dict()
    state: dict[str, Tensor] = {}
    left = set(tensors)
    for name, shape in ((name, tensor.shape) for name, tensor in expected.items()):
        theirs = hub_name(name)
        if name == "head.weight" and config.tied_embeddings:
            left.discard(theirs)
            continue
        if theirs not in tensors:
            raise CheckpointError(f"{where} lacks the tensor {theirs}", "give a complete gpt_bigcode checkpoint")
        tensor = tensors[theirs]
        if tensor.shape != shape:
            raise CheckpointError(
                f"tensor {theirs} of {where} has shape {tuple(tensor.shape)}, config.json asks for {tuple(shape)}",
                "use the configuration that belongs to the weights",
            )
        left.discard(theirs)
        state[name] = _group(tensor, config) if _is_interleaved(config, name) else tensor
    # Buffers of old versions of the library: masks, which the code makes itself.
    left = {name for name in left if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    if left:
        raise CheckpointError(f"{where} holds a tensor that the model does not have: {min(left)}", "check its model_type")
    if config.tied_embeddings:
        state["head.weight"] = state["token_embedding.weight"]
    return state


def to_hub_config(config: ModelConfig, eot_id: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return `config.json` as transformers writes it."""
    return {
        "activation_function": "gelu_pytorch_tanh",
        "architectures": ["GPTBigCodeForCausalLM"],
        "attention_softmax_in_fp32": True,
        "attn_pdrop": config.dropout,
        "bos_token_id": eot_id,
        "dtype": str(dtype).removeprefix("torch."),
        "embd_pdrop": config.dropout,
        "eos_token_id": eot_id,
        "initializer_range": config.init_std,
        "layer_norm_epsilon": config.norm_eps,
        "model_type": MODEL_TYPE,
        "multi_query": config.num_kv_heads == 1,
        "n_embd": config.hidden_size,
        "n_head": config.num_heads,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_layers,
        "n_positions": config.max_seq_len,
        "resid_pdrop": config.dropout,
        "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
        "tie_word_embeddings": config.tied_embeddings,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def from_hub_config(value: Mapping[str, Any], where: str = CONFIG_FILE) -> ModelConfig:
    """Return our configuration from `config.json`.

    Raises:
        CheckpointError: another architecture, or a setting that the model here does not have.
    """
    if value.get("model_type") != MODEL_TYPE:
        raise CheckpointError(f"{where} is of model_type {value.get('model_type')!r}", f"give a {MODEL_TYPE} model")
    activation = value.get("activation_function", "gelu_pytorch_tanh")
    if activation not in ("gelu_pytorch_tanh", "gelu_new") or value.get("scale_attn_weights", True) is not True:
        raise CheckpointError(
            f"{where} asks for activation {activation!r} or unscaled attention", "only GELU(tanh) is known"
        )
    try:
        width, heads = int(value["n_embd"]), int(value["n_head"])
        return ModelConfig(
            vocab_size=int(value["vocab_size"]),
            hidden_size=width,
            num_layers=int(value["n_layer"]),
            num_heads=heads,
            num_kv_heads=1 if value.get("multi_query", True) else heads,
            intermediate_size=int(value.get("n_inner") or 4 * width),
            max_seq_len=int(value["n_positions"]),
            norm_eps=float(value.get("layer_norm_epsilon", 1e-5)),
            dropout=float(value.get("resid_pdrop", 0.1)),
            init_std=float(value.get("initializer_range", 0.02)),
            tied_embeddings=bool(value.get("tie_word_embeddings", True)),
        )
    except KeyError as error:
        raise CheckpointError(f"{where} lacks {error}", "give a complete gpt_bigcode configuration") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} holds a value of a wrong type ({error})", "mend it") from error


def save_model_folder(folder: Path, model: Transformer, eot_id: int, dtype: torch.dtype = torch.float32) -> None:
    """Write configuration, weights and generation defaults, synced. The caller makes the folder appear as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, to_hub_config(model.config, eot_id, dtype))
    write_json(folder / GENERATION_FILE, {"bos_token_id": eot_id, "eos_token_id": eot_id, "pad_token_id": eot_id})
    tensors = {name: tensor.to(dtype) for name, tensor in to_hub_tensors(model).items()}
    save_tensors(folder / WEIGHTS_FILE, tensors)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors durably. Raises `OSError` for what the system refuses, which the library wraps in a type of its own."""
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        if number := _SYSTEM_ERROR.search(str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    sync_file(path)


def load_model_folder(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
    """Load a `gpt_bigcode` folder, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights are pickled: those are never opened.
    """
    config = from_hub_config(_read_config(folder / CONFIG_FILE), str(folder / CONFIG_FILE))
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        if pickled:
            raise CheckpointError(
                f"{folder / pickled[0]} is a pickle, which can run code when it is opened",
                f"convert it to {WEIGHTS_FILE} where it came from",
            )
        raise CheckpointError(f"{folder} has no {WEIGHTS_FILE}", "give a complete model folder")
    try:
        with safe_open(weights, framework="pt", device=device) as file:
            tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is damaged ({error})", "copy or train it again") from error
    with torch.device("meta"):
        model = Transformer(config)
    model.load_state_dict(from_hub_tensors(config, tensors, str(weights)), assign=True)
    if config.tied_embeddings:
        model.head.weight = model.token_embedding.weight
    return model.eval()


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {path.name}", "give a model folder in the Hugging Face layout")
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error})", "copy the folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object", "copy the folder again")
    return value
