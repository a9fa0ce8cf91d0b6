"""The completion server of a run under load: failures, memory, speed beside the bare engine, cost of citations, infilling.

Clients are sockets in a process of their own that keep one connection each and ask for one completion after the other; their
prompts are code of the test split, their lengths drawn as in generation_speed.py. In turns, `--rounds` times: the bare
engine (scheduler without a server, as many requests), the server with policy allow, the server with policy annotate.

Example: python benchmarks/serving.py runs/tiny --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.generation_speed import STREAMS, Ours, Request, held_out_ids, requests_of

CLIENTS = 64
PROMPT, NEW = (16, 112), (8, 128)

COMPLETION_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')  # reading all of an answer would cost the server its cores


class Server:
    def __init__(self, process: subprocess.Popen[str], host: str, port: int) -> None:
        self.process, self.host, self.port = process, host, port

    def rss(self) -> float:
        """Megabytes of memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grown(run: Path, layers: int, width: int) -> Path:
    """Return a model folder with the run's tokenizer and random weights: what counts here is how long a pass takes."""
    import torch

    from stackwright.generate.load import load_model
    from stackwright.model.hub_folder import save_model_folder
    from stackwright.model.transformer import Transformer

    loaded = load_model(run)
    config = replace(
        loaded.model.config, num_layers=layers, hidden_size=width, num_heads=width // 64, intermediate_size=4 * width
    )
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    folder = Path(tempfile.mkdtemp())
    save_model_folder(folder, model, eot_id=loaded.tokenizer.eot)
    for name in ("tokenizer.json", "fim.json"):
        shutil.copy(loaded.folder / name, folder)
    print(f"a model of {config.num_parameters():,} parameters, random weights")
    return folder


def cited(server: Server) -> tuple[float, float]:
    """Return the completions that a server has looked up, and the seconds that it took."""
    with urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics") as response:
        values = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if not line.startswith("#"))
    return float(values["stackwright_cited_completions_total"]), float(values["stackwright_citing_seconds_total"])


