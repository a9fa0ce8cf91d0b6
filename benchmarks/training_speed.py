"""Training steps of the tiny model in float32, bfloat16 and compiled, alternating; the first compiled step counts too.

Example: python benchmarks/training_speed.py --rounds 8
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from stackwright.model.config import ModelConfig
from stackwright.model.transformer import Transformer
from stackwright.recipe import TrainSettings, load_recipe
from stackwright.train.hardware import has_bfloat16_units, has_compiler, processor_name
from stackwright.train.loss import summed_loss
from stackwright.train.optimizer import AdamW


class Variant:
    """One way to run a step, with its own model."""

    def __init__(self, name: str, *, bfloat16: bool, compiled: bool, batch: int) -> None:
        recipe = load_recipe("tiny")
        self.name, self.bfloat16 = name, bfloat16
        self.model = Transformer(ModelConfig.from_settings(recipe.model, recipe.tokenizer.vocab_size + 5))
        self.model.init_weights(torch.Generator().manual_seed(0))
        self.optimizer = AdamW(self.model.named_parameters(), TrainSettings())
        self.loss: Callable[..., torch.Tensor] = torch.compile(summed_loss) if compiled else summed_loss
        generator, shape = torch.Generator().manual_seed(1), (batch, recipe.data.seq_len)
        self.inputs = torch.randint(0, recipe.tokenizer.vocab_size, shape, generator=generator)
        self.targets = torch.randint(0, recipe.tokenizer.vocab_size, shape, generator=generator)
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def step(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            loss = self.loss(self.model, self.inputs, self.targets) / self.targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step(1e-3)
        self.optimizer.zero_grad()
        self.seconds.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled variants out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = load_recipe("tiny").train
    batch = settings.micro_batch_size
    variants = [
        Variant("float32", bfloat16=False, compiled=False, batch=batch),
        Variant("bfloat16", bfloat16=True, compiled=False, batch=batch),
    ]
    if has_compiler() and not options.no_compile:
        variants.append(Variant("bfloat16, compiled", bfloat16=True, compiled=True, batch=batch))
    for _ in range(options.rounds + 1):
        for variant in variants:
            variant.step()
    tokens, processor = variants[0].inputs.numel(), processor_name(torch.device("cpu"))
    print(f"{processor}, bfloat16 units: {has_bfloat16_units()}, {options.threads} threads, {tokens} tokens a step\n")
    print("| variant | tokens/s (median) | CPU s per step | first step, s | times float32 (median, range) |")
    print("| --- | ---: | ---: | ---: | --- |")
    for variant in variants:
        ratios = [base / own for base, own in zip(variants[0].seconds[1:], variant.seconds[1:], strict=True)]
        rate, cpu = tokens / statistics.median(variant.seconds[1:]), statistics.median(variant.cpu[1:])
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {variant.name} | {rate:,.0f} | {cpu:.2f} | {variant.seconds[0]:.1f} | {spread} |")


if __name__ == "__main__":
    main()
