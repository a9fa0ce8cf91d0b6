"""Small datasets and indexes for the tests of attribution, and the search that is too slow to be wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stackwright.artifact import Artifact, Staging, load_artifact
from stackwright.attribute.index import Index
from stackwright.attribute.stage import TABLES, run_index
from stackwright.document import DOCUMENTS, git_blob_id, text_digest
from stackwright.engine import Engine, StageContext
from stackwright.recipe import load_recipe

Name = tuple[str, str]  # repository, path


def make_dataset(folder: Path, texts: Mapping[Name, str], num_parts: int = 2) -> Artifact:
    """Write a dataset artefact of the texts."""
    staging = Staging.open(folder, {"documents": DOCUMENTS})
    names = sorted(texts)
    size = -(-len(names) // num_parts) or 1
    for part in range(num_parts):
        rows = [_document_row(name, texts[name]) for name in names[part * size : (part + 1) * size]]
        staging.write_table_part("documents", part, rows)
    staging.commit(key="k", stage="curate", version=1, config={}, inputs={}, counts={}, run={})
    return load_artifact(folder)


def _document_row(name: Name, text: str) -> dict[str, Any]:
    repo, path = name
    data = text.encode("utf-8")
    return {
        **dict.fromkeys(DOCUMENTS.names),
        "content_id": git_blob_id(data),
        "repo": repo,
        "revision": "1.0",
        "path": path,
        "language": "Python",
        "size_bytes": len(data),
        "src_encoding": "utf-8",
        "source": "directory",
        "is_vendor": False,
        "is_generated": False,
        "detected_licenses": ["MIT"],
        "license_type": "permissive",
        "split": "train",
        "content": text,
        "text_id": text_digest(text),
    }


def index_context(folder: Path, dataset: Artifact, overrides: Sequence[str] = (), workers: int = 1) -> StageContext:
    recipe = load_recipe("tiny", list(overrides))
    return StageContext(recipe, {"dataset": dataset}, Staging.open(folder, TABLES), Engine(workers))


def finish_index(context: StageContext) -> None:
    """Run the stage and commit what it wrote."""
    counts = run_index(context)
    inputs = {"dataset": context.inputs["dataset"].digest}
    context.staging.commit(key="k", stage="index", version=1, config={}, inputs=inputs, counts=counts, run={})


def make_index(folder: Path, texts: Mapping[Name, str], *overrides: str, num_parts: int = 2) -> Index:
    """Make a dataset and its index under `folder`, and open it."""
    dataset = make_dataset(folder / "dataset", texts, num_parts)
    finish_index(index_context(folder / "index", dataset, overrides))
    return Index.open(folder / "index")


def brute_force(query: str, texts: Sequence[str], least: int = 50) -> list[tuple[int, int]]:
    """Return the maximal spans of the query, in characters as given, found by trying every start and every end."""
    plain, places = normalized_with_places(query)
    stored = [normalized_with_places(text)[0] for text in texts]
    spans, end = [], 0
    for start in range(len(plain)):
        reach = max(end, start)
        while reach < len(plain) and any(plain[start : reach + 1] in text for text in stored):
            reach += 1
        if reach > end and any(plain[start:reach] in text for text in stored):
            end = reach
            if end - start >= least:
                spans.append((places[start], places[end - 1] + 1))
    return spans


def normalized_with_places(text: str) -> tuple[str, list[int]]:
    """Return the normalised form, and where each of its characters stands in the text; one character at a time."""
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if not character.isspace():
            characters.append(character)
            places.append(place)
        elif characters and characters[-1] != " ":
            characters.append(" ")
            places.append(place)
    if characters and characters[-1] == " ":
        characters.pop()
        places.pop()
    return "".join(characters), places


def words(rng: random.Random, length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz_()=.é漢😀") -> str:
    """Return random text with white space of several kinds."""
    pieces: list[str] = []
    while sum(map(len, pieces)) < length:
        pieces.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 9))))
        pieces.append(rng.choice([" ", "\n", "\r\n", "\t", "    ", "\n\n        ", "\u00a0"]))
    return "".join(pieces)[:length]
