"""Sentences that refuse training, and those that only speak of it."""

from __future__ import annotations

import pytest

from stackwright.govern.licenses import forbids_training

REFUSALS = [
    "You may not use this work to train AI models.",
    "This code must not be used for training machine learning models.",
    "We opt out of text and data mining.",
    "No AI training.",
    "All rights of text and data mining are reserved under Article 4.",
    "Training of language models on this code is prohibited.",
    "Use of the Software as input to any machine learning system is forbidden.",
    "The files shall not be included in training data for generative models.",
    "They may not be included in training datasets for improving machine learning algorithms.",
    "BSD 3-Clause Non-AI License",
]


@pytest.mark.parametrize("sentence", REFUSALS)
def test_a_refusal_is_found_where_it_stands(sentence: str) -> None:
    text = f"Permission is granted to use this.\n\n{sentence}\n\nEnd."
    found = forbids_training(text)
    assert found is not None
    assert text.index(sentence) <= found[0] < found[1] <= text.index(sentence) + len(sentence)


def test_comment_signs_do_not_hide_a_refusal() -> None:
    assert forbids_training("# You may not use this\n# code to train\n# neural networks.\n") is not None


@pytest.mark.parametrize(
    "text",
    [
        "This script trains a language model.",
        "Determining what restrains it is not part of the domain.",
        "Do not use global variables. Train the model afterwards.",
        "The model is not trained yet.",
        "No training data is needed for this model.",
        "Permission is hereby granted, free of charge, to use the Software without restriction.",
        "",
    ],
)
def test_speaking_of_training_is_no_refusal(text: str) -> None:
    assert forbids_training(text) is None
