"""A measure joins labels, texts and detector, and its figures are shown as tables and as JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stackwright.errors import DataError, SourceError
from stackwright.measure import run as run_module
from stackwright.measure.records import Archive, LicenseRecord, Member, PairRecord
from stackwright.measure.run import Report, run_measure
from stackwright.measure.show import Bars, show_report
from tests.corpus import write
from tests.measure.packages import sha256, tar_of
from tests.measure.test_near_dup import source

ARCHIVE = Archive("pypi", "made", "1.0", "made-1.0.tar.gz")
GONE = Archive("pypi", "gone", "3.1", "gone-3.1.tar.gz")
FILES = {
    "isc.txt": b"SPDX-License-Identifier: ISC\n",
    "header.py": b"# SPDX-License-Identifier: GPL-3.0-or-later\nx = 1\n",
    "one.py": source("w").encode(),
    "two.py": source("w", changed=10).encode(),
    "far.py": source("w", changed=120).encode(),
}


def member(path: str) -> Member:
    return Member(ARCHIVE, path, sha256(FILES[path]))


LICENSES = (
    LicenseRecord(member("isc.txt"), "license_file", "ISC", "permissive", "tune", ""),
    LicenseRecord(member("isc.txt"), "license_file", "[odd]", "copyleft", "test", "labelled wrongly on purpose"),
    LicenseRecord(member("header.py"), "header", "GPL-3.0-or-later", "copyleft", "test", ""),
    LicenseRecord(Member(GONE, "LICENSE", "0" * 64), "license_file", "MIT", "permissive", "test", ""),
)
PAIRS = (
    PairRecord(member("one.py"), member("two.py"), "near", "version", 0.05, "tune", ""),
    PairRecord(member("one.py"), member("far.py"), "near", "version", 0.6, "test", ""),
)


def fetch(archive: Archive, folder: Path) -> Path:
    if archive == GONE:
        raise SourceError("it is gone", "look elsewhere")
    (folder / archive.file).write_bytes(tar_of(FILES))
    return folder / archive.file


def use_small_sets(patch: pytest.MonkeyPatch) -> None:
    def some(records: Iterable[Any], part: str) -> tuple[Any, ...]:
        return tuple(record for record in records if part in ("all", record.part))

    patch.setattr(run_module, "load_license_records", lambda part: some(LICENSES, part))
    patch.setattr(run_module, "load_pair_records", lambda part: some(PAIRS, part))


@pytest.fixture(autouse=True)
def _small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_sets(monkeypatch)


def shown(report: Report, *, show: bool = False) -> str:
    out = io.StringIO()
    show_report(report, show=show, console=Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_licences_are_measured_and_what_is_missing_is_told(tmp_path: Path) -> None:
    report = run_measure("licenses", data=tmp_path, fetch=fetch)
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (value["detector"], value["part"]) == ("licenses", "all")
    assert (value["num_measured"], value["num_records"]) == (3, 4)
    assert value["missing"] == [{"member": "gone 3.1: LICENSE", "archive": "gone-3.1.tar.gz", "why": "it is gone"}]
    assert value["scores"]["header"]["right"]["count"] == 1
    assert [wrong["label"] for wrong in value["wrong"]] == ["[odd]"]
    assert value["texts_per_second"] > 0


def test_near_duplicates_are_measured_with_the_rule_of_the_default_recipe(tmp_path: Path) -> None:
    value = run_measure("near-dup", data=tmp_path, fetch=fetch).to_json()
    assert value["preset"] == "verified-0.7"
    assert (value["recall"]["count"], value["recall"]["total"]) == (1, 2)
    assert [wrong["second"] for wrong in value["wrong"]] == ["made 1.0: far.py"]


def test_part_decides_which_records_are_measured(tmp_path: Path) -> None:
    assert run_measure("licenses", part="tune", data=tmp_path, fetch=fetch).to_json()["num_records"] == 1
    assert run_measure("licenses", part="test", data=tmp_path, fetch=fetch).to_json()["num_records"] == 3
    assert run_measure("near-dup", part="test", data=tmp_path, fetch=fetch).to_json()["recall"]["total"] == 1


def test_texts_are_kept_in_the_users_cache_when_no_folder_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run_measure("licenses", part="tune", fetch=fetch)
    assert (tmp_path / "stackwright" / "measure" / "members" / sha256(FILES["isc.txt"])).is_file()


def test_nothing_to_measure_is_an_error_with_the_reason(tmp_path: Path) -> None:
    def closed(archive: Archive, folder: Path) -> Path:
        raise SourceError(f"no way to {archive.package} from {folder.name[:1]}", "wait")

    with pytest.raises(DataError, match=r"none of the 4 labelled texts could be had \(no way to gone from \.\); make the"):
        run_measure("licenses", data=tmp_path, fetch=closed)


def test_two_measures_of_the_same_texts_are_equal_but_for_the_speed(tmp_path: Path) -> None:
    reports = [run_measure("licenses", data=tmp_path, fetch=fetch) for _ in range(2)]
    assert replace(reports[0], texts_per_second=1.0) == replace(reports[1], texts_per_second=1.0)


def test_tables_of_licences_fit_80_columns_and_name_what_must_not_happen(tmp_path: Path) -> None:
    text = shown(run_measure("licenses", data=tmp_path, fetch=fetch))
    assert "Licences: 3 of 4 labelled texts" in text
    assert "called permissive, and is   licence files   1 of 2   0.500   0.095 to 0.905" in text
    assert "weak_copyleft" in text
    assert "Called permissive, and are not: 1" in text
    assert "label [odd] (copyleft), found ISC (permissive)" in text  # brackets are no markup
    assert "Texts that could not be had: 1" in text
    assert "gone 3.1 (gone-3.1.tar.gz): it is gone" in text
    assert "Judged wrongly: 1; see them with --show or --json" in text
    assert "…" not in text
    table = [line for line in text.splitlines() if "─" in line or " of " in line]
    assert max(map(len, table)) <= 80


def test_tables_of_near_duplicates_show_kinds_and_changed_lines(tmp_path: Path) -> None:
    text = shown(run_measure("near-dup", part="test", data=tmp_path, fetch=fetch))
    assert "Near duplicates (preset verified-0.7, Jaccard 0.7 and above): 1 of 1 labelled pairs, part test" in text
    assert "near, and found    the steps       0 of 1   0.000   0.000 to 0.793" in text
    assert "40% to 60%" in text
    assert "made 1.0: far.py" not in text
    assert "…" not in text


def test_show_lists_every_wrong_record(tmp_path: Path) -> None:
    text = shown(run_measure("near-dup", data=tmp_path, fetch=fetch), show=True)
    assert "Pairs judged wrongly: 1" in text
    assert (
        "made 1.0: one.py\n  made 1.0: far.py\n    label near (version, 60% of lines differ), not found, Jaccard 0.2" in text
    )
    licenses = shown(run_measure("licenses", data=tmp_path, fetch=fetch), show=True)
    assert "Wrong in expression or class: 1" in licenses
    assert "see them with --show" not in licenses


# The command with the small sets, and no way to any archive: what is measured comes from the folder that is given.
PROGRAM = """
import pytest
from stackwright.cli import main
from stackwright.errors import SourceError
from stackwright.measure.run import run_measure
from tests.measure.test_run import use_small_sets

