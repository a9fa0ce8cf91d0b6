"""Training steps of the published models on one GPU: tokens per second, share of the peak, memory, beside transformers.

    python benchmarks/gpu_training.py [--seconds 40] [--peak 989e12]

SantaCoder-1.1B at 2,048 tokens, StarCoder2-3B at 4,096 and at 16,384; random tokens, weights in float32, products in
bfloat16, AdamW. FLOPs are those of `model/footprint.py`: matrix products, and of attention what the window lets through;
what recomputing adds is not counted. Each variant runs in a process of its own, ours and theirs in alternation. Ten minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stackwright.model.config import ModelConfig
from stackwright.model.footprint import training_flops_per_token
from stackwright.model.masks import choose_sight
from stackwright.model.transformer import Transformer
from stackwright.plan import Plan
from stackwright.recipe import TrainSettings, load_recipe
from stackwright.train.loss import summed_loss
from stackwright.train.optimizer import AdamW

WARM_UP = 3


@dataclass(frozen=True)
class Case:
    """One model at one length."""

    recipe: str
    seq_len: int
    batch: int
    recompute: bool

    @property
    def config(self) -> ModelConfig:
        return Plan.of(load_recipe(self.recipe)).config


CASES = {
    "santacoder": Case("santacoder", 2048, 8, recompute=False),
    "starcoder2-3b": Case("starcoder2-3b", 4096, 4, recompute=True),
    "starcoder2-3b-long": Case("starcoder2-3b", 16_384, 1, recompute=True),
}


def our_step(case: Case) -> Callable[[], None]:
    config, settings = case.config, TrainSettings()
    with torch.device("cuda"):
        model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    model.recompute = case.recompute
    model.train()
    optimizer, loss_function = AdamW(model.named_parameters(), settings), torch.compile(summed_loss)
    inputs, targets = random_batch(config, case)
    sight = choose_sight("auto", case.seq_len, config.window, None, inputs.device)

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = loss_function(model, inputs, targets, sight) / targets.numel()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(1e-4)
        optimizer.zero_grad()

    return step


def their_step(case: Case) -> Callable[[], None]:
    """The step of transformers' Trainer: its model, autocast, gradient checkpointing, fused AdamW, clipping."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from stackwright.model.hub_config import to_hub_config

    values = to_hub_config(case.config, 0, torch.float32)
    kind = values.pop("model_type")
    their_config = AutoConfig.for_model(kind, **values)
    their_config.use_cache = False
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(their_config, attn_implementation="sdpa")
    if case.recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    inputs, _ = random_batch(case.config, case)

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(input_ids=inputs, labels=inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def random_batch(config: ModelConfig, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, config.vocab_size, (case.batch, case.seq_len + 1), device="cuda")
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def worker(name: str, kind: str, seconds: float) -> None:
    case = CASES[name]
    step = (our_step if kind == "ours" else their_step)(case)
    times: list[float] = []
    begun = None
    while len(times) < WARM_UP + 3 or (begun is not None and time.perf_counter() - begun < seconds):
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
        if len(times) == WARM_UP:
            begun = time.perf_counter()
    print(json.dumps({"times": times[WARM_UP:], "peak_bytes": torch.cuda.max_memory_allocated()}))


def measure(name: str, kind: str, seconds: float) -> tuple[float, float] | None:
    """Return seconds of a step (median) and peak bytes; None where it did not fit or could not run."""
    command = [sys.executable, __file__, "--worker", name, "--kind", kind, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}, {kind}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(found["times"]), found["peak_bytes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of timed steps for each variant")
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of the GPU in bfloat16, dense")
    parser.add_argument("--worker", choices=list(CASES))
    parser.add_argument("--kind", choices=["ours", "theirs"])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU on this machine")
    if options.worker:
        worker(options.worker, options.kind, options.seconds)
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| model, tokens | kind | tokens/s | share of the peak | peak GB |\n| --- | --- | ---: | ---: | ---: |")
    for name, case in CASES.items():
        for kind in ("ours", "theirs"):
            found = measure(name, kind, options.seconds)
            if found is None:
                continue
            rate = case.batch * case.seq_len / found[0]
            share = rate * training_flops_per_token(case.config, case.seq_len) / options.peak
            label = f"{case.recipe}, {case.seq_len:,}"
            print(f"| {label} | {kind} | {rate:,.0f} | {share:.1%} | {found[1] / 1e9:.1f} |", flush=True)


if __name__ == "__main__":
    main()
