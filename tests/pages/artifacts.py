"""Hand-made artefacts for the tests of pages: small enough to know every row, with names that try to be markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa

from stackwright.artifact import Artifact, Staging, load_artifact, publish
from stackwright.document import CLUSTERS, DOCUMENTS, LEDGER, REPOSITORIES
from stackwright.pages.elements import VOID

ATTACK = "<script>alert('x')</script>\"&\x1b"
SECRET = "someone@firm.de"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEabc\nMIIEdef\n-----END PRIVATE KEY-----"


def redactor(text: str) -> str:
    """Replace the secrets of the texts below, one of them over several lines."""
    return text.replace(SECRET, "<EMAIL>").replace(KEY, "<KEY>")


def fired(reason: str, rule: str = "rule", **evidence: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("value", "limit", "start", "end", "matched", "kept"))
    return {"rule": rule, "version": 1, "reason": reason, **empty, **evidence}


def entry(repo: str, path: str, reason: str | None, size: int = 100, **evidence: Any) -> dict[str, Any]:
    """Return a row of a ledger; a file without a reason is kept."""
    return {
        "repo": repo,
        "revision": "1",
        "path": path,
        "content_id": "0" * 40,
        "source": "directory",
        "language": "Python",
        "size_bytes": size,
        "verdict": "drop" if reason else "keep",
        "rule": "rule" if reason else None,
        "rule_version": 1 if reason else None,
        "reason": reason,
        "split": None if reason else "train",
        "license_type": "permissive",
        "fired": [fired(reason, **evidence)] if reason else [],
    }


def document(repo: str, path: str, content: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(DOCUMENTS.names)
    texts = {"content_id": "0" * 40, "language": "Python", "src_encoding": "utf-8", "source": "directory"}
    return {
        **row, **texts, "repo": repo, "revision": "1", "path": path, "size_bytes": len(content), "is_vendor": False,
        "is_generated": False, "content": content,
    }  # fmt: skip


def edge(path: str, other: str, kind: str, similarity: float, *, decisive: bool = True) -> dict[str, Any]:
    names = {"repo": "b", "revision": "1", "path": path, "content_id": "0" * 40}
    return {
        **names,
        **{f"other_{name}": value for name, value in {**names, "repo": "a", "path": other}.items()},
        "kind": kind,
        "similarity": similarity,
        "decisive": decisive,
    }


def commit(
    run: Path, folder: str, stage: str, fill: Callable[[Staging], None], *, schemas: Mapping[str, pa.Schema] | None = None,
    counts: Mapping[str, Any] | None = None, version: int = 2, inputs: Mapping[str, str] | None = None,
) -> Artifact:  # fmt: skip
    staging = Staging.open(run / ".building" / folder, schemas or {})
    fill(staging)
    staging.commit(
        key="0", stage=stage, version=version, config={}, inputs=inputs or {}, counts=counts or {}, run={"seconds": 61.4}
    )
    publish(staging.folder, run / folder)
    return load_artifact(run / folder)


CORPUS_LEDGER = [entry("a", f"data{ATTACK}.bin", "binary_file", 5000)]
LONG = "start\n" + "x" * 300 + SECRET + "y" * 300 + "\nend\n"
TEXTS = [
    ("a", "keep.py", "one\ntwo\nthree\nfour\n"),
    ("a", "keyed.py", f"{KEY}\none\ntwo\nthree\nfour\nfive\nhere\nsix\nseven\neight\n"),
    ("b", f"long{ATTACK}.py", LONG),
    ("b", "near.py", f"one\ntwo\n{SECRET}\nfour\n"),
]
LEDGER_ROWS = [
    entry("a", "keep.py", None),
    entry("a", "keyed.py", "odd_word", start=TEXTS[1][2].index("here"), end=1, matched="here"),
    entry("b", f"long{ATTACK}.py", "line_too_long", value=616.0, limit=100.0, start=6, end=622),
    entry("b", "near.py", "near_duplicate", kept="a@1:keep.py"),
]
EDGES = [edge("near.py", "keep.py", "near", 0.82), edge("near.py", "keyed.py", "near", 0.71, decisive=False)]


def counted(files: int, num_bytes: int) -> dict[str, int]:
    return {"files": files, "bytes": num_bytes}


REPORT = {
    "seen": counted(5, 5400),
    "kept": counted(1, 100),
    "dropped": counted(4, 5300),
    "reasons": {
        "binary_file": counted(1, 5000),
        "line_too_long": counted(1, 100),
        "near_duplicate": counted(1, 100),
        "odd_word": counted(1, 100),
    },
    "languages": {f"Lang{ATTACK}": {"seen": counted(5, 5400), "kept": counted(1, 100), "dropped": {}}},
    "redactions": {"email": 3},
    "licenses": {"permissive": 4},
    "splits": {"train": counted(1, 100)},
    "near_dedup": {"preset": "verified-0.7", "threshold": 0.7, "candidates": 2, "edges": 2, "dropped": 1},
}


def make_data(run: Path, edges: Sequence[Mapping[str, Any]] = EDGES, report: Mapping[str, Any] = REPORT) -> None:
    def fill_corpus(staging: Staging) -> None:
        staging.write_table_part("ledger", 0, CORPUS_LEDGER)
        staging.write_table_part("documents", 0, [document(*text) for text in TEXTS[:2]])
        staging.write_table_part("documents", 1, [document(*text) for text in TEXTS[2:]])
        declared = {"revision": "1", "source": "directory", "revision_date": None, "license_origin": "x"}
        rows = [
            {"repo": "a", "declared_license": f"MIT{ATTACK}", **declared},
            {"repo": "b", "declared_license": None, **declared},
        ]
        staging.write_table_part("repositories", 0, rows)

    def fill_dataset(staging: Staging) -> None:
        staging.write_json("report.json", report)
        staging.write_table_part("ledger", 0, LEDGER_ROWS)
        staging.write_table_part("clusters", 0, edges)

    schemas = {"documents": DOCUMENTS, "ledger": LEDGER, "repositories": REPOSITORIES}
    commit(run, "corpus", "collect", fill_corpus, schemas=schemas)
    commit(
        run,
        "dataset",
        "curate",
        fill_dataset,
        schemas={"ledger": LEDGER, "clusters": CLUSTERS},
        counts={"kept": REPORT["kept"]},
    )


def make_ledger(run: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a corpus and a dataset of which only the dataset's ledger has rows. Returns the run folder."""
    schemas = {"documents": DOCUMENTS, "ledger": LEDGER, "clusters": CLUSTERS, "repositories": REPOSITORIES}

    def fill(staging: Staging) -> None:
        for name in schemas:
            staging.write_table_part(name, 0, rows if (staging.folder.name, name) == ("dataset", "ledger") else [])

    commit(run, "corpus", "collect", fill, schemas=schemas)
    commit(run, "dataset", "curate", fill, schemas=schemas)
    return run


