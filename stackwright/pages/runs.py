"""Run folders as the report sees them: a name, a recipe, and the artefacts that are finished.

In: the path of a run folder. Out: a `Run`. Every artefact has passed `load_artifact`; a stage without a folder is missing,
which is no error, and a folder that is damaged is.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stackwright.artifact import MANIFEST, Artifact, load_artifact
from stackwright.errors import ArtifactError, TargetError

RUN_FILE = "run.json"
RECIPE_FILE = "recipe.toml"

FOLDERS = {
    "corpus": "every file that was read",
    "dataset": "the files that are used",
    "tokenizer": "the vocabulary",
    "tokens": "the text as tokens",
    "index": "where a text comes from",
    "checkpoints": "the trained model",
    "evaluation": "scores beside baselines",
    "release": "the model folder and its cards",
}
"""Folders that a report needs or names -> what they hold. Others that a run has are listed with them when they are there."""

FIRST_EVALUATION = 2
"""Version of the evaluation from which on its results have tasks, models and intervals."""


@dataclass(frozen=True)
class Run:
    """A run folder that was opened."""

    name: str
    folder: Path
    recipe: Mapping[str, str]  # dotted key -> value as JSON
    artifacts: Mapping[str, Artifact]  # by folder name, in the order in which they are made

    def missing(self) -> list[str]:
        return [name for name in FOLDERS if name not in self.artifacts]

    def counts(self, folder: str) -> Mapping[str, Any]:
        """Return what a stage counted; nothing when it is missing."""
        artifact = self.artifacts.get(folder)
        return {} if artifact is None else artifact.manifest.counts

    def results(self) -> Mapping[str, Any] | None:
        """Return the scores; None when there are none or an older version wrote them."""
        artifact = self.artifacts.get("evaluation")
        if artifact is None or artifact.manifest.content["version"] < FIRST_EVALUATION:
            return None
        return read_json(artifact, "results.json")


def read_json(artifact: Artifact, name: str) -> Mapping[str, Any]:
    """Read a JSON file of an artefact; raises `ArtifactError` when it has none of that name."""
    path = artifact.folder / name
    if not path.is_file():
        raise ArtifactError(f"{path} is missing", f"remove {artifact.folder} and run `stackwright build` again to remake it")
    return cast("Mapping[str, Any]", json.loads(path.read_text("utf-8")))


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Open the runs under names that tell them apart.

    Raises:
        TargetError: a folder is not a run folder, or none was given.
        ArtifactError: an artefact is half-written, changed or of another version.
    """
    if not folders:
        raise TargetError("no run folder was given", "name one or several, such as runs/tiny")
    return [_open(folder, name) for folder, name in zip(folders, run_names(folders), strict=True)]


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return the name of each folder, with its parents' where names are equal and a number where paths are."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _open(folder: Path, name: str) -> Run:
    if not (folder / RUN_FILE).is_file():
        raise TargetError(f"{folder} is not a run folder (no {RUN_FILE})", "name a folder that `stackwright build` made")
    others = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}") if path.parent.name not in FOLDERS)
    present = [entry for entry in FOLDERS if (folder / entry).is_dir()] + others
    artifacts = {entry: load_artifact(folder / entry) for entry in present}
    return Run(name, folder, _read_recipe(folder / RECIPE_FILE), artifacts)


def _read_recipe(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return flat(tomllib.loads(path.read_text("utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ArtifactError(f"{path} is not TOML ({error})", "run `stackwright build` again to write it") from error


def flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the values of a recipe by dotted key, each as JSON."""
    values: dict[str, str] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            values.update(flat(value, f"{prefix}{key}."))
        else:
            values[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False, default=str)
    return values
