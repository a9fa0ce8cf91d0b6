"""A trained tokenizer made usable: text to ids and back, byte for byte.

In: a folder with `tokenizer.json` (the format of the `tokenizers` library) and `fim.json` (sentinels and placement).
Out: a `Tokenizer`. Two invariants hold. Every text comes back: `decode(encode(text)) == text`, because all 256 bytes
are in the vocabulary and nothing is normalised. And no text makes a sentinel: a document that spells `<fim-prefix>` is
encoded as those characters, so the ids of sentinels come only from `FimIds`. Other readers of `tokenizer.json` do see
the sentinels as special tokens, which is what a prompt written by hand needs.

Byte-level BPE is Radford et al. 2019 (GPT-2); its pre-tokenizer cuts a text into words, numbers, runs of punctuation
and of white space. Digits are cut one by one before that, so that a number is spelled as it is read (FACTS C).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers

from stackwright.errors import TokenizerError
from stackwright.tokenizer.special_tokens import REMAKE_TOKENIZER, FimIds, FimTemplate

TOKENIZER_FILE = "tokenizer.json"
FIM_FILE = "fim.json"
FORMAT = 1
"""Version of `fim.json`."""

# Shards and samples are what runs in parallel here, and the library warns when a process that used its threads forks.
# A user's own setting is respected: the ids do not depend on it.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Tokenizer:
    """Byte-level BPE with five sentinels. Immutable; make one with `Tokenizer.load`."""

    def __init__(self, definition: str, template: FimTemplate) -> None:
        """Make a tokenizer of the text of a `tokenizer.json`.

        Raises:
            TokenizerError: it is not byte-level BPE, lacks one of the 256 bytes or a sentinel, or its ids have gaps.
        """
        self._definition = definition
        self._backend = _parse(definition)
        # Without this the library would find the spelling of a sentinel in a document and emit its id.
        self._backend.encode_special_tokens = True
        self.template = template
        self.sha256 = hashlib.sha256(definition.encode("utf-8")).hexdigest()
        special = _special_ids(self._backend)
        self.fim = _sentinel_ids(special, template)
        self._bytes = _token_bytes(self._backend.get_vocab(with_added_tokens=True), special)

    @staticmethod
    def load(folder: Path) -> Tokenizer:
        """Read a tokenizer folder.

        Raises:
            TokenizerError: a file is missing or damaged, or `fim.json` belongs to another `tokenizer.json`.
        """
        definition = _read(folder / TOKENIZER_FILE)
        fim = _read_json(folder / FIM_FILE)
        if fim.get("format") != FORMAT:
            raise TokenizerError(
                f"{folder / FIM_FILE} has format {fim.get('format')!r}, this version reads {FORMAT}", REMAKE_TOKENIZER
            )
        tokenizer = Tokenizer(definition, FimTemplate.from_json(fim.get("spellings", {})))
        for name, found in (("ids", tokenizer.fim.to_json()), ("vocab_size", tokenizer.vocab_size)):
            if fim.get(name) != found:
                raise TokenizerError(
                    f"{folder / FIM_FILE} says {name} {fim.get(name)} where {TOKENIZER_FILE} has {found}",
                    f"the two files are of different tokenizers: {REMAKE_TOKENIZER}",
                )
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of ids, sentinels included; the model's embedding may be padded beyond it."""
        return len(self._bytes)

    @property
    def eot(self) -> int:
        """Id of the token that ends a document."""
        return self.fim.eot

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; the spelling of a sentinel inside it is ordinary text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, as `encode` does.

        Raises:
            TokenizerError: a text holds half of a surrogate pair, which no UTF-8 can spell.
        """
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise TokenizerError(
                "a text is not Unicode: it holds a lone surrogate", "decode its bytes as UTF-8 with errors='replace'"
            ) from error
        return [encoding.ids for encoding in encodings]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes an id stands for; none for a sentinel.

        Raises:
            TokenizerError: the id lies outside the vocabulary, e.g. in the padding of a model's embedding.
        """
        if not 0 <= token < len(self._bytes):
            raise TokenizerError(
                f"token id {token} is outside the vocabulary of {len(self._bytes)}",
                "use the tokenizer that the ids were made with, and mask the padding of the embedding",
            )
        return self._bytes[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes that ids stand for; sentinels stand for none."""
        return b"".join([self.token_bytes(token) for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, sentinels skipped; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def __reduce__(self) -> tuple[Any, ...]:
        # The library's object would come back from a pickle without `encode_special_tokens`.
        return Tokenizer, (self._definition, self.template)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} cannot be read ({error})", REMAKE_TOKENIZER) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read(path))
    except ValueError as error:
        raise TokenizerError(f"{path} is not JSON ({error})", REMAKE_TOKENIZER) from error
    return value if isinstance(value, dict) else {}


def _parse(definition: str) -> tokenizers.Tokenizer:
    """Check what this module relies on before the library reads it: its own errors have no type to catch."""
    try:
        value = json.loads(definition)
        kind, decoder = value["model"]["type"], value["decoder"]["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise TokenizerError(f"{TOKENIZER_FILE} is damaged ({error!r})", REMAKE_TOKENIZER) from error
    if (kind, decoder, value.get("normalizer")) != ("BPE", "ByteLevel", None):
        raise TokenizerError(
            f"{TOKENIZER_FILE} has model {kind}, decoder {decoder} and normalizer {value.get('normalizer')}, "
            "where byte-level BPE without a normalizer is needed",
            REMAKE_TOKENIZER,
        )
    return tokenizers.Tokenizer.from_str(definition)


def _special_ids(backend: tokenizers.Tokenizer) -> dict[str, int]:
    added = backend.get_added_tokens_decoder()
    return {token.content: token_id for token_id, token in added.items() if token.special}


def _sentinel_ids(special: Mapping[str, int], template: FimTemplate) -> FimIds:
    missing = [spelling for spelling in template.tokens if spelling not in special]
    if missing:
        raise TokenizerError(f"{TOKENIZER_FILE} has no special token {missing[0]}", REMAKE_TOKENIZER)
    return FimIds(*(special[spelling] for spelling in template.tokens))


@cache
def byte_of_character() -> dict[str, int]:
    """Return the alphabet of byte-level BPE: which character stands for which byte in a vocabulary.

    A byte that prints in Latin-1 stands for itself; the other 68, in order, are shown as U+0100 and on (GPT-2).
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + index): byte for index, byte in enumerate(hidden)}


def _token_bytes(vocabulary: Mapping[str, int], special: Mapping[str, int]) -> list[bytes]:
    """Return the bytes of each id; raises `TokenizerError` when ids have gaps or a byte is missing."""
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise TokenizerError(f"the ids of {TOKENIZER_FILE} have gaps or are doubled", REMAKE_TOKENIZER)
    alphabet = byte_of_character()
    missing = [byte for character, byte in alphabet.items() if character not in vocabulary]
    if missing:
        raise TokenizerError(
            f"the vocabulary lacks byte {missing[0]:#04x}, so not every text can be encoded", REMAKE_TOKENIZER
        )
    table = [b""] * len(vocabulary)
    for spelling, token in vocabulary.items():
        if spelling not in special:
            table[token] = bytes(alphabet[character] for character in spelling)
    return table