def closed(archive, folder):
    raise SourceError("nothing is fetched here", "look into the cache")

use_small_sets(pytest.MonkeyPatch())
run_measure.__kwdefaults__["fetch"] = closed
main()
"""


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs `stackwright measure` on texts that were put into a cache of the test's own."""
    for data in FILES.values():
        write(tmp_path / "cache" / "members" / sha256(data), data)
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "XDG_CACHE_HOME": str(tmp_path / "empty")}

    def measure(*arguments: str, data: str = "cache") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, "measure", *arguments, "--data", str(tmp_path / data)]
        root = Path(__file__).parent.parent.parent
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)

    return measure


def test_the_command_measures_the_texts_of_a_folder_and_prints_tables_or_json(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    tables = command("near-dup", "--part", "test")
    assert tables.returncode == 0, tables.stderr
    assert "1 of 1 labelled pairs, part test" in tables.stdout
    assert "made 1.0: far.py" not in tables.stdout
    assert "made 1.0: far.py" in command("near-dup", "--show").stdout
    value = json.loads(command("licenses", "--json").stdout)
    assert (value["detector"], value["part"]) == ("licenses", "all")
    assert (value["num_measured"], value["num_records"]) == (3, 4)
    assert [missing["why"] for missing in value["missing"]] == ["nothing is fetched here"]


def test_the_command_says_in_one_line_that_a_folder_has_no_texts(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = command("near-dup", data="nowhere")
    assert result.returncode == 1
    assert "none of the 4 labelled texts could be had (nothing is fetched here)" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackwright.console.PLAIN_INTERVAL_SECONDS", 0.0)
    with Bars() as bars:
        task = bars.task("fetching", 4, "packages")
        task.note("made 1.0")
        task.advance(1)
    out, shown_text = capsys.readouterr()
    assert out == ""
    assert "fetching:  25%" in shown_text
    assert "left made 1.0" in shown_text
