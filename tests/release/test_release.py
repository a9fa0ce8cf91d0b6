"""The release loads in transformers, offline, by folder and by revision; its dataset and cards say what the run holds."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from stackwright import load_artifact, load_model
from stackwright.errors import CheckpointError
from stackwright.evaluate.markdown import interval_text
from stackwright.release.cards import front_matter
from stackwright.release.dataset import STACK_COLUMNS, language_folder
from stackwright.release.export import checkpoint_folders, commit_id, copy_model


@pytest.fixture
def release(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return finished_run / "release"


@torch.inference_mode()
def test_transformers_loads_the_release_and_agrees(release: Path) -> None:
    ours, theirs = load_model(release), AutoModelForCausalLM.from_pretrained(release).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, ours.tokenizer.vocab_size, (4, 60), generator=generator)
    assert torch.allclose(ours.model(ids), theirs(ids).logits, atol=1e-4)
    prompt = ids[:1, :10]
    greedy = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40, do_sample=False, eos_token_id=-1
    )
    session, found, fed = ours.backend.open(60), [], prompt[0].tolist()
    for _ in range(40):
        found.append(int(session.feed(fed).argmax()))
        fed = found[-1:]
    assert found == greedy[0, 10:].tolist()


def test_a_revision_is_the_checkpoint_of_its_step(release: Path, finished_run: Path) -> None:
    cache = release / "revisions"
    for step in ("step-000004", "step-000008", "step-000012"):
        loaded = AutoModelForCausalLM.from_pretrained(
            "stackwright/tiny", revision=step, cache_dir=cache, local_files_only=True
        )
        direct = AutoModelForCausalLM.from_pretrained(finished_run / "checkpoints" / step)
        for name, tensor in direct.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name])
    main = AutoModelForCausalLM.from_pretrained("stackwright/tiny", cache_dir=cache, local_files_only=True)
    assert torch.equal(main.transformer.wte.weight, loaded.transformer.wte.weight)
    tokenizer = AutoTokenizer.from_pretrained(
        "stackwright/tiny", revision="step-000004", cache_dir=cache, local_files_only=True
    )
    assert tokenizer.eos_token == "<|endoftext|>"


def test_the_resume_state_is_not_handed_out(release: Path) -> None:
    assert not list(release.rglob("resume*"))


def test_dataset_has_the_stacks_columns_and_every_kept_file(release: Path, finished_run: Path) -> None:
    documents = {
        (row["repo"], row["path"]): row
        for row in load_artifact(finished_run / "dataset").table("documents").read().to_pylist()
    }
    rows = []
    for path in sorted((release / "dataset" / "data").glob("*/*.parquet")):
        table = pq.read_table(path)
        assert table.schema.equals(STACK_COLUMNS)
        for row in table.to_pylist():
            document = documents[row["max_stars_repo_name"], row["max_stars_repo_path"]]
            assert (language_folder(row["lang"]), document["split"]) == (path.parent.name, path.stem)
            assert (row["content"], row["hexsha"]) == (document["content"], document["content_id"])
            assert row["size"] == len(row["content"].encode())
            lines = row["content"].split("\n")
            assert row["max_line_length"] == max(map(len, lines))
            assert row["avg_line_length"] == pytest.approx(sum(map(len, lines)) / len(lines))
            rows.append(row)
    assert len(rows) == len(documents)


def metadata_of(card: Path) -> dict[str, object]:
    _, block, _ = card.read_text().split("---\n", 2)
    value = yaml.safe_load(block)
    assert isinstance(value, dict)
    return value


def test_model_card_has_the_keys_and_the_numbers_of_the_run(release: Path, finished_run: Path) -> None:
    metadata, text = metadata_of(release / "README.md"), (release / "README.md").read_text()
    keys = {"pipeline_tag", "inference", "widget", "datasets", "license", "library_name", "tags", "model-index"}
    assert keys == set(metadata)
    results = json.loads((finished_run / "evaluation" / "results.json").read_text())
    [result] = metadata["model-index"][0]["results"]  # type: ignore[index]
    bits, infills = results["tasks"]["held_out_bits_per_byte"], results["tasks"]["single_line_infilling"]
    own = {"bits_per_byte": bits["models"]["this model"], "exact_match": infills["models"]["this model"]["exact_match"]}
    assert {metric["type"] for metric in result["metrics"]} == set(own)
    for metric in result["metrics"]:
        assert metric["value"] == pytest.approx(own[metric["type"]]["value"], abs=1e-4)
    for name, entry in bits["models"].items():
        assert f"| {name} | {interval_text(entry, bits['num_documents'], 3)} |" in text
    for name, entry in infills["models"].items():
        shown = [interval_text(entry[key], infills["num_documents"], 3) for key in ("exact_match", "edit_similarity")]
        assert f"| {name} | {shown[0]} | {shown[1]} |" in text
    counts = load_artifact(finished_run / "checkpoints").manifest.counts
    for number in (counts["parameters"], counts["tokens"]):
        assert f"{number:,}" in text
    assert results["headline"] in text
    for section in ("Model Summary", "Use", "Limitations", "Training", "License", "Citation"):
        assert f"\n## {section}\n" in text
    assert "<fim-prefix>" in text
    widget = metadata["widget"][1]["text"]  # type: ignore[index]
    assert widget.startswith("<fim-prefix>")


def test_dataset_card_names_every_file(release: Path) -> None:
    metadata = metadata_of(release / "dataset" / "README.md")
    named = {entry["path"] for config in metadata["configs"] for entry in config["data_files"]}  # type: ignore[attr-defined]
    found = {path.relative_to(release / "dataset").as_posix() for path in (release / "dataset").rglob("*.parquet")}
    assert named == found


def test_front_matter_is_yaml_for_any_nesting() -> None:
    value = {"a": "x: y", "b": [1, "two", {"c": None, "d": ["e", {"f": True}]}], "g": {}, "h": {"i": {"j": "k\nl"}}, "m": []}
    _, block, _ = front_matter(value).split("---\n", 2)
    assert yaml.safe_load(block) == value


def test_incomplete_checkpoints_are_refused(tmp_path: Path, run_copy: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint; run `stackwright build` again"):
        checkpoint_folders(tmp_path)
    checkpoint = run_copy / "checkpoints" / "step-000012"
    before = commit_id(checkpoint)
    (checkpoint / "config.json").write_text("{}")
    assert commit_id(checkpoint) != before
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"lacks tokenizer.json; train it again"):
        copy_model(checkpoint, tmp_path / "copy")
