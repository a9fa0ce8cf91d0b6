"""What stands where there is nothing to predict."""

IGNORED_TARGET = -100
"""Target of a token that carries no loss; the value that torch's cross entropy skips."""
