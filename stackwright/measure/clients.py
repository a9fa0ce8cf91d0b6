"""Published archives, fetched with the package indexes' own clients.

In: an `Archive` and a folder. Out: the file in that folder, under the name that the label gives it. Wheels come by
`pip download`, npm's archives by `npm pack` without scripts: settings, mirrors and credentials are the user's own. pip
cannot fetch a source archive without running its build, so those come from the index page (`index_page.py`). Nothing of a
package is executed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from stackwright.errors import SourceError
from stackwright.measure.index_page import fetch_from_index
from stackwright.measure.records import Archive

CLIENT_SECONDS = 600
"""The largest labelled packages have 60 MB; a client that takes longer than this hangs."""


def fetch_archive(archive: Archive, folder: Path) -> Path:
    """Fetch one archive into a folder that is empty and return its path.

    Raises:
        SourceError: the client or the archive is not there, or the index cannot be reached.
    """
    if archive.index == "npm":
        _run("npm", _npm_pack(archive, folder), folder)
    elif archive.file.endswith(".whl"):
        _run("pip", _pip_download(archive, folder), folder)
    else:
        fetch_from_index(archive, folder)
    path = folder / archive.file
    if not path.is_file():
        got = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise SourceError(f"the index gave {got} where {archive.file} was asked for", "ask another index")
    return path


def _has_pip() -> bool:
    # Not by the finder of modules: where setuptools is installed, asking it for pip changes how distutils is imported.
    try:
        metadata.version("pip")
    except metadata.PackageNotFoundError:
        return False
    return True


def _pip_download(archive: Archive, folder: Path) -> list[str]:
    """Return the command that fetches exactly one wheel: for the tags in its name, whatever this Python is."""
    if not _has_pip():
        raise SourceError("pip is not installed for this Python", "install it with: python -m ensurepip")
    python, abi, platforms = archive.file.removesuffix(".whl").split("-")[-3:]
    implementation, digits = _interpreter(python)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--ignore-requires-python", "--retries", "1", "--dest", str(folder)]
    command += ["--implementation", implementation, "--python-version", digits, "--abi", abi.split(".")[0]]
    for platform in platforms.split("."):
        command += ["--platform", platform]
    return [*command, f"{archive.package}=={archive.version}"]


def _interpreter(python: str) -> tuple[str, str]:
    """Return implementation and version of the newest interpreter in a tag: `py2.py3` -> py, 3; `cp311` -> cp, 3.11."""
    name = python.split(".")[-1]
    match = re.fullmatch(r"([a-z]+)(\d)(\d*)", name)
    if match is None:
        raise SourceError(f"the wheel tag {python!r} is not understood", "report the record that has it")
    return match[1], f"{match[2]}.{match[3]}" if match[3] else match[2]


def _npm_pack(archive: Archive, folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed", "install Node.js, which brings it")
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--pack-destination", str(folder)]
    return [npm, "pack", f"{archive.package}@{archive.version}", *options]


def _run(client: str, command: Sequence[str], folder: Path) -> None:
    """Run a client in the empty folder, where no project's own settings can be taken for the user's."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{client} did not answer within {CLIENT_SECONDS} seconds", "run the command again") from error
    if done.returncode != 0:
        raise SourceError(f"{client} says: {_complaint(done.stderr)}", "run the same command again")


def _complaint(output: str) -> str:
    """Return what a client says last of its error in one line: pip's last ERROR, npm's first three lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if errors:
        return errors[-1]
    return " ".join(line.removeprefix("npm error").strip() for line in lines[:3]) or "nothing"
