"""The rules for near-duplicates: ours, and three as they were published.

A preset says what is compared (shingles), how candidates are found (permutations, bands, rows), and what becomes of them
(verified against the kept member, or whole components with no check). Two files of Jaccard J share a band with probability
1 - (1 - J^rows)^bands (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ShingleRule:
    """What stands for a text: the set of `ngram` consecutive tokens.

    A token is a run of letters, digits and underscore. `drop_empty` leaves out the empty tokens that splitting at single
    separators gives: kept, they turn indentation into shingles, and a file with all its lines shuffled still has a Jaccard
    of 0.88 with itself. `skip_license_comment` begins after an opening licence comment, which otherwise glues small
    unrelated files together.
    """

    ngram: int
    least_tokens: int  # a text of fewer tokens is exempt
    letters: Literal["unicode", "ascii"]
    drop_empty: bool
    lower_case: bool
    skip_license_comment: bool


@dataclass(frozen=True)
class Preset:
    """A rule for near-duplicates.

    With `verified` a file is dropped only when its own exact Jaccard with a kept member reaches `threshold`, and the files
    are gone through in their order, the best first. Without it every component of the candidate graph keeps its first
    member, whatever the Jaccard of the others with it. The order is the rank (licence class, stars, forks, date, name), or,
    when not `ranked`, the order of the documents.
    """

    name: str
    shingles: ShingleRule
    num_permutations: int
    bands: int
    rows: int
    threshold: float
    verified: bool
    ranked: bool
    newest_first: bool = False
    per_language: bool = False

    @property
    def num_used(self) -> int:
        """Permutations that the bands look at."""
        return self.bands * self.rows


PRESETS = {
    preset.name: preset
    for preset in (
        # 32 bands of 8 rows: a pair at 0.8 is missed once in 300 times, one at 0.7 once in 7, one at 0.5 found once in 8.
        Preset(
            "verified-0.7",
            ShingleRule(
                ngram=5, least_tokens=10, letters="unicode", drop_empty=True, lower_case=False, skip_license_comment=True
            ),
            num_permutations=256,
            bands=32,
            rows=8,
            threshold=0.7,
            verified=True,
            ranked=True,
        ),
        # FACTS B1, first column. 13 x 19 is datasketch's optimum for 0.85 and 256 permutations.
        Preset(
            "stack-v1",
            ShingleRule(
                ngram=1, least_tokens=10, letters="ascii", drop_empty=True, lower_case=False, skip_license_comment=False
            ),
            num_permutations=256,
            bands=13,
            rows=19,
            threshold=0.85,
            verified=True,
            ranked=False,
        ),
        # FACTS B1, second column: 256 permutations asked, 250 used.
        Preset(
            "santacoder",
            ShingleRule(
                ngram=5, least_tokens=10, letters="ascii", drop_empty=False, lower_case=False, skip_license_comment=False
            ),
            num_permutations=256,
            bands=25,
            rows=10,
            threshold=0.7,
            verified=False,
            ranked=False,
        ),
        # FACTS B1, third column.
        Preset(
            "stack-v2",
            ShingleRule(
                ngram=5, least_tokens=5, letters="unicode", drop_empty=False, lower_case=True, skip_license_comment=False
            ),
            num_permutations=250,
            bands=25,
            rows=10,
            threshold=0.7,
            verified=False,
            ranked=True,
            newest_first=True,
            per_language=True,
        ),
    )
}
