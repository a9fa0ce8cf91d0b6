"""How a command prints facts for other programs: one form of JSON, whichever command it is."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as readable JSON; what JSON has no form for, such as a date, becomes its text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
