"""The oracle against the plainest computation there is: every two sets, one intersection and one union each."""

from __future__ import annotations

import json
import random
import re
import sys
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.near_dedup_oracle import File, find_pairs, load_files, main


def naive_pairs(files: list[File], threshold: float) -> list[tuple[str, str, float]]:
    """All pairs by sets of tuples, for files of different texts."""
    sets = {}
    for file in files:
        tokens = re.findall(r"\w+", file.text[file.start :])
        if len(tokens) >= 10:
            sets[file.name] = {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}
    pairs = []
    for a, b in combinations(sorted(sets), 2):
        jaccard = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        if jaccard >= threshold:
            pairs.append((a, b, jaccard))
    return pairs


def edited_copies(num_files: int, seed: int) -> list[File]:
    """Files of 5 to 300 tokens: families whose members differ in 0 to 30 tokens. No two texts are the same."""
    rng = random.Random(seed)
    files = []
    for number in range(num_files):
        family = random.Random(f"{seed} {number % 40}")
        tokens = [f"t{family.randrange(60)}" for _ in range(family.randrange(5, 300))]
        for _ in range(rng.choice([0, 1, 2, 5, 10, 30])):
            tokens[rng.randrange(len(tokens))] = f"t{rng.randrange(60)}"
        files.append(File(f"f{number:03d}.py", " ".join(tokens) + "\n" * (1 + number)))
    return files


def words(first: int, num_words: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + num_words))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.85, 1.0])
def test_pairs_are_those_of_the_naive_computation(threshold: float) -> None:
    files = edited_copies(400, seed=1)
    found = [(pair.name_a, pair.name_b, pair.jaccard) for pair in find_pairs(files, threshold)]
    assert found == naive_pairs(files, threshold)
    assert 0 < len(found) < 20_000


def test_naive_pairs_agree_where_shingling_begins_later() -> None:
    files = [File(file.name, file.text, start=number % 50) for number, file in enumerate(edited_copies(200, seed=2))]
    found = [(pair.name_a, pair.name_b, pair.jaccard) for pair in find_pairs(files, 0.7)]
    assert found == naive_pairs(files, 0.7)
    assert found


@pytest.mark.parametrize(("threshold", "num_pairs"), [(0.7, 1), (0.71, 0)])
def test_a_similarity_of_exactly_the_threshold_is_a_pair(threshold: float, num_pairs: int) -> None:
    # 14 shared shingles of 20: the first 18 words are common, and one file has 6 shingles more.
    files = [File("a", words(0, 18)), File("b", words(0, 24))]
    assert len(find_pairs(files, threshold)) == num_pairs


def test_a_threshold_that_is_no_binary_fraction_is_taken_as_written() -> None:
    # 7 of 25 shingles. As binary fractions 0.28 * 25 is above 7, and a prefix cut by it would be too short.
    files = [File("a", words(0, 11)), File("b", words(0, 29))]
    assert [pair.jaccard for pair in find_pairs(files, 0.28)] == [7 / 25]


def test_files_under_ten_tokens_are_exempt() -> None:
    assert find_pairs([File("a", words(0, 9)), File("b", words(0, 9) + "\n")], 0.7) == []
    assert len(find_pairs([File("a", words(0, 10)), File("b", words(0, 10) + "\n")], 0.7)) == 1


def test_identical_texts_count_once_under_the_first_name() -> None:
    files = [File("c", words(0, 30)), File("b", words(0, 30)), File("a", words(0, 31))]
    assert [(pair.name_a, pair.name_b) for pair in find_pairs(files, 0.7)] == [("a", "b")]


def test_tokens_are_letters_of_any_script_and_keep_their_case() -> None:
    greek = "αβγ δέλτα été ñandú naïve größe 名前 имя x_1 y2 z"
    assert len(find_pairs([File("a", greek), File("b", greek.replace(" ", "-"))], 1.0)) == 1
    assert find_pairs([File("a", greek), File("b", greek.upper())], 0.1) == []


def test_runs_over_the_end_of_a_file_are_no_shingles() -> None:
    # Read as one text, the four words at each border would be in both files' shingles.
    files = [File("a", words(0, 12)), File("b", words(100, 12)), File("c", words(0, 12) + " " + words(200, 1))]
    assert [(pair.name_a, pair.name_b, pair.jaccard) for pair in find_pairs(files, 0.1)] == [("a", "c", 8 / 9)]


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold 0 is not above 0"):
        find_pairs([], 0)


def test_a_folder_gives_its_text_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.py").write_text("one\r\ntwo", encoding="utf-8", newline="")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    assert load_files(tmp_path) == [File("sub/a.py", "one\r\ntwo")]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": ["a"], "text": ["x"]}), tmp_path / "in.parquet")
    with pytest.raises(SystemExit, match="has no column 'start'; it has name, text"):
        load_files(tmp_path / "in.parquet", skip_header=True)


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_skip_header_leaves_out_what_lies_before_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    licence = words(500, 40)
    texts = [licence + " " + words(0, 20), licence + " " + words(50, 20), words(0, 21)]
    table = pa.table({"name": ["a", "b", "c"], "text": texts, "start": [len(licence), len(licence), 0]})
    pq.write_table(table, tmp_path / "in.parquet")
    found = {}
    for option in ([], ["--skip-header"]):
        out = tmp_path / f"out{suffix}"
        argv = ["near_dedup_oracle.py", str(tmp_path / "in.parquet"), "--threshold", "0.4", "--out", str(out), *option]
        monkeypatch.setattr(sys, "argv", argv)
        main()
        rows = json.loads(out.read_text("utf-8")) if suffix == ".json" else pq.read_table(out).to_pylist()
        found[bool(option)] = [(row["name_a"], row["name_b"]) for row in rows]
    assert found == {False: [("a", "b")], True: [("a", "c")]}
