"""Labelled texts come out of the cache or their archive, are checked by digest, and what cannot be had is listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stackwright.errors import SourceError, TargetError
from stackwright.log import Task
from stackwright.measure import fetch as fetch_module
from stackwright.measure.fetch import cache_folder, fetch_members
from stackwright.measure.records import Archive, Member
from tests.measure.conftest import LocalIndex
from tests.measure.packages import FILES, MEMBERS, NOTICE, PACK, SDIST, WHEEL, archive_bytes, member_of

LICENSE = member_of(WHEEL, "small_tools-1.2.dist-info/LICENSE")
CODE = member_of(WHEEL, "small_tools/code.py")
OLD = member_of(SDIST, "old_tools-0.9/NOTICE")


class Shop:
    """Hands out the made archives without an index, and remembers what was asked."""

    def __init__(self, lacks: tuple[Archive, ...] = ()) -> None:
        self.lacks = lacks
        self.asked: list[str] = []
        self.folders: list[Path] = []

    def __call__(self, archive: Archive, folder: Path) -> Path:
        assert not list(folder.iterdir())
        self.asked.append(archive.file)
        self.folders.append(folder)
        if archive in self.lacks:
            raise SourceError("sold out", "come back")
        published = next(known for known in FILES if known.file == archive.file)
        (folder / archive.file).write_bytes(archive_bytes(published, folder / "marker"))
        return folder / archive.file


class Recorder:
    """Progress that keeps what is reported."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, float | None, str]] = []
        self.done = 0.0
        self.notes: list[str] = []

    def task(self, label: str, total: float | None, unit: str) -> Task:
        self.tasks.append((label, total, unit))
        return self

    def advance(self, amount: float) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_every_kind_of_archive_is_fetched_from_an_index_and_then_never_again(
    local_index: LocalIndex, tmp_path: Path, needs_program: Callable[[str], str]
) -> None:
    needs_program("npm")
    first = fetch_members(MEMBERS, tmp_path / "cache")
    assert first.missing == ()
    assert sorted(first.texts) == sorted(member.sha256 for member in MEMBERS)
    assert first.texts[LICENSE.sha256] == NOTICE.decode()
    assert local_index.asked
    local_index.asked.clear()
    assert fetch_members(MEMBERS, tmp_path / "cache") == first
    assert local_index.asked == []
    assert not local_index.marker.exists()


def test_cache_keeps_texts_and_nothing_else_of_a_package(tmp_path: Path) -> None:
    shop = Shop()
    fetch_members([LICENSE], tmp_path, fetch=shop)
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [f"members/{LICENSE.sha256}"]
    assert not any(folder.exists() for folder in shop.folders)


def test_an_archive_is_fetched_once_for_all_its_files(tmp_path: Path) -> None:
    shop, progress = Shop(), Recorder()
    fetched = fetch_members([CODE, OLD, LICENSE, CODE], tmp_path, fetch=shop, progress=progress)
    assert shop.asked == [WHEEL.file, SDIST.file] or shop.asked == [SDIST.file, WHEEL.file]
    assert len(fetched.texts) == 3
    assert progress.tasks == [("fetching", 2, "packages")]
    assert progress.done == 2
    assert sorted(progress.notes) == ["Small.Tools 1.2", "old-tools 0.9"]


def test_only_what_the_cache_lacks_is_fetched(tmp_path: Path) -> None:
    fetch_members([LICENSE], tmp_path, fetch=Shop())
    shop = Shop()
    fetched = fetch_members([LICENSE, OLD], tmp_path, fetch=shop)
    assert shop.asked == [SDIST.file]
    assert len(fetched.texts) == 2


def test_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    fetch_members([LICENSE], tmp_path, fetch=Shop())
    (tmp_path / "members" / LICENSE.sha256).write_bytes(NOTICE[:-1])
    shop = Shop()
    assert fetch_members([LICENSE], tmp_path, fetch=shop).texts == {LICENSE.sha256: NOTICE.decode()}
    assert shop.asked == [WHEEL.file]
    assert (tmp_path / "members" / LICENSE.sha256).read_bytes() == NOTICE


