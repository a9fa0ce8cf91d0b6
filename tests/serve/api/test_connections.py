"""Clients that leave, stall, come in crowds or send half of what they should hold up nobody but themselves."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from stackwright.serve.access import BoundedBodies
from tests.serve.api.conftest import KEY, Api

LONG = {"prompt": "value = ", "max_tokens": 100_000, "temperature": 1.0, "stream": True}


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds, and fail if it never does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def raw(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def sent(connection: socket.socket, path: str, body: object, **headers: str) -> None:
    data = json.dumps(body).encode()
    lines = [f"POST /{path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)


def is_answered(api: Api) -> bool:
    return api.post("v1/completions", {"prompt": "x", "max_tokens": 2}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_takes_the_request_along(api: Api, stream: bool) -> None:
    before = api.metric("stackwright_cancelled_total")
    completed = api.metric("stackwright_completions_total")
    connections = [raw(api.address) for _ in range(10)]  # as many completions as may be answered and wait
    for connection in connections:
        sent(connection, "v1/completions", {**LONG, "n": 8, "stream": stream})
    wait_for(lambda: api.metric("stackwright_running") == 16)
    for connection in connections:
        connection.close()
    wait_for(lambda: api.metric("stackwright_running") == api.metric("stackwright_waiting") == 0)
    ended = api.metric("stackwright_completions_total") - completed
    assert api.metric("stackwright_cancelled_total") - before == 80 - ended
    assert ended < 80
    assert is_answered(api)


def test_half_requests_hold_up_nobody(api: Api) -> None:
    connections = [raw(api.address) for _ in range(50)]
    for number, connection in enumerate(connections):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
        connection.sendall([b"", head, head + b"\r\n", head + b'\r\n{"prompt"'][number % 4])
    assert is_answered(api)
    for connection in connections:
        connection.close()
    assert is_answered(api)


def test_a_reader_who_stops_reading_holds_up_nobody(api: Api) -> None:
    connections = [raw(api.address) for _ in range(4)]
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        sent(connection, "v1/completions", {**LONG, "n": 4, "logprobs": 5})
    assert is_answered(api)
    wait_for(lambda: api.metric("stackwright_running") == 0)  # they were drawn, and wait to be read
    for connection in connections:
        connection.close()


def test_who_comes_to_a_full_queue_is_told_when_to_come_again(keyed_api: Api) -> None:
    authorization = {"Authorization": f"Bearer {KEY}"}
    seen = []

    def ask() -> None:
        body = {"prompt": "value = ", "max_tokens": 60, "temperature": 0}
        seen.append(keyed_api.post("v1/completions", body, **authorization))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {response.status_code for response in seen} <= {200, 429}
    # All choices or none: two never fit where one is answered at a time and none may wait.
    two = keyed_api.post("v1/completions", {"prompt": "x", "n": 2}, **authorization)
    assert two.status_code == 429
    for response in [two, *(response for response in seen if response.status_code == 429)]:
        assert response.json()["error"]["type"] == "rate_limit_error"
        assert "ask again in 1 s" in response.json()["error"]["message"]
        assert response.headers["retry-after"] == "1"
    assert keyed_api.post("v1/completions", {"prompt": "x", "max_tokens": 1}, **authorization).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    sent_messages: list[dict[str, object]] = []

    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def keep(message: dict[str, object]) -> None:
        sent_messages.append(message)

    async def unused(*_: object) -> None:
        raise AssertionError("the application must not be asked")

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(BoundedBodies(unused, seconds=0.01)(scope, never, keep))  # type: ignore[arg-type]
    assert sent_messages[0]["status"] == 408
    assert b"did not come within 0.01 s" in sent_messages[1]["body"]  # type: ignore[operator]


def test_a_server_that_is_told_to_stop_ends_what_it_began(api_run: Path) -> None:
    command = [sys.executable, "-m", "stackwright", "serve", str(api_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().rpartition(" at ")[2].strip()
        body = {"prompt": "value = ", "max_tokens": 60, "temperature": 0, "stream": True}
        events = []
        with httpx.stream("POST", address + "v1/completions", json=body, timeout=60) as response:
            for line in response.iter_lines():
                if not events:
                    process.send_signal(signal.SIGTERM)
                events += [line] if line else []
        _, complaints = process.communicate(timeout=60)
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[-2].removeprefix("data: "))["choices"][0]["finish_reason"] in ("length", "stop")
    assert process.returncode == 0
    assert complaints == ""
