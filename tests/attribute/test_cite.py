"""Citing: everything that is shared is found, nothing else is, and every place is exact."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackwright.attribute import search, stage
from stackwright.attribute.index import Citation, Index
from stackwright.attribute.normalize import normalize
from stackwright.attribute.render import match_rows
from tests.attribute.corpora import Name, brute_force, make_index, words


def assert_true(query: str, citation: Citation, texts: Mapping[Name, str], least: int = 50) -> None:
    """Every match is long enough, in order, and each origin holds it where it says."""
    assert len(citation.matches) == len({(match.start, match.end) for match in citation.matches})
    for match in citation.matches:
        span = query[match.start : match.end]
        assert len(normalize(f"|{span}|")) - 2 >= least
        assert match.origins
        assert len(match.origins) <= match.num_origins
        names = [(origin.repo, origin.path) for origin in match.origins]
        assert len(names) == len(set(names))
        for origin in match.origins:
            stored = texts[origin.repo, origin.path]
            source = stored[origin.start : origin.end]
            assert normalize(f"|{source}|") == normalize(f"|{span}|")
            shown = [number for number, line in enumerate(stored.split("\n"), 1) if line.strip()]
            assert origin.start_line in shown
            assert origin.end_line in shown
            lines = stored.split("\n")[origin.start_line - 1 : origin.end_line]
            assert normalize(source) in normalize("\n".join(lines))
            assert normalize(source) not in normalize("\n".join(lines[1:]))


def assert_exact(query: str, index: Index, texts: Mapping[Name, str]) -> Citation:
    citation = index.cite(query)
    assert [(match.start, match.end) for match in citation.matches] == brute_force(query, list(texts.values()))
    assert_true(query, citation, texts)
    assert citation.is_complete
    for match in citation.matches:
        wanted = normalize(f"|{query[match.start : match.end]}|")[1:-1]
        holders = sum(wanted in normalize(text) for text in texts.values())
        assert match.num_origins == holders
        assert not match.num_origins_is_lower_bound
    return citation


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, dict[Name, str]]:
    """Thirty files of several kinds, some of which share parts."""
    rng = random.Random(7)
    texts = {(f"repo{number % 5}", f"file{number}.py"): words(rng, rng.randrange(1, 900)) for number in range(30)}
    shared = words(rng, 300)
    for number in (2, 9, 16):
        name = (f"repo{number % 5}", f"file{number}.py")
        texts[name] = texts[name][:100] + shared + texts[name][100:]
    texts["repo0", "empty.py"] = ""
    texts["repo0", "blank.py"] = " \n"
    texts["repo1", "dos.py"] = "\r\n".join(f"    if value_{number} is None:\tpass" for number in range(30))
    texts["repo1", "rules.py"] = "# " + "=" * 90 + "\n" + "x = 1\n" * 30 + "# " + "=" * 70
    return make_index(tmp_path_factory.mktemp("world"), texts), texts


@pytest.fixture(scope="module", params=["on disk", "in memory"])
def any_world(request: pytest.FixtureRequest, world: tuple[Index, dict[Name, str]]) -> tuple[Index, dict[Name, str]]:
    index, texts = world
    return (loaded(index) if request.param == "in memory" else index), texts


def loaded(index: Index) -> Index:
    opened = Index.open(index.folder)
    opened.load()
    assert opened.is_loaded
    return opened


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_planted_spans_are_found_exactly_as_brute_force_finds_them(
    any_world: tuple[Index, dict[Name, str]], data: st.DataObject
) -> None:
    index, texts = any_world
    pieces = []
    for _ in range(data.draw(st.integers(1, 4))):
        text = texts[data.draw(st.sampled_from(sorted(texts)))]
        length = data.draw(st.one_of(st.integers(44, 60), st.integers(0, 400)))
        start = data.draw(st.sampled_from([0, max(len(text) - length, 0)]) | st.integers(0, len(text)))
        pieces.append(text[start : start + length])
        pieces.append(data.draw(st.sampled_from(["", " ", "\n", "Q", "\u00fc", "# not in any file #", "=" * 75])))
    query = "".join(pieces)
    if data.draw(st.booleans()):
        query = query.replace("\n", "\r\n\t")
    assert_exact(query, index, texts)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_spans_that_reach_beyond_a_place_are_found_as_if_all_were_sought(
    any_world: tuple[Index, dict[Name, str]], data: st.DataObject
) -> None:
    index, texts = any_world
    names = st.sampled_from(sorted(texts))
    pieces = [texts[data.draw(names)][: data.draw(st.integers(0, 200))] for _ in range(4)]
    query = data.draw(st.sampled_from(["", " ", "\n", "\u00fc", "# not in any file #"])).join(pieces)
    since = data.draw(st.integers(0, len(query)))
    whole, found = index.cite(query).matches, index.cite(query, since).matches
    assert {match for match in whole if match.end > since} <= set(found) <= set(whole)


def test_of_files_that_hold_what_is_sought_the_one_that_holds_more_before_it_is_found(tmp_path: Path) -> None:
    rng = random.Random(4)
    before, shared = words(rng, 30), words(rng, 60)
    index = make_index(tmp_path, {("r", "a.py"): f"x{shared}", ("r", "b.py"): before + shared})
    (match,) = index.cite(before + shared, since=80).matches
    assert (match.start, match.end, match.origins[0].path) == (0, 90, "b.py")


def test_of_many_places_in_a_file_the_one_that_holds_more_before_what_is_sought_is_found(
    any_world: tuple[Index, dict[Name, str]],
) -> None:
    """The rule of the file's last line has white space before it; the same k-gram stands at a hundred places before that."""
    index, texts = any_world
    query = f"  z {texts['repo1', 'rules.py'][:53]}"
    for since in range(len(query)):
        (match,) = index.cite(query, since).matches
        assert (match.start, match.end, match.origins[0].start_line) == (3, 57, 32)


