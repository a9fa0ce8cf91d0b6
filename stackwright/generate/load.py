"""Open a model by what people have: a run, a checkpoint, a release, or any gpt_bigcode folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stackwright.errors import CheckpointError, TargetError
from stackwright.generate.backend import TorchBackend
from stackwright.model.hub_config import CONFIG_FILE
from stackwright.model.hub_folder import load_model_folder
from stackwright.model.transformer import Transformer
from stackwright.tokenizer.codec import TEMPLATE_FILE, TOKENIZER_FILE, Tokenizer
from stackwright.tokenizer.special_tokens import FimTemplate
from stackwright.train.checkpoint import latest_checkpoint


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to generate."""

    model: Transformer
    backend: TorchBackend
    tokenizer: Tokenizer
    folder: Path


def load_model(target: Path | str) -> LoadedModel:
    """Open a model.

    Args:
        target: a run (its release, else its latest checkpoint, also of a training that is under way), or a folder in the
            Hugging Face gpt_bigcode layout with its tokenizer.

    Raises:
        TargetError: there is no such folder, or it holds no model.
        CheckpointError: weights or tokenizer are damaged or do not belong together.
    """
    folder = find_model_folder(Path(target))
    model = load_model_folder(folder)
    tokenizer = _load_tokenizer(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer of {folder} has {tokenizer.vocab_size} tokens, its model {model.config.vocab_size}",
            "use the tokenizer that the model was trained with",
        )
    return LoadedModel(model, TorchBackend(model), tokenizer, folder)


def find_model_folder(target: Path) -> Path:
    """Return the folder that holds the weights meant by a run, checkpoint, release or model folder."""
    if not target.is_dir():
        raise TargetError(f"model {target} is not a folder", "give a run, a checkpoint, a release or a gpt_bigcode folder")
    if (target / CONFIG_FILE).is_file():
        return target
    if (target / "release" / CONFIG_FILE).is_file():
        return target / "release"
    training = sorted(target.glob(".building/checkpoints-*"))
    for checkpoints in (target / "checkpoints", *training, target):
        checkpoint = latest_checkpoint(checkpoints)
        if checkpoint is not None:
            return checkpoint
    raise TargetError(f"{target} holds no model yet", "run `stackwright build`, or give a model folder")


def _load_tokenizer(folder: Path) -> Tokenizer:
    """Open the tokenizer of a model folder; where it is not ours, the template is found among its tokens."""
    if (folder / TEMPLATE_FILE).is_file() or not (folder / TOKENIZER_FILE).is_file():
        return Tokenizer.load(folder)
    names = {entry["content"] for entry in json.loads((folder / TOKENIZER_FILE).read_text("utf-8"))["added_tokens"]}
    for spelling in ("hyphens", "underscores"):
        template = FimTemplate.of(spelling)
        if names.issuperset(template.tokens):
            return Tokenizer.from_file(folder / TOKENIZER_FILE, template)
    raise CheckpointError(
        f"the tokenizer of {folder} has no fill-in-the-middle sentinels", "give a SantaCoder or StarCoder folder"
    )