@contextmanager
def serving(run: Path, policy: str, model: Path | None = None) -> Iterator[Server]:
    command = [sys.executable, "-m", "stackwright", "serve", str(model or run), "--port", "0", "--policy", policy]
    command += ["--index", str(run / "index")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.rpartition("http://")[2].strip().rstrip("/")
        host, _, port = address.rpartition(":")
        try:
            yield Server(process, host, int(port))
        finally:
            process.terminate()
            process.wait(30)


def http(path: str, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


async def one_client(
    host: str, port: int, requests: Sequence[bytes], seconds: float, number: int, found: Counter[str]
) -> list[float]:
    """Ask again and again until the time is over; count statuses and tokens."""
    reader, writer = await asyncio.open_connection(host, port)
    rng, end, waits = random.Random(number), time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        begun = time.perf_counter()
        status, body = await ask(reader, writer, rng.choice(requests))
        if time.perf_counter() <= end:
            found[f"status {status}"] += 1
            waits.append(time.perf_counter() - begun)
            if status == 200:
                found["tokens"] += int(COMPLETION_TOKENS.findall(body)[-1])
    writer.close()
    return waits


def load(
    host: str, port: int, requests: Sequence[bytes], seconds: float, clients: int = CLIENTS
) -> tuple[Counter[str], list[float]]:
    """What many clients met with; runs in a process of its own."""

    async def all_clients() -> tuple[Counter[str], list[float]]:
        found: Counter[str] = Counter()
        works = [one_client(host, port, requests, seconds, number, found) for number in range(clients)]
        waits = [wait for waits in await asyncio.gather(*works) for wait in waits]
        return found, waits

    return asyncio.run(all_clients())


def under_load(server: Server, bodies: Sequence[bytes], seconds: float, clients: int = CLIENTS) -> dict[str, Any]:
    cpu = server.cpu_seconds()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        running = pool.submit(load, server.host, server.port, bodies, seconds, clients)
        memory = []
        while not running.done():
            memory.append(server.rss())
            time.sleep(min(0.5, seconds / 20))
        found, waits = running.result()
    third = len(memory) // 3
    return {
        "tokens/s": found["tokens"] / seconds,
        "statuses": {key: count for key, count in found.items() if key.startswith("status")},
        "p50 ms": 1000 * statistics.median(waits),
        "p99 ms": 1000 * statistics.quantiles(waits, n=100)[98],
        "middle MB": statistics.mean(memory[third : 2 * third]),
        "last MB": statistics.mean(memory[2 * third :]),
        "CPU ms/token": 1000 * (server.cpu_seconds() - cpu) / max(found["tokens"], 1),
    }


def bare(run: Path, requests: Sequence[Request], rounds: int) -> float:
    """Tokens a second of the engine without a server; in a process of its own, as the server is."""
    from stackwright.generate.load import load_model

    ours = Ours(load_model(run), guesses=32)
    ours(requests[:STREAMS])
    rates = []
    for _ in range(rounds):
        begun = time.perf_counter()
        said = ours(requests)
        rates.append(sum(map(len, said)) / (time.perf_counter() - begun))
    return statistics.median(rates)


def typing_latency(server: Server, text: str, count: int) -> list[float]:
    """Milliseconds of infilling while somebody types: every prefix is a little longer than the one before."""

    async def type_on() -> list[float]:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        found = []
        for place in range(300, 300 + 4 * count, 4):
            body = {"input_prefix": text[:place], "input_suffix": text[place + 40 : place + 200], "n_predict": 16}
            begun = time.perf_counter()
            status, _ = await ask(reader, writer, http("/infill", body))
            assert status == 200
            found.append(1000 * (time.perf_counter() - begun))
        writer.close()
        return found

    return asyncio.run(type_on())


def compare_policies(run: Path, model: Path, bodies: Sequence[bytes], options: argparse.Namespace) -> None:
    """Print what citations cost a larger model, as many clients as rows."""
    # Random weights say the same token for ever at temperature 0, and guesses would make that quick.
    sampled = [body.replace(b'"temperature": 0}', b'"temperature": 1}') for body in bodies]
    with serving(run, "allow", model) as allow, serving(run, "annotate", model) as annotate:
        servers = (allow, annotate)
        rows = [
            [under_load(server, sampled, options.round_seconds, STREAMS)["tokens/s"] for server in servers]
            for _ in range(options.rounds)
        ]
        ratios = [annotated / plain for plain, annotated in rows]
        count, seconds = cited(annotate)
    for name, column in (("allow", 0), ("annotate", 1)):
        print(f"    {name}: {statistics.median(row[column] for row in rows):,.0f} tokens/s")
    print(f"    annotate / allow: {spread(ratios)}")
    print(f"    looking up: {1000 * seconds / count:.2f} ms a completion")


def show_long_load(server: Server, bodies: Sequence[bytes], seconds: float) -> None:
    print(f"\n{CLIENTS} clients, {seconds:g} s, policy annotate\n")
    for key, value in under_load(server, bodies, seconds).items():
        print(f"    {key}: {value if isinstance(value, dict) else round(value, 2)}")
    count, citing_seconds = cited(server)
    print(f"    looking up: {1000 * citing_seconds / count:.2f} ms a completion")


def show_rounds(
    options: argparse.Namespace, requests: Sequence[Request], bodies: Sequence[bytes], allow: Server, annotate: Server
) -> None:
    """Print the bare engine and both policies, in turns."""
    rows = []
    for _ in range(options.rounds):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            engine = pool.submit(bare, options.run, requests, 3).result()
        servers = [under_load(server, bodies, options.round_seconds)["tokens/s"] for server in (allow, annotate)]
        rows.append([engine, *servers])
    print(f"\n{CLIENTS} clients, {options.rounds} rounds of {options.round_seconds:g} s, alternating; tokens/s\n")
    for name, column in (("bare engine, 16 rows", 0), ("server, allow", 1), ("server, annotate", 2)):
        rates = [row[column] for row in rows]
        print(f"    {name}: median {statistics.median(rates):,.0f}, from {min(rates):,.0f} to {max(rates):,.0f}")
    for name, over, under in (("server / bare engine", 1, 0), ("annotate / allow", 2, 1)):
        print(f"    {name}: {spread([row[over] / row[under] for row in rows])}")


def show_one_client(rounds: int, bodies: Sequence[bytes], allow: Server, annotate: Server) -> None:
    rows = [[under_load(server, bodies, 4, clients=1)["p50 ms"] for server in (allow, annotate)] for _ in range(rounds)]
    plain, annotated = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = spread([one / other for other, one in rows])
    print(f"\none client: p50 {plain:.1f} ms with allow, {annotated:.1f} with annotate; ratio {ratios}")


def show_typing(text: str, servers: dict[str, Server]) -> None:
    for name, server in servers.items():
        found = typing_latency(server, text, 300)
        print(
            f"infilling 16 tokens while typing, {name}: p50 {statistics.median(found):.1f} ms, "
            f"p95 {statistics.quantiles(found, n=20)[18]:.1f} ms"
        )


def spread(ratios: Sequence[float]) -> str:
    return f"median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the long load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-seconds", type=float, default=12.0)
    parser.add_argument("--grow", help="LAYERSxWIDTH: measure a larger model, with random weights, without the long load")
    options = parser.parse_args()
    from stackwright.generate.load import load_model

    loaded = load_model(options.run)
    codec, ids = loaded.tokenizer, held_out_ids(options.run, loaded)
    requests = requests_of(ids, 192, PROMPT, NEW, seed=4)
    bodies = [
        http("/v1/completions", {"prompt": codec.decode(one.prompt), "max_tokens": one.new_tokens, "temperature": 0})
        for one in requests
    ]
    if options.grow:
        compare_policies(options.run, grown(options.run, *map(int, options.grow.split("x"))), bodies, options)
        return
    with serving(options.run, "allow") as allow, serving(options.run, "annotate") as annotate:
        show_long_load(annotate, bodies, options.seconds)
        show_rounds(options, requests, bodies, allow, annotate)
        show_one_client(options.rounds, bodies, allow, annotate)
        show_typing(codec.decode(ids[:6000]), {"allow": allow, "annotate": annotate})


if __name__ == "__main__":
    main()
