"""Small models of both families, in which every part matters, and their counterparts in transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from stackwright.model.config import ModelConfig
from stackwright.model.hub_folder import save_model_folder
from stackwright.model.transformer import Transformer

# vocabulary, width, layers, heads, key-value heads, feed-forward, context
GPT_BIGCODE = {
    "multi-query": ModelConfig(97, 32, 2, 4, 1, 128, 48),
    "multi-head": ModelConfig(97, 32, 2, 4, 4, 128, 48),
    "one head": ModelConfig(61, 24, 1, 1, 1, 40, 32),
    "odd": ModelConfig(131, 42, 3, 3, 1, 70, 40, norm_eps=1e-3),
    "untied": ModelConfig(97, 32, 2, 2, 1, 128, 48, tied_embeddings=False),
    "deep": ModelConfig(200, 64, 6, 8, 8, 256, 160),
}


def starcoder2(*sizes: int, window: int | None, theta: float = 10_000.0, tied: bool = True) -> ModelConfig:
    vocab, width, layers, heads, kv_heads, inner, context = sizes
    return ModelConfig(
        *(vocab, width, layers, heads, kv_heads, inner, context),
        tied_embeddings=tied,
        positions="rope",
        rope_theta=theta,
        sliding_window=window,
    )


STARCODER2 = {
    "grouped, window": starcoder2(97, 48, 2, 6, 2, 96, 64, window=16),
    "grouped, no window": starcoder2(97, 48, 2, 6, 2, 96, 64, window=None),
    "grouped, untied": starcoder2(97, 48, 2, 12, 4, 192, 64, window=20, tied=False),
    "rope, multi-query": starcoder2(61, 32, 3, 4, 1, 128, 96, window=7),
    "rope, multi-head": starcoder2(61, 32, 2, 4, 4, 64, 48, window=48),
    "window of one": starcoder2(61, 32, 2, 4, 2, 64, 40, window=1),
    "3B's base": starcoder2(131, 64, 2, 4, 2, 256, 300, window=33, theta=999999.4420358813),
    "long window": starcoder2(131, 64, 2, 8, 2, 256, 700, window=290, theta=1e6),
}
SHAPES = {**GPT_BIGCODE, **STARCODER2}


def random_model(config: ModelConfig, seed: int = 0) -> Transformer:
    """Return a model in which every parameter matters: biases and norms are random too."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config)
    model.init_weights(generator)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.3, generator=generator)
    return model.eval()


def random_ids(config: ModelConfig, batch: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


def in_transformers(model: Transformer, folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the same model as transformers loads it."""
    save_model_folder(folder, model, eot_id=0, dtype=dtype)
    theirs: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return theirs.eval()
