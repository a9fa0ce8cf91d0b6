"""Model card and dataset card. Every number is read from the run's manifests and reports; this module only formats.

The YAML keys are those that model hubs read (FACTS J2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackwright.evaluate import bits_per_byte, infilling
from stackwright.evaluate.bits_per_byte import MODEL
from stackwright.evaluate.markdown import interval_text
from stackwright.model.config import ModelConfig
from stackwright.model.hub import layout_of
from stackwright.model.hub_config import from_hub_config


@dataclass(frozen=True)
class RunFacts:
    """What the cards say, gathered from the run by `release.stage`."""

    name: str  # owner/name
    license: str
    recipe: str
    version: str  # of stackwright
    config: Mapping[str, Any]  # config.json of the release
    train: Mapping[str, Any]  # counts of the train stage
    train_settings: Mapping[str, Any]
    data_settings: Mapping[str, Any]
    tokenizer: Mapping[str, Any]  # counts of the tokenizer stage
    tokens: Mapping[str, Any]  # counts of the tokens stage
    report: Mapping[str, Any]  # dataset/report.json
    evaluation: Mapping[str, Any]  # evaluation/results.json
    fim: Mapping[str, str]  # spelling of the sentinels
    revisions: Mapping[str, str]
    licenses: Sequence[tuple[str, int]]  # SPDX id -> repositories that were kept
    languages: Mapping[str, Mapping[str, Mapping[str, int]]]  # language -> split -> files and bytes
    digests: Mapping[str, str]  # stage folder -> digest
    contents: Mapping[str, Any]  # contents.json: Merkle root, removals


def front_matter(values: Mapping[str, Any]) -> str:
    """Return a YAML block between `---` lines. Scalars are written as JSON, which is YAML."""
    return "---\n" + "\n".join(_yaml_lines(values, 0)) + "\n---\n"


def _yaml_lines(value: Any, depth: int) -> list[str]:
    indent = "  " * depth
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if isinstance(entry, Mapping | list) and entry:
                lines += [f"{indent}{key}:", *_yaml_lines(entry, depth + isinstance(entry, Mapping))]
            else:
                lines.append(f"{indent}{key}: {json.dumps(entry, ensure_ascii=False)}")
        return lines
    for entry in value:
        if isinstance(entry, Mapping | list):
            first, *rest = _yaml_lines(entry, depth + 1)
            lines += [f"{indent}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}- {json.dumps(entry, ensure_ascii=False)}")
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " for _ in header) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def model_card(facts: RunFacts) -> str:
    """Return README.md of the model folder."""
    return front_matter(_model_metadata(facts)) + "\n".join(
        [
            f"# {facts.name}",
            "## Model Summary",
            _summary(facts),
            "## Use",
            _use(facts),
            "## Limitations",
            _limitations(facts),
            "## Training",
            _training(facts),
            "## License",
            _license(facts),
            "## Contents and removals",
            _contents(facts),
            "## Citation",
            f"Built with stackwright {facts.version}, recipe `{facts.recipe}`. Cite the run by its digests:\n",
            _table(["artefact", "digest"], [(name, f"`{digest}`") for name, digest in facts.digests.items()]),
            "",
        ]
    )


def _model_metadata(facts: RunFacts) -> dict[str, Any]:
    fim = facts.fim
    infill = f"{fim['prefix']}def add(a, b):\n    total = {fim['suffix']}\n    return total\n{fim['middle']}"
    return {
        "pipeline_tag": "text-generation",
        "inference": False,
        "widget": [
            {"text": "def mean(values):", "example_title": "Continue a function", "group": "Python"},
            {"text": infill, "example_title": "Fill in the middle", "group": "Python"},
        ],
        "datasets": [f"{facts.name}-dataset"],
        "license": facts.license,
        "library_name": "transformers",
        "tags": ["code", "fill-in-the-middle", "stackwright"],
        "model-index": [
            {
                "name": facts.name,
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": f"held-out repositories of {facts.recipe}", "type": "held-out"},
                        "metrics": _own_metrics(facts.evaluation["tasks"]),
                    }
                ],
            }
        ],
    }


def _own_metrics(tasks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the model's own scores: what it is compared with stands in the card's tables."""
    metrics = []
    if bits_per_byte.TASK in tasks:
        score = tasks[bits_per_byte.TASK]["models"][MODEL]
        metrics.append({"type": "bits_per_byte", "name": "bits per byte", "value": round(score["value"], 4)})
    if infilling.TASK in tasks:
        score = tasks[infilling.TASK]["models"][MODEL]["exact_match"]
        name = "exact match of infilled lines"
        metrics.append({"type": "exact_match", "name": name, "value": round(score["value"], 4)})
    return metrics


