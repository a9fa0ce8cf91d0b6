"""The sentinels: five special tokens, spelled here and nowhere else, and the two orders of fill-in-the-middle.

In: a spelling named in the recipe. Out: a `FimTemplate` (text) and, once a vocabulary exists, `FimIds` (ids). The
loader, generation, evaluation, export and the server take sentinels and orders from here, so a model is prompted
exactly as it was trained.

Figures: FACTS C (spellings), D (orders), K2 (a wrong spelling is silently split into ordinary tokens), K4 (SPM).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from stackwright.errors import TokenizerError

Spelling = Literal["hyphens", "underscores"]
Placement = Literal["first", "last"]

REMAKE_TOKENIZER = "remake the tokenizer with `stackwright build --from tokenizer`"

_SEPARATORS: Mapping[Spelling, str] = {"hyphens": "-", "underscores": "_"}


@dataclass(frozen=True)
class FimTemplate:
    """How the five sentinels are spelled. The order of the fields is the order of their ids."""

    eot: str
    prefix: str
    middle: str
    suffix: str
    pad: str

    @staticmethod
    def of(spelling: Spelling) -> FimTemplate:
        """Return SantaCoder's spelling (hyphens) or its successors' (underscores)."""
        separator = _SEPARATORS[spelling]
        roles = ("prefix", "middle", "suffix", "pad")
        return FimTemplate("<|endoftext|>", *(f"<fim{separator}{role}>" for role in roles))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The spellings in the order of their ids: eot, prefix, middle, suffix, pad."""
        return (self.eot, self.prefix, self.middle, self.suffix, self.pad)

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FimTemplate:
        """Read what `to_json` gave. Raises `TokenizerError` when a sentinel is missing, unknown, empty or doubled."""
        names = [field.name for field in fields(FimTemplate)]
        if sorted(value) != sorted(names):
            raise TokenizerError(
                f"the FIM template names the sentinels {sorted(value)}, not {sorted(names)}", REMAKE_TOKENIZER
            )
        template = FimTemplate(**{name: str(value[name]) for name in names})
        if len(set(template.tokens)) != len(names) or not all(template.tokens):
            raise TokenizerError(f"the FIM template spells two sentinels alike: {template.tokens}", REMAKE_TOKENIZER)
        return template


@dataclass(frozen=True)
class FimIds:
    """The ids of the five sentinels, and the two orders in which a document with a hole is written down.

    A text is cut into prefix, middle and suffix. Both orders put the middle last, where a left-to-right model can
    learn to write it with both sides in view:

        PSM   PREFIX prefix SUFFIX suffix MIDDLE middle
        SPM   PREFIX SUFFIX suffix MIDDLE prefix middle      (the prefix follows MIDDLE with no mark of its own)

    SPM is the "variant 2" of the FIM paper (Bavarian et al. 2022, arXiv 2207.14255): prefix and middle are adjacent, so
    the model continues the prefix as it would without a hole.
    """

    eot: int
    prefix: int
    middle: int
    suffix: int
    pad: int

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids in the order of `FimTemplate.tokens`."""
        return (self.eot, self.prefix, self.middle, self.suffix, self.pad)

    def psm(self, prefix_ids: Iterable[int], suffix_ids: Iterable[int], middle_ids: Iterable[int] = ()) -> list[int]:
        """Return prefix, suffix, middle with their marks."""
        return [self.prefix, *prefix_ids, self.suffix, *suffix_ids, self.middle, *middle_ids]

    def spm(self, prefix_ids: Iterable[int], suffix_ids: Iterable[int], middle_ids: Iterable[int] = ()) -> list[int]:
        """Return suffix, prefix, middle with their marks."""
        return [self.prefix, self.suffix, *suffix_ids, self.middle, *prefix_ids, *middle_ids]

    def infill_prompt(self, prefix_ids: Sequence[int], suffix_ids: Sequence[int]) -> list[int]:
        """Return the prompt after which the model writes the middle, and then eot: PSM with an empty middle."""
        return self.psm(prefix_ids, suffix_ids)

    def to_json(self) -> dict[str, int]:
        return asdict(self)
