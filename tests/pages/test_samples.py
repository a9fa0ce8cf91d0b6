"""Samples are the same every time and spread out; texts pass the redactor whole, or are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackwright.artifact import Staging, load_artifact
from stackwright.document import LEDGER
from stackwright.pages.samples import (
    EXCERPT_LINES,
    LINE_CHARACTERS,
    clip,
    copy_samples,
    dropped_samples,
    excerpt_of,
    fetch_texts,
    first_difference,
    show_nothing,
)
from tests.pages.artifacts import KEY, SECRET, TEXTS, commit, entry, make_data, redactor


def same(text: str) -> str:
    return text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_data(tmp_path)
    return tmp_path


def test_samples_come_from_different_repositories_first_and_do_not_depend_on_order(tmp_path: Path) -> None:
    rows = [entry(repo, f"{number}.py", "odd") for repo in "abc" for number in range(20 if repo == "a" else 2)]

    def make(folder: str, ordered: list[dict[str, object]], per_part: int) -> list[tuple[str, str, str]]:
        def fill(staging: Staging) -> None:
            for part, begin in enumerate(range(0, len(ordered), per_part)):
                staging.write_table_part("ledger", part, ordered[begin : begin + per_part])

        artifact = commit(tmp_path, folder, "curate", fill, schemas={"ledger": LEDGER})
        return [sample.key for sample in dropped_samples(artifact.table("ledger"), 4)["odd"]]

    first = make("first", rows, 100)
    assert first == make("second", rows[::-1], 5)
    assert {repo for repo, _, _ in first[:3]} == {"a", "b", "c"}
    assert len(set(first)) == 4


def test_a_sample_has_the_evidence_of_the_rule_that_decided(run: Path) -> None:
    samples = dropped_samples(load_artifact(run / "dataset").table("ledger"), 3)
    assert set(samples) == {"odd_word", "line_too_long"}  # copies are shown with the duplicates
    (long,) = samples["line_too_long"]
    assert (long.evidence["value"], long.evidence["limit"], long.size_bytes) == (616.0, 100.0, 100)


def test_only_decisive_edges_are_copies(run: Path) -> None:
    samples = copy_samples(load_artifact(run / "dataset").table("clusters"), 3)
    assert [(copy.key[2], copy.kept[2], copy.similarity) for copy in samples["near"]] == [("near.py", "keep.py", 0.82)]


def test_texts_are_fetched_by_identity_from_any_part(run: Path) -> None:
    documents = load_artifact(run / "corpus").table("documents")
    keys = [(repo, "1", path) for repo, path, _ in TEXTS]
    assert fetch_texts(documents, [*keys, ("a", "1", "absent.py")]) == dict(zip(keys, (text for _, _, text in TEXTS)))
    assert fetch_texts(documents, []) == {}


def test_texts_are_found_behind_the_first_row_group(tmp_path: Path) -> None:
    from stackwright.document import DOCUMENTS
    from tests.pages.artifacts import document

    rows = [document("a", f"{number:03}.py", f"text {number}") for number in range(100)]
    artifact = commit(
        tmp_path,
        "corpus",
        "collect",
        lambda s: s.write_table_part("documents", 0, rows) and None,
        schemas={"documents": DOCUMENTS},
    )
    key = ("a", "1", "077.py")
    assert fetch_texts(artifact.table("documents"), [key]) == {key: "text 77"}


def test_without_a_redactor_nothing_is_shown() -> None:
    assert excerpt_of("text", 0, show_nothing) is None
    assert first_difference("a", "b", show_nothing) is None


def test_excerpt_shows_numbered_lines_around_the_place() -> None:
    text = "\n".join(f"line {number}" for number in range(1, 21))
    shown = excerpt_of(text, text.index("line 12"), same)
    assert shown is not None
    assert [line.split()[0] for line in shown.splitlines()] == ["10", "11", "12", "13", "14", "15"]
    assert shown.splitlines()[2].endswith("line 12")
    end = excerpt_of(text, text.index("line 20"), same)
    assert end is not None
    assert len(end.splitlines()) == EXCERPT_LINES
    assert end.endswith("line 20")


def test_a_key_that_begins_before_the_excerpt_is_redacted_and_the_place_is_still_found() -> None:
    text = TEXTS[1][2]
    shown = excerpt_of(text, text.index("here"), redactor)
    assert shown is not None
    assert shown.splitlines()[2].endswith("here")  # the third line, as for every place
    assert "MIIE" not in excerpt_of(text, text.index("MIIEdef"), redactor)  # type: ignore[operator]
    assert KEY.splitlines()[-1] not in shown


def test_a_long_line_is_cut_around_the_place_after_it_was_redacted() -> None:
    text = TEXTS[2][2]
    shown = excerpt_of(text, text.index(SECRET), redactor)
    assert shown is not None
    assert "<EMAIL>" in shown
    assert SECRET not in shown
    assert all(len(line) <= LINE_CHARACTERS + 7 for line in shown.splitlines())


@pytest.mark.parametrize("around", [0, 50, 499, 999])
def test_a_clipped_line_holds_the_character_it_is_cut_around(around: int) -> None:
    line = "".join(chr(0x4E00 + number) for number in range(1000))
    clipped = clip(line, around)
    assert line[around] in clipped
    assert len(clipped) <= LINE_CHARACTERS
    assert clip("short\r") == "short"


def test_difference_shows_the_first_lines_that_differ_redacted() -> None:
    lines = first_difference(TEXTS[0][2], TEXTS[3][2], redactor)
    assert lines is not None
    assert [(line.mark, line.text) for line in lines] == [
        (" ", "one"), (" ", "two"), ("-", "three"), ("+", "<EMAIL>"), (" ", "four"), (" ", ""),
    ]  # fmt: skip
    assert first_difference("a\n", "a\n", same) == []


def test_difference_finds_what_only_one_file_has_at_its_end() -> None:
    lines = first_difference("a\nb\nc\nd", "a\nb\nc\nd\ne", same)
    assert lines is not None
    assert [(line.mark, line.text) for line in lines] == [(" ", "c"), (" ", "d"), ("+", "e")]
