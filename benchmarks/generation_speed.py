"""Greedy decoding of a run's model beside transformers' `generate`, alternating in one process, on code it has not seen.

Prompts are taken from the test split of the run. Three loads: one stream at a time; 16 requests of one length at once, which
is what a batch of transformers is made for; and 16 streams of a completion server, each with one request after the other, of
different lengths, where transformers answers them in padded batches of 16 in the order they come. Both say the same tokens:
the benchmark stops where they do not.

Example: python benchmarks/generation_speed.py runs/tiny
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
import transformers

from stackwright.artifact import load_artifact
from stackwright.generate.backend import TorchBackend
from stackwright.generate.load import LoadedModel, load_model
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.scheduler import GenerationRequest, Scheduler, SchedulerLimits

STREAMS = 16


@dataclass(frozen=True)
class Request:
    prompt: tuple[int, ...]
    new_tokens: int


def held_out_ids(run: Path, loaded: LoadedModel) -> list[int]:
    table = load_artifact(run / "dataset").table("documents")
    rows = [row for part in table.parts for row in pq.read_table(part, columns=["split", "content"]).to_pylist()]
    texts = [row["content"] for row in rows if row["split"] == "test"]
    return loaded.tokenizer.encode("\n".join(texts))


def requests_of(ids: Sequence[int], count: int, prompts: tuple[int, int], new: tuple[int, int], seed: int) -> list[Request]:
    """Return requests at random places, with lengths drawn evenly between bounds."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        length, begin = rng.randint(*prompts), rng.randrange(len(ids) - prompts[1])
        found.append(Request(tuple(ids[begin : begin + length]), rng.randint(*new)))
    return found


class Ours:
    def __init__(self, loaded: LoadedModel, guesses: int) -> None:
        self._loaded, self._guesses = loaded, guesses
        self._backend = TorchBackend(loaded.model, compiled=True)

    def __call__(self, requests: Sequence[Request]) -> list[list[int]]:
        scheduler = Scheduler(self._backend, self._loaded.tokenizer, SchedulerLimits(STREAMS, guesses=self._guesses))
        said: list[list[int]] = [[] for _ in requests]
        for request, tokens in zip(requests, said, strict=True):
            settings = SamplingSettings(max_new_tokens=request.new_tokens)
            scheduler.submit(
                GenerationRequest(request.prompt, settings), lambda chunk, tokens=tokens: tokens.extend(chunk.token_ids)
            )
        while scheduler.step():
            pass
        return said


class Theirs:
    """Padded batches on the left, as transformers' documentation has it for decoders, without what we never draw either."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = transformers.AutoModelForCausalLM.from_pretrained(loaded.folder).eval()
        self._eot = loaded.tokenizer.eot
        fim = loaded.tokenizer.fim
        unused = range(loaded.tokenizer.vocab_size, self._model.config.vocab_size)
        self._never = [fim.prefix, fim.middle, fim.suffix, fim.pad, *unused]

    @torch.inference_mode()
    def __call__(self, requests: Sequence[Request]) -> list[list[int]]:
        said = []
        for begin in range(0, len(requests), STREAMS):
            batch = requests[begin : begin + STREAMS]
            width = max(len(request.prompt) for request in batch)
            ids = torch.full((len(batch), width), self._eot)
            mask = torch.zeros(len(batch), width, dtype=torch.long)
            for row, request in enumerate(batch):
                ids[row, width - len(request.prompt) :] = torch.tensor(request.prompt)
                mask[row, width - len(request.prompt) :] = 1
            found = self._model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=max(request.new_tokens for request in batch),
                do_sample=False,
                eos_token_id=self._eot,
                pad_token_id=self._eot,
                suppress_tokens=self._never,
            )
            for request, row in zip(batch, found[:, width:].tolist(), strict=True):
                tokens = row[: request.new_tokens]
                said.append(tokens[: tokens.index(self._eot)] if self._eot in tokens else tokens)
        return said


Answer = Callable[[Sequence[Request]], list[list[int]]]


def timed(answer: Answer, load: Sequence[Sequence[Request]]) -> tuple[float, float, list[list[int]]]:
    wall, cpu = time.perf_counter(), time.process_time()
    said = [tokens for requests in load for tokens in answer(requests)]
    return time.perf_counter() - wall, time.process_time() - cpu, said


def compare(title: str, load: Sequence[Sequence[Request]], ways: dict[str, Answer], rounds: int) -> None:
    """Print a table; the last of the ways is what the others are compared with."""
    expected = {name: timed(answer, load)[2] for name, answer in ways.items()}
    peer = list(ways)[-1]
    for name, said in expected.items():
        same = sum(ours == theirs for ours, theirs in zip(said, expected[peer], strict=True))
        assert same == len(said), f"{name} says other tokens than {peer} to {len(said) - same} of {len(said)} requests"
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, answer in ways.items():
            times[name].append(timed(answer, load)[:2])
    num_tokens = sum(map(len, expected[peer]))
    print(f"\n{title}: {num_tokens:,} tokens, all equal; {rounds} rounds, alternating\n")
    print("| | tokens/s (median) | CPU ms per token | times its peer (median, from, to) |\n| --- | ---: | ---: | ---: |")
    for name, rows in times.items():
        ratios = [theirs[0] / ours[0] for ours, theirs in zip(rows, times[peer], strict=True)]
        wall, cpu = statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows)
        told = "" if name == peer else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {num_tokens / wall:,.0f} | {1000 * cpu / num_tokens:.2f} | {told} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    loaded = load_model(options.run)
    ids = held_out_ids(options.run, loaded)
    ways: dict[str, Answer] = {
        "stackwright": Ours(loaded, guesses=32),
        "stackwright, without guesses": Ours(loaded, guesses=0),
        "transformers generate": Theirs(loaded),
    }
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {options.threads} threads")
    single = [[request] for request in requests_of(ids, 12, (16, 112), (128, 128), seed=1)]
    compare("One stream", single, ways, options.rounds)
    compare("16 requests of one length at once", [requests_of(ids, 16, (32, 32), (150, 150), seed=2)], ways, options.rounds)
    compare("16 streams, 96 requests", [requests_of(ids, 96, (16, 112), (8, 128), seed=3)], ways, options.rounds)


if __name__ == "__main__":
    main()
