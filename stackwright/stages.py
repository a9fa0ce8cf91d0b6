"""The list of stages: what each reads, which folder it writes, and what its result depends on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stackwright.engine import Removals, StageContext
from stackwright.errors import TargetError, missing_extra, nearest_names
from stackwright.files import digest_of
from stackwright.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """One stage: what it reads, the folder it writes, and where its code is.

    `module` is imported only when the stage runs; it holds `run_NAME(context) -> counts` and, where the stage writes
    tables, `TABLES` (name -> Arrow schema). `sections` are the recipe sections that decide the result.
    """

    name: str
    folder: str
    version: int
    module: str
    inputs: tuple[str, ...]
    sections: tuple[str, ...]
    extra_key: str | None = None  # a function of the module, (recipe) -> str, for what lies outside the recipe
    alone: bool = False  # wants the whole machine: no idle worker stays beside it

    def config(self, recipe: Recipe) -> dict[str, Any]:
        values = recipe.model_dump(mode="json")
        return {section: values[section] for section in self.sections}

    def run(self, context: StageContext) -> Mapping[str, Any]:
        function: Callable[[StageContext], Mapping[str, Any]] = getattr(self._import(), f"run_{self.name}")
        return function(context)

    def tables(self) -> Mapping[str, Any]:
        return getattr(self._import(), "TABLES", {})

    def fingerprint(self, recipe: Recipe, removals: Removals) -> str:
        """Return a digest of what the stage reads outside the run."""
        found = "" if self.extra_key is None else getattr(self._import(), self.extra_key)(recipe)
        # Collect alone reads what authors had taken out. It leaves the files out, so its digest changes and with it the
        # keys of the stages that read it; one whose inputs stayed the same has nothing to make anew.
        removed = "" if self.inputs else removals.digest
        return f"{found}-{removed}" if removed else found

    def _import(self) -> Any:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise (missing_extra(error) or error) from None


STAGES = (
    Stage("collect", "corpus", 2, "stackwright.sources.collect", (), ("sources", "collect"), "collect_fingerprint"),
    Stage("curate", "dataset", 4, "stackwright.curate.stage", ("corpus",), ("curate", "seed"), "redaction_key_name"),
    Stage("tokenizer", "tokenizer", 2, "stackwright.tokenizer.training", ("dataset",), ("tokenizer", "seed")),
    Stage("tokens", "tokens", 2, "stackwright.tokenizer.token_shards", ("dataset", "tokenizer"), ()),
    Stage("index", "index", 2, "stackwright.attribute.stage", ("dataset",), ("index",)),
    Stage(
        "train",
        "checkpoints",
        3,
        "stackwright.train.trainer",
        ("tokens", "tokenizer"),
        ("data", "model", "train", "long_context", "seed"),
        alone=True,
    ),
    Stage(
        "evaluate",
        "evaluation",
        2,
        "stackwright.evaluate.stage",
        ("checkpoints", "tokens", "tokenizer", "dataset"),
        ("evaluate", "data", "seed"),
    ),
    Stage(
        "release",
        "release",
        2,
        "stackwright.release.stage",
        ("corpus", "dataset", "tokenizer", "tokens", "checkpoints", "evaluation"),
        ("name", "release"),
    ),
)
"""Every stage in order. Each reads finished artefacts and writes one."""


def stage_named(name: str) -> Stage:
    """Return a stage by its name; raises `TargetError` with the nearest names."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise TargetError(f"no stage is called {name!r}", nearest_names(name, [stage.name for stage in STAGES]))


def stage_key(stage: Stage, recipe: Recipe, input_digests: Mapping[str, str], removals: Removals) -> str:
    """Return the key under which a stage's result may be used again."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "config": stage.config(recipe),
            "inputs": {name: input_digests[name] for name in stage.inputs},
            "outside": stage.fingerprint(recipe, removals),
        }
    )
