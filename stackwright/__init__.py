"""Stackwright: from source code to a code model one can answer for.

The public names below are imported when they are first used, so that `import stackwright` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Artifact": "stackwright.artifact",
    "Index": "stackwright.attribute.index",
    "Recipe": "stackwright.recipe",
    "StackwrightError": "stackwright.errors",
    "build": "stackwright.build",
    "explain": "stackwright.govern.ledger",
    "load_artifact": "stackwright.artifact",
    "load_model": "stackwright.generate.load",
    "load_recipe": "stackwright.recipe",
    "run_report": "stackwright.pages.report",
}

__all__ = [
    "Artifact",
    "Index",
    "Recipe",
    "StackwrightError",
    "__version__",
    "build",
    "explain",
    "load_artifact",
    "load_model",
    "load_recipe",
    "run_report",
]

if TYPE_CHECKING:
    from stackwright.artifact import Artifact, load_artifact
    from stackwright.attribute.index import Index
    from stackwright.build import build
    from stackwright.errors import StackwrightError
    from stackwright.generate.load import load_model
    from stackwright.govern.ledger import explain
    from stackwright.pages.report import run_report
    from stackwright.recipe import Recipe, load_recipe


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'stackwright' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
