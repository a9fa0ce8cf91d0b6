"""A real server of a run, in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(run_folder: Path, *arguments: str) -> Iterator[str]:
    """Serve a run until the block ends; gives the address of the page."""
    command = [sys.executable, "-m", "stackwright", "serve", str(run_folder), "--port", str(_free_port()), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    """Wait for the line that the server prints when it is ready, and return the address in it."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        word = next((word for word in line.split() if word.startswith("http://")), None)
        if word is not None:
            return word.rstrip("./") + "/"
    raise AssertionError(f"the server ended before it was ready: {process.stderr.read()}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ask(address: str, path: str, body: dict[str, Any]) -> Any:
    """Post JSON and return the JSON of the answer."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
