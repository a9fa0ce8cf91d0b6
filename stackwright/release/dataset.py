"""The dataset folder: one Parquet file per language and split, with The Stack v1's columns (FACTS A1).

Text is the redacted text that was trained on, so `size` and the line statistics describe that text, while `hexsha`
names the original file. The star, issue and fork columns all name the one repository whose copy was kept; counts are
null where the source knows none, as in The Stack. Four columns of ours follow: `revision`, `license_type`, `text_id`,
`source`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from stackwright.artifact import Table, TableFile
from stackwright.engine import read_table

_REPOSITORY_COLUMNS = [
    field
    for kind in ("stars", "issues", "forks")
    for field in (
        pa.field(f"max_{kind}_repo_path", pa.string()),
        pa.field(f"max_{kind}_repo_name", pa.string()),
        pa.field(f"max_{kind}_repo_head_hexsha", pa.string()),
        pa.field(f"max_{kind}_repo_licenses", pa.list_(pa.string())),
        pa.field(f"max_{kind}_count", pa.int64()),
    )
]
STACK_COLUMNS = pa.schema(
    [
        pa.field("hexsha", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("ext", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        *_REPOSITORY_COLUMNS,
        pa.field("content", pa.string(), nullable=False),
        pa.field("avg_line_length", pa.float64(), nullable=False),
        pa.field("max_line_length", pa.int64(), nullable=False),
        pa.field("alphanum_fraction", pa.float64(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("license_type", pa.string(), nullable=False),
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def language_folder(language: str) -> str:
    """Return a folder name for a language, as The Stack spells them: `c++`, `jupyter-notebook`."""
    return language.lower().replace(" ", "-").replace("/", "-")


def stack_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return one document of the dataset as a row of The Stack."""
    text: str = document["content"]
    lengths = [len(line) for line in text.split("\n")]
    name = document["path"].rpartition("/")[2]
    row: dict[str, Any] = {
        "hexsha": document["content_id"],
        "size": len(text.encode("utf-8")),
        "ext": name.rpartition(".")[2].lower() if "." in name else "",
        "lang": document["language"],
        "content": text,
        "avg_line_length": sum(lengths) / len(lengths),
        "max_line_length": max(lengths),
        "alphanum_fraction": len(_NOT_ALPHANUMERIC.sub("", text)) / max(len(text), 1),
        **{key: document[key] for key in ("revision", "license_type", "text_id", "source")},
    }
    for kind, count in (("stars", document["stars"]), ("issues", None), ("forks", document["forks"])):
        row[f"max_{kind}_repo_path"] = document["path"]
        row[f"max_{kind}_repo_name"] = document["repo"]
        row[f"max_{kind}_repo_head_hexsha"] = document["revision"]
        row[f"max_{kind}_repo_licenses"] = document["detected_licenses"]
        row[f"max_{kind}_count"] = count
    return row


def write_dataset(documents: Table, folder: Path) -> dict[str, dict[str, Counter[str]]]:
    """Write `data/LANGUAGE/SPLIT.parquet` and return files and bytes by language and split.

    Documents are streamed part by part, so memory holds one part of the dataset at a time.
    """
    counts: dict[str, dict[str, Counter[str]]] = {}
    with ExitStack() as stack:
        files: dict[tuple[str, str], TableFile] = {}
        for part in read_table(documents):
            grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for document in part.to_pylist():
                row = stack_row(document)
                grouped.setdefault((document["language"], document["split"]), []).append(row)
            for (language, split), rows in grouped.items():
                if (language, split) not in files:
                    path = folder / "data" / language_folder(language) / f"{split}.parquet"
                    files[language, split] = stack.enter_context(TableFile(path, STACK_COLUMNS))
                files[language, split].append(rows)
                counter = counts.setdefault(language, {}).setdefault(split, Counter())
                counter.update(files=len(rows), bytes=sum(row["size"] for row in rows))
    return {language: counts[language] for language in sorted(counts)}
