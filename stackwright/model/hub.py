"""Where Hugging Face's names and ours meet: which rows of which of our tensors each of theirs is.

Three layouts. `gpt_bigcode` (SantaCoder, StarCoder): `c_attn` holds all queries, then the key, then the value, as our
`qkv_proj` does; in multi-head mode its rows are interleaved head by head (query, key, value of head 0, then of head 1 …) and
are regrouped here. `starcoder2`: queries, keys and values in three matrices, which ours holds one below the other. In both,
matrices are (out, in), and a tied head is not stored (FACTS E1, E2, K 36). The first release of SantaCoder, `gpt2_mq`, is
read only: its queries stand apart from key and value, and its matrices are (in, out) as GPT-2's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stackwright.model.config import ModelConfig
from stackwright.model.transformer import Transformer

Layout = Literal["gpt_bigcode", "starcoder2", "gpt2_mq"]

# Our names within a block -> theirs.
_GPT_BLOCK = {
    "attention_norm": "ln_1",
    "attention.qkv_proj": "attn.c_attn",
    "attention.out_proj": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up_proj": "mlp.c_fc",
    "feed_forward.down_proj": "mlp.c_proj",
}
_GPT_TOP = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "head": "lm_head",
}
_STARCODER2_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.out_proj": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.up_proj": "mlp.c_fc",
    "feed_forward.down_proj": "mlp.c_proj",
}
_STARCODER2_TOP = {"token_embedding": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"}

IGNORED_TENSORS = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")
"""Buffers of old versions of the library, masks and frequencies, which the code makes itself."""


@dataclass(frozen=True)
class HubTensor:
    """One tensor of a Hugging Face file.

    Attributes:
        name, shape: as stored.
        ours: the name of our tensor, of which it is the rows from `first` to `end`.
        heads: (heads, head size) where its rows are interleaved by heads, else None.
        is_transposed: whether it is stored as (in, out).
    """

    name: str
    shape: tuple[int, ...]
    ours: str
    first: int
    end: int
    heads: tuple[int, int] | None = None
    is_transposed: bool = False

    @property
    def rest(self) -> tuple[int, ...]:
        """The shape of a row of ours."""
        return self.shape[-2::-1] if self.is_transposed else self.shape[1:]

    def to_ours(self, stored: Tensor) -> Tensor:
        """Return the rows of our tensor."""
        if self.is_transposed:
            return stored.t()
        if self.heads is None:
            return stored
        num_heads, head_dim = self.heads
        rest = stored.shape[1:]
        return stored.view(num_heads, 3, head_dim, *rest).transpose(0, 1).reshape(-1, *rest)

    def from_ours(self, tensor: Tensor) -> Tensor:
        """Return what is stored, from our whole tensor."""
        rows = tensor[self.first : self.end]
        if self.is_transposed:
            return rows.t().contiguous()
        if self.heads is None:
            return rows
        num_heads, head_dim = self.heads
        rest = rows.shape[1:]
        return rows.view(3, num_heads, head_dim, *rest).transpose(0, 1).reshape(-1, *rest)


def layout_of(config: ModelConfig) -> Layout:
    """Return the layout in which a model is written."""
    return "gpt_bigcode" if config.positions == "learned" else "starcoder2"


def our_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of our tensors; a tied head is not among them."""
    with torch.device("meta"):
        state = Transformer(config).state_dict()
    return {
        name: tuple(tensor.shape) for name, tensor in state.items() if name != "head.weight" or not config.tied_embeddings
    }


def hub_tensors(config: ModelConfig, layout: Layout) -> list[HubTensor]:
    """Return all tensors of a model as they are stored, in the order of ours."""
    return [entry for name, shape in our_shapes(config).items() for entry in _stored(name, shape, config, layout)]


def _stored(name: str, shape: tuple[int, ...], config: ModelConfig, layout: Layout) -> Iterator[HubTensor]:
    module, _, kind = name.rpartition(".")
    if module.endswith("attention.qkv_proj"):
        yield from _stored_qkv(name, shape, config, layout)
        return
    theirs = f"{_hub_module(module, layout)}.{kind}"
    is_transposed = layout == "gpt2_mq" and module.startswith("blocks.") and len(shape) == 2
    yield HubTensor(theirs, shape[::-1] if is_transposed else shape, name, 0, shape[0], is_transposed=is_transposed)


def _hub_module(module: str, layout: Layout) -> str:
    top, block = (_STARCODER2_TOP, _STARCODER2_BLOCK) if layout == "starcoder2" else (_GPT_TOP, _GPT_BLOCK)
    if module in top:
        return top[module]
    _, number, rest = module.split(".", 2)
    return f"{'model.layers' if layout == 'starcoder2' else 'transformer.h'}.{number}.{block[rest]}"


def _stored_qkv(name: str, shape: tuple[int, ...], config: ModelConfig, layout: Layout) -> Iterator[HubTensor]:
    number, kind, rest = name.split(".")[1], name.rpartition(".")[2], shape[1:]
    queries, keys = config.hidden_size, config.hidden_size + config.kv_size
    if layout == "gpt_bigcode":
        is_interleaved = 1 < config.num_heads == config.num_kv_heads
        heads = (config.num_heads, config.head_dim) if is_interleaved else None
        yield HubTensor(f"transformer.h.{number}.attn.c_attn.{kind}", shape, name, 0, shape[0], heads)
        return
    if layout == "starcoder2":
        prefix, parts = f"model.layers.{number}.self_attn", {"q_proj": (0, queries), "k_proj": (queries, keys)}
        parts["v_proj"] = (keys, shape[0])
    else:
        prefix, parts = f"transformer.h.{number}.attn", {"q_attn": (0, queries), "kv_attn": (queries, shape[0])}
    is_transposed = layout == "gpt2_mq" and len(shape) == 2
    for part, (first, end) in parts.items():
        stored = (end - first, *rest)
        yield HubTensor(
            f"{prefix}.{part}.{kind}", stored[::-1] if is_transposed else stored, name, first, end, None, is_transposed
        )
