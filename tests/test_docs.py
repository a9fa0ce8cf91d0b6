"""What the documents say is what the code does: commands run, pages are current, columns and files are named."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from stackwright.artifact import load_artifact
from stackwright.document import CLUSTERS, DOCUMENTS, LEDGER, REPOSITORIES
from stackwright.govern.removals import request_log
from stackwright.recipe import dump_recipe
from stackwright.removal import apply_requests
from stackwright.sources.collect import TABLES as CORPUS_TABLES
from stackwright.stages import STAGES
from tests.corpus import small_recipe

NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Return (page, command) of every console line that calls stackwright."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.splitlines():
                match = re.match(r"\$ (?:\.venv/bin/)?((?:torchrun .* -m )?stackwright .*)", line)
                if match:
                    found.append((page.name, match[1]))
    return found


@pytest.fixture(scope="module")
def workplace(finished_run: Path, repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the documents' paths exist: a run under the name tiny, and some code."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "runs").mkdir()
    shutil.copytree(finished_run, folder / "runs" / "tiny", symlinks=True)
    (folder / "my" / "code").mkdir(parents=True)
    (folder / "my" / "code" / "a.py").write_text("x = 1\n")
    (folder / "small.toml").write_text(dump_recipe(small_recipe(repositories)))
    return folder


@pytest.fixture(scope="module")
def receipt(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A receipt under the name that the documents use, from a removal in a copy of the run."""
    run = tmp_path_factory.mktemp("removed") / "tiny"
    shutil.copytree(workplace / "runs" / "tiny", run, symlinks=True)
    request_log(run).add("directory/traps:copy.py", "A. Author", "mine", NOW)
    removal = apply_requests(run, (), NOW, workers=1)
    (workplace / "receipt.json").write_text(json.dumps(removal.receipt), "utf-8")


# Commands that would build from this machine's whole environment are run as a dry run: CI builds it for real in the demo.
# The documents' own targets are those of a run of `tiny`; the small run of the tests stands in for it.
STAND_INS = {
    "step-000400": "step-000004",
    "python-stdlib:this.py": "traps:long.js",
    "python-stdlib": "traps",
    "numpy:numpy/version.py": "traps:long.js",
    "numpy": "traps",
    "installed/numpy": "directory/traps",
    "installed/numpy:numpy/version.py": "directory/traps:copy.py",
}


def serve_and_stop(arguments: list[str], workplace: Path) -> None:
    """Run a server until it says that it is ready, then stop it."""
    command = [sys.executable, "-m", "stackwright", *arguments, "--port", "0"]
    with subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        _, complaints = process.communicate(timeout=60)
    assert (line.startswith("serving tiny at http://127.0.0.1:"), process.returncode) == (True, 0), complaints


@pytest.mark.parametrize(("page", "command"), commands())
@pytest.mark.usefixtures("receipt")
def test_commands_in_the_documents_run(page: str, command: str, workplace: Path) -> None:
    launcher, _, own = command.rpartition("stackwright ")
    arguments = [STAND_INS.get(word, word) for word in shlex.split(own, comments=True)]
    if "runs/tiny" not in arguments and "tiny" in arguments and page == "models.md":
        arguments[arguments.index("tiny")] = "small.toml"  # of the tests' own world, which is quick enough to build for real
    elif arguments[0] == "build":
        arguments.append("--dry-run")
    if "RECIPE" in arguments:
        arguments[arguments.index("RECIPE")] = "tiny"
    if arguments[0] == "serve":
        serve_and_stop(arguments, workplace)
        return
    result = subprocess.run(
        [sys.executable, *launch_of(launcher), "-m", "stackwright", *arguments],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, f"{page}: {command}\n{result.stderr}"


def launch_of(launcher: str) -> list[str]:
    """Return how python starts what the documents start with torchrun; nothing where they start it directly."""
    words = launcher.split()
    return ["-m", "torch.distributed.run", *words[1:-1]] if words and words[0] == "torchrun" else []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sql_in_the_documents_runs(page: Path, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.chdir(workplace)
    for query in blocks(page, "sql"):
        assert duckdb.sql(query).fetchall() is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documents_runs(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for code in blocks(page, "python"):
        # The README's example builds `tiny` from the whole environment: here its run is the small one.
        short = code.replace('stackwright.build(recipe, Path("runs/quick"))', "[]").replace("runs/quick", "runs/tiny")
        short = short.replace('"python-stdlib"', '"traps"')
        exec(compile(short, page.name, "exec"), {})  # noqa: S102 - our own documents


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_recipes_page_is_current() -> None:
    assert (ROOT / "docs" / "recipes.md").read_text("utf-8") == load_script("make_recipes_page").page()


def test_every_column_is_documented() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    for schema in (DOCUMENTS, LEDGER, REPOSITORIES):
        for name in schema.names:
            assert f"`{name}`" in page, name
    for name in CLUSTERS.names:
        assert name.removeprefix("other_") in page
    assert set(CORPUS_TABLES) == {"documents", "ledger", "notices", "repositories"}


def test_every_stage_and_reason_is_documented(finished_run: Path) -> None:
    page = (ROOT / "docs" / "stages.md").read_text("utf-8")
    for stage in STAGES:
        assert f"## {stage.name}" in page
        assert f"`{stage.folder}/`" in page
    source = "".join(path.read_text("utf-8") for path in (ROOT / "stackwright").rglob("*.py"))
    for reason in load_artifact(finished_run / "corpus").manifest.counts["reasons"]:
        assert reason in source
        assert f"`{reason}`" in page, reason


def test_manifest_fields_are_documented(finished_run: Path) -> None:
    page = (ROOT / "docs" / "run-folder.md").read_text("utf-8")
    manifest = load_artifact(finished_run / "dataset").manifest
    for name in manifest.content:
        assert f"content.{name}" in page, name


def test_no_path_of_a_machine_and_no_registry_is_named() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/[\w.]|pypi\.org|registry\.npmjs|deb\.debian")
    for name in files:
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            match = pattern.search(path.read_text("utf-8", "replace"))
            assert match is None, f"{name}: {match}"


def test_the_demo_uses_the_commands_it_prints() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert load_script("demo").STACKWRIGHT[-1] == "stackwright"
