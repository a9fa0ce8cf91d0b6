"""Open what is to be served, listen, and stop in good order.

In: a model, and how it is to be served. Out: a server that runs until it is told to stop: then it takes no more connections,
finishes what runs within `GRACE_SECONDS`, and cancels the rest.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from stackwright import __version__
from stackwright.attribute.index import Index
from stackwright.errors import UsageError
from stackwright.generate.backend import TorchBackend
from stackwright.generate.load import LoadedModel, load_model
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.scheduler import GenerationRequest, Scheduler, SchedulerLimits
from stackwright.pages.evaluation import OWN_MODEL, metrics_of, score_of
from stackwright.run_folder import RUN_FILE
from stackwright.serve.access import check_public, read_keys
from stackwright.serve.app import Served, make_app
from stackwright.serve.batcher import Batcher
from stackwright.serve.citing import Citer, Policy
from stackwright.serve.completing import Completer
from stackwright.serve.lookups import MOST_WAITING, RunQuestions

GRACE_SECONDS = 10
IDLE_SECONDS = 30
"""How long a connection may be open without a whole request."""

MOST_HEADER_BYTES = 32_768
MOST_CONNECTIONS = 1_000


@dataclass(frozen=True)
class ServeOptions:
    """How a model is served. `policy` None: `annotate` where there is an index, else `allow`."""

    index: Path | None = None
    policy: Policy | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    api_key_file: Path | None = None
    max_batch: int = 16
    max_waiting: int = 64


def open_served(target: Path, options: ServeOptions) -> Served:
    """Open model, index and ledger.

    Raises:
        UsageError: options that do not fit together, such as a public host without keys.
        TargetError, CheckpointError, ArtifactError: model or index cannot be used.
    """
    keys = None if options.api_key_file is None else read_keys(options.api_key_file)
    check_public(options.host, keys is not None)
    run = target if (target / RUN_FILE).is_file() else None
    folder = options.index or (run / "index" if run is not None and (run / "index").is_dir() else None)
    index = None if folder is None else _loaded_index(folder)
    policy: Policy = options.policy or ("allow" if index is None else "annotate")
    thread = ThreadPoolExecutor(1, "model")
    loaded, scheduler = thread.submit(_open_model, target, options.max_batch).result()
    completer = Completer(
        Batcher(scheduler, options.max_waiting, thread),
        loaded.tokenizer,
        loaded.backend.max_seq_len,
        policy,
        None if index is None else Citer(index),
    )
    return Served(
        name=target.resolve().name,
        created=int((loaded.folder / "config.json").stat().st_mtime),
        about=_about(target.resolve().name, loaded, run, index, policy),
        completer=completer,
        searcher=None if folder is None else Citer(Index.open(folder), most_waiting=MOST_WAITING),
        questions=None if run is None else RunQuestions(run),
        keys=keys,
    )


def _loaded_index(folder: Path) -> Index:
    index = Index.open(folder)
    index.load()
    return index


def _open_model(target: Path, max_batch: int) -> tuple[LoadedModel, Scheduler]:
    """Open a model and draw two tokens: what is compiled or laid out at the first use is there before the first request."""
    loaded = load_model(target)
    scheduler = Scheduler(TorchBackend(loaded.model, compiled=True), loaded.tokenizer, SchedulerLimits(max_batch))
    request = GenerationRequest((loaded.tokenizer.eot,) * 3, SamplingSettings(max_new_tokens=2))
    if loaded.backend.max_seq_len > len(request.prompt):
        scheduler.submit(request, lambda _: None)
        while scheduler.step():
            pass
    return loaded, scheduler


def _about(name: str, loaded: LoadedModel, run: Path | None, index: Index | None, policy: Policy) -> dict[str, Any]:
    card = loaded.folder / "README.md"
    results = None if run is None else run / "evaluation" / "results.json"
    return {
        "model": name,
        "parameters": loaded.model.config.num_parameters(),
        "context": loaded.backend.max_seq_len,
        "vocab_size": loaded.tokenizer.vocab_size,
        "policy": policy,
        "has_index": index is not None,
        "has_run": run is not None,
        "version": __version__,
        "card": card.read_text("utf-8") if card.is_file() else None,
        "figures": _figures(json.loads(results.read_text("utf-8"))) if results is not None and results.is_file() else None,
        "citation_min_characters": None if index is None else index.scheme.least_span,
    }


def _figures(results: dict[str, Any]) -> dict[str, float]:
    """Return the model's own scores by the name of their metric."""
    found = {}
    for task in results["tasks"].values():
        for metric in metrics_of(task):
            score = score_of(task, task["models"].get(OWN_MODEL, {}), metric)
            if score is not None:
                found[metric] = score.value
    return found


def serve(target: Path, options: ServeOptions, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop. `say` gets one line with the address when the port listens.

    Raises:
        UsageError: the port cannot be used, or what `open_served` raises.
    """
    listener = _listen(options.host, options.port)  # before the model is opened: a taken port is told at once
    served = open_served(target, options)
    config = uvicorn.Config(
        make_app(served),
        http=_Connection,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        limit_concurrency=MOST_CONNECTIONS,
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    # uvicorn hands the signal on when all is finished; to be told to stop is how a server ends well.
    with suppress(KeyboardInterrupt):
        _Server(config, lambda: say(f"serving {served.name} at http://{shown}:{port}/")).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened at ({error.strerror})", "give another --host or --port"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


class _Connection(H11Protocol):
    """A connection that is closed when no whole request comes: half of one may be sent to hold the place."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Begin to wait for a request where none is being answered; the time is not prolonged by parts of one."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
