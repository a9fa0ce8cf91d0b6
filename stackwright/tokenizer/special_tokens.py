"""Every sentinel and the fill-in-the-middle template: the one place where they are spelled.

Loader, generation, evaluation, export and server all take the template from the tokenizer's folder. A wrong spelling
would be split into ordinary tokens without a word (FACTS K 2), so nothing else may write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from stackwright.errors import TokenizerError

Spelling = Literal["hyphens", "underscores"]

END_OF_TEXT = "<|endoftext|>"

REPO_NAME, FILE_SEP = "<repo_name>", "<file_sep>"
"""What stands before a repository's name, and before each of its files, in StarCoder2's layout of a repository (FACTS C)."""


@dataclass(frozen=True)
class FimTemplate:
    """The five sentinels as text. `eot` ends a document and begins the next; `pad` fills a sample after a FIM cut."""

    eot: str
    prefix: str
    middle: str
    suffix: str
    pad: str

    @classmethod
    def of(cls, spelling: Spelling) -> FimTemplate:
        """Return the template with hyphens (SantaCoder) or underscores (StarCoder, StarCoder2)."""
        mark = "-" if spelling == "hyphens" else "_"
        names = (f"<fim{mark}{name}>" for name in ("prefix", "middle", "suffix", "pad"))
        return cls(END_OF_TEXT, *names)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The sentinels in the order of their ids, which is that of SantaCoder and StarCoder (FACTS C)."""
        return (self.eot, self.prefix, self.middle, self.suffix, self.pad)

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, str]) -> FimTemplate:
        try:
            return cls(**value)
        except TypeError as error:
            raise TokenizerError(
                f"the FIM template does not name its five sentinels ({error})", "train the tokenizer again"
            ) from error


@dataclass(frozen=True)
class FimIds:
    """The sentinels as token ids, and the orders in which they frame a document (FACTS D).

    The model is always shown prefix and suffix first and learns to write the middle, which ends at `eot`.
    """

    eot: int
    prefix: int
    middle: int
    suffix: int
    pad: int

    def psm(self, prefix: Sequence[int], suffix: Sequence[int], middle: Sequence[int] = ()) -> list[int]:
        """Return PRE prefix SUF suffix MID middle."""
        return [self.prefix, *prefix, self.suffix, *suffix, self.middle, *middle]

    def spm(self, prefix: Sequence[int], suffix: Sequence[int], middle: Sequence[int] = ()) -> list[int]:
        """Return PRE SUF suffix MID prefix middle: the prefix follows MID with no mark of its own (FACTS K 4)."""
        return [self.prefix, self.suffix, *suffix, self.middle, *prefix, *middle]

    def infill_prompt(self, prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """Return the prompt after which the middle is generated."""
        return self.psm(prefix, suffix)
