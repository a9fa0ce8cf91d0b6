"""How near one line is to another: 1 - Levenshtein distance / length of the longer line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def edit_distance(first: str, second: str) -> int:
    """Return the least number of characters to insert, delete or replace that turns one text into the other.

    Row i of the table (Wagner & Fischer 1974) holds the distances of the first i characters to every beginning of the
    other text. Within a row each entry waits for its left neighbour plus one; taking j off entry j turns that chain into a
    running minimum, so that a row is a handful of vector operations.
    """
    columns = _code_points(second)
    steps = np.arange(len(columns) + 1)
    row = steps
    for number, character in enumerate(_code_points(first), start=1):
        below = np.empty_like(row)
        below[0] = number
        below[1:] = np.minimum(row[1:] + 1, row[:-1] + (columns != character))
        row = np.minimum.accumulate(below - steps) + steps
    return int(row[-1])


def edit_similarity(first: str, second: str) -> float:
    """Return 1 for equal texts (also for two empty ones), 0 where every character has to change."""
    longer = max(len(first), len(second))
    return 1 - edit_distance(first, second) / longer if longer else 1.0


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
