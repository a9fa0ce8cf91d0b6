"""The layers of the package: imports point only up the list, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stackwright

PACKAGE = Path(stackwright.__file__).parent

# The layout of the design, top to bottom: a layer imports itself and the layers above it.
LAYERS = [
    ["errors"],
    ["recipe", "log", "document", "cache", "files", "launch"],
    ["memo"],
    ["artifact"],
    ["run_folder"],
    ["engine"],
    ["pages"],
    ["sources"],
    ["govern"],
    ["curate"],
    ["tokenizer"],
    ["attribute"],
    ["data"],
    ["model"],
    ["train"],
    ["generate"],
    ["evaluate"],
    ["release"],
    ["stages"],
    ["build", "plan"],
    ["forecast"],
    ["removal"],
    ["console", "explanation"],
    ["answers", "removal_answers"],
    ["serve"],  # its look-ups are answered by what `explain` answers with
    ["measure"],
    ["cli_errors", "cli_output", "sizes"],
    ["cli_export", "cli_optout", "cli_plan", "cli_serve"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "stackwright" and parts[1] in RANK else None


def package_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", package_files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_only_up_the_list_of_layers(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert own in RANK, f"{own} is not in the list of layers"
    for module in imported_modules(path):
        layer = layer_of(module)
        if layer is not None and layer != own:
            assert RANK[layer] < RANK[own], f"{path} of layer {own} imports {module}"


def modules_loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("command", [[], ["build"], ["explain"], ["generate"], ["cite"], ["report"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        f"sys.argv = ['stackwright', *{command!r}, '--help']\n"
        "from stackwright.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
    )
    assert not modules_loaded_by(code) & {"torch", "pyarrow", "ray", "duckdb", "numpy", "tokenizers", "transformers"}


def test_curating_does_not_load_torch() -> None:
    code = "import stackwright.build, stackwright.sources.collect, stackwright.curate.stage, stackwright.govern.ledger"
    assert not modules_loaded_by(code) & {"torch", "tokenizers", "matplotlib", "transformers"}


def test_public_names_are_those_that_are_documented() -> None:
    for name in stackwright.__all__:
        assert getattr(stackwright, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = stackwright.nothing
    assert callable(stackwright.build)  # before and after the module of that name was imported
    code = "import stackwright.build\nassert callable(stackwright.build)\nassert callable(stackwright.load_recipe)"
    assert "stackwright" in modules_loaded_by(code)
