"""The command line: what it prints, its exit codes, and one line for every mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stackwright.artifact import load_artifact
from stackwright.document import git_blob_id
from stackwright.errors import UsageError
from stackwright.govern.proofs import Proof, verify
from stackwright.recipe import dump_recipe
from stackwright.sizes import parse_size
from tests.corpus import make_repositories, small_recipe


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "stackwright", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=100)


@pytest.fixture(scope="module")
def recipe_file(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.toml"
    path.write_text(dump_recipe(small_recipe(repositories)), "utf-8")
    return path


def one_line_error(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("stackwright: ")
    assert "; " in line
    return line


def test_help_has_an_example_for_every_command() -> None:
    assert run("--help").returncode == 0
    for command in ("build", "explain", "cite", "measure", "report", "generate", "optout"):
        result = run(command, "--help")
        assert result.returncode == 0
        assert "Example: stackwright" in result.stdout


def test_version_is_printed() -> None:
    assert re.fullmatch(r"stackwright \d+\.\d+\.\d+\n", run("--version").stdout)


def test_a_build_tells_its_story_in_eighty_columns(recipe_file: Path, tmp_path: Path) -> None:
    result = run("build", str(recipe_file), "--out", str(tmp_path / "run"), "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for word in (
        "collect",
        "curate",
        "kept",
        "line_too_long",
        "Python",
        "bits per byte",
        "CPU-minutes",
        "peak memory",
        "held-out repositories",
        "edit similarity",
        "Next:",
    ):
        assert word in result.stdout
    before_next, _, _ = result.stdout.partition("Next:")  # commands are never broken, and the test's path is long
    table = [line for line in before_next.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= 80
    again = run("build", str(recipe_file), "--out", str(tmp_path / "run"))
    assert "0 of 8 stages ran" in again.stdout
    as_json = json.loads(run("build", str(recipe_file), "--out", str(tmp_path / "run"), "--json").stdout)
    assert {stage["status"] for stage in as_json["stages"]} == {"skipped"}


def test_dry_run_prints_a_recipe_that_loads(recipe_file: Path, tmp_path: Path) -> None:
    result = run("build", str(recipe_file), "--dry-run", "--out", str(tmp_path / "run"), "--set", "train.steps=3")
    assert "steps = 3" in result.stdout
    assert "collect    would run: not made yet" in result.stdout
    (tmp_path / "again.toml").write_text(result.stdout)
    assert run("build", str(tmp_path / "again.toml"), "--dry-run").returncode == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["build", "tinny"], 2, "recipe 'tinny' is neither built in nor a file; did you mean 'tiny'?"),
        (["build", "tiny", "--set", "train.stepz=1"], 2, "unknown recipe key 'train.stepz'; did you mean 'steps'?"),
        (["build", "tiny", "--memory", "lots"], 2, "size 'lots' is not a number with a unit; write it like 8GB"),
        (["build", "tiny", "--memory", "1MB", "--out", "RUN"], 1, "does not hold the work of one process; give at least"),
        (["build", "tiny", "--to", "trian", "--out", "RUN"], 2, "no stage is called 'trian'; did you mean 'train'?"),
        (
            ["build", "tiny", "--set", "sources=[{kind='directory',path='nowhere'}]", "--out", "RUN"],
            1,
            "nowhere does not exist",
        ),
        (["explain", "nowhere", "numpy"], 2, "nowhere is not a run folder"),
        (["cite", "nowhere", "README.md"], 1, "nowhere does not exist; run `stackwright build` to make it"),
        (["cite", "nowhere", "no-such-file"], 2, "no-such-file cannot be read (No such file or directory); give a file"),
        (["report", "nowhere"], 2, "nowhere is not a run folder"),
        (["generate", "nowhere", "x"], 2, "model nowhere is not a folder; give a run"),
        (["generate", "nowhere", "x", "--temperature", "-1"], 2, "temperature -1.0 is not a number from 0 up"),
    ],
)
def test_mistakes_are_one_line_with_the_right_exit_code(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = run(*[str(tmp_path / "run") if argument == "RUN" else argument for argument in arguments])
    assert message in one_line_error(result)
    assert result.returncode == code


@pytest.mark.parametrize("arguments", [["nothing"], ["build"], ["build", "tiny", "--workers", "0"], ["explain", "x"]])
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_cite_names_the_origin_of_planted_lines(finished_run: Path, repositories: Path, tmp_path: Path) -> None:
    lines = (repositories / "repo02" / "src" / "module1.py").read_text().splitlines(keepends=True)
    text = "def mine(x):\n    return x\n\n" + "".join(lines[6:11])
    (tmp_path / "mine.py").write_text(text)
    shown = " ".join(run("cite", str(finished_run), str(tmp_path / "mine.py")).stdout.split())
    assert "line 4-8: verbatim in" in shown
    assert "directory/repo02@unversioned:src/module1.py:7-11, licence BSD-3-Clause" in shown
    value = json.loads(run("cite", str(finished_run / "index"), "-", "--json", stdin=text).stdout)
    [match] = [entry for entry in value["matches"] if "repo02" in entry["origins"][0]["repo"]]
    assert "".join(lines[6:11]).strip() in text[match["start"] : match["end"]]
    assert set(match) >= {"start", "end", "kind", "origins", "num_origins"}
    assert set(match["origins"][0]) >= {"repo", "revision", "path", "start_line", "end_line", "content_id", "license"}


@pytest.mark.parametrize(("text", "why"), [("x", "it has 1 characters"), ("z9 " * 40, "no span of 50 characters or more")])
def test_cite_says_why_nothing_was_found(text: str, why: str, finished_run: Path) -> None:
    result = run("cite", str(finished_run), stdin=text)
    assert result.returncode == 0
    assert why in " ".join(result.stdout.split())


def test_cite_shows_as_many_matches_as_asked_for(finished_run: Path, repositories: Path) -> None:
    files = [repositories / f"repo0{number}" / "src" / "module2.py" for number in (0, 1)]
    text = " ???? ".join("".join(file.read_text().splitlines(keepends=True)[6:11]) for file in files)
    assert run("cite", str(finished_run), stdin=text).stdout.count("licence") >= 2
    short = run("cite", str(finished_run), "--limit", "1", stdin=text).stdout
    assert short.count("licence") == 1
    assert "more matches; show them with --limit" in " ".join(short.split())


def test_report_of_one_run_lies_in_the_run(run_copy: Path) -> None:
    assert run("report", str(run_copy)).returncode == 0
    assert (run_copy / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_report_writes_one_page(finished_run: Path, tmp_path: Path) -> None:
    result = run("report", str(finished_run), str(finished_run), "--out", str(tmp_path / "page.html"))
    assert result.stdout.startswith("wrote ")
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    refused = run("report", str(finished_run), "--out", str(tmp_path / "page.html" / "below"))
    assert "cannot be written" in one_line_error(refused)


def test_explain_prints_verdict_rule_and_evidence(finished_run: Path) -> None:
    text = run("explain", str(finished_run), "traps:long.js").stdout
    assert "dropped: line_too_long" in text
    assert "(limit 1,000), characters" in text
    copies = run("explain", str(finished_run), "traps:copy.py").stdout
    kept = "kept instead directory/repo00@unversioned:src/module0.py (equal bytes)"
    assert kept in " ".join(copies.split())
    near = run("explain", str(finished_run), "traps:edited.py").stdout
    assert "dropped: near_duplicate" in near
    assert "(near, Jaccard 0.93)" in " ".join(near.split())
    value = json.loads(run("explain", str(finished_run), "traps:long.js", "--json").stdout)
    assert value["documents"][0]["reason"] == "line_too_long"
    assert "did you mean" in one_line_error(run("explain", str(finished_run), "trap"))


def test_explain_proves_that_a_content_is_in_the_release_or_is_not(finished_run: Path, repositories: Path) -> None:
    root = json.loads((finished_run / "release" / "contents.json").read_text("utf-8"))["root"]
    content_id = git_blob_id((repositories / "repo00" / "src" / "module0.py").read_bytes())
    for target, asked, kind in (
        ("repo00:src/module0.py", content_id, "inclusion"),
        ("0" * 40, "0" * 40, "non_inclusion"),
    ):
        result = run("explain", str(finished_run), target, "--proof")
        assert result.returncode == 0, result.stderr
        proof = Proof.from_json(json.loads(result.stdout))
        assert proof.kind == kind
        verify(proof, asked, root)
    assert "a proof is about one content" in one_line_error(run("explain", str(finished_run), "repo00", "--proof"))


@pytest.mark.parametrize(("options", "status"), [(["--keep-tokenizer"], "skipped"), ([], "ran")])
def test_keep_tokenizer_uses_the_one_that_is_there_though_the_dataset_changed(
    run_copy: Path, recipe_file: Path, options: list[str], status: str
) -> None:
    before = load_artifact(run_copy / "tokenizer").digest
    arguments = ["--out", str(run_copy), "--set", "curate.near_dedup=off", "--to", "tokenizer", "--workers", "1", "--json"]
    result = run("build", str(recipe_file), *arguments, *options)
    assert result.returncode == 0, result.stderr
    statuses = {stage["stage"]: stage["status"] for stage in json.loads(result.stdout)["stages"]}
    assert statuses == {"collect": "skipped", "curate": "ran", "tokenizer": status}
    assert (load_artifact(run_copy / "tokenizer").digest == before) == (status == "skipped")


def test_generate_continues_infills_and_reads_standard_input(finished_run: Path) -> None:
    plain = run("generate", str(finished_run), "def alpha", "--max-new-tokens", "8")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.endswith("\n")
    assert run("generate", str(finished_run), "-", "--max-new-tokens", "8", stdin="def alpha").stdout == plain.stdout
    gap = json.loads(
        run("generate", str(finished_run), "def ", "--suffix", "(x):", "--max-new-tokens", "8", "--json").stdout
    )
    assert gap["num_prompt_tokens"] > 3
    assert gap["finish_reason"] in ("eot", "length")
    sampled = [
        run("generate", str(finished_run), "def", "--temperature", "2", "--seed", str(seed), "--max-new-tokens", "8").stdout
        for seed in (1, 1, 2)
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    assert "a prompt may have 0 tokens" in one_line_error(run("generate", str(finished_run), "x", "--max-new-tokens", "64"))


def test_a_missing_extra_prints_its_install_line(finished_run: Path) -> None:
    program = (
        "import sys\nsys.modules['torch'] = None\n"
        f"sys.argv = ['stackwright', 'generate', {str(finished_run)!r}, 'x']\n"
        "from stackwright.cli import main\nmain()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert one_line_error(result) == (
        "stackwright: this needs the Python module 'torch', which is not installed; run: pip install 'stackwright[train]'"
    )


def _restore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_says_so_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    make_repositories(tmp_path / "world", count=6)
    path = tmp_path / "small.toml"
    path.write_text(dump_recipe(small_recipe(tmp_path / "world", "train.steps=4000", "train.checkpoint_every=2")), "utf-8")
    run_folder = tmp_path / "run"
    command = [sys.executable, "-m", "stackwright", "build", str(path), "--out", str(run_folder), "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell's background jobs ignore Ctrl-C, and so would their children: the build gets the default back.
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=_restore_ctrl_c) as process:  # type: ignore[call-overload]
        deadline = time.monotonic() + 60
        while not list(run_folder.glob(".building/checkpoints-*/step-*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert stderr == "stackwright: stopped; finished parts are kept, and the same command goes on from them\n"
    assert process.returncode == 1
    assert not (run_folder / "checkpoints").exists()
    again = run("build", str(path), "--out", str(run_folder), "--to", "tokens")
    assert "0 of 4 stages ran" in again.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8_000_000_000), ("512 MiB", 512 * 1024**2), ("1.5kb", 1500), ("7", 7), ("7B", 7), ("2TiB", 2 * 1024**4)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected
    with pytest.raises(UsageError):
        parse_size(f"-{text}")
