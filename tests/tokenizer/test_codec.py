"""The tokenizer gives back what it was given, and what looks like a sentinel is text."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from stackwright.errors import TokenizerError
from stackwright.recipe import TokenizerSettings
from stackwright.tokenizer.codec import TEMPLATE_FILE, TOKENIZER_FILE, Tokenizer, byte_alphabet
from stackwright.tokenizer.special_tokens import FimIds, FimTemplate
from stackwright.tokenizer.training import train_bpe, transformers_files
from tests.corpus import python_text

TEXTS = [python_text(random.Random(seed), 30) for seed in range(4)]
GOLDEN = Path(__file__).parent.parent / "golden" / "tokenizer_merges.json"


def make(folder: Path, **settings: object) -> Tokenizer:
    values = TokenizerSettings(vocab_size=340, **settings)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    train_bpe(iter(TEXTS), values).save(str(folder / TOKENIZER_FILE))
    template = FimTemplate.of(values.spelling)
    (folder / TEMPLATE_FILE).write_text(json.dumps({"spellings": template.to_json()}))
    for name, value in transformers_files(template).items():
        (folder / name).write_text(json.dumps(value))
    return Tokenizer.load(folder)


@pytest.fixture(scope="module", params=["first", "last"])
def placement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(placement: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    make(path, sentinels=placement)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


def test_sentinels_stand_where_the_recipe_says(tokenizer: Tokenizer, placement: str) -> None:
    if placement == "first":
        assert (tokenizer.fim, tokenizer.vocab_size) == (FimIds(0, 1, 2, 3, 4), 340)
    else:
        assert (tokenizer.fim, tokenizer.vocab_size) == (FimIds(340, 341, 342, 343, 344), 345)


SENTINELS = FimTemplate.of("hyphens").tokens
PIECES = st.sampled_from([*SENTINELS, "def f(x):\n", "    ", "1234", "é", "\r\n", "\0", "\ufeff", "e\u0301", "日本"])


@given(parts=st.lists(PIECES | st.text(max_size=10), max_size=12))
def test_any_text_comes_back_and_holds_no_sentinel(tokenizer: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    if any("\ud800" <= character <= "\udfff" for character in text):
        return  # no document holds a lone surrogate
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_batch([text]) == [ids]
    assert not {*ids} & {*vars(tokenizer.fim).values()}
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@pytest.mark.parametrize("sentinel", SENTINELS)
def test_a_sentinel_spelled_in_a_document_is_ordinary_text(tokenizer: Tokenizer, sentinel: str) -> None:
    for text in (sentinel, f"x{sentinel}y", sentinel * 2, f"token = '{sentinel}'"):
        ids = tokenizer.encode(text)
        assert len(ids) > 1
        assert tokenizer.decode(ids) == text


def test_sentinels_are_special_to_transformers(tokenizer: Tokenizer, folder: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    for sentinel, token_id in zip(SENTINELS, vars(tokenizer.fim).values(), strict=True):
        assert theirs.encode(sentinel, add_special_tokens=False) == [token_id]
        assert sentinel in theirs.all_special_tokens
    text = "def mean(values):\n    return sum(values) / 12\n"
    assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.eot
    assert theirs.decode(tokenizer.encode(text)) == text


def test_digits_are_split_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where numbers are so frequent that BPE would have merged them."""
    monkeypatch.setattr(f"{__name__}.TEXTS", ["year 2024 and 1000 or 2024\n" * 500])
    tokenizer = make(tmp_path)
    pieces = [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode("2024 x1000")]
    assert all(sum(byte in b"0123456789" for byte in piece) <= 1 for piece in pieces)
    assert len(tokenizer.encode("year")) == 1  # what is no number is merged


def reference_encode(folder: Path, text: str) -> list[int]:
    """Byte-level BPE in twenty lines: cut into words, then merge the pair of lowest rank until none is left."""
    model = json.loads((folder / TOKENIZER_FILE).read_text())["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    byte_to_character = {byte: character for character, byte in byte_alphabet().items()}
    ids = []
    for chunk in re.findall(r"\d|\D+", text):
        for word in re.findall(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+", chunk):
            parts = [byte_to_character[byte] for byte in word.encode()]
            while len(parts) > 1:
                pairs = list(itertools.pairwise(parts))
                best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
                if best not in ranks:
                    break
                index = pairs.index(best)
                parts[index : index + 2] = ["".join(best)]
            ids += [model["vocab"][part] for part in parts]
    return ids


def test_library_agrees_with_a_plain_reference(tokenizer: Tokenizer, folder: Path) -> None:
    for text in (*TEXTS, "x_1 = it's 'quoted'  # ü\r\n\t\tdone  ", "a  b   c\n\n\nd", Path(__file__).read_text()):
        assert reference_encode(folder, text) == tokenizer.encode(text)


def test_merges_are_the_golden_ones_and_training_is_deterministic(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert (tmp_path / "a" / TOKENIZER_FILE).read_bytes() == (tmp_path / "b" / TOKENIZER_FILE).read_bytes()
    assert first.sha256 == second.sha256
    merges = json.loads((tmp_path / "a" / TOKENIZER_FILE).read_text())["model"]["merges"]
    assert merges == json.loads(GOLDEN.read_text())


def test_spelling_is_the_recipes(tmp_path: Path) -> None:
    assert make(tmp_path, spelling="underscores").template.middle == "<fim_middle>"


def test_orders_of_the_parts() -> None:
    ids = FimIds(eot=0, prefix=1, middle=2, suffix=3, pad=4)
    assert ids.psm([10], [30], [20]) == [1, 10, 3, 30, 2, 20]
    assert ids.spm([10], [30], [20]) == [1, 3, 30, 2, 10, 20]
    assert ids.infill_prompt([10], [30]) == [1, 10, 3, 30, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TOKENIZER_FILE, None, "has no tokenizer.json; give a folder"),
        (TEMPLATE_FILE, None, "has no fim.json"),
        (TOKENIZER_FILE, "{}", r"tokenizer.json is damaged .*; train the tokenizer again"),
        (TEMPLATE_FILE, "[]", r"fim.json is damaged"),
        (TEMPLATE_FILE, '{"spellings": {"eot": "x"}}', r"does not name its five sentinels"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    make(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


def test_a_template_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    other = FimTemplate.of("underscores")
    (tmp_path / TEMPLATE_FILE).write_text(json.dumps({"spellings": other.to_json()}))
    with pytest.raises(TokenizerError, match=r"has no token '<fim_prefix>'"):
        Tokenizer.load(tmp_path)