def _summary(facts: RunFacts) -> str:
    config, train = from_hub_config(facts.config), facts.train
    return f"""
A code model of {train["parameters"]:,} parameters with fill-in-the-middle, trained from scratch on
{train["tokens"]:,} tokens of {facts.report["kept"]["files"]:,} governed files.

{
        _table(
            ["", ""],
            [
                ("architecture", f"`{layout_of(config)}`, {config.num_layers} layers, width {config.hidden_size}"),
                ("attention", _attention(config)),
                ("context", f"{config.max_seq_len:,} tokens"),
                ("vocabulary", f"{facts.tokenizer['vocab_size']:,}, padded to {config.vocab_size:,}"),
            ],
        )
    }
"""


def _attention(config: ModelConfig) -> str:
    kind = f"grouped-query with {config.num_kv_heads} key-value heads"
    if config.num_kv_heads in (1, config.num_heads):
        kind = "multi-query" if config.num_kv_heads == 1 else "multi-head"
    window = f", each token sees {config.sliding_window:,} tokens" if config.sliding_window else ""
    return f"{config.num_heads} heads, {kind}{window}"


def _use(facts: RunFacts) -> str:
    fim = facts.fim
    size = facts.train["parameters"]
    footprints = [("float32", 4), ("bfloat16", 2)]
    return f"""
### Intended use

Continuing code and filling gaps in it. It is a model of its data, not of instructions.

### Generation

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH/TO/THIS/FOLDER")
model = AutoModelForCausalLM.from_pretrained("PATH/TO/THIS/FOLDER")  # dtype="bfloat16" halves the memory
inputs = tokenizer("def mean(values):", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))
```

Fill in the middle: `{fim["prefix"]}` prefix `{fim["suffix"]}` suffix `{fim["middle"]}`;
the answer ends at `{fim["eot"]}`.

Intermediate checkpoints are revisions: {", ".join(f"`{name}`" for name in facts.revisions)}. From this folder:

```python
AutoModelForCausalLM.from_pretrained(
    "{facts.name}", revision="{next(iter(facts.revisions))}", cache_dir="revisions", local_files_only=True
)
```

Weights in memory: {", ".join(f"{name} {size * width / 1e6:.1f} MB" for name, width in footprints)}.

### Attribution and other requirements

The training data is under the licences below, and some of them ask for attribution. Output may repeat training data
word for word; whoever uses it must then honour the licence of its origin. `dataset/` names repository, path and licence
of every file.
"""


def _value_of(item: tuple[str, Mapping[str, Any]]) -> float:
    return float(item[1]["value"])


def _score_tables(tasks: Mapping[str, Any]) -> str:
    """Return a table for each task, the best model first in the one of bits per byte."""
    tables = []
    if bits_per_byte.TASK in tasks:
        task = tasks[bits_per_byte.TASK]
        rows: list[tuple[str, ...]] = [
            (name, interval_text(score, task["num_documents"], 3))
            for name, score in sorted(task["models"].items(), key=_value_of)
        ]
        tables.append(_table(["on the same held-out bytes", "bits per byte"], rows))
    if infilling.TASK in tasks:
        task = tasks[infilling.TASK]
        rows = [
            (name, *(interval_text(scores[key], task["num_documents"], 3) for key in ("exact_match", "edit_similarity")))
            for name, scores in task["models"].items()
        ]
        header = [f"{task['num_problems']:,} held-out lines, infilled", "exact match", "edit similarity"]
        tables.append(_table(header, rows))
    return "\n\n".join([*tables, "In brackets: 95 % bootstrap intervals over files."]) if tables else ""


