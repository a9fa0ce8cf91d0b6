"""The end of `make demo`: code is planted, found, taken out, and proved gone, told in four lines.

Two repositories get a file and an edited copy of it, beside some of the code that is installed here; everything is built up
to the index. Then the file's author asks, and the operator applies. Every line below is printed after it was checked.
"""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from verify_proof import check_proof

import stackwright
from stackwright import explanation
from stackwright.errors import TargetError
from stackwright.govern.receipts import verify_receipt
from stackwright.govern.removals import request_log
from stackwright.removal import apply_requests

DATA = ("corpus", "dataset", "tokens", "index")
PLANTED = {"directory/author:mine.py", "directory/other:theirs.py"}


def plant(world: Path) -> str:
    """Write the two repositories and return the code that is planted."""
    code = "".join(f"def planted_{n}(value):\n    return [value * {n * n + 7}, value - {n}]\n\n\n" for n in range(30))
    edited = code.replace("planted_3(value)", "planted_3(value, more=None)", 1).replace("value - 5", "value - 6", 1)
    for repo, name, text in (("author", "mine.py", code), ("other", "theirs.py", edited)):
        (world / repo).mkdir(parents=True)
        (world / repo / name).write_text(text, "utf-8")
        (world / repo / "kept.py").write_text(f"# {repo}\n" + "".join(f"{repo}_{n} = {n * 3}\n" for n in range(40)), "utf-8")
    return code


def build(world: Path, run: Path, **options: Any) -> None:
    sources = [
        f"{{kind = 'directory', path = {json.dumps(str(world))}, layout = 'repositories', license = 'MIT'}}",
        "{kind = 'installed', standard_library = false, include = ['rich', 'typer', 'click', 'pluggy', 'packaging']}",
    ]
    settings = ["name=removal", f"sources=[{', '.join(sources)}]", "tokenizer.vocab_size=512"]
    stackwright.build(stackwright.load_recipe("tiny", settings), run, to_stage="index", workers=1, **options)


def found_by_explain(run: Path) -> set[str]:
    found = set()
    for target in PLANTED:
        try:
            stackwright.explain(run, target)
            found.add(target)
        except TargetError:
            pass
    return found


def is_cited(run: Path, code: str) -> bool:
    return any(match.end - match.start > 500 for match in stackwright.Index.open(run / "index").cite(code).matches)


def rows(run: Path) -> dict[str, str]:
    """Return the digest of every table's rows and of every file of postings."""
    contents = [(name, stackwright.load_artifact(run / name).manifest.content) for name in DATA]
    tables = {
        f"{name}/{table}": record["rows_sha256"] for name, content in contents for table, record in content["tables"].items()
    }
    postings = {
        name: file["sha256"] for _, content in contents for name, file in content["files"].items() if ".postings" in name
    }
    return tables | postings


def main(folder: Path) -> None:
    """Run the demonstration in a folder of its own, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    run, now = folder / "run", datetime.datetime.now(datetime.UTC)
    code = plant(folder / "world")
    build(folder / "world", run)
    assert found_by_explain(run) == PLANTED
    assert is_cited(run, code)
    print("planted: author/mine.py, and edited as other/theirs.py; explain and cite find them", flush=True)

    request, _ = request_log(run).add("directory/author:mine.py", "A. Author", "I did not agree", now)
    removal = apply_requests(run, [request.id], now, near_copies="all", workers=1)
    assert removal.receipt is not None
    receipt = verify_receipt(removal.receipt, removal.receipt["public_key"]).content
    removed = {f"{file['repo']}:{file['path']}" for file in receipt["removed"]}
    assert removed == PLANTED, removed
    print(f"taken out: request {request.id}, {len(removed)} files; receipt {receipt['receipt_id']} verified", flush=True)

    assert found_by_explain(run) == set()
    assert not is_cited(run, code)
    root = receipt["merkle"]["after"]["root"]
    for file in receipt["removed"]:
        assert "none of" in check_proof(explanation.proof_of(run, file["content_id"]), root)
    print(f"gone: explain and cite find neither; both proved absent under root {root[:16]}…", flush=True)

    for file in receipt["removed"]:
        (folder / "world" / file["repo"].partition("/")[2] / file["path"]).unlink()
    never = folder / "never"
    never.mkdir()
    shutil.copy(run / "run.json", never)
    shutil.copytree(run / "tokenizer", never / "tokenizer")
    build(folder / "world", never, keep_tokenizer=True)
    assert rows(run) == rows(never)
    print(f"equal: the run is one that never had them, in {len(rows(run))} tables and files of postings", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
