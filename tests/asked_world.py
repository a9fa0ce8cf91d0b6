"""Repositories about which people have questions: refusals, licences that differ, families of copies, addresses."""

from __future__ import annotations

import random
from pathlib import Path

from stackwright.build import build
from tests.corpus import make_repositories, python_text, small_recipe, write

MIT = '{"license": "MIT"}'
SECRETS = ("someone@firm.de", "other@firm.de", "93.184.216.34")


def make_asked_repositories(root: Path) -> Path:
    """Write the small world and the repositories that people ask about. Returns the folder."""
    make_repositories(root, count=6)
    write(root / "refuses" / "package.json", MIT)
    write(root / "refuses" / ".github" / "ai-opt-out", "")
    write(root / "refuses" / "a.py", python_text(random.Random(5), 3))
    write(root / "partly" / "package.json", MIT)
    write(root / "partly" / ".gitattributes", "src/** -ai-training\n")
    write(root / "partly" / "src" / "a.py", python_text(random.Random(6), 3))
    write(root / "partly" / "b.py", python_text(random.Random(7), 3))
    write(root / "silent" / "a.py", python_text(random.Random(8), 3))
    _make_mixed(root / "mixed")
    _make_families(root)
    return root


def build_asked_run(world: Path, folder: Path) -> Path:
    """Build a run up to the dataset and return its folder."""
    build(small_recipe(world), folder, workers=1, to_stage="curate")
    return folder


def _make_mixed(repo: Path) -> None:
    """Write a repository whose files differ: one breaks five rules, one is under another licence, one holds addresses."""
    write(repo / "package.json", MIT)
    write(repo / ".gitattributes", "bad.js -ai-training\n")
    write(repo / "bad.js", f"// SPDX-License-Identifier: GPL-2.0-only\n{'-' * 3000}\n{'=' * 1200}\n")
    write(repo / "gpl.py", "# SPDX-License-Identifier: GPL-2.0-only\n" + python_text(random.Random(9), 3))
    values = "".join(f"value{number} = '{secret}'\n" for number, secret in enumerate(SECRETS))
    write(repo / "people.py", values + python_text(random.Random(10), 2))


def _make_families(root: Path) -> None:
    """Write four repositories that share one file, and hold near copies of another."""
    long, same = python_text(random.Random(11), 30), python_text(random.Random(12), 5)
    for number in range(4):
        repo = root / f"family{number}"
        write(repo / "package.json", MIT)
        write(repo / "near.py", long.replace("math.floor", "math.ceil", 3 * number) + f"\nLAST = {number}\n")
        write(repo / "same.py", same)
