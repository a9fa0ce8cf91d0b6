"""The whole line on small repositories: skipped by key, equal everywhere, and safe against damage, kills and twins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stackwright.artifact import MANIFEST, load_artifact
from stackwright.attribute.index import Index
from stackwright.build import build, plan_build
from stackwright.console import describe
from stackwright.errors import ArtifactError, DataError, RunLockedError, SourceError, TargetError
from stackwright.govern.ledger import explain
from stackwright.stages import STAGES, stage_named
from tests.corpus import make_repositories, small_recipe, write

FOLDERS = [stage.folder for stage in STAGES]


def statuses(outcomes: list[Any]) -> dict[str, str]:
    return {outcome.stage.name: outcome.status for outcome in outcomes}


def digests(run: Path, folders: list[str]) -> dict[str, str]:
    return {name: load_artifact(run / name).digest for name in folders}


def table_digests(run: Path) -> dict[str, str]:
    found = {}
    for folder in FOLDERS:
        for name, table in load_artifact(run / folder).manifest.content["tables"].items():
            found[f"{folder}/{name}"] = table["rows_sha256"]
    return found


def test_every_stage_leaves_a_complete_artifact(finished_run: Path) -> None:
    for stage in STAGES:
        manifest = load_artifact(finished_run / stage.folder, verify="full").manifest
        assert manifest.content["stage"] == stage.name
        assert set(manifest.content["inputs"]) == set(stage.inputs)
    assert not list((finished_run / ".building").iterdir())


def test_a_second_build_runs_nothing(finished_run: Path, repositories: Path) -> None:
    before = digests(finished_run, FOLDERS)
    assert set(statuses(build(small_recipe(repositories), finished_run)).values()) == {"skipped"}
    assert digests(finished_run, FOLDERS) == before


def test_rows_and_tokens_are_equal_for_two_workers_and_another_folder(
    finished_run: Path, repositories: Path, tmp_path: Path
) -> None:
    build(small_recipe(repositories), tmp_path / "other", workers=2)
    assert table_digests(tmp_path / "other") == table_digests(finished_run)
    # Weights too: threads are set by the recipe, not by the workers.
    assert digests(tmp_path / "other", FOLDERS) == digests(finished_run, FOLDERS)


def test_a_changed_key_reruns_what_depends_on_it_and_nothing_else(run_copy: Path, repositories: Path) -> None:
    recipe = small_recipe(repositories, "train.peak_lr=0.002")
    planned = statuses(plan_build(recipe, run_copy))
    ran = statuses(build(recipe, run_copy))
    again = {"train", "evaluate", "release"}
    assert {name for name, status in ran.items() if status == "ran"} == again
    assert {name for name, status in planned.items() if status == "would run"} == again


def test_a_change_upstream_that_leaves_the_rows_equal_stops_there(repositories: Path, tmp_path: Path) -> None:
    """Touching a file reads the sources again; since nothing in them changed, nothing else runs."""
    copy = Path(shutil.copytree(repositories, tmp_path / "copied", symlinks=True))
    recipe = small_recipe(copy)
    build(recipe, tmp_path / "run", workers=1, to_stage="tokens")
    os.utime(copy / "repo00" / "README.md", ns=(1, 1))
    ran = statuses(build(recipe, tmp_path / "run", workers=1, to_stage="tokens"))
    assert ran == {"collect": "ran", "curate": "skipped", "tokenizer": "skipped", "tokens": "skipped"}


def test_from_and_to_choose_stages(run_copy: Path, repositories: Path) -> None:
    recipe = small_recipe(repositories)
    ran = statuses(build(recipe, run_copy, from_stage="tokens", to_stage="tokens"))
    assert ran == {"collect": "skipped", "curate": "skipped", "tokenizer": "skipped", "tokens": "ran"}
    with pytest.raises(TargetError, match=r"no stage is called 'tokenz'; did you mean 'tokens'"):
        stage_named("tokenz")


def test_dry_run_of_a_new_folder_says_that_all_would_run_and_makes_nothing(repositories: Path, tmp_path: Path) -> None:
    planned = plan_build(small_recipe(repositories), tmp_path / "new")
    assert {outcome.status for outcome in planned} == {"would run"}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["dataset/report.json", "tokens/part-00000.tokens", "checkpoints/step-000012/model.safetensors"]
)
def test_a_truncated_file_is_refused_by_name(run_copy: Path, repositories: Path, name: str) -> None:
    os.truncate(run_copy / name, 10)
    with pytest.raises(ArtifactError, match=rf"{name} has 10 bytes where .*; remove .* and run `stackwright build` again"):
        build(small_recipe(repositories), run_copy)


def test_an_input_changed_behind_our_back_is_refused_before_it_is_read(run_copy: Path, repositories: Path) -> None:
    path = run_copy / "tokens" / "part-00000.tokens"
    status, data = path.stat(), bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ArtifactError, match=r"part-00000.tokens was changed"):
        build(small_recipe(repositories, "train.peak_lr=0.002"), run_copy)


def test_a_removed_artifact_is_made_again_and_equals_the_old_one(run_copy: Path, repositories: Path) -> None:
    before = digests(run_copy, FOLDERS)
    shutil.rmtree(run_copy / "tokens")
    ran = statuses(build(small_recipe(repositories), run_copy))
    assert [name for name, status in ran.items() if status == "ran"] == ["tokens"]
    assert digests(run_copy, FOLDERS) == before


def test_a_half_written_folder_is_refused(run_copy: Path, repositories: Path) -> None:
    (run_copy / "dataset" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="dataset is half-written"):
        build(small_recipe(repositories), run_copy)


def test_a_run_of_another_version_is_refused(run_copy: Path, repositories: Path) -> None:
    (run_copy / "run.json").write_text(json.dumps({"format": 7}))
    with pytest.raises(ArtifactError, match=r"is a run of format 7, this version reads format 1; use the version"):
        build(small_recipe(repositories), run_copy)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, repositories: Path) -> None:
    write(tmp_path / "mine" / "thesis.txt", "years of work")
    with pytest.raises(ArtifactError, match=r"is not a run folder: it holds thesis.txt .*--out"):
        build(small_recipe(repositories), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_missing_and_empty_sources_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source folder .*nothing does not exist; mend sources.path"):
        build(small_recipe(tmp_path / "nothing"), tmp_path / "run1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"holds no sub-folder"):
        build(small_recipe(tmp_path / "empty"), tmp_path / "run2")
    (tmp_path / "hollow" / "repo").mkdir(parents=True)
    with pytest.raises(DataError, match=r"hold 1 repositories and not one file"):
        build(small_recipe(tmp_path / "hollow"), tmp_path / "run3")
    write(tmp_path / "blobs" / "repo" / "a.py", b"\0")
    with pytest.raises(DataError, match=r"none of 1 files was admitted \(binary_file 1\)"):
        build(small_recipe(tmp_path / "blobs"), tmp_path / "run4")


def test_every_file_dropped_says_why(tmp_path: Path) -> None:
    write(tmp_path / "world" / "repo" / "a.py", "x = 1\n")
    with pytest.raises(
        DataError, match=r"every one of the 1 files was dropped \(license_missing 1\); widen curate.licenses"
    ):
        build(small_recipe(tmp_path / "world"), tmp_path / "run")


def test_one_repository_is_enough_for_a_whole_run(tmp_path: Path) -> None:
    make_repositories(tmp_path / "many", count=1)
    shutil.rmtree(tmp_path / "many" / "traps")
    recipe = small_recipe(tmp_path / "many", "curate.split.validation_fraction=0", "curate.split.test_fraction=0")
    outcomes = build(recipe, tmp_path / "run")
    counts = {outcome.stage.name: outcome.manifest.counts for outcome in outcomes}  # type: ignore[union-attr]
    assert counts["evaluate"]["headline"].startswith("no held-out documents")
    assert counts["train"]["validation_bits_per_byte"] is None
    assert any("nothing held out" in describe(outcome) for outcome in outcomes)
    assert "no held-out documents" in (tmp_path / "run" / "release" / "README.md").read_text()


def test_one_small_file_says_that_it_is_too_little(tmp_path: Path) -> None:
    write(tmp_path / "world" / "repo" / "a.py", "x = 1\n")
    write(tmp_path / "world" / "repo" / "package.json", '{"license": "MIT"}')
    recipe = small_recipe(tmp_path / "world", "curate.split.validation_fraction=0", "curate.split.test_fraction=0")
    with pytest.raises(DataError, match=r"the train split holds \d+ tokens, one sample needs 65; add sources"):
        build(recipe, tmp_path / "run")


@pytest.mark.parametrize(
    ("rule", "reason"), [("off", None), ("verified-0.7", "near_duplicate"), ("stack-v2", "near_duplicate")]
)
def test_the_recipe_chooses_the_rule_for_near_copies(
    rule: str, reason: str | None, repositories: Path, tmp_path: Path
) -> None:
    build(small_recipe(repositories, f"curate.near_dedup={rule}"), tmp_path / "run", workers=1, to_stage="curate")
    [row] = explain(tmp_path / "run", "traps:edited.py").documents
    assert row["reason"] == reason
    report = json.loads((tmp_path / "run" / "dataset" / "report.json").read_text("utf-8"))
    assert report.get("near_dedup", {}).get("preset", "off") == rule


def odd_corpus(root: Path, kind: str) -> str:
    """Write one repository of identical files, of blank ones beside one with text, or of one enormous file."""
    write(root / "repo" / "package.json", '{"license": "MIT"}')
    text = "".join(f"def function_{number}(value):\n    return value + {number}\n\n" for number in range(40))
    match kind:
        case "identical":
            for number in range(50):
                write(root / "repo" / f"copy{number:02d}.py", text)
        case "empty":
            for number in range(50):
                write(root / "repo" / f"empty{number:02d}.py", "")
            write(root / "repo" / "text.py", text)
        case _:
            write(
                root / "repo" / "enormous.py", "".join(f"value_{number} = {number * number}\n" for number in range(60_000))
            )
            return f"value_{43210} = {43210 * 43210}\nvalue_{43211} = {43211 * 43211}\n"
    return text[100:300]


@pytest.mark.parametrize(("kind", "kept"), [("identical", 2), ("empty", 2), ("enormous", 2)])
def test_odd_corpora_are_curated_and_cited(kind: str, kept: int, tmp_path: Path) -> None:
    """`kept` counts package.json."""
    planted = odd_corpus(tmp_path / "world", kind)
    recipe = small_recipe(
        tmp_path / "world",
        "collect.max_file_bytes=20000000",
        "curate.split.validation_fraction=0",
        "curate.split.test_fraction=0",
    )
    outcomes = build(recipe, tmp_path / "run", workers=1, to_stage="index")
    counts = {outcome.stage.name: outcome.manifest.counts for outcome in outcomes}  # type: ignore[union-attr]
    assert counts["curate"]["kept"]["files"] == kept
    (match,) = Index.open(tmp_path / "run" / "index").cite(f"# mine\n{planted}# mine\n").matches
    assert match.origins[0].path in ("copy00.py", "text.py", "enormous.py")


PROGRAM = """
import sys
from pathlib import Path
from tests.corpus import small_recipe
from stackwright.build import build
build(small_recipe(Path(sys.argv[1]), *sys.argv[3:]), Path(sys.argv[2]), workers=1)
"""


def start_build(repositories: Path, run: Path, *overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, str(repositories), str(run), *overrides]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent)


def wait_for(condition: Any, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the build ended before it was to be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_builds_in_one_folder_are_kept_apart(repositories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_build(repositories, run)
    try:
        wait_for(lambda: (run / "run.json").exists(), process)
        with pytest.raises(RunLockedError, match=rf"is in use by process {process.pid} on .*; wait until it is done"):
            build(small_recipe(repositories), run)
    finally:
        process.kill()
        process.wait()
    build(small_recipe(repositories), run, to_stage="collect")  # a killed holder leaves no lock


def test_a_build_killed_in_training_ends_in_the_same_weights(finished_run: Path, repositories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_build(repositories, run)
    checkpoints = lambda: list(run.glob(".building/checkpoints-*/step-000004/resume.json"))  # noqa: E731
    wait_for(checkpoints, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "checkpoints").exists()
    outcomes = build(small_recipe(repositories), run)
    assert statuses(outcomes)["tokens"] == "skipped"
    assert digests(run, FOLDERS) == digests(finished_run, FOLDERS)


def test_a_stage_killed_before_it_was_moved_into_place_is_taken_up(run_copy: Path, repositories: Path) -> None:
    before = load_artifact(run_copy / "release").digest
    key = load_artifact(run_copy / "release").manifest.key
    (run_copy / ".building").mkdir(exist_ok=True)
    os.rename(run_copy / "release", run_copy / ".building" / f"release-{key[:12]}")
    outcomes = build(small_recipe(repositories), run_copy)
    assert statuses(outcomes)["release"] == "skipped"
    assert load_artifact(run_copy / "release").digest == before


def test_rows_of_the_small_world_are_the_golden_ones(finished_run: Path) -> None:
    """A refactoring leaves them alone; a change of what is kept, or why, changes them in the same commit."""
    golden = json.loads((Path(__file__).parent / "golden" / "curated_rows.json").read_text("utf-8"))
    assert {name: digest for name, digest in table_digests(finished_run).items() if name in golden} == golden
