"""Single files out of published archives, without unpacking anything else.

In: an archive on disk (wheel or zip, tar of any compression) and paths as the archive writes them. Out: the bytes of those
that are in it. Nothing is written, links are not followed, and nothing of the package is executed.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path

from stackwright.errors import SourceError

LARGEST_MEMBER_BYTES = 4_000_000
"""Ten times the longest labelled text: what is larger is not a text that was labelled."""


def read_members(archive: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Return path -> bytes of the wanted files; paths that are not there, no file, or too large are left out.

    Raises:
        SourceError: the file is no archive, or is damaged.
    """
    wanted = frozenset(paths)
    try:
        return _read_zip(archive, wanted) if zipfile.is_zipfile(archive) else _read_tar(archive, wanted)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, NotImplementedError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{archive.name} is no archive or is damaged ({why})", "run the same command again") from error


def _read_zip(archive: Path, wanted: frozenset[str]) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(archive) as pack:
        for entry in pack.infolist():
            if entry.filename in wanted and not entry.is_dir() and entry.file_size <= LARGEST_MEMBER_BYTES:
                found[entry.filename] = pack.read(entry)
    return found


def _read_tar(archive: Path, wanted: frozenset[str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as pack:
        for member in pack:
            if member.name in wanted and member.isreg() and member.size <= LARGEST_MEMBER_BYTES:
                file = pack.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
            if len(found) == len(wanted):
                break  # the rest need not be decompressed
    return found
