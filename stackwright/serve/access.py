"""Who may ask, and how much: keys, hosts, sizes and times. Two wrappers around the application, in plain ASGI.

`Gate` lets pages, health and readiness through and wants a key for the rest. Without keys the server listens on this machine
alone; then it also wants to be asked by a name of this machine, as a page of another site could otherwise have its own name
point here (DNS rebinding). `BoundedBodies` reads each body whole before the application sees it, within a size and a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import stat
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stackwright.errors import UsageError
from stackwright.serve.faults import ApiError, response

MOST_BODY_BYTES = 1_000_000
BODY_SECONDS = 20.0

OPEN_PATHS = ("/", "/health", "/ready")
OPEN_PREFIX = "/static/"

_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


def read_keys(path: Path) -> list[bytes]:
    """Return the digests of the keys in a file: one key a line, `#` begins a comment.

    Raises:
        UsageError: the file cannot be read, may be read by others, or holds no key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the keys in {path} cannot be read ({error})", "give a text file with one key a line") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{path} may be read by others (mode {stat.S_IMODE(mode):o})", f"run: chmod 600 {path}")
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(f"{path} holds no key", "write one key a line")
    if any(len(key) < _LEAST_KEY for key in keys):
        raise UsageError(f"a key in {path} has fewer than {_LEAST_KEY} characters", "make one: openssl rand -hex 24")
    return [_digest(key) for key in keys]


_LEAST_KEY = 16


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_public(host: str, has_keys: bool) -> None:
    """Refuse to listen to others without keys."""
    if not has_keys and not is_loopback(host):
        raise UsageError(
            f"host {host} can be reached from outside, and no key is asked for",
            "give --api-key-file, or leave --host out to serve this machine alone",
        )


class Gate:
    """Wants a key, or a name of this machine in `Host`, and adds the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp, keys: Iterable[bytes] | None) -> None:
        self._app, self._keys = app, None if keys is None else list(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        error = self._refusal(scope)
        await (self._app if error is None else response(error))(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = dict(scope["headers"])
        if self._keys is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            if not is_loopback(name):
                return ApiError(403, f"this server answers to names of its own machine, not to {name!r}: ask 127.0.0.1")
            return None
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return None
        given = headers.get(b"authorization", b"").decode("latin-1")
        kind, _, key = given.partition(" ")
        if kind.lower() != "bearer" or not key:
            return ApiError(401, "no API key was given: send `Authorization: Bearer KEY`")
        digest = _digest(key.strip())
        # All are compared, whichever fits: how long it takes says nothing.
        if sum(hmac.compare_digest(digest, known) for known in self._keys) == 0:
            return ApiError(401, "the API key is not one of this server's: ask its operator for one")
        return None


class BoundedBodies:
    """Reads a body whole, up to a number of bytes and of seconds, and hands it on as one message."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._app, self._most, self._seconds = app, most_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH", "DELETE"):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            error = ApiError(408, f"the body did not come within {self._seconds:g} s")
            await _refuse(error, scope, receive, send)
            return
        except ApiError as error:
            await _refuse(error, scope, receive, send)
            return
        if body is None:
            return  # the client went away
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        told = dict(scope["headers"]).get(b"content-length", b"")
        if told.isdigit() and int(told) > self._most:
            raise self._too_large(int(told))
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self, size: int) -> ApiError:
        return ApiError(413, f"the body has {size:,} bytes or more, {self._most:,} are taken: send less")


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without having read the body: the connection is of no further use."""
    answer = response(error)
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
