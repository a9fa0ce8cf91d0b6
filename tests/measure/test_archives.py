"""Wanted files are read out of wheels, source archives and npm's archives; nothing else is touched."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from stackwright.errors import SourceError
from stackwright.measure import archives
from stackwright.measure.archives import read_members
from tests.measure.packages import tar_of, zip_of

FILES = {"a/LICENSE": b"first\n", "a/code.py": b"x = 1\n", "b/LICENSE": b"second\n"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.whl", zip_of(FILES)),
        ("p.tgz", tar_of(FILES)),
        ("p.tar.bz2", tar_of(FILES, "w:bz2")),
        ("p.tar.xz", tar_of(FILES, "w:xz")),
    ],
)
def test_only_what_is_wanted_comes_out_of_each_kind_of_archive(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found = read_members(tmp_path / name, ["a/LICENSE", "b/LICENSE", "LICENSE"])
    assert found == {"a/LICENSE": b"first\n", "b/LICENSE": b"second\n"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_links_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside the archive")
    with tarfile.open(tmp_path / "p.tar", "w") as pack:
        for name, kind in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("dir", tarfile.DIRTYPE),
            ("pipe", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, str(tmp_path / "secret")
            pack.addfile(entry)
    (tmp_path / "p.zip").write_bytes(zip_of({"dir/": b""}))
    assert read_members(tmp_path / "p.tar", ["link", "hard", "dir", "pipe"]) == {}
    assert read_members(tmp_path / "p.zip", ["dir/"]) == {}


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_files_above_the_limit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: type) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER_BYTES", 100)
    (tmp_path / "p").write_bytes(pack({"large": b"0" * 101, "small": b"0" * 100}))
    assert list(read_members(tmp_path / "p", ["large", "small"])) == ["small"]


def test_last_of_two_files_at_one_path_in_a_zip_is_read_like_an_installer_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as pack:
        pack.writestr("LICENSE", b"old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            pack.writestr("LICENSE", b"new")
    assert read_members(tmp_path / "p.zip", ["LICENSE"]) == {"LICENSE": b"new"}


def damaged_zip() -> bytes:
    data = bytearray(zip_of({"a": bytes(range(256)) * 9}))
    data[40] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("data", [b"", b"no archive", tar_of({"a": b"1" * 9999})[:60], damaged_zip()])
def test_what_is_no_archive_or_damaged_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.whl").write_bytes(data)
    with pytest.raises(SourceError, match=r"p.whl is no archive or is damaged \("):
        read_members(tmp_path / "p.whl", ["a"])


def test_archive_is_read_no_further_than_the_last_wanted_file(tmp_path: Path) -> None:
    """A damaged end does not matter when all that is wanted stands before it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as pack:
        for name, size in (("first", 10), ("second", 5000)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            pack.addfile(entry, io.BytesIO(b"x" * size))
    (tmp_path / "p.tar").write_bytes(out.getvalue()[:2000])
    assert read_members(tmp_path / "p.tar", ["first"]) == {"first": b"x" * 10}