def test_no_part_of_a_span_that_ends_before_what_is_sought_is_found(
    any_world: tuple[Index, dict[Name, str]],
) -> None:
    index, texts = any_world
    query = f"{texts['repo1', 'rules.py'][:192]} some"
    assert not index.cite(query, len(query)).matches


def test_texts_that_have_no_room_stay_on_disk(world: tuple[Index, dict[Name, str]]) -> None:
    index, texts = world
    size = sum(len(normalize(text).encode()) for text in texts.values())
    opened = Index.open(index.folder)
    opened.load(most_bytes=size - 1)
    assert not opened.is_loaded
    opened.load(most_bytes=size)
    assert opened.is_loaded


COMPILED_WHEN_CITING = """
import sys
from pathlib import Path
from stackwright.attribute.index import Index
index = Index.open(Path(sys.argv[1]))
index.load()
from stackwright.attribute import loaded, originals
named = [*vars(loaded).values(), *vars(originals).values()]
compiled = [function for function in named if hasattr(function, "signatures")]
before = [len(function.signatures) for function in compiled]
assert len(compiled) > 10
assert len(index.cite(sys.argv[2]).matches) == 1
assert before == [len(function.signatures) for function in compiled], dict(zip(compiled, before))
"""


def test_no_query_waits_for_a_compiler(world: tuple[Index, dict[Name, str]]) -> None:
    index, texts = world
    command = [sys.executable, "-c", COMPILED_WHEN_CITING, str(index.folder), texts["repo1", "dos.py"]]
    subprocess.run(command, check=True)


