"""The task `held_out_bits_per_byte`: the model and its baselines on the same bytes.

In: a model, the held-out documents, the training tokens. Out: the bits of each document under each model, as rows of the
table `scores`. Bits per byte is a ratio of sums over documents, so that a byte counts the same in whatever file it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stackwright.data.loader import Ids, Loader, TokenDataset
from stackwright.engine import StageContext
from stackwright.evaluate.baselines import UnigramModel, count_tokens, fit_bigram, training_stream, xz_bits
from stackwright.evaluate.held_out import HeldOut, Row
from stackwright.model.transformer import Transformer
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.validation import choose_documents, score_documents

TASK = "held_out_bits_per_byte"
TASK_VERSION = 2  # 2: bootstrap intervals; the scores of the documents are those of version 1

MODEL, UNIGRAM, BIGRAM, XZ = "this model", "unigram of tokens", "bigram of tokens", "xz, each file alone"

SCORES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("bits", pa.float64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
    ]
)


def model_bits(model: Transformer, tokenizer: Tokenizer, held_out: HeldOut) -> list[float]:
    """Return the bits of each document under the model."""
    return [score.bits for score in score_documents(model, held_out.dataset, held_out.documents, tokenizer.eot)]


def baseline_bits(
    context: StageContext, tokenizer: Tokenizer, held_out: HeldOut, texts: Sequence[str]
) -> tuple[dict[str, list[float]], float]:
    """Return baseline -> bits of each document, and the discount that was fitted for the bigram model."""
    recipe, tokens = context.recipe, context.inputs["tokens"]
    without_fim = recipe.data.model_copy(update={"fim_rate": 0.0})
    loader = Loader(TokenDataset(tokens, "train", tokenizer.sha256), tokenizer, without_fim, recipe.seed)
    samples = training_stream(loader, context.inputs["checkpoints"].manifest.counts["samples"])
    counts, pairs, pair_counts = count_tokens(samples, tokenizer.vocab_size)
    validation = TokenDataset(tokens, "validation", tokenizer.sha256)
    tuning = _streams(validation, choose_documents(validation.num_tokens, recipe.train.eval_tokens), tokenizer.eot)
    bigram, discount = fit_bigram(pairs, pair_counts, tokenizer.vocab_size, tuning)
    unigram = UnigramModel(counts)
    streams = _streams(held_out.dataset, held_out.documents, tokenizer.eot)
    bits = {
        UNIGRAM: [unigram.bits(stream) for stream in streams],
        BIGRAM: [bigram.bits(stream) for stream in streams],
        XZ: [xz_bits(text) for text in texts],
    }
    return bits, discount


def _streams(dataset: TokenDataset, documents: Sequence[int], eot: int) -> list[Ids]:
    """Return each document as the model is scored on it: after end-of-text, and without its own."""
    return [np.concatenate([[eot], dataset.tokens(document)[:-1]]) for document in documents]


def score_rows(rows: Sequence[Row], bits: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return the table `scores`: a row per document and model, from rows of the tokens table."""
    names = ("repo", "revision", "path", "language", "num_bytes")
    return [
        {
            **{name: row[name] for name in names},
            "num_tokens": row["num_tokens"] - 1,  # end-of-text is not scored
            "model": model,
            "bits": values[index],
        }
        for index, row in enumerate(rows)
        for model, values in bits.items()
    ]
