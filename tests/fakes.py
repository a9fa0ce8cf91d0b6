"""Fakes at the seams that the design names: a tokenizer of bytes, and a model of fixed scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stackwright.tokenizer.special_tokens import FimIds


class ByteTokenizer:
    """Every byte is a token; the sentinels follow."""

    fim = FimIds(eot=256, prefix=257, middle=258, suffix=259, pad=260)
    vocab_size = 261

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""


class ScriptedBackend:
    """Says the tokens of a script one after another, whatever the prompt."""

    def __init__(self, script: Sequence[int], max_seq_len: int = 64, vocab_size: int = 261) -> None:
        self.script, self.max_seq_len, self.vocab_size = list(script), max_seq_len, vocab_size
        self.fed: list[list[int]] = []

    def open(self, capacity: int) -> ScriptedBackend:
        assert capacity <= self.max_seq_len
        return self

    def feed(self, ids: Sequence[int]) -> Tensor:
        self.fed.append(list(ids))
        scores = torch.zeros(self.vocab_size)
        scores[self.script[len(self.fed) - 1]] = 10.0
        return scores
