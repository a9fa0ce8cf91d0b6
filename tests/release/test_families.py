"""A run of the other family, from code to a release: transformers loads it, and the card says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stackwright import build, load_model
from stackwright.train.load_list import checkpoint_exposures
from tests.corpus import small_recipe

STARCODER2 = (
    "model.architecture='starcoder2'",
    "model.num_heads=4",
    "model.num_kv_heads=2",
    "model.sliding_window=16",
    "model.rope_theta=50000.0",
    "model.tied_embeddings=false",
    "tokenizer.sentinels='first'",
    "tokenizer.spelling='underscores'",
    "tokenizer.repository_sentinels=true",
    "data.layout='repositories'",
    "data.fim_repositories=true",
    "data.document_mask=true",
    "train.recompute=true",
)


def test_a_starcoder2_run_is_released(repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    build(small_recipe(repositories, *STARCODER2), tmp_path / "run", workers=1)
    release = tmp_path / "run" / "release"
    ours, theirs = load_model(tmp_path / "run"), AutoModelForCausalLM.from_pretrained(release).eval()
    assert type(theirs).__name__ == "Starcoder2ForCausalLM"
    ids = torch.randint(0, ours.tokenizer.vocab_size, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(ours.model(ids), theirs(ids).logits, atol=1e-4)
    early = AutoModelForCausalLM.from_pretrained(
        "stackwright/tiny", revision="step-000004", cache_dir=release / "revisions", local_files_only=True
    )
    weight = load_model(tmp_path / "run", "step-000004").model.token_embedding.weight
    assert torch.equal(early.model.embed_tokens.weight, weight)
    assert AutoTokenizer.from_pretrained(release).convert_tokens_to_ids("<fim_prefix>") == 1
    assert ours.tokenizer.sentinel_id("<repo_name>") == 5
    (exposure, *_) = checkpoint_exposures(tmp_path / "run", [("directory/plain", "", "a.py")])
    assert exposure.name == "step-000004"
    card = (release / "README.md").read_text()
    assert "`starcoder2`, 2 layers, width 32" in card
    assert "4 heads, grouped-query with 2 key-value heads, each token sees 16 tokens" in card
