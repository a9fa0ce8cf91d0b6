"""Opening and exporting models by path, by name and by revision, with the tokenizers of both families."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from stackwright.cli import app
from stackwright.errors import CheckpointError, TargetError, UsageError
from stackwright.generate.load import load_model
from stackwright.model.config import ModelConfig
from stackwright.model.hub_folder import save_model_folder
from stackwright.release.convert import export_model
from stackwright.tokenizer.codec import byte_alphabet, new_pre_tokenizer
from tests.model.shapes import random_model

HYPHENS = ["<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"]
UNDERSCORES = [*(token.replace("-", "_") for token in HYPHENS), "<repo_name>", "<file_sep>", "<issue_start>"]


def write_tokenizer(folder: Path, sentinels: list[str], place: str) -> None:
    """Write a byte-level tokenizer as either family has it: sentinels after the bytes, or before them."""
    names = [*byte_alphabet(), *sentinels] if place == "last" else [*sentinels, *byte_alphabet()]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = new_pre_tokenizer(), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in sentinels])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_model(folder: Path, sentinels: list[str], place: str, seed: int = 0) -> Path:
    config = ModelConfig(280, 32, 2, 4, 2, 64, 64, positions="rope", sliding_window=16)
    save_model_folder(folder, random_model(config, seed), eot_id=256 if place == "last" else 0)
    write_tokenizer(folder, sentinels, place)
    return folder


def write_cache(cache: Path, name: str, **revisions: Path) -> None:
    """Lay folders out as the hub's library does, files as links into `blobs/`."""
    repository = cache / f"models--{name.replace('/', '--')}"
    for number, (revision, folder) in enumerate(revisions.items()):
        commit = f"{number:040x}"
        shutil.copytree(folder, repository / "blobs" / commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        for path in (repository / "blobs" / commit).iterdir():
            (repository / "snapshots" / commit / path.name).symlink_to(f"../../blobs/{commit}/{path.name}")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("sentinels", [HYPHENS, UNDERSCORES], ids=["hyphens", "underscores"])
def test_tokenizers_of_both_families_open(tmp_path: Path, sentinels: list[str], place: str) -> None:
    loaded = load_model(write_model(tmp_path, sentinels, place))
    tokenizer = loaded.tokenizer
    first = 256 if place == "last" else 0
    assert vars(tokenizer.fim) == dict(
        zip(["eot", "prefix", "middle", "suffix", "pad"], range(first, first + 5), strict=True)
    )
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "def f(x):\n\treturn 'é漢😀' + 123"
    assert tokenizer.encode(text) == theirs(text)["input_ids"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert all(tokenizer.token_bytes(first + number) == b"" for number in range(len(sentinels)))
    spelled = f"a{sentinels[1]}b"
    assert tokenizer.fim.prefix not in tokenizer.encode(spelled)
    assert tokenizer.decode(tokenizer.encode(spelled)) == spelled


def test_tokenizers_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, [*HYPHENS, *(f"<extra_{number}>" for number in range(30))], "last")
    with pytest.raises(CheckpointError, match=r"has 291 tokens, its model 280"):
        load_model(tmp_path)
    write_tokenizer(tmp_path, ["<|endoftext|>"], "last")
    with pytest.raises(CheckpointError, match="no fill-in-the-middle sentinels"):
        load_model(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer.json is damaged"):
        load_model(tmp_path)


def test_a_revision_is_read_from_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = (write_model(tmp_path / str(seed), UNDERSCORES, "first", seed) for seed in (1, 2))
    write_cache(tmp_path / "cache", "owner/name", main=late, early=early)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for revision, folder in ((None, late), ("main", late), ("early", early), (f"{1:040x}", early)):
        weights = load_model("owner/name", revision).model.token_embedding.weight
        assert torch.equal(weights, load_model(folder).model.token_embedding.weight)
    released = write_model(tmp_path / "run" / "release", UNDERSCORES, "first", 2)
    write_cache(released / "revisions", "owner/name", early=early)
    for target in (tmp_path / "run", released):
        weights = load_model(target, "early").model.token_embedding.weight
        assert torch.equal(weights, load_model(early).model.token_embedding.weight)
    with pytest.raises(TargetError, match=r"no revision 'earli' in .*; did you mean 'early'"):
        load_model("owner/name", "earli")
    with pytest.raises(TargetError, match="model owner/other is not in the hub cache"):
        load_model("owner/other")
    with pytest.raises(TargetError, match="has no revisions"):
        load_model(late, "early")


@torch.inference_mode()
def test_an_exported_model_loads_in_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_model(tmp_path / "source", UNDERSCORES, "first")
    write_cache(tmp_path / "cache", "owner/name", early=source)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    command = ["export", "owner/name", "--revision", "early", "--out", str(out), "--max-shard-size", "30KB"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert f"{out}: 35 tensors in 4 files, float32" in result.output
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    ids = torch.tensor([tokenizer("def f(x): return x")["input_ids"]])
    assert torch.allclose(theirs(ids).logits, load_model(source).model(ids), atol=1e-4)
    with pytest.raises(UsageError, match="is there already"):
        export_model(source, out)
    (source / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        export_model(source, tmp_path / "never")
    assert not list(tmp_path.glob("*never*"))
    assert not list(tmp_path.glob(".*never*"))
