"""Greedy decoding, single stream: ours beside transformers' `generate`, alternating in one process.

Example: python benchmarks/generation_speed.py --model runs/tiny/release --new-tokens 200
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from stackwright.generate.backend import TorchBackend
from stackwright.model.config import ModelConfig
from stackwright.model.hub import load_model_folder, save_model_folder
from stackwright.model.transformer import Transformer


def random_folder(folder: Path) -> Path:
    """Write a model of the shape of the recipe `tiny` with random weights."""
    model = Transformer(ModelConfig(4224, 192, 3, 3, 1, 768, 256))
    model.init_weights(torch.Generator().manual_seed(0))
    save_model_folder(folder, model, eot_id=0)
    return folder


def timed(function: Callable[[], list[int]]) -> tuple[float, float, list[int]]:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = function()
    return time.perf_counter() - wall, time.process_time() - cpu, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a gpt_bigcode folder; random weights when not given")
    parser.add_argument("--new-tokens", type=int, default=200)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = options.model or random_folder(Path(tempfile.mkdtemp()))
    ours, theirs = TorchBackend(load_model_folder(folder)), AutoModelForCausalLM.from_pretrained(folder).eval()
    vocab = ours.model.config.vocab_size
    prompt = torch.randint(0, vocab, (1, options.prompt_tokens), generator=torch.Generator().manual_seed(1))

    def run_ours() -> list[int]:
        session, fed, tokens = ours.open(options.prompt_tokens + options.new_tokens), prompt[0].tolist(), []
        for _ in range(options.new_tokens):
            tokens.append(int(session.feed(fed).argmax()))
            fed = tokens[-1:]
        return tokens

    @torch.inference_mode()
    def run_theirs() -> list[int]:
        ids = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=options.new_tokens,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=0,
        )
        return list(ids[0, options.prompt_tokens :].tolist())

    assert run_ours() == run_theirs(), "the two must say the same tokens"
    rows = [(timed(run_ours), timed(run_theirs)) for _ in range(options.rounds)]
    ratios = [theirs_time / ours_time for (ours_time, _, _), (theirs_time, _, _) in rows]
    print(f"{options.new_tokens} tokens after {options.prompt_tokens}, {options.threads} threads, {options.rounds} rounds\n")
    print("| | tokens/s (median) | CPU ms per token |\n| --- | ---: | ---: |")
    for name, column in (("stackwright", 0), ("transformers generate", 1)):
        walls, cpus = [row[column][0] for row in rows], [row[column][1] for row in rows]
        rate = options.new_tokens / statistics.median(walls)
        print(f"| {name} | {rate:,.0f} | {1000 * statistics.median(cpus) / options.new_tokens:.2f} |")
    print(f"\nratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