def make_training(run: Path, scale: float = 1.0) -> None:
    lines: list[dict[str, Any]] = []
    for step in range(20):
        loss = scale * 8 / (step + 1)
        lines.append({"kind": "train", "step": step, "loss": loss, "lr": 0.001, "grad_norm": 1.0, "tokens": 64 * (step + 1)})
    lines.append({"kind": "validation", "step": 20, "bits_per_byte": 3.0 * scale})
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra'
    counts = {"steps": 20, "tokens": 1280, "parameters": 4321}
    commit(run, "checkpoints", "train", lambda staging: staging.write_text("metrics.jsonl", text), counts=counts)


def score(value: float, spread: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def results(own: float = 2.0, bigram: float = 2.4) -> dict[str, Any]:
    models = {"bigram of tokens": score(bigram), "this model": score(own), f"xz{ATTACK}": score(2.9)}
    infilling = {
        "previous line": {"exact_match": score(0.2), "edit_similarity": score(0.3)},
        "this model": {"exact_match": score(0.1), "edit_similarity": score(0.4)},
    }
    return {
        "split": "test", "headline": f"{own:.3f} bits per byte", "settings": {"seed": 0},
        "num_documents": 7, "num_bytes": 4000, "num_tokens": 1500, "num_repositories": 2,
        "tasks": {
            "held_out_bits_per_byte": {
                "task_version": 2, "metric": "bits_per_byte", "lower_is_better": True, "models": models,
                "languages": {"Python": {"num_documents": 7, "num_bytes": 4000, "models": models}},
            },
            "single_line_infilling": {
                "task_version": 1, "metric": "exact_match", "lower_is_better": False, "num_problems": 9, "models": infilling,
                "languages": {"Python": {"num_problems": 9, "models": infilling}},
            },
        },
        "checkpoints": [
            {"step": 10, "tokens": 640, "bits_per_byte": 2.5, "exact_match": None, "edit_similarity": None},
            {"step": 20, "tokens": 1280, "bits_per_byte": own, "exact_match": 0.1, "edit_similarity": 0.4},
        ],
    }  # fmt: skip


def make_evaluation(run: Path, scores: Mapping[str, Any], version: int = 2, dataset: str = "d") -> None:
    commit(
        run, "evaluation", "evaluate", lambda staging: staging.write_json("results.json", scores), version=version,
        inputs={"dataset": dataset},
    )  # fmt: skip


def make_run(folder: Path, recipe: str = 'name = "small"\n[train]\nsteps = 20\npeak_lr = 0.003\n') -> Path:
    """Write a run folder without artefacts."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"format": 1}')
    (folder / "recipe.toml").write_text(recipe)
    return folder


def make_whole_run(folder: Path, recipe: str | None = None, own: float = 2.0) -> Path:
    """Write a run with data, training and scores; tokenizer, tokens and release are missing."""
    make_run(folder) if recipe is None else make_run(folder, recipe)
    make_data(folder)
    make_training(folder, own)
    make_evaluation(folder, results(own))
    return folder


class Page(HTMLParser):
    """A parsed page: it refuses an element that is not closed where it should be, and collects what tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.svgs: list[dict[str, str | None]] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    @property
    def text(self) -> str:
        """Everything a reader sees, without the style sheet."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "svg":
            self.svgs.append(named)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.references += [
            value or "" for name, value in attrs if name in ("href", "src", "srcset", "xlink:href", "action")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