def test_what_cannot_be_had_is_listed_with_why_and_the_rest_is_fetched(tmp_path: Path) -> None:
    fetched = fetch_members([LICENSE, OLD, CODE, LICENSE], tmp_path, fetch=Shop(lacks=(WHEEL,)))
    assert list(fetched.texts) == [OLD.sha256]
    assert [(missing.member, missing.why) for missing in fetched.missing] == [(LICENSE, "sold out"), (CODE, "sold out")]
    assert fetched.missing[0].to_json() == {"member": LICENSE.name, "archive": WHEEL.file, "why": "sold out"}


def test_damaged_archive_is_listed(tmp_path: Path) -> None:
    def damaged(archive: Archive, folder: Path) -> Path:
        (folder / archive.file).write_bytes(b"PK")
        return folder / archive.file

    [missing] = fetch_members([LICENSE], tmp_path, fetch=damaged).missing
    assert "is no archive or is damaged" in missing.why


def test_text_that_another_archive_holds_too_is_not_missing(tmp_path: Path) -> None:
    twin = Member(replace(PACK, package="@made/twin"), LICENSE.path, LICENSE.sha256)
    fetched = fetch_members([twin, LICENSE], tmp_path, fetch=Shop(lacks=(twin.archive,)))
    assert list(fetched.texts) == [LICENSE.sha256]
    assert fetched.missing == ()


def test_other_bytes_than_those_labelled_are_an_error_that_names_the_record(tmp_path: Path) -> None:
    labelled = replace(LICENSE, sha256="0" * 64)
    with pytest.raises(
        SourceError, match=r"Small.Tools 1.2: small_tools-1.2.dist-info/LICENSE has the SHA-256 .* label says 0{64}"
    ):
        fetch_members([labelled], tmp_path, fetch=Shop())
    assert list((tmp_path / "members").iterdir()) == []


def test_archive_without_the_labelled_file_is_an_error_that_names_the_record(tmp_path: Path) -> None:
    labelled = replace(LICENSE, path="COPYING")
    with pytest.raises(SourceError, match=r"does not hold COPYING of the record Small.Tools 1.2: COPYING"):
        fetch_members([labelled], tmp_path, fetch=Shop())


def test_index_that_only_fails_is_left_alone_and_the_other_is_still_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module, "MOST_FAILURES_IN_A_ROW", 2)
    packs = [replace(PACK, package=f"p{number}") for number in range(4)]
    shop = Shop(lacks=tuple(packs))
    fetched = fetch_members([*(Member(pack, "LICENSE", "0" * 64) for pack in packs), LICENSE], tmp_path, fetch=shop)
    assert shop.asked == [PACK.file, PACK.file, WHEEL.file]
    assert [missing.why for missing in fetched.missing] == ["sold out"] * 2 + ["not tried: 2 in a row failed"] * 2
    assert list(fetched.texts) == [LICENSE.sha256]


def test_success_begins_the_count_of_failures_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "MOST_FAILURES_IN_A_ROW", 2)
    before, after = replace(SDIST, package="a"), replace(SDIST, package="z")
    last = replace(SDIST, package="zz")
    shop = Shop(lacks=(before, after))
    gone = [Member(archive, OLD.path, "0" * 64) for archive in (before, after)]
    fetched = fetch_members([*gone, OLD, replace(OLD, archive=last)], tmp_path, fetch=shop)
    assert len(shop.asked) == 4
    assert len(fetched.missing) == 2


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"file cannot be made \(.*\); give another folder with --data"):
        fetch_members([LICENSE], tmp_path / "file", fetch=Shop())


def test_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "stackwright" / "measure"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "stackwright" / "measure"