def test_what_texts_in_memory_refuse_is_searched_on_disk(
    world: tuple[Index, dict[Name, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, texts = world
    in_memory = loaded(index)
    assert in_memory._loaded is not None
    query = texts["repo1", "dos.py"]
    hits = next(hits for hits in range(10_000) if in_memory._loaded.agreements(normalize(query).encode(), 0, hits))
    assert hits > 10
    assert in_memory._loaded.agreements(normalize(query).encode(), 0, hits - 1) is None
    monkeypatch.setattr(in_memory._loaded, "agreements", lambda *_: None)
    assert in_memory.cite(query) == index.cite(query)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_repetitive_corpora_are_cited_exactly(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    pieces = st.lists(st.sampled_from(["abc" * 9, "abc" * 20 + "d", "x = 1 " * 5, "-" * 30, "é" * 26, "end"]), max_size=6)
    texts = {("r", f"{number}"): "".join(data.draw(pieces)) for number in range(4)}
    index = make_index(tmp_path_factory.mktemp("repetitive"), texts)
    for opened in (index, loaded(index)):
        for _ in range(4):
            assert_exact("".join(data.draw(pieces)), opened, texts)


@pytest.mark.parametrize("length", [49, 50, 51])
@pytest.mark.parametrize("start", [0, 1, 200, -1])
@pytest.mark.parametrize("alphabet", ["abcdefgh", "äöü漢😀ab"])
def test_fifty_characters_are_found_and_forty_nine_are_not(tmp_path: Path, length: int, start: int, alphabet: str) -> None:
    rng = random.Random(length)
    stored = "".join(rng.choice(alphabet) for _ in range(400))
    start = 400 - length if start == -1 else start
    query = "Q" * 30 + stored[start : start + length] + "Q" * 30
    index = make_index(tmp_path, {("r", "a"): stored})
    matches = index.cite(query).matches
    assert loaded(index).cite(query).matches == matches
    assert [(match.start, match.end) for match in matches] == ([(30, 30 + length)] if length >= 50 else [])
    if matches:
        assert (matches[0].origins[0].start, matches[0].origins[0].end) == (start, start + length)


def test_indentation_and_line_ends_do_not_hide_a_copy(tmp_path: Path) -> None:
    code = "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n    return width * height\n"
    index = make_index(tmp_path, {("shapes", "area.py"): f"import math\n\n{code}"})
    query = "class A:\r\n    " + code.replace("\n", "\r\n\t\t").rstrip()
    (match,) = index.cite(query).matches
    assert query[match.start : match.end].split() == code.split()
    (origin,) = match.origins
    assert (origin.repo, origin.path, origin.start_line, origin.end_line) == ("shapes", "area.py", 3, 6)
    assert (origin.revision, origin.license, origin.split) == ("1.0", "MIT", "train")
    (row,) = match_rows(query, index.cite(query))
    assert (row.lines, row.excerpt) == ("2-5", "def area(width, height):")
    assert (row.origin, row.num_origins, row.kind) == ("shapes@1.0:area.py:3-6", "1", "verbatim")


def test_a_span_of_many_repositories_is_boilerplate(tmp_path: Path) -> None:
    rng = random.Random(2)
    header, text = words(rng, 200).strip(), words(rng, 300)
    texts = {(f"repo{number:02d}", "a.py"): f"{header} {words(rng, 200)}" for number in range(10)}
    texts["repo03", "b.py"] = text
    index = make_index(tmp_path, texts)
    first, second = index.cite(f"{header} ???? {text}").matches
    assert loaded(index).cite(f"{header} ???? {text}").matches == (first, second)
    assert (first.kind, first.num_origins) == ("boilerplate", 10)
    assert (second.kind, second.num_origins) == ("verbatim", 1)


def test_many_copies_in_one_repository_are_not_boilerplate(tmp_path: Path) -> None:
    header = words(random.Random(2), 200)
    index = make_index(tmp_path, {("repo", f"{number}.py"): f"{header} {number}" for number in range(30)})
    (match,) = index.cite(header).matches
    assert loaded(index).cite(header).matches == (match,)
    assert (match.kind, match.num_origins, len(match.origins)) == ("verbatim", 30, 20)


@pytest.mark.parametrize("copies", [150, 300])
def test_a_very_common_span_has_true_origins_and_says_that_there_are_more(tmp_path: Path, copies: int) -> None:
    rng = random.Random(4)
    header = words(rng, 400).strip()
    texts = {(f"repo{number:03d}", "a.py"): f"{header} {words(rng, 90)}" for number in range(copies)}
    index = make_index(tmp_path, texts)
    assert (copies > stage.COMMON_DOCUMENTS) == (len(index._common) > 0)
    citation = index.cite(f"Q {header} Q")
    assert_true(f"Q {header} Q", citation, texts)
    (match,) = citation.matches
    assert (match.start, match.end) == (2, 2 + len(header) + 1)  # with the blank that follows
    assert match.kind == "boilerplate"
    assert match.num_origins_is_lower_bound
    assert 20 <= match.num_origins < copies
    (in_memory,) = loaded(index).cite(f"Q {header} Q").matches
    assert (in_memory.start, in_memory.end, in_memory.kind) == (match.start, match.end, "boilerplate")
    assert (in_memory.num_origins, in_memory.num_origins_is_lower_bound, len(in_memory.origins)) == (100, True, 20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 9999))
def test_each_shared_window_is_covered_where_most_grams_are_common(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    parts = [words(rng, rng.randrange(20, 90)) for _ in range(5)]
    texts = {("r", f"{number}"): "".join(rng.choice(parts) for _ in range(6)) for number in range(12)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "COMMON_DOCUMENTS", 2)
        patch.setattr(stage, "LISTED_DOCUMENTS", 2)
        index = make_index(tmp_path_factory.mktemp("common"), texts)
    query = "".join(rng.choice(parts) for _ in range(8))
    assert_covers_every_window(query, index, texts)


def assert_covers_every_window(query: str, index: Index, texts: Mapping[Name, str]) -> Citation:
    citation = index.cite(query)
    assert_true(query, citation, texts)
    spans = [(match.start, match.end) for match in citation.matches]
    for start, end in brute_force(query, list(texts.values())):
        plain = query[start:end]
        for window in range(len(plain)):
            if len(normalize(f"|{plain[window:]}|")) - 2 < 50 or plain[window].isspace():
                continue
            reach = window + 50
            while len(normalize(f"|{plain[window:reach]}|")) - 2 < 50:
                reach += 1
            assert any(first <= start + window and start + reach <= last for first, last in spans)
    return citation


def test_a_thinned_search_still_covers_every_shared_window(
    world: tuple[Index, dict[Name, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, texts = world
    rng = random.Random(8)
    for visits in (0, 3, 10):
        monkeypatch.setattr(search, "EXACT_VISITS", visits)
        for _ in range(20):
            cuts = [rng.choice(sorted(texts.values())) for _ in range(4)]
            assert_covers_every_window("".join(cut[rng.randrange(50) :][:300] for cut in cuts), index, texts)


def test_small_blocks_make_no_difference(world: tuple[Index, dict[Name, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    index, texts = world
    query = " ".join(text[10:500] for _, text in sorted(texts.items()))
    whole = index.cite(query)
    assert len(whole.matches) > 20
    for size in (1, 3, 7):
        monkeypatch.setattr(search, "BLOCK_TOKENS", size)
        assert index.cite(query) == whole


def test_a_span_that_goes_through_many_blocks_is_found_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    text = "".join(rng.choice("abcdefgh") for _ in range(1200))
    texts = {("r", "a"): text[:800], ("r", "b"): text[400:], ("r", "c"): f"before {text} after"}
    index = make_index(tmp_path, texts)
    monkeypatch.setattr(search, "BLOCK_TOKENS", 3)
    assert_exact(text, index, texts)


def test_a_thinned_search_finds_every_piece_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    text = "".join(rng.choice("abcdefgh") for _ in range(300))
    texts = {("r", "pieces"): "|".join(text[start : start + 60] for start in range(0, 300, 5))}
    index = make_index(tmp_path, texts)
    monkeypatch.setattr(search, "EXACT_VISITS", 0)
    assert len(assert_covers_every_window(text, index, texts).matches) > 9


@pytest.mark.parametrize("query", ["", "x", " \n", "import os", "\ud800" * 20])
def test_a_short_text_has_no_match_and_the_citation_says_what_it_takes(
    any_world: tuple[Index, dict[Name, str]], query: str
) -> None:
    citation = any_world[0].cite(query)
    assert citation.to_json() == {
        "matches": [],
        "num_characters": len("".join(query.split())) + (query == "import os"),
        "least_span": 50,
        "is_complete": True,
    }


def test_a_hundred_thousand_equal_characters_are_covered_by_few_matches(
    any_world: tuple[Index, dict[Name, str]],
) -> None:
    index, texts = any_world
    query = "=" * 100_000
    citation = index.cite(query)
    assert citation.is_complete
    assert_true(query, citation, texts)
    assert 100_000 / 90 <= len(citation.matches) < 100_000 / 40
    reach = 0
    for match in citation.matches:
        assert match.start <= reach
        reach = match.end
    assert reach == len(query)


def test_a_line_repeated_ten_thousand_times_is_covered(any_world: tuple[Index, dict[Name, str]]) -> None:
    index, texts = any_world
    line = normalize(texts["repo1", "dos.py"])[:80]
    query = f"{line} !\n" * 10_000
    citation = index.cite(query)
    assert citation.is_complete
    assert len(citation.matches) == 10_000
    assert {query[match.start : match.end].strip() for match in citation.matches} == {line}


def test_hopeless_queries_end_and_say_that_they_were_stopped(
    world: tuple[Index, dict[Name, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, texts = world
    query = " ".join(text for _, text in sorted(texts.items()))
    monkeypatch.setattr(search, "MAX_VISITS", 5)
    citation = index.cite(query)
    assert not citation.is_complete
    assert_true(query, citation, texts)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize(
    "texts",
    [
        {("r", "only"): "one document that is a little longer than fifty characters, and no other"},
        {("r", str(number)): "the same text in every file, which is longer than fifty characters" for number in range(9)},
        {("r", str(number)): "" for number in range(9)},
        {("r", "small"): "x", ("r", "zhuge"): "=" * 100_000 + words(random.Random(1), 60_000)},
    ],
    ids=["one document", "identical files", "empty files", "one enormous file"],
)
def test_odd_corpora_are_cited(tmp_path: Path, texts: dict[Name, str], is_loaded: bool) -> None:
    index = make_index(tmp_path, texts)
    if is_loaded:
        index.load()
    name, longest = max(texts.items(), key=lambda item: len(item[1]))
    citation = index.cite(longest[-70_000:])
    assert_true(longest[-70_000:], citation, texts)
    assert [match.num_origins for match in citation.matches] == [list(texts.values()).count(longest)] * bool(longest)
    assert not citation.matches or citation.matches[0].end == len(longest[-70_000:].rstrip())
    assert not index.cite("something that is in no file, however long it may be: nothing").matches
    assert name[0] == "r"
