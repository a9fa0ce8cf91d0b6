"""The operator's key: made once, private, and refused when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackwright.curate.redaction_key import load_redaction_key, redaction_key_name
from stackwright.errors import SourceError
from stackwright.recipe import load_recipe


def test_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "key"
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(path))
    key = load_redaction_key()
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_redaction_key() == key
    assert list(path.parent.iterdir()) == [path]


def test_default_place_is_the_users_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACKWRIGHT_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    load_redaction_key()
    assert (tmp_path / "stackwright" / "redaction.key").is_file()


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x" * 32)
    path.chmod(0o644)
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(path))
    with pytest.raises(SourceError, match=r"may be read by others; run: chmod 600"):
        load_redaction_key()


def test_a_short_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x")
    path.chmod(0o600)
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(path))
    with pytest.raises(SourceError, match=r"has 1 bytes, 32 are needed; remove it"):
        load_redaction_key()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(tmp_path / "file" / "key"))
    with pytest.raises(SourceError, match=r"cannot be used .*; set STACKWRIGHT_KEY_FILE"):
        load_redaction_key()


def test_name_of_the_key_is_part_of_the_stage_key_but_does_not_reveal_it() -> None:
    recipe = load_recipe("tiny")
    assert len(redaction_key_name(recipe)) == 12
    assert redaction_key_name(recipe) not in load_redaction_key().hex()
    assert redaction_key_name(load_recipe("tiny", ["curate.redact=[]"])) == ""
