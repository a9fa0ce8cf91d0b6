"""Small packages of our own, published on a local index: archives, and a server that counts what is asked of it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stackwright.measure.records import Archive, Member

WHEEL = Archive("pypi", "Small.Tools", "1.2", "small_tools-1.2-cp39-abi3-win_amd64.win_arm64.whl")
SDIST = Archive("pypi", "old-tools", "0.9", "old_tools-0.9.tar.gz")
PACK = Archive("npm", "@made/widgets", "2.0.1", "made-widgets-2.0.1.tgz")

NOTICE = "Use this as you like.\n\nNothing is promised: naïve code may break.\n".encode()
SOURCE = b"# Our own words.\nprint('made for a test')\n"

FILES = {
    WHEEL: {"small_tools/code.py": SOURCE, "small_tools-1.2.dist-info/LICENSE": NOTICE},
    SDIST: {"old_tools-0.9/NOTICE": NOTICE + b"old\n"},
    PACK: {"package/LICENSE.md": NOTICE + b"npm\n"},
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def member_of(archive: Archive, path: str) -> Member:
    return Member(archive, path, sha256(FILES[archive][path]))


MEMBERS = [member_of(archive, path) for archive, files in FILES.items() for path in files]


def zip_of(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for path, data in files.items():
            pack.writestr(path, data)
    return out.getvalue()


def tar_of(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as pack:  # type: ignore[call-overload]
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            pack.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def archive_bytes(archive: Archive, marker: Path) -> bytes:
    """Return a published archive that writes the file `marker` if anything of it is executed."""
    files = dict(FILES[archive])
    touch = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('ran')\n"
    if archive is WHEEL:
        info = "small_tools-1.2.dist-info"
        files[f"{info}/METADATA"] = b"Metadata-Version: 2.1\nName: small-tools\nVersion: 1.2\nRequires-Python: >=3.30\n"
        files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nTag: cp39-abi3-win_amd64\n"
        return zip_of(files)
    if archive is SDIST:
        setup = f"{touch}from setuptools import setup\nsetup(name='old-tools', version='0.9')\n"
        return tar_of(files | {"old_tools-0.9/setup.py": setup.encode()})
    scripts = dict.fromkeys(("prepack", "prepare", "postpack", "install"), f"touch {marker}")
    about = {"name": archive.package, "version": archive.version, "scripts": scripts}
    return tar_of(files | {"package/package.json": json.dumps(about).encode()})


def write_index(folder: Path, marker: Path, address: str) -> None:
    """Publish the three packages in a folder: PEP 503 pages under `simple/`, npm's documents at the top."""
    for archive in FILES:
        data = archive_bytes(archive, marker)
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "files" / archive.file).write_bytes(data)
        if archive.index == "pypi":
            page = folder / "simple" / archive.package.lower().replace(".", "-") / "index.html"
            page.parent.mkdir(parents=True)
            # A file of a newer version too, so that taking the newest instead of the named one would be seen.
            other = archive.file.replace(archive.version, "9.9")
            page.write_text(
                "".join(f"<a href='../../files/{name}#sha256={sha256(data)}'>{name}</a>\n" for name in (other, archive.file))
            )
        else:
            about = {"name": archive.package, "version": archive.version}
            dist = {"tarball": f"{address}/files/{archive.file}", "shasum": hashlib.sha1(data).hexdigest()}
            document = {
                **about,
                "dist-tags": {"latest": archive.version},
                "versions": {archive.version: about | {"dist": dist}},
            }
            (folder / "@made").mkdir()
            (folder / "@made" / "widgets").write_text(json.dumps(document))


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on the loopback; yields its address and the list of paths that are asked for, which grows."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        asked: list[str] = []
        server.asked = asked  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
