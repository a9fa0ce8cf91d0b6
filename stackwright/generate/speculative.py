"""Guess the next tokens from the text itself, so that one pass through the model may confirm several.

Code repeats itself. Where the last few tokens stood before, what followed them then is a fair guess of what follows now
(prompt-lookup decoding, Saxena 2023: assisted generation without an assistant). The model scores the guess in one pass; the
part of it that greedy decoding would have drawn is kept, and the token after it is the model's own. So what is drawn is what
greedy decoding draws, in fewer passes.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_KEY, SHORTEST_KEY = 4, 2
"""Tokens that must have stood before; the longest such row is taken."""

MOST_GUESSED = 8

_DIGIT_BITS = 32  # more than any vocabulary needs


class PromptLookup:
    """The tokens of one sequence, and where each short row of them stood last."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[int, int] = {}  # a row of tokens -> place of the token that followed it last
        self._ended: list[int] = []
        self._trusted = MOST_GUESSED
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Add a token. The rows that end with it are known only when another token follows."""
        ids, after = self._ids, self._after
        place = len(ids)
        for row in self._ended:
            after[row] = place
        ids.append(token)
        # A row is one whole number, which is found quicker than a tuple: its tokens, each plus one, as digits.
        row, self._ended = token + 1, []
        for size in range(SHORTEST_KEY, min(LONGEST_KEY, place + 1) + 1):
            row |= (ids[-size] + 1) << _DIGIT_BITS * (size - 1)
            self._ended.append(row)

    def guess(self, most: int = MOST_GUESSED) -> list[int]:
        """Return the tokens that followed the present end of the sequence when it stood there before; none if it did not.

        They are `most` at most, and fewer where earlier guesses were wrong.
        """
        most = min(most, self._trusted)
        for row in reversed(self._ended):
            place = self._after.get(row)
            if place is not None:
                return self._ids[place : place + most]
        return []

    def learn(self, num_right: int, num_guessed: int) -> None:
        """Guess more next time if a guess was right to its end, and less if it was not: a wrong one costs work."""
        self._trusted = min(MOST_GUESSED, 2 * num_guessed) if num_right == num_guessed else max(1, num_right)


def agreed(guess: Sequence[int], drawn: Sequence[int]) -> int:
    """Return how many tokens of a guess are those that were drawn at their places."""
    return next((index for index, (guessed, token) in enumerate(zip(guess, drawn)) if guessed != token), len(guess))
