"""A tokenizer folder made usable: text to ids and back.

Byte-level BPE (FACTS C): digits are split one by one, then GPT-2's pre-tokenizer cuts text into words, and merges apply
within a word. All 256 bytes are in the vocabulary, so every text has ids and comes back unchanged. A sentinel's spelling
inside a text is ordinary text: only the code that frames documents can write a sentinel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, pre_tokenizers

from stackwright.errors import TokenizerError
from stackwright.files import file_sha256
from stackwright.tokenizer.special_tokens import FimIds, FimTemplate

TOKENIZER_FILE = "tokenizer.json"
TEMPLATE_FILE = "fim.json"


def byte_alphabet() -> dict[str, int]:
    """Return the printable character that byte-level BPE writes for each byte (GPT-2's table) -> the byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + index): byte for index, byte in enumerate(others)}
    return {**{chr(byte): byte for byte in printable}, **shifted}


def new_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer of SantaCoder and its successors."""
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )


def new_decoder() -> decoders.Decoder:
    return decoders.ByteLevel()


class Tokenizer:
    """Encodes and decodes; knows its sentinels."""

    def __init__(self, backend: tokenizers.Tokenizer, template: FimTemplate, sha256: str) -> None:
        self._backend = backend
        self._backend.encode_special_tokens = True  # what looks like a sentinel in a text is text
        self.template = template
        self.sha256 = sha256
        self.fim = FimIds(*(self.sentinel_id(token) for token in template.tokens))

    def sentinel_id(self, sentinel: str) -> int:
        """Return the id of a sentinel. Raises `TokenizerError` when the tokenizer has none of this spelling."""
        token_id = self._backend.token_to_id(sentinel)
        if token_id is None:
            raise TokenizerError(
                f"the tokenizer has no token {sentinel!r}", "use the fim.json or the recipe that belong to the tokenizer"
            )
        return token_id

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Open a tokenizer folder of ours. Raises `TokenizerError` when a file is missing or damaged."""
        template_path = folder / TEMPLATE_FILE
        for file in (folder / TOKENIZER_FILE, template_path):
            if not file.is_file():
                raise TokenizerError(
                    f"{folder} has no {file.name}", "give a folder that stackwright's tokenizer stage wrote"
                )
        try:
            template = FimTemplate.from_json(json.loads(template_path.read_text("utf-8"))["spellings"])
        except (ValueError, KeyError, TypeError) as error:
            raise TokenizerError(f"{template_path} is damaged ({error})", "train the tokenizer again") from error
        return cls.from_file(folder / TOKENIZER_FILE, template)

    @classmethod
    def from_file(cls, path: Path, template: FimTemplate) -> Tokenizer:
        """Open a `tokenizer.json` whose sentinels are those of `template`."""
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception for any damage
            raise TokenizerError(f"{path} is damaged ({error})", "train the tokenizer again") from error
        return cls(backend, template, file_sha256(path))

    @property
    def vocab_size(self) -> int:
        """Entries of the BPE and sentinels, before the embedding is padded."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def eot(self) -> int:
        return self.fim.eot

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any sentinel."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of several texts."""
        return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; sentinels are left out, and bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(token_id) for token_id in ids).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that an id stands for; none for a sentinel or an id beyond the vocabulary."""
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    @cached_property
    def _bytes(self) -> list[bytes]:
        alphabet = byte_alphabet()
        added = self._backend.get_added_tokens_decoder()
        entries: dict[int, bytes] = {}
        for token, token_id in self._backend.get_vocab(with_added_tokens=True).items():
            if token_id not in added:
                entries[token_id] = bytes(alphabet[character] for character in token)
            else:  # sentinels, of fill-in-the-middle and others, stand for no text
                entries[token_id] = b"" if added[token_id].special else token.encode("utf-8")
        return [entries.get(token_id, b"") for token_id in range(max(entries) + 1)]


def template_json(template: FimTemplate, ids: FimIds, *, sentinels: str, vocab_size: int) -> dict[str, Any]:
    """Return the content of `fim.json`: spellings, ids, and both orders as templates that any program can fill in."""
    pre, suf, mid = template.prefix, template.suffix, template.middle
    return {
        "spellings": template.to_json(),
        "ids": vars(ids),
        "psm": f"{pre}{{prefix}}{suf}{{suffix}}{mid}{{middle}}",
        "spm": f"{pre}{suf}{{suffix}}{mid}{{prefix}}{{middle}}",
        "sentinels": sentinels,
        "vocab_size": vocab_size,
    }
