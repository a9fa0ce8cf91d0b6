"""Consent: what a repository says of its own files, read as git reads it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.govern.consent import Consent, ConsentSignals, Signal, decide, read_signals


def signals_of(files: dict[str, str]) -> ConsentSignals:
    return ConsentSignals.build(signal for path, text in files.items() for signal in read_signals(path, text))


def allowed(files: dict[str, str], path: str) -> bool | None:
    return signals_of(files).verdict(path).allowed


# Files of their own


@pytest.mark.parametrize("name", ["ai-opt-out", "ai-opt-out.md", "AI-OPT-OUT.txt", "ai-opt-out.de.md"])
@pytest.mark.parametrize("text", ["", "Please do not.\n"])
def test_an_opt_out_file_governs_the_repository(name: str, text: str) -> None:
    assert signals_of({f".github/{name}": text}).verdict("any/where.py") == Consent(False, f".github/{name}")


def test_an_opt_in_file_says_yes() -> None:
    assert signals_of({".github/ai-opt-in.md": ""}).verdict("a.py") == Consent(True, ".github/ai-opt-in.md")


@pytest.mark.parametrize(
    "path",
    ["ai-opt-out", "docs/.github/ai-opt-out", ".github/deep/ai-opt-out", ".github/ai-opt-outs", ".github/x-ai-opt-out"],
)
def test_files_of_other_names_or_places_say_nothing(path: str) -> None:
    assert read_signals(path, "ai-training") == ()
    assert allowed({path: "* -ai-training"}, "a.py") is None


# .gitattributes


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*.py -ai-training", False),
        ("*.py ai-training=false", False),
        ("*.py ai-training", True),
        ("*.py ai-training=true", True),
        ("*.py ai-training=TRUE", True),
        ("*.py ai-training=perhaps", False),
        ("*.py ai-training=", False),
        ("*.py -ai-training=true", False),
        ("*.py !ai-training", None),
        ("*.py text eol=lf -ai-training diff=python", False),
        ("*.py -ai-training ai-training", True),
        ("\t *.py\t\t-ai-training \r", False),
        ("*.py ai-training-data=false", None),
        ("*.py AI-training=false", None),
        ("*.py text", None),
        ("*.py", None),
        ("# *.py -ai-training", None),
        ("!*.py -ai-training", None),
        ("*.py -ai-training in&valid", None),
        ("*.py -ai-training --text", None),
        ("[attr]*.py -ai-training", None),
        ('"*.py" -ai-training', False),
        (r'"a\056py" -ai-training', False),
        ('"*.py -ai-training', None),
        ("*.py -ai-training" + " " * 2048, None),
    ],
)
def test_a_line_says_what_it_says_to_git(line: str, expected: bool | None) -> None:
    assert allowed({".gitattributes": line}, "a.py") is expected


def test_comments_and_negative_patterns_govern_nothing_unless_they_are_escaped() -> None:
    for name in ("#a.py", "!a.py"):
        assert allowed({".gitattributes": f"{name} -ai-training"}, name) is None
        assert allowed({".gitattributes": f"\\{name} -ai-training"}, name) is False


def test_the_last_line_that_matches_counts() -> None:
    text = "* -ai-training\n*.py ai-training\nsecret/*.py -ai-training\n*.md !ai-training\n"
    signals = signals_of({".gitattributes": text})
    assert signals.verdict("a.c") == Consent(False, ".gitattributes line 1: * ai-training=false")
    assert signals.verdict("x/a.py") == Consent(True, ".gitattributes line 2: *.py ai-training=true")
    assert signals.verdict("secret/a.py") == Consent(False, ".gitattributes line 3: secret/*.py ai-training=false")
    assert signals.verdict("a.md") == Consent(None, None)


def test_an_inner_file_governs_its_folder_and_overrides_outer_ones() -> None:
    files = {
        "lib/.gitattributes": "*.py ai-training\n/own.c -ai-training",
        ".gitattributes": "*.py -ai-training\nlib/deep/*.js -ai-training",
        "lib/deep/.gitattributes": "b.py !ai-training",
    }
    assert allowed(files, "a.py") is False
    assert allowed(files, "lib/a.py") is True
    assert allowed(files, "lib/deep/a.py") is True
    assert allowed(files, "lib/deep/b.py") is None
    assert allowed(files, "lib/own.c") is False
    assert allowed(files, "lib/deep/own.c") is None
    assert allowed(files, "lib/deep/a.js") is False
    assert allowed(files, "libx/a.py") is False


def test_evidence_points_at_the_line() -> None:
    text = "\ufeff*.c text\n*.py text -ai-training\r\n"
    [signal] = read_signals("src/.gitattributes", text)
    assert signal == Signal("gitattributes", "src/.gitattributes", (10, 32), False, "*.py", 2)
    assert signal.span is not None
    assert text[slice(*signal.span)] == "*.py text -ai-training"
    assert read_signals(".gitattributes", "\ufeff*.py ai-training")[0].pattern == "*.py"


PATTERNS = [
    *("*", "**", "/*", "/**", "*.py", "a*", "a?b", "/a.py", "a/b", "/a/b", "a/*", "a/**", "a/", "/", "//a", "a//b"),
    *("**/a", "**/a/b", "a/**/b", "a/**/**/b", "**/**", "a**b", "x/a**b", "***/a", "a/***", "/**/a", "**/", "a/**/"),
    *("[ab].py", "[!a].py", "[^a].py", "[a-c].py", "[]a].py", "[a-].py", "[--b].py", "[b-a].py", "[!b-a].py", "[a.py"),
    *(
        "[[:alpha:]].py",
        "[[:digit:]b].py",
        "[[:what:]].py",
        "[[:x].py",
        "[[:].py",
        "[a[:digit:]-].py",
        "a[/]b",
        "x/[!/]b",
        "[!/]b",
    ),
    *(
        r"\a.py",
        r"\*.py",
        r"\[a].py",
        r"[\]a].py",
        r"[\a-\c].py",
        "a\\",
        "[a\\",
        r"a\/b",
        r"\/a",
        r"\/**/**",
        r"\!a",
        "[",
        "[]",
        "[!]",
        "a[]b",
    ),
    *("*a*b*", "*/a*b", "*/*", "*/*/*", "a*/b", "?/?", "*b", "b*.py", "**a", "a/**b", "x/**a/b", "[a-c-e].py", "[!]a].py"),
]
PATHS = [
    *(
        "x",
        "a",
        "b",
        "ab",
        "aab",
        "a.py",
        "b.py",
        "c.py",
        "d.py",
        "-.py",
        "].py",
        "[a].py",
        "*.py",
        "!a",
        "1.py",
        ":.py",
        "e.py",
    ),
    *("a/b", "a/a.py", "a/b/b", "a/x/b", "a/x/y/b", "x/a", "x/a.py", "x/a/b", "x/y/a", "x/axb", "x/ab", "b/c/d", "x/]b"),
    *("axb", "a/xb", "ba/b", "aaxbb", "x/y/aabb", "abc.py", "b1.py", "[.py", "x.py", "[a.py", "a/b/a/b", "x/xa/b", "a/xb/c"),
]


def made_patterns(count: int) -> list[str]:
    pieces = ["a", "b", "x", ".py", "*", "?", "/", "**", "/**/", "**/", "[ab]", "[!a]", "\\a", "[a-x]"]
    patterns = ["".join(random.Random(f"pattern {index}").choices(pieces, k=index % 7 + 1)) for index in range(count)]
    # Where `**/` follows a letter, git 2.39 takes it for the beginning of a pattern; its manual says that it is a plain `*`.
    return [pattern for pattern in patterns if not any(f"{letter}**/" in pattern for letter in "abxy")]


def test_patterns_match_what_git_says_that_they_match(tmp_path: Path, needs_program: Callable[[str], str]) -> None:
    patterns = [*PATTERNS, *made_patterns(300)]
    git = [needs_program("git"), "-C", str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    subprocess.run([*git, "init", "-q"], env=environment, check=True)
    files = {f"p{number}/.gitattributes": f"{pattern} -ai-training\n" for number, pattern in enumerate(patterns)}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    asked = [f"p{number}/{path}" for number in range(len(patterns)) for path in PATHS]
    answer = subprocess.run(
        [*git, "check-attr", "-z", "--stdin", "ai-training"],
        input="\0".join(asked).encode(),
        env=environment,
        capture_output=True,
        check=True,
    ).stdout.decode()
    fields = answer.split("\0")
    expected = {path: value == "unset" for path, value in zip(fields[::3], fields[2::3], strict=False)}
    signals = signals_of(files)
    found = {path: signals.verdict(path).allowed is False for path in asked}
    wrong = [
        (patterns[int(path[1 : path.index("/")])], path, found[path]) for path in asked if found[path] != expected[path]
    ]
    assert wrong == []
    assert 1000 < sum(expected.values()) < len(asked) - 1000


def test_a_line_of_patterns_that_were_made_to_be_slow_is_matched() -> None:
    # With plain backtracking each of these takes longer than the test may run.
    slow = {"*a" * 60 + "c": "a" * 400, "**/a/" * 40 + "c": "a/" * 200 + "b", "**/*a*" * 20 + "/c": "a/" * 200 + "b"}
    for pattern, path in slow.items():
        assert allowed({".gitattributes": f"{pattern} -ai-training"}, path) is None
        assert allowed({".gitattributes": f"{pattern} -ai-training"}, path[:-1] + "/c") in (None, False)


@given(st.text('ab*?[]!-^\\/:"# \tö=.', max_size=20), st.text("ab/.", min_size=1, max_size=8))
def test_no_text_fails(text: str, path: str) -> None:
    assert allowed({".gitattributes": f"{text} -ai-training\n{text}"}, path) in (None, False)


def test_quoted_patterns_hold_blanks_and_bytes_of_utf8() -> None:
    text = '"with blank.py" -ai-training\n"\\303\\274\\t.py" -ai-training\n'
    assert allowed({".gitattributes": text}, "src/with blank.py") is False
    assert allowed({".gitattributes": text}, "\u00fc\t.py") is False


# Together


def test_a_no_outranks_a_yes_of_another_kind() -> None:
    out, into = {".github/ai-opt-out": ""}, {".github/ai-opt-in": ""}
    yes, no = {".gitattributes": "*.py ai-training"}, {".gitattributes": "*.py -ai-training"}
    assert allowed(out | into, "a.py") is False
    assert allowed(out | yes, "a.py") is False
    assert allowed(into | no, "a.py") is False
    assert allowed(into | no, "a.c") is True
    assert allowed(into | yes, "a.py") is True


def test_a_licence_clause_governs_its_folder_or_the_one_that_it_is_given() -> None:
    clause = Signal("license_clause", "lib/LICENSE", (10, 20))
    signals = ConsentSignals.build([clause, Signal("opt_in_file", ".github/ai-opt-in", allowed=True)])
    assert signals.verdict("lib/a.py") == Consent(False, "lib/LICENSE characters 10 to 20")
    assert signals.verdict("a.py").allowed is True
    wide = Signal("license_clause", "LICENSES/X.txt", folder="")
    assert ConsentSignals.build([wide]).verdict("a.py") == Consent(False, "LICENSES/X.txt")


def test_no_signal_is_neither_yes_nor_no() -> None:
    assert ConsentSignals.build([]).verdict("a.py") == Consent(None, None)


def test_the_policy_decides_what_silence_means() -> None:
    answers = {
        policy: [decide(Consent(said, None), policy) for said in (True, None, False)]
        for policy in ("honor", "opt-in", "ignore")
    }
    assert answers == {"honor": [True, True, False], "opt-in": [True, False, False], "ignore": [True, True, True]}
