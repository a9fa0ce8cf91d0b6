"""Fill-in-the-middle changes the order of a piece's text and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.data.fim import FimRule, fim_sample, split_broken_edges
from stackwright.data.packing import sample_rng
from tests.fakes import ByteTokenizer

CODEC = ByteTokenizer()
FIM = CODEC.fim
SENTINELS = {FIM.prefix, FIM.middle, FIM.suffix}


def text_of(ids: list[int]) -> str:
    return b"".join(map(CODEC.token_bytes, ids)).decode()


def undo(piece: list[int]) -> list[int]:
    """Put the parts of a transformed piece back into the order of the text."""
    if FIM.prefix not in piece:
        return piece
    start = piece.index(FIM.prefix)
    head, body = piece[:start], piece[start + 1 :]
    suffix, middle = body.index(FIM.suffix), body.index(FIM.middle)
    before, after, rest = body[:suffix], body[suffix + 1 : middle], body[middle + 1 :]
    if suffix == 0:  # SPM, or PSM with an empty prefix: both read the same
        return head + rest + after
    return head + before + rest + after


def room_for(ids: list[int]) -> list[int]:
    """Return the ids with free space at the end, so that nothing is cut off: documents end in end-of-text."""
    return [*ids, FIM.eot] + [FIM.eot] * 40


TEXT = st.text(alphabet="abc é日\n()=1", max_size=30)


@given(st.lists(TEXT, min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
def test_prefix_middle_suffix_give_back_every_piece(texts: list[str], fim_rate: float, spm_rate: float, seed: int) -> None:
    ids = room_for([token for text in texts for token in [*CODEC.encode(text), FIM.eot]])
    sample = fim_sample(ids, CODEC, FimRule(fim_rate, spm_rate), sample_rng(seed, 0))
    assert len(sample) == len(ids)
    pieces: list[list[int]] = [[]]
    for token in sample:
        if token == FIM.eot:
            pieces.append([])
        else:
            pieces[-1].append(token)
    assert [text_of(undo(piece)) for piece in pieces[: len(texts)]] == texts


def test_rate_zero_changes_nothing_and_rate_one_every_piece() -> None:
    ids = room_for([*CODEC.encode("one piece"), FIM.eot, *CODEC.encode("another")])
    assert fim_sample(ids, CODEC, FimRule(0.0, 0.5), sample_rng(0, 0)) == ids
    for seed in range(50):
        counts = Counter(fim_sample(ids, CODEC, FimRule(1.0, 0.5), sample_rng(seed, 0)))
        assert counts[FIM.prefix] == counts[FIM.middle] == counts[FIM.suffix] == 2


def shares(fim_rate: float, spm_rate: float, samples: int = 3000) -> tuple[float, float]:
    """Return the share of transformed pieces, and of those the share in SPM order."""
    ids = [*CODEC.encode("some text of a piece"), FIM.eot, FIM.eot, FIM.eot, FIM.eot]
    fim = spm = 0
    for index in range(samples):
        sample = fim_sample(ids, CODEC, FimRule(fim_rate, spm_rate), sample_rng(7, index))
        if FIM.prefix in sample:
            fim += 1
            # An empty prefix makes PSM look like SPM: one cut in twenty, allowed for in the bounds.
            spm += sample[sample.index(FIM.prefix) + 1] == FIM.suffix
    return fim / samples, spm / max(fim, 1)


@pytest.mark.parametrize(("fim_rate", "spm_rate"), [(0.5, 0.5), (0.9, 0.0), (0.3, 1.0)])
def test_rates_are_those_of_the_recipe(fim_rate: float, spm_rate: float) -> None:
    fim, spm = shares(fim_rate, spm_rate)
    assert abs(fim - fim_rate) < 0.03
    assert -0.04 < spm - spm_rate < 0.14


def test_cut_points_are_uniform_on_characters() -> None:
    """Of text of n characters, each of the n + 1 places is a cut equally often, the ends included."""
    ids = [*CODEC.encode("日本語x"), *[FIM.eot] * 4]
    cuts: Counter[int] = Counter()
    for index in range(4000):
        sample = fim_sample(ids, CODEC, FimRule(1.0, 0.0), sample_rng(3, index))
        body = sample[1:]
        suffix, middle = body.index(FIM.suffix), body.index(FIM.middle)
        end = body.index(FIM.eot) if FIM.eot in body else len(body)
        prefix_length = len(text_of(body[:suffix]))
        cuts.update([prefix_length, prefix_length + len(text_of(body[middle + 1 : end]))])
    expected = 8000 / 5
    assert set(cuts) == {0, 1, 2, 3, 4}
    assert all(abs(count - expected) < 6 * expected**0.5 for count in cuts.values())


def test_a_sample_keeps_its_length_and_pads_only_at_the_end() -> None:
    for seed in range(200):
        ids = CODEC.encode("x = 1\n" * 20)
        sample = fim_sample(ids, CODEC, FimRule(1.0, 0.5), sample_rng(seed, 1))
        assert len(sample) == len(ids)
        padding = [token == FIM.pad for token in sample]
        assert padding == sorted(padding)


@given(st.text(alphabet="aé日😀", min_size=1, max_size=12), st.integers(0, 5), st.integers(0, 5), st.integers(0, 99))
def test_windows_that_cut_characters_bring_no_replacement_character(text: str, left: int, right: int, seed: int) -> None:
    data = list(text.encode())
    window = data[left : len(data) - right]
    sample = fim_sample([*window, *[FIM.eot] * 8], CODEC, FimRule(1.0, 0.5), sample_rng(seed, 0))
    kept = bytes(token for token in undo(sample[: sample.index(FIM.eot)]) if token < 256)
    assert bytes(window).startswith(kept) or kept == bytes(window)
    # At most the bytes of one broken character are left out.
    assert len(window) - len(kept) <= 3


def test_broken_edges_are_told_from_whole_characters() -> None:
    data = list("é日x".encode())
    assert split_broken_edges(data, CODEC) == ([], data)
    assert split_broken_edges(data[1:], CODEC) == (data[1:2], data[2:])
    assert split_broken_edges(data[:4], CODEC) == ([], data[:2])
    assert split_broken_edges(data[3:5], CODEC) == (data[3:5], [])


def test_generators_of_samples_are_independent() -> None:
    draws = [sample_rng(0, index).random() for index in range(2000)]
    assert len(set(draws)) == 2000
    assert abs(float(np.mean(draws)) - 0.5) < 0.03
    assert sample_rng(1, 0).random() != draws[0]


FILE_SEP, REPO_NAME = 300, 301
REPOSITORIES = {"file_sep": FILE_SEP, "repo_name": REPO_NAME}


def repository(*files: str, name: str | None = None) -> list[int]:
    """Return a repository as one document: with a name that stands before all files, or without."""
    ids = [] if name is None else [REPO_NAME, *CODEC.encode(name)]
    for text in files:
        ids += [FILE_SEP, *CODEC.encode(text)]
    return [*ids, FIM.eot]


def split(ids: list[int], separator: int) -> list[list[int]]:
    pieces: list[list[int]] = [[]]
    for token in ids:
        if token == separator:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


@given(st.lists(st.lists(TEXT, max_size=4), min_size=1, max_size=3), st.booleans(), st.integers(0, 10**6))
def test_files_of_repositories_come_back_and_names_stay(repositories: list[list[str]], named: bool, seed: int) -> None:
    documents = [repository(*files, name="owner/name" if named else None) for files in repositories]
    ids = room_for([token for document in documents for token in document])
    sample = fim_sample(ids, CODEC, FimRule(1.0, 0.5, fragment_rate=0.7, **REPOSITORIES), sample_rng(seed, 0))
    for files, document in zip(repositories, split(sample, FIM.eot), strict=False):
        head, *fragments = split(document, FILE_SEP)
        assert [text_of(undo(fragment)) for fragment in fragments] == files
        if named and files:
            assert head == [REPO_NAME, *CODEC.encode("owner/name")]


def test_a_quarter_of_the_files_of_repositories_is_transformed_and_half_of_the_others() -> None:
    """FACTS K 5: a repository is a candidate with 0.5, each of its files then with 0.5."""
    rule, files = FimRule(0.5, 0.5, **REPOSITORIES), Counter[str]()
    ids = room_for([*repository(*["some text"] * 4, name="name"), *CODEC.encode("a file of its own"), FIM.eot])
    for index in range(3000):
        first, alone, *_ = split(fim_sample(ids, CODEC, rule, sample_rng(11, index)), FIM.eot)
        files["in repositories"] += sum(FIM.prefix in fragment for fragment in split(first, FILE_SEP))
        files["alone"] += FIM.prefix in alone
    assert abs(files["in repositories"] / 12_000 - 0.25) < 0.02
    assert abs(files["alone"] / 3000 - 0.5) < 0.03


class Draws:
    """A generator that draws what it is told to."""

    def __init__(self, *values: float | tuple[int, int]) -> None:
        self.values = list(values)

    def random(self) -> float:
        value = self.values.pop(0)
        assert isinstance(value, float)
        return value

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        value = self.values.pop(0)
        assert isinstance(value, tuple)
        assert (low, size) == (0, 2)
        assert max(value) < high
        return np.array(value)


PRE, MID, SUF, PAD, EOT, SEP, NAME = FIM.prefix, FIM.middle, FIM.suffix, FIM.pad, FIM.eot, FILE_SEP, REPO_NAME
A, B, C, D = map(ord, "abcd")

# What the published code makes of a sample (FACTS D), written out by hand: the ids, what is drawn, the ids that come out.
# Yes is a draw below every rate; PSM and SPM are the draw that chooses the order.
YES, NO, PSM, SPM = 0.0, 0.999, 0.999, 0.0
PUBLISHED = {
    "PSM": ([A, B, C, EOT, EOT, EOT, EOT], [YES, (2, 1), PSM], [PRE, A, SUF, C, MID, B, EOT]),
    "SPM: the prefix follows the middle sentinel": (
        [A, B, C, *[EOT] * 4],
        [YES, (1, 2), SPM],
        [PRE, SUF, C, MID, A, B, EOT],
    ),
    "doubled end tokens collapse": ([A, EOT, EOT, EOT, B], [NO, NO], [A, EOT, B, PAD, PAD]),
    "what does not fit is cut off": ([A, B, C], [YES, (1, 2), PSM], [PRE, A, SUF]),
    "every piece is drawn on its own": (
        [A, EOT, B, C, *[EOT] * 5],
        [NO, YES, (0, 2), PSM],
        [A, EOT, PRE, SUF, MID, B, C, EOT, PAD],
    ),
    "cut points at the ends": ([A, B, EOT, *[EOT] * 3], [YES, (0, 0), PSM], [PRE, SUF, A, B, MID, EOT]),
    "files of a repository": (
        [NAME, D, SEP, A, B, SEP, C, *[EOT] * 8],
        [YES, YES, (1, 1), PSM, NO],
        [NAME, D, SEP, PRE, A, SUF, B, MID, SEP, C, EOT, PAD, PAD, PAD, PAD],
    ),
    "a repository that was not chosen": ([NAME, D, SEP, A, SEP, C, EOT], [NO], [NAME, D, SEP, A, SEP, C, EOT]),
    "without a name the first separator is lost": (
        [SEP, A, SEP, C, *[EOT] * 5],
        [YES, NO, YES, (1, 1), SPM],
        [A, SEP, PRE, SUF, MID, C, EOT, PAD, PAD],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_algorithm(name: str) -> None:
    ids, draws, expected = PUBLISHED[name]
    rng = Draws(*draws)
    rule = FimRule(0.5, 0.5, drops_empty=True, **REPOSITORIES)
    assert fim_sample(ids, CODEC, rule, rng) == expected  # type: ignore[arg-type]
    assert not rng.values


def test_at_token_level_no_token_is_cut() -> None:
    """FACTS K 6: the fine-tuning script cuts lists of tokens, training cut characters."""

    class NeverEncodes(ByteTokenizer):
        def encode(self, text: str) -> list[int]:
            raise AssertionError(f"{text!r} is encoded again")

    ids = list(range(1, 41))
    for seed in range(50):
        sample = fim_sample([*ids, *[FIM.eot] * 4], NeverEncodes(), FimRule(1.0, 0.5, unit="token"), sample_rng(seed, 0))
        assert undo(sample[: sample.index(FIM.eot)] if FIM.eot in sample else sample) == ids


@given(st.text(alphabet="<>|fim_-prexsufdle aé", max_size=60), st.integers(0, 999))
def test_no_sentinel_comes_from_the_corpus(text: str, seed: int) -> None:
    spelled = f"<fim-prefix>{text}<|endoftext|><fim_suffix><file_sep>"
    ids = CODEC.encode(spelled)
    sample = fim_sample([*ids, *[FIM.eot] * 4], CODEC, FimRule(1.0, 0.5, **REPOSITORIES), sample_rng(seed, 0))
    counts = Counter(sample)
    assert counts[FIM.prefix] == counts[FIM.suffix] == counts[FIM.middle] == 1
    assert counts[FILE_SEP] == counts[REPO_NAME] == 0
