"""Pages are whole, escaped, honest about what is missing, and show several runs side by side."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stackwright.artifact import load_artifact
from stackwright.errors import ArtifactError, TargetError
from stackwright.pages.dataset import dataset_page
from stackwright.pages.evaluation import evaluation_page, standing
from stackwright.pages.report import run_report
from stackwright.pages.runs import FOLDERS, run_names
from tests.pages.artifacts import (
    ATTACK,
    EDGES,
    KEY,
    REPORT,
    SECRET,
    Page,
    edge,
    make_data,
    make_evaluation,
    make_run,
    make_whole_run,
    redactor,
    results,
)


def check_page(html: str) -> Page:
    """Parse a page and check what holds of every one: whole, alone, escaped, ids unique, links that lead somewhere."""
    parsed = Page(html)
    assert "script" not in parsed.tags
    assert ATTACK not in html
    assert "\x1b" not in html
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.references)
    assert re.search(r"https?://|@import|url\(", html) is None
    assert "nan" not in re.findall(r'="(nan|inf)', html)
    return parsed


@pytest.fixture
def whole_run(tmp_path: Path) -> Path:
    return make_whole_run(tmp_path / "small")


def test_report_of_one_run_has_every_part(whole_run: Path) -> None:
    parsed = check_page(run_report([whole_run], redactor))
    for part in ("Funnel", "What was dropped", "Languages", "Licences", "Copies", "Training", "Held-out bits", "Provenance"):
        assert part in parsed.text
    assert "Of 5 files (5.4 kB) that were seen, 1 (100 B) are in the dataset" in parsed.text
    assert "trained for 20 steps on 1,280 tokens" in parsed.text
    assert "1 min 1 s" in parsed.text
    assert load_artifact(whole_run / "dataset").digest[:16] in parsed.text
    assert len(parsed.svgs) >= 9


def test_funnel_steps_add_up_to_what_is_kept(whole_run: Path) -> None:
    text = check_page(run_report([whole_run])).text
    assert "admitted as text of a known language 4 (−1)" in text
    assert "passed the content filters 2 (−2)" in text
    assert "kept, after copies were dropped 1 (−1)" in text


def test_texts_are_redacted_and_control_characters_visible(whole_run: Path) -> None:
    html = run_report([whole_run], redactor)
    text = Page(html).text
    assert "<EMAIL>" in text
    assert SECRET not in html
    assert KEY.splitlines()[1] not in html
    assert "␛" in text
    assert "here" in text


def test_no_text_is_shown_without_a_redactor(whole_run: Path) -> None:
    html = run_report([whole_run])
    parsed = check_page(html)
    assert "Texts are not shown" in parsed.text
    assert "pre" not in parsed.tags
    assert SECRET not in html
    assert "xxxx" not in html


def test_near_copies_are_shown_with_their_first_difference(whole_run: Path) -> None:
    parsed = check_page(run_report([whole_run], redactor))
    assert "dropped b@1:near.py kept a@1:keep.py similarity 0.820" in parsed.text
    assert "- three" in parsed.text
    assert "+ <EMAIL>" in parsed.text
    assert "1 file went because another file says the same: 0 equal byte for byte, 1 nearly equal." in parsed.text
    assert "0.80 to 0.85 1 file" in parsed.text
    assert "0.70 to 0.75" not in parsed.text  # that edge is not decisive


def test_report_is_the_same_every_time(whole_run: Path) -> None:
    assert run_report([whole_run], redactor) == run_report([whole_run], redactor)


def test_a_stage_that_was_not_built_is_said_to_be_missing(whole_run: Path, tmp_path: Path) -> None:
    text = check_page(run_report([whole_run])).text
    assert (
        "small has no tokenizer (the vocabulary), tokens (the text as tokens), index (where a text comes from) and release"
        in text
    )
    empty = check_page(run_report([make_run(tmp_path / "empty")])).text
    assert all(name in empty for name in FOLDERS)
    assert "There is no dataset yet." in empty


def test_damaged_artefacts_are_refused(whole_run: Path) -> None:
    (whole_run / "dataset" / "report.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"report\.json"):
        run_report([whole_run])


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="is not a run folder"):
        run_report([tmp_path])
    with pytest.raises(TargetError, match="no run folder"):
        run_report([])


def test_scores_of_an_older_version_are_not_misread(tmp_path: Path) -> None:
    run = make_run(tmp_path / "old")
    make_evaluation(run, {"headline": "x", "models": {"this model": {"bits_per_byte": 2.0}}}, version=1)
    text = check_page(run_report([run])).text
    assert "scored by an older version" in text
    assert "build again" in text


def test_several_runs_are_compared(whole_run: Path, tmp_path: Path) -> None:
    other = make_whole_run(tmp_path / "other", 'name = "small"\n[train]\nsteps = 20\npeak_lr = 0.001\n', own=2.2)
    html = run_report([whole_run, other], redactor)
    parsed = check_page(html)
    assert "Report of small and other" in parsed.text
    assert "Held-out bits per byte 2.000 [1.950, 2.050] 2.200 [2.150, 2.250]" in parsed.text
    assert "train.peak_lr 0.003 0.001" in parsed.text
    assert "train.steps" not in parsed.text
    assert "2 other keys of the recipe are equal" in parsed.text
    assert parsed.text.count("Files left after each step") == 2  # title of figure and drawing: the dataset is shared
    loss = html[html.index('id="loss-title"') :]
    assert loss[: loss.index("</svg>")].count("<path") == 4  # raw and smoothed of two runs
    assert "They were scored on the same files" in parsed.text


def test_runs_scored_on_other_files_are_not_said_to_be_comparable(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    make_evaluation(first, results(), dataset="one")
    make_evaluation(second, results(), dataset="two")
    assert "They were not scored on the same files" in check_page(run_report([first, second])).text


def test_different_datasets_are_shown_one_after_the_other(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    make_data(first)
    make_data(second, [edge("near.py", "keep.py", "exact", 1.0)])
    text = check_page(run_report([first, second])).text
    assert "Copies: a" in text
    assert "Copies: b" in text
    assert "1 equal byte for byte, 0 nearly equal" in text


def test_runs_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    assert run_names([tmp_path / "x" / "tiny", tmp_path / "y" / "tiny"]) == ["x/tiny", "y/tiny"]
    assert run_names([tmp_path / "tiny", tmp_path / "tiny"]) == ["tiny", "tiny (2)"]


def data_page(run: Path, report: Mapping[str, Any] = REPORT) -> Page:
    make_data(run, report=report)
    corpus, dataset = load_artifact(run / "corpus"), load_artifact(run / "dataset")
    return check_page(dataset_page("small", corpus, report, dataset.table("ledger"), dataset.table("clusters"), redactor))


def test_dataset_page_holds_the_data_of_one_run(tmp_path: Path) -> None:
    text = data_page(tmp_path).text
    assert "Dataset of small" in text
    assert "verified-0.7 from a similarity of 0.7 on" in text
    assert "pairs that looked alike and were compared in full 2" in text
    assert "measured 616 (the limit is 100)" in text


def test_a_report_without_near_deduplication_leaves_that_part_out(tmp_path: Path) -> None:
    report = {name: value for name, value in REPORT.items() if name != "near_dedup"}
    text = data_page(tmp_path, report).text
    assert "Near duplicates were looked for" not in text
    assert "1 nearly equal" in text


def test_evaluation_page_shows_each_task_with_intervals() -> None:
    parsed = check_page(evaluation_page("small", results()))
    assert "Scores of small" in parsed.text
    assert "The model wins with 2.000 [1.950, 2.050]; the best baseline, bigram of tokens, reaches 2.400" in parsed.text
    assert "A baseline wins: previous line reaches 0.200 [0.150, 0.250], the model 0.100 [0.050, 0.150]." in parsed.text
    assert "all 4.0 kB 2.000 [1.950, 2.050]" in parsed.text  # our model stands first
    assert "10 640 2.500 – –" in parsed.text


def test_evaluation_page_without_tasks_says_why() -> None:
    empty = {**results(), "headline": "no held-out documents", "tasks": {}, "checkpoints": []}
    parsed = check_page(evaluation_page("small", empty))
    assert "no held-out documents" in parsed.text
    assert "Every model below" not in parsed.text
    assert parsed.svgs == []


@pytest.mark.parametrize(
    ("own", "bigram", "expected"),
    [
        (2.0, 2.4, "The model wins"),
        (2.5, 2.4, "A baseline wins"),
        (2.4, 2.4, "are level"),
        (2.35, 2.4, "intervals overlap"),
        (3.0, 2.4, "2 baselines are ahead"),
    ],
)
def test_standing_names_the_winner(own: float, bigram: float, expected: str) -> None:
    task = results(own, bigram)["tasks"]["held_out_bits_per_byte"]
    assert expected in standing(task)
    assert ("overlap" in standing(task)) == (own == 2.35)


def test_standing_without_baselines_or_own_score() -> None:
    task = results()["tasks"]["held_out_bits_per_byte"]
    alone = {**task, "models": {"this model": task["models"]["this model"]}}
    assert "no baseline" in standing(alone)
    assert standing({**task, "models": {}}) == "The model has no score here."


def test_pages_need_nothing_beyond_the_base_install() -> None:
    code = "import sys, stackwright.pages.report\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "matplotlib", "safetensors", "tokenizers", "transformers", "jinja2"}


def test_old_duplicates_are_said_to_be_old(tmp_path: Path) -> None:
    import pyarrow as pa

    from stackwright.document import CLUSTERS, LEDGER
    from tests.pages.artifacts import LEDGER_ROWS, commit

    run = make_run(tmp_path / "old")
    make_data(run)
    old = pa.schema([field for field in CLUSTERS if field.name != "decisive"])
    rows = [{name: value for name, value in row.items() if name != "decisive"} for row in EDGES]

    def fill(staging: Any) -> None:
        staging.write_json("report.json", REPORT)
        staging.write_table_part("ledger", 0, LEDGER_ROWS)
        staging.write_table_part("clusters", 0, rows)

    commit(run, "dataset", "curate", fill, schemas={"ledger": LEDGER, "clusters": old}, version=1)
    assert "was written by an older version" in check_page(run_report([run], redactor)).text


def test_report_of_a_run_of_the_real_stages(finished_run: Path) -> None:
    parsed = check_page(run_report([finished_run], redactor))
    assert "Funnel" in parsed.text
    seen = json.loads((finished_run / "dataset" / "report.json").read_text())["seen"]["files"]
    assert f"Of {seen} files" in parsed.text
    assert "Not built yet" not in parsed.text
