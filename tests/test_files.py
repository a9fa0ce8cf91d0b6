"""Folders that are removed are gone all at once, whenever the process is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stackwright.files import remove_folder, removed_name


def filled(folder: Path) -> Path:
    (folder / "step").mkdir(parents=True)
    (folder / "step" / "result.json").write_text("{}")
    return folder


def test_a_kill_half_way_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path / "work")

    def kill(target: Path, **_: object) -> None:
        if Path(target).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(folder)
    assert not folder.exists()
    assert removed_name(folder).exists()
    remove_folder(filled(folder))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_folder(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
