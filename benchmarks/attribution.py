"""Attribution: size of the index, speed of building and of looking up, recall and precision against brute force.

Peers in the same run: a suffix array of the normalised texts (pydivsufsort, where it is installed), which gives positions
but names no file, and the texts compressed by zstd. Brute force is `in` over all normalised texts.

Example: python benchmarks/attribution.py runs/tiny/dataset
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stackwright.artifact import Artifact, Staging, load_artifact
from stackwright.attribute.fingerprint import Scheme, hash_spans, window_runs
from stackwright.attribute.index import Index
from stackwright.attribute.normalize import normalize
from stackwright.attribute.stage import TABLES, run_index
from stackwright.engine import Engine, StageContext, read_table
from stackwright.recipe import load_recipe

LEAST = 50
COMPLETION_CHARACTERS = 800  # of 256 tokens, about
SEPARATOR = b"\0"


def build(dataset: Artifact, folder: Path) -> Index:
    """Build the index with one worker, print what it took, and open it."""
    context = StageContext(load_recipe("tiny"), {"dataset": dataset}, Staging.open(folder, TABLES), Engine(workers=1))
    wall, cpu = time.perf_counter(), time.process_time()
    counts = run_index(context)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    inputs = {"dataset": dataset.digest}
    context.staging.commit(key="benchmark", stage="index", version=1, config={}, inputs=inputs, counts=counts, run={})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{counts['documents']:,} documents, {counts['bytes']:,} bytes, {counts['normalized_bytes']:,} normalised")
    print(f"{counts['postings']:,} postings, {counts['common_grams']} common k-grams")
    print(f"build: {wall:.1f} s, {cpu:.1f} CPU s, {counts['bytes'] / 1e6 / cpu:.1f} MB per CPU s")
    print(f"index folder: {size:,} bytes, {size / counts['bytes']:.2%} of the texts")
    return Index.open(folder, dataset.folder)


def print_densities(data: bytes) -> None:
    """Print the share of places that are kept, for several lengths of k-gram, beside plain winnowing."""
    ends = np.array([len(data)])
    print(f"\nk-grams kept per byte, on {len(data):,} bytes\n\n| k | winnowing | mod-minimizer |\n| ---: | ---: | ---: |")
    for length in (16, 20, 24, 28, 32):
        own = len(np.unique(window_runs(data, ends, Scheme(LEAST, length)).gram)) / len(data)
        print(f"| {length} | {_winnowing_density(data, length):.4f} | {own:.4f} |")


def _winnowing_density(data: bytes, length: int) -> float:
    """Of the k-grams of each window the leftmost with the least hash."""
    hashes = hash_spans(data, np.arange(len(data) - length + 1), length)
    windows = np.lib.stride_tricks.sliding_window_view(hashes, LEAST - length + 1)
    step = 1 << 18
    places = [
        np.argmin(windows[at : at + step], axis=1) + np.arange(at, min(at + step, len(windows)))
        for at in range(0, len(windows), step)
    ]
    return len(np.unique(np.concatenate(places))) / len(data)


def check_planted(index: Index, texts: Sequence[str], plain: Sequence[str], joined: bytes, count: int) -> None:
    """Cut spans out of files, plant them in foreign text, and compare with brute force."""
    rng = random.Random(1)
    found = maximal = exact_counts = counted = origins = true_origins = 0
    for number in range(count):
        source = rng.choice(plain)
        while len(source) < LEAST:
            source = rng.choice(plain)
        length = min(LEAST if number % 4 == 0 else rng.randrange(LEAST, 400), len(source))
        start = rng.randrange(len(source) - length + 1)
        before, after = ("".join(rng.choice("\u0100\u0101\u0102") for _ in range(30)) for _ in range(2))
        query = before + source[start : start + length] + after
        match = next((m for m in index.cite(query).matches if m.start <= 30 and m.end >= 30 + length), None)
        found += match is not None
        if match is None:
            continue
        wanted = query[match.start : match.end]
        maximal += not any(
            part.encode() in joined for part in (query[match.start - 1 : match.end], query[match.start : match.end + 1])
        )
        origins += len(match.origins)
        true_origins += sum(
            normalize(f"|{_text_of(index, texts, origin)[origin.start : origin.end]}|") == f"|{wanted}|"
            for origin in match.origins
        )
        if not match.num_origins_is_lower_bound and counted < 100:
            counted += 1
            exact_counts += match.num_origins == sum(wanted in text for text in plain)
    print(f"\nplanted spans: {found} of {count} found, {maximal} of {found} maximal by brute force")
    print(f"origins: {true_origins} of {origins} hold their span")
    print(f"numbers of origins: {exact_counts} of {counted} are those of brute force")


def _text_of(index: Index, texts: Sequence[str], origin: Any) -> str:
    return texts[_numbers(index)[origin.repo, origin.revision, origin.path]]


_known_numbers: dict[tuple[str, str, str], int] = {}


def _numbers(index: Index) -> dict[tuple[str, str, str], int]:
    if not _known_numbers:
        rows = load_artifact(index.folder).table("documents").read(["repo", "revision", "path"]).to_pylist()
        _known_numbers.update({(row["repo"], row["revision"], row["path"]): number for number, row in enumerate(rows)})
    return _known_numbers


def check_natural(index: Index, plain: Sequence[str], joined: bytes, count: int) -> None:
    """Edit cuts of files, and see of random windows of them whether brute force and the index agree."""
    rng = random.Random(2)
    agree = shared = tried = 0
    while tried < count:
        words = rng.choice(plain).split(" ")
        at = rng.randrange(len(words))
        words = words[at : at + 200]
        for place in range(rng.randrange(15), len(words), 15):
            words[place] = rng.choice(words)
        query = " ".join(words)
        if len(query) < LEAST:
            continue
        spans = [(match.start, match.end) for match in index.cite(query).matches]
        for _ in range(4):
            window = rng.randrange(len(query) - LEAST + 1)
            is_shared = query[window : window + LEAST].encode() in joined
            is_covered = any(start <= window and window + LEAST <= end for start, end in spans)
            agree += is_shared == is_covered
            shared += is_shared
            tried += 1
    print(f"natural windows of {LEAST} characters: {agree} of {tried} as brute force says ({shared} are shared)")


def cut_completions(texts: Sequence[str], count: int) -> list[str]:
    rng = random.Random(3)
    long = [text for text in texts if len(text) > COMPLETION_CHARACTERS]
    cuts = []
    for _ in range(count):
        text = rng.choice(long)
        start = rng.randrange(len(text) - COMPLETION_CHARACTERS)
        cuts.append(text[start : start + COMPLETION_CHARACTERS])
    return cuts


def shuffled(texts: Sequence[str]) -> list[str]:
    """Words of each text in another order: no long span is left but by chance."""
    rng = random.Random(4)
    return [" ".join(rng.sample(text.split(), len(text.split()))) for text in texts]


def print_latency(name: str, look_up: Callable[[str], object], queries: Sequence[str]) -> None:
    times, cpu_times = [], []
    for query in queries:
        wall, cpu = time.perf_counter(), time.process_time()
        look_up(query)
        times.append((time.perf_counter() - wall) * 1000)
        cpu_times.append((time.process_time() - cpu) * 1000)
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    print(f"| {name} | {p50:.2f} | {p90:.2f} | {p99:.2f} | {np.median(cpu_times):.2f} |", flush=True)


def compare_suffix_array(data: bytes, original_bytes: int, queries: Sequence[str]) -> None:
    """Build a suffix array of the same normalised bytes, and find each window of the queries in it."""
    try:
        import pydivsufsort
    except ModuleNotFoundError:
        print("\nsuffix array: not run, pydivsufsort is not installed")
        return
    text = np.frombuffer(data, np.uint8).copy()  # the library refuses memory that is read-only
    wall, cpu = time.perf_counter(), time.process_time()
    suffixes = pydivsufsort.divsufsort(text)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = suffixes.nbytes + len(data)
    print(f"\nsuffix array: {wall:.1f} s, {cpu:.1f} CPU s, {original_bytes / 1e6 / cpu:.1f} MB per CPU s of the texts")
    print(f"suffix array and its text: {size:,} bytes, {size / original_bytes:.0%} of the texts")
    print("\n| suffix array, positions only | p50 ms | p90 ms | p99 ms | p50 CPU ms |\n| --- | ---: | ---: | ---: | ---: |")

    def look_up(query: str) -> int:
        own = np.frombuffer(normalize(query).encode("utf-8"), np.uint8).copy()
        windows = range(len(own) - LEAST + 1)
        return sum(pydivsufsort.sa_search(text, suffixes, own[at : at + LEAST])[0] > 0 for at in windows)

    print_latency("every window of 50 bytes by binary search", look_up, queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder dataset of a run")
    parser.add_argument("--spans", type=int, default=500, help="planted spans, and natural windows")
    parser.add_argument("--completions", type=int, default=300, help="texts of 800 characters to look up")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    dataset = load_artifact(options.dataset)
    with tempfile.TemporaryDirectory() as folder:
        index = build(dataset, Path(folder) / "index")
        texts = [text for part in read_table(dataset.table("documents"), ["content"]) for text in part.column(0).to_pylist()]
        plain = [normalize(text) for text in texts]
        joined = SEPARATOR.join(text.encode("utf-8") for text in plain)
        cuts = cut_completions(texts, options.completions)
        print("\n| index, 800 characters | p50 ms | p90 ms | p99 ms | p50 CPU ms |\n| --- | ---: | ---: | ---: | ---: |")
        for name, queries in (("cut out of files", cuts), ("words of those, shuffled", shuffled(cuts))):
            print_latency(f"{name}, first time", index.cite, queries)
            print_latency(f"{name}, warm", index.cite, queries)
        check_planted(index, texts, plain, joined, options.spans)
        check_natural(index, plain, joined, options.spans)
    data = "".join(plain).encode("utf-8")
    print_densities(data[:20_000_000])
    original = sum(len(text.encode("utf-8")) for text in texts)
    for level in (3, 19):
        compressed = pa.Codec("zstd", compression_level=level).compress(data[: 1 << 26], asbytes=True)
        print(
            f"zstd -{level} of {min(len(data), 1 << 26):,} normalised bytes: {len(compressed) / min(len(data), 1 << 26):.1%}"
        )
    compare_suffix_array(data, original, cuts[:20])


if __name__ == "__main__":
    main()
