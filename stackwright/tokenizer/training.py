"""Train the tokenizer.

In: the training split of the dataset. Out: `tokenizer.json`, `fim.json`, and the two files by which transformers knows the
sentinels. The sample is chosen by a keyed hash of each document's text, so it depends on neither shards nor workers, and a
document has the same chance wherever it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import tokenizers
from tokenizers import AddedToken, models, trainers

from stackwright.artifact import Table
from stackwright.engine import StageContext, read_table
from stackwright.errors import DataError
from stackwright.log import Task
from stackwright.recipe import TokenizerSettings
from stackwright.tokenizer.codec import (
    TEMPLATE_FILE,
    TOKENIZER_FILE,
    Tokenizer,
    byte_alphabet,
    new_decoder,
    new_pre_tokenizer,
    template_json,
)
from stackwright.tokenizer.special_tokens import FILE_SEP, REPO_NAME, FimTemplate

MAX_SAMPLED_CHARACTERS = 100_000
"""A longer document gives its beginning: no single file shapes the vocabulary."""

FERTILITY_BYTES = 1_000_000

TABLES = {"sample": pa.schema([pa.field("text_id", pa.string(), nullable=False)])}
"""The texts that the merges were learned from: a removal says how many of them it took."""


def run_tokenizer(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest. Raises `DataError` when the training split is empty."""
    settings, seed = context.recipe.tokenizer, context.recipe.seed
    documents = context.inputs["dataset"].table("documents")
    chosen = choose_sample(documents, "train", settings.sample_bytes, seed)
    if not chosen:
        raise DataError(
            "the training split holds no document",
            "add repositories, or lower curate.split.validation_fraction and curate.split.test_fraction",
        )
    context.staging.write_table_part("sample", 0, [{"text_id": text_id} for text_id in sorted(chosen)])
    task = context.progress.task("learn BPE", len(chosen), "files")
    backend = train_bpe(iter_texts(documents, chosen, task), settings)
    context.staging.write_text(TOKENIZER_FILE, backend.to_str(pretty=True))
    tokenizer = _write_template(context, settings)
    characters, tokens = _fertility(tokenizer, documents, seed)
    return {
        "vocab_size": tokenizer.vocab_size,
        "sampled_documents": len(chosen),
        "sampled_bytes": sum(chosen.values()),
        "characters_per_token": characters / max(tokens, 1),
    }


def _write_template(context: StageContext, settings: TokenizerSettings) -> Tokenizer:
    folder, template = context.staging.folder, FimTemplate.of(settings.spelling)
    context.staging.write_json(TEMPLATE_FILE, {"spellings": template.to_json()})
    tokenizer = Tokenizer.load(folder)
    values = template_json(template, tokenizer.fim, sentinels=settings.sentinels, vocab_size=tokenizer.vocab_size)
    context.staging.write_json(TEMPLATE_FILE, values)
    for name, value in transformers_files(template).items():
        context.staging.write_json(name, value)
    return tokenizer


def choose_sample(documents: Table, split: str, num_bytes: int, seed: int) -> dict[str, int]:
    """Return text_id -> size of the documents of a split, in the order of their keyed hash, up to `num_bytes` of text."""
    rows: list[tuple[bytes, str, int]] = []
    key = b"sample-%d" % seed
    for part in read_table(documents, ["text_id", "size_bytes", "split"]):
        for row in part.to_pylist():
            if row["split"] == split:
                rank = hashlib.blake2b(row["text_id"].encode(), digest_size=16, key=key).digest()
                rows.append((rank, row["text_id"], min(row["size_bytes"], MAX_SAMPLED_CHARACTERS)))
    chosen: dict[str, int] = {}
    total = 0
    for _, text_id, size in sorted(rows):
        if total >= num_bytes:
            break
        chosen[text_id] = size
        total += size
    return chosen


def iter_texts(documents: Table, chosen: Mapping[str, int], task: Task | None = None) -> Iterator[str]:
    """Yield the text of chosen documents in document order, each text once, long ones cut."""
    left = set(chosen)
    for part in read_table(documents, ["text_id", "content"]):
        ids, texts = part.column("text_id").to_pylist(), part.column("content")
        for index, text_id in enumerate(ids):
            if text_id in left:
                left.discard(text_id)
                if task is not None:
                    task.advance(1)
                yield texts[index].as_py()[:MAX_SAMPLED_CHARACTERS]


def train_bpe(texts: Iterator[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Learn the merges. Sentinels get the first ids inside the vocabulary, or the ids after it."""
    names = FimTemplate.of(settings.spelling).tokens + ((REPO_NAME, FILE_SEP) if settings.repository_sentinels else ())
    specials = [AddedToken(token, special=True, normalized=False) for token in names]
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = new_pre_tokenizer()
    backend.decoder = new_decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=specials if settings.sentinels == "first" else [],
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if settings.sentinels == "last":
        backend.add_special_tokens(specials)
    return backend


def transformers_files(template: FimTemplate) -> dict[str, Any]:
    """Return the files by which transformers' AutoTokenizer knows class and sentinels."""
    others = list(template.tokens[1:])
    names = {"bos_token": template.eot, "eos_token": template.eot, "unk_token": template.eot, "pad_token": template.eot}
    return {
        "tokenizer_config.json": {
            **names,
            "additional_special_tokens": others,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "special_tokens_map.json": {**names, "additional_special_tokens": others},
    }


def _fertility(tokenizer: Tokenizer, documents: Table, seed: int) -> tuple[int, int]:
    """Return characters and tokens of a held-out sample, or of the training split where nothing is held out."""
    for split in ("validation", "test", "train"):
        chosen = choose_sample(documents, split, FERTILITY_BYTES, seed)
        if chosen:
            texts = list(iter_texts(documents, chosen))
            return sum(map(len, texts)), sum(map(len, tokenizer.encode_batch(texts)))
    return 0, 0


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a tokenizer folder that belong to any model trained with it."""
    names = (TOKENIZER_FILE, TEMPLATE_FILE, "tokenizer_config.json", "special_tokens_map.json")
    return [folder / name for name in names]
