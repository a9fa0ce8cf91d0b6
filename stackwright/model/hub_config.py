"""`config.json` of each layout, to and from our configuration.

What a setting of theirs means here is read; one that the model here does not have is refused with its value, two that
contradict each other with both. Settings that do not change what is computed are passed over, and one that nobody has heard
of is passed over with a warning, as the library does.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from stackwright.errors import CheckpointError
from stackwright.log import get_logger
from stackwright.model.config import ModelConfig
from stackwright.model.hub import Layout, layout_of

logger = get_logger("model")

CONFIG_FILE = "config.json"

_GELU_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")

_SETTINGS = tomllib.loads((resources.files("stackwright.model") / "hub_settings.toml").read_text("utf-8"))


def to_hub_config(config: ModelConfig, eot_id: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return `config.json` as transformers writes it."""
    common = {
        "bos_token_id": eot_id,
        "dtype": str(dtype).removeprefix("torch."),
        "eos_token_id": eot_id,
        "initializer_range": config.init_std,
        "model_type": layout_of(config),
        "tie_word_embeddings": config.tied_embeddings,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }
    own = _to_gpt_bigcode(config) if config.positions == "learned" else _to_starcoder2(config)
    return dict(sorted({**common, **own}.items()))


def _to_gpt_bigcode(config: ModelConfig) -> dict[str, Any]:
    return {
        "activation_function": "gelu_pytorch_tanh",
        "architectures": ["GPTBigCodeForCausalLM"],
        "attention_softmax_in_fp32": True,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "layer_norm_epsilon": config.norm_eps,
        "multi_query": config.num_kv_heads == 1,
        "n_embd": config.hidden_size,
        "n_head": config.num_heads,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_layers,
        "n_positions": config.max_seq_len,
        "resid_pdrop": config.dropout,
        "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
    }


def _to_starcoder2(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": ["Starcoder2ForCausalLM"],
        "attention_dropout": config.dropout,
        "embedding_dropout": config.dropout,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_seq_len,
        "norm_epsilon": config.norm_eps,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "residual_dropout": config.dropout,
        "rope_theta": config.rope_theta,
        "sliding_window": config.sliding_window,
        "use_bias": True,
    }


def layout_in(value: Mapping[str, Any], where: str = CONFIG_FILE) -> Layout:
    """Return the layout of the weights beside a `config.json`. Raises `CheckpointError` for another architecture."""
    match value.get("model_type"):
        case "gpt_bigcode":
            return "gpt_bigcode"
        case "starcoder2":
            return "starcoder2"
        case "gpt2" if value.get("attention_head_type") in ("multiquery", "multihead"):
            if value["attention_head_type"] == "multihead":
                raise CheckpointError(
                    f"{where} is of the old multi-head layout", "convert it to gpt_bigcode where it came from"
                )
            return "gpt2_mq"
    raise CheckpointError(
        f"{where} is of model_type {value.get('model_type')!r}",
        "give a gpt_bigcode or starcoder2 model, or SantaCoder's first",
    )


def from_hub_config(value: Mapping[str, Any], where: str = CONFIG_FILE) -> ModelConfig:
    """Return our configuration from `config.json`.

    Raises:
        CheckpointError: another architecture, a setting that the model here does not have, or two that contradict.
    """
    reader = _Reader(value, where)
    return _from_starcoder2(reader) if layout_in(value, where) == "starcoder2" else _from_gpt(reader)