def _limitations(facts: RunFacts) -> str:
    return f"""
{facts.evaluation["headline"]}

{_score_tables(facts.evaluation["tasks"])}

Scored on {facts.evaluation["num_bytes"]:,} bytes of {facts.evaluation["num_documents"]:,} files of repositories that
were not trained on ({facts.evaluation["split"]} split). Output may be wrong, insecure, or a copy of training data.
"""


def _training(facts: RunFacts) -> str:
    train, data, counts = facts.train_settings, facts.data_settings, facts.train
    dropped = sorted(facts.report["reasons"].items(), key=lambda item: (-item[1]["files"], item[0]))
    funnel = [("seen", facts.report["seen"]), *dropped, ("kept", facts.report["kept"])]
    return f"""
### Data

{_table(["step", "files", "bytes"], [(name, f"{e['files']:,}", f"{e['bytes']:,}") for name, e in funnel])}

Redacted: {", ".join(f"{kind} {count:,}" for kind, count in facts.report["redactions"].items()) or "nothing"}.
Tokens made: {facts.tokens["tokens"]:,}; trained on: {counts["tokens"]:,}.

### Model

{counts["steps"]:,} steps of {data["seq_len"] * train["micro_batch_size"] * train["grad_accum_steps"]:,} tokens, AdamW,
learning rate {train["peak_lr"]:g} to {train["min_lr"]:g}, fill-in-the-middle rate {data["fim_rate"]:g} of which
{data["spm_rate"]:g} in suffix-prefix-middle order, precision {counts["precision"]}.

### Hardware

One machine ({counts["processor"]}), CPU threads: {counts["threads"]}.

### Software

stackwright {facts.version}, torch {counts["torch"]}.
"""


def _license(facts: RunFacts) -> str:
    rows = [(license_id, repositories) for license_id, repositories in facts.licenses]
    return f"""
Weights: `{facts.license}`. Licences of the repositories in the dataset:

{_table(["licence", "repositories"], rows)}
"""


def _contents(facts: RunFacts) -> str:
    """What can be proved of the contents, and what was taken out of them."""
    contents = facts.contents
    text = f"""
Merkle root of the {contents["num_ids"]:,} contents (git blob SHA-1): `{contents["root"]}`.
With it the operator can prove to an author that a file is in, or is not.
"""
    if contents["removed"]:
        text += f"\n{contents['removed']:,} contents were taken out at the request of authors.\n"
    if contents["trained_on_removed"]:
        text += (
            f"\nThe weights were trained before: they have seen {contents['trained_on_removed']:,} files that are no longer "
            "in the dataset. Training again leaves them out.\n"
        )
    return text


def dataset_card(facts: RunFacts) -> str:
    """Return README.md of the dataset folder."""
    from stackwright.release.dataset import STACK_COLUMNS, language_folder

    configs = [
        {
            "config_name": language_folder(language),
            "data_files": [
                {"split": split, "path": f"data/{language_folder(language)}/{split}.parquet"} for split in sorted(splits)
            ],
        }
        for language, splits in facts.languages.items()
    ]
    metadata = {
        "license": "other",
        "license_name": "licence-of-each-file",
        "task_categories": ["text-generation"],
        "tags": ["code", "stackwright"],
        "configs": configs,
    }
    totals = [
        (
            language,
            f"{sum(entry['files'] for entry in splits.values()):,}",
            f"{sum(entry['bytes'] for entry in splits.values()):,}",
            ", ".join(sorted(splits)),
        )
        for language, splits in facts.languages.items()
    ]
    return (
        front_matter(metadata)
        + f"""
# {facts.name}-dataset

The files that {facts.name} was trained, validated and tested on: {facts.report["kept"]["files"]:,} of
{facts.report["seen"]["files"]:,} files seen. Redacted values are replaced by placeholders.
Each file stays under its own licence (column `max_stars_repo_licenses`).
{_contents(facts)}

{_table(["language", "files", "bytes", "splits"], totals)}

Columns: {", ".join(f"`{name}`" for name in STACK_COLUMNS.names)}.
"""
    )
