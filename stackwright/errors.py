"""Every error a user can meet, as one tree.

    StackwrightError                 exit code 1
    ├── UsageError                   exit code 2: the command line is wrong
    │   ├── RecipeError              an unknown recipe or key, a wrong type, values that do not fit together
    │   └── TargetError              a repository, path, run or model that is not there
    ├── MissingExtraError            an optional dependency is not installed
    ├── SourceError                  code could not be collected
    ├── ArtifactError                a folder that is missing, half-written, changed or of another version
    │   └── RunLockedError           another build holds the run folder
    ├── EngineError                  a worker died, or the memory limit is too small
    ├── DataError                    a stage has nothing to work on
    ├── TokenizerError               token ids, sentinels or files of a tokenizer that do not fit
    ├── TrainingError                training cannot go on
    │   └── NonFiniteLossError       loss or gradient norm is not a number
    ├── CheckpointError              a model folder that cannot be loaded
    ├── AttributionError             an index that cannot answer
    └── GovernanceError              a removal that cannot be done
        ├── RequestError             a damaged log of requests, or a request in the wrong state
        ├── ReceiptError             a receipt that cannot be signed, or does not hold
        └── ProofError               a proof that does not show what it should

A message is one line with the value, the rule it broke and the next action. Assertions are for our own mistakes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StackwrightError(Exception):
    """A failure the user can act on.

    `problem` names the value and the rule it broke; `action` says what to do next. Both become one line.
    """

    exit_code = 1

    def __init__(self, problem: str, action: str) -> None:
        self.problem = problem
        self.action = action
        super().__init__(problem, action)

    def __str__(self) -> str:
        return " ".join(f"{self.problem}; {self.action}".split())


class UsageError(StackwrightError):
    """The command line or the recipe is wrong; nothing was started."""

    exit_code = 2


class RecipeError(UsageError):
    """An unknown recipe or key, a value of the wrong type, or values that do not fit together."""


class TargetError(UsageError):
    """Something named on the command line does not exist."""


EXTRAS = dict.fromkeys(("matplotlib", "safetensors", "tokenizers", "torch"), "train") | dict.fromkeys(
    ("fastapi", "numba", "uvicorn"), "serve"
)
"""Modules that the base install does not bring -> the extra that does."""


class MissingExtraError(StackwrightError):
    """An optional dependency is not installed."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"this needs the Python module {module!r}, which is not installed",
            f"run: pip install 'stackwright[{EXTRAS[module]}]'",
        )


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error to show for a failed import of an optional module; None when the module is not one of those."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(module) if module in EXTRAS else None


class SourceError(StackwrightError):
    """Code could not be collected."""


class ArtifactError(StackwrightError):
    """A folder is missing, half-written, changed, or was written by another version."""


class RunLockedError(ArtifactError):
    """Another build is using the run folder."""


class EngineError(StackwrightError):
    """A worker died, or the memory limit is too small for the work."""


class DataError(StackwrightError):
    """A stage has nothing to work on, or too little."""


class TokenizerError(StackwrightError):
    """Token ids, sentinels or tokenizer files that do not fit together."""


class TrainingError(StackwrightError):
    """Training cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """The loss or the gradient norm is not a finite number; the optimizer has not moved."""


class CheckpointError(StackwrightError):
    """A model folder cannot be loaded."""


class AttributionError(StackwrightError):
    """An index is of another dataset, or cannot answer."""


class GovernanceError(StackwrightError):
    """A removal cannot be done."""


class RequestError(GovernanceError):
    """The log of requests is damaged, or a request is not in a state for what was asked."""


class ReceiptError(GovernanceError):
    """A receipt cannot be signed, or does not hold."""


class ProofError(GovernanceError):
    """A proof does not show what it should."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return the phrase `did you mean 'a' or 'b'?`, or the known names when none is close."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}" if names else "none is known"