class _Reader:
    """The settings of one `config.json`, each read with a word on what is wrong with it."""

    def __init__(self, value: Mapping[str, Any], where: str) -> None:
        self._value, self._where = value, where

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number above 0."""
        found = self._value.get(name)
        found = default if found is None else found
        if found is None:
            raise CheckpointError(f"{self._where} lacks {name!r}", "give a complete configuration")
        if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
            raise CheckpointError(
                f"{self._where} has {name} {found!r}, a value of a wrong type", "give a whole number above 0"
            )
        return found

    def number(self, name: str, default: float) -> float:
        found = self._value.get(name)
        found = default if found is None else found
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise CheckpointError(f"{self._where} has {name} {found!r}, a value of a wrong type", "give a number")
        return float(found)

    def flag(self, name: str, default: bool) -> bool:
        found = self._value.get(name, default)
        if not isinstance(found, bool):
            raise CheckpointError(f"{self._where} has {name} {found!r}, which is not true or false", "mend it")
        return found

    def raw(self, name: str) -> Any:
        return self._value.get(name)

    def require(self, name: str, *known: Any) -> None:
        """Refuse any value of a setting but those that the model here computes."""
        if name in self._value and self._value[name] not in known:
            shown = ", ".join(json.dumps(value) for value in known)
            raise CheckpointError(
                f"{self._where} asks for {name} {json.dumps(self._value[name])}, which the model here does not have",
                f"only {shown} is known",
            )

    def agree(self, name: str, found: Any, other: str, expected: Any) -> None:
        """Refuse two settings that say different things."""
        if found != expected:
            raise CheckpointError(f"{self._where} has {name} {found!r}, but {other} {expected!r}", "mend the wrong one")

    def dropout(self, *names: str) -> float:
        values = {name: self.number(name, 0.0) for name in names if name in self}
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{name} {value}" for name, value in values.items())
            logger.warning("%s has %s; further training takes the first for all", self._where, shown)
        return next(iter(values.values()), 0.0)

    def pass_over(self, family: str) -> None:
        """Say which settings nobody looks at."""
        for name in sorted(self._value.keys() - {*_SETTINGS["neutral"], *_SETTINGS[family]}):
            logger.warning("%s has %s %s, which is not known here and passed over", self._where, name, self._value[name])


def _from_gpt(reader: _Reader) -> ModelConfig:
    reader.require("activation_function", *_GELU_TANH)
    reader.require("scale_attn_weights", True)
    reader.require("scale_attn_by_inverse_layer_idx", False, None)
    reader.pass_over("gpt")
    width, heads = reader.whole("n_embd"), reader.whole("n_head")
    is_shared = reader.flag("multi_query", True)
    kv_heads = 1 if is_shared else heads
    if "num_key_value_heads" in reader:
        reader.agree("num_key_value_heads", reader.whole("num_key_value_heads"), "multi_query", kv_heads)
    _check_heads(reader, ("n_embd", width), ("n_head", heads), ("num_key_value_heads", kv_heads))
    return ModelConfig(
        vocab_size=reader.whole("vocab_size"),
        hidden_size=width,
        num_layers=reader.whole("n_layer"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        intermediate_size=reader.whole("n_inner", 4 * width),
        max_seq_len=reader.whole("n_positions"),
        norm_eps=reader.number("layer_norm_epsilon", 1e-5),
        dropout=reader.dropout("resid_pdrop", "attn_pdrop", "embd_pdrop"),
        init_std=reader.number("initializer_range", 0.02),
        tied_embeddings=reader.flag("tie_word_embeddings", True),
    )


def _from_starcoder2(reader: _Reader) -> ModelConfig:
    reader.require("hidden_act", *_GELU_TANH)
    reader.require("use_bias", True)
    reader.require("mlp_type", "default")
    reader.require("norm_type", "layer_norm")
    reader.require("rope_scaling", None)
    reader.pass_over("starcoder2")
    width, heads = reader.whole("hidden_size"), reader.whole("num_attention_heads")
    kv_heads = reader.whole("num_key_value_heads", heads)
    _check_heads(reader, ("hidden_size", width), ("num_attention_heads", heads), ("num_key_value_heads", kv_heads))
    if "head_dim" in reader:
        reader.agree("head_dim", reader.whole("head_dim"), "hidden_size / num_attention_heads", width // heads)
    return ModelConfig(
        vocab_size=reader.whole("vocab_size"),
        hidden_size=width,
        num_layers=reader.whole("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        intermediate_size=reader.whole("intermediate_size", 4 * width),
        max_seq_len=reader.whole("max_position_embeddings"),
        norm_eps=reader.number("norm_epsilon", 1e-5),
        dropout=reader.dropout("residual_dropout", "attention_dropout", "embedding_dropout"),
        init_std=reader.number("initializer_range", 0.02),
        tied_embeddings=reader.flag("tie_word_embeddings", True),
        positions="rope",
        rope_theta=_rope_theta(reader),
        sliding_window=_sliding_window(reader),
    )


def _check_heads(reader: _Reader, width: tuple[str, int], heads: tuple[str, int], kv_heads: tuple[str, int]) -> None:
    for (name, value), (other, divisor) in ((width, heads), (heads, kv_heads)):
        reader.agree(f"{name} mod {other}", value % divisor if divisor else None, "it must be", 0)


def _rope_theta(reader: _Reader) -> float:
    """Return the rotary base, which newer versions of the library keep in `rope_parameters`."""
    parameters = reader.raw("rope_parameters")
    if not isinstance(parameters, dict):
        return reader.number("rope_theta", 10_000.0)
    inner = _Reader(parameters, "rope_parameters")
    inner.require("rope_type", "default")
    theta = inner.number("rope_theta", 10_000.0)
    if "rope_theta" in reader:
        reader.agree("rope_theta", reader.number("rope_theta", theta), "rope_parameters.rope_theta", theta)
    return theta


def _sliding_window(reader: _Reader) -> int | None:
    window = reader.whole("sliding_window") if "sliding_window" in reader else None
    kinds = reader.raw("layer_types")
    if kinds is not None:
        expected = "full_attention" if window is None else "sliding_attention"
        reader.agree("layer_types", sorted(set(kinds)), f"with sliding_window {window} they must be", [expected])
    return window


def read_hub_config(path: Path) -> dict[str, Any]:
    """Return the content of a `config.json`. Raises `CheckpointError` where it is none."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {path.name}", "give a model folder in the Hugging Face layout")
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error})", "copy the folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object", "copy the folder again")
    return value
