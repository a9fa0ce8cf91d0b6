"""Release: what a run hands out.

In: every artefact of the run. Out: `release/`, which is itself a Hugging Face model folder, with `revisions/` (the
intermediate checkpoints), `dataset/` (Parquet per language with The Stack's columns) and both cards. The folder is
read back by the loader that users have before the stage ends.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from stackwright import __version__
from stackwright.artifact import Artifact
from stackwright.engine import StageContext
from stackwright.govern.proofs import contents_tree
from stackwright.model.hub_cache import REVISIONS_FOLDER
from stackwright.model.hub_folder import load_model_folder
from stackwright.release.cards import RunFacts, dataset_card, model_card
from stackwright.release.dataset import write_dataset
from stackwright.release.export import checkpoint_folders, copy_model, write_revisions

FIM_FILE = "fim.json"
CONTENTS_FILE = "contents.json"


def run_release(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    folder, inputs = context.staging.folder, context.inputs
    _remove_partial(folder)
    checkpoints = checkpoint_folders(inputs["checkpoints"].folder)
    task = context.progress.task("release", 3, "parts")
    copy_model(checkpoints[-1], folder)
    revisions = write_revisions(checkpoints, context.recipe.release.name, folder / REVISIONS_FOLDER)
    task.advance(1)
    languages = write_dataset(inputs["dataset"].table("documents"), folder / "dataset")
    task.advance(1)
    context.staging.write_json(CONTENTS_FILE, _contents(context))
    facts = _gather_facts(context, revisions, languages)
    context.staging.write_text("README.md", model_card(facts))
    context.staging.write_text("dataset/README.md", dataset_card(facts))
    load_model_folder(folder)  # what cannot be loaded is not released
    task.advance(1)
    return {"revisions": len(revisions), "languages": len(languages), "files": facts.report["kept"]["files"]}


def _remove_partial(folder: Path) -> None:
    """Remove what a killed release left: it is quick to write again and has no finished parts to keep."""
    for name in (REVISIONS_FOLDER, "dataset"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _read_json(artifact: Artifact, name: str) -> Any:
    return json.loads((artifact.folder / name).read_text("utf-8"))


def _gather_facts(
    context: StageContext, revisions: dict[str, str], languages: dict[str, dict[str, Counter[str]]]
) -> RunFacts:
    inputs, recipe = context.inputs, context.recipe
    train = inputs["checkpoints"].manifest
    template = _read_json(inputs["tokenizer"], FIM_FILE)
    return RunFacts(
        name=recipe.release.name,
        license=recipe.release.license,
        recipe=recipe.name,
        version=__version__,
        config=json.loads((context.staging.folder / "config.json").read_text("utf-8")),
        train=train.counts,
        train_settings=train.content["config"]["train"],
        data_settings=train.content["config"]["data"],
        tokenizer=inputs["tokenizer"].manifest.counts,
        tokens=inputs["tokens"].manifest.counts,
        report=_read_json(inputs["dataset"], "report.json"),
        evaluation=_read_json(inputs["evaluation"], "results.json"),
        fim=template["spellings"],
        revisions=revisions,
        licenses=_licenses(inputs["dataset"]),
        languages=languages,
        digests={name: artifact.digest for name, artifact in inputs.items()},
        contents=json.loads((context.staging.folder / CONTENTS_FILE).read_text("utf-8")),
    )


def _contents(context: StageContext) -> dict[str, Any]:
    """Return the root of the contents, and what the weights have seen that is no longer among them."""
    tree = contents_tree(context.inputs["dataset"])
    ids = set(tree.ids)
    load_list = context.inputs["checkpoints"].table("load_list").read(["content_id"]).column(0).to_pylist()
    return {
        "root": tree.root,
        "num_ids": len(ids),
        "removed": len(context.removals.content_ids),
        "trained_on_removed": sum(content_id not in ids for content_id in load_list),
    }


def _licenses(dataset: Artifact) -> list[tuple[str, int]]:
    """Return the SPDX ids of the kept repositories with the number of repositories, most frequent first."""
    rows = dataset.table("documents").read(["repo", "detected_licenses"])
    licenses: dict[str, set[str]] = {}
    for repo, ids in zip(rows.column("repo").to_pylist(), rows.column("detected_licenses").to_pylist(), strict=True):
        licenses.setdefault(repo, set()).update(ids or ())
    counts = Counter(license_id for ids in licenses.values() for license_id in ids)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
