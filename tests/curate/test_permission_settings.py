"""`curate.license_policy` and `curate.consent` decide, through the stage, which files of one small world are used."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from stackwright.build import build
from stackwright.govern.ledger import Ledger
from tests.corpus import python_text, small_recipe, write

MIT = '{"license": "MIT"}'
FILES = ("grants/a.py", "plain/a.py", "plain/gpl.py", "nested/lib/a.py", "refuses/a.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """World and run of which only the dataset is made anew: its settings are all that differs between the tests."""
    folder = tmp_path_factory.mktemp("permission")
    for number, name in enumerate(FILES):
        header = "# SPDX-License-Identifier: GPL-2.0-only\n" if "gpl" in name else ""
        write(folder / "world" / name, header + python_text(random.Random(number), 3))
    for repo in ("grants", "plain", "refuses"):
        write(folder / "world" / repo / "package.json", MIT)
    write(folder / "world" / "grants" / ".github" / "ai-opt-in", "")
    write(folder / "world" / "refuses" / ".github" / "ai-opt-out", "")
    write(folder / "world" / "nested" / "lib" / "LICENSE", "SPDX-License-Identifier: MIT\n")
    return folder


def outcomes(folder: Path, *settings: str) -> dict[str, str]:
    """Return the outcome of every file of `FILES`: keep, or the reason why it is not used."""
    build(small_recipe(folder / "world", *settings), folder / "run", workers=1, to_stage="curate")
    rows = Ledger(folder / "run").query("select repo, path, reason from judged")
    found = {f"{row['repo'].removeprefix('directory/')}/{row['path']}": row["reason"] or "keep" for row in rows}
    return {name: found[name] for name in FILES}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("strict-permissive", ("keep", "keep", "license_not_permissive", "keep")),
        ("stack-v1", ("keep", "keep", "keep", "license_missing")),
        ("stack-v2", ("keep", "keep", "keep", "keep")),
        ("opt-in", ("keep", "license_missing", "license_missing", "license_missing")),
    ],
)
def test_each_licence_policy_admits_what_it_says(run: Path, policy: str, expected: tuple[str, ...]) -> None:
    found = outcomes(run, f"curate.license_policy={policy}")
    assert found == dict(zip(FILES, (*expected, "training_refused"), strict=True))


@pytest.mark.parametrize(
    ("consent", "silent", "refused"),
    [
        ("honor", "keep", "training_refused"),
        ("ignore", "keep", "keep"),
        ("opt-in", "no_consent_given", "training_refused"),
    ],
)
def test_consent_says_whose_files_are_used(run: Path, consent: str, silent: str, refused: str) -> None:
    found = outcomes(run, f"curate.consent={consent}")
    assert (found["grants/a.py"], found["plain/a.py"], found["refuses/a.py"]) == ("keep", silent, refused)
