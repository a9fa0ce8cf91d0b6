"""Training beside transformers' Trainer: tokens per second and peak memory, on the same samples of a run's tokens.

Each round trains every variant in a process of its own, in alternation, from the same first weights with the same batches,
optimizer (fused AdamW), clipping, precision and threads. Steps after the first few are timed; memory is the largest resident
size of the process. Also says how much quicker than training the loader is, with fill-in-the-middle and packing.

    pip install accelerate
    python benchmarks/training_peers.py runs/tiny --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stackwright.artifact import load_artifact
from stackwright.model.hub_folder import save_model_folder
from stackwright.recipe import Recipe, load_recipe
from stackwright.train.metrics import read_metrics
from stackwright.train.phases import Phase
from stackwright.train.trainer import TrainData, Trainer

SIZES = {
    "tiny": (),
    "30M": ("model.hidden_size=512", "model.num_layers=9", "model.num_heads=8"),
}
WARM_UP = 3


def recipe_of(size: str, precision: str, steps: int) -> Recipe:
    settings = [
        f"train.precision={precision}",
        f"train.steps={steps}",
        "train.warmup_steps=0",
        "train.threads=2",
        "train.eval_tokens=1",
        f"train.checkpoint_every={steps + 1}",
        f"train.eval_every={steps + 1}",
    ]
    return load_recipe("tiny", [*SIZES[size], *settings])


def open_data(run: Path, recipe: Recipe) -> TrainData:
    return TrainData.open(load_artifact(run / "tokens"), run / "tokenizer", recipe)


def train_ours(run: Path, recipe: Recipe, folder: Path) -> list[float]:
    """Train with the project's own loop; returns the seconds of each step."""
    Trainer(Phase(recipe), open_data(run, recipe), folder).run()
    return [line["seconds"] for line in read_metrics(folder) if line["kind"] == "train"]


def train_theirs(run: Path, recipe: Recipe, folder: Path) -> list[float]:
    """Train with transformers' Trainer; returns the seconds of each step."""
    from transformers import AutoModelForCausalLM, TrainerCallback, TrainingArguments
    from transformers import Trainer as TheirTrainer

    data, train = open_data(run, recipe), recipe.train
    own = Trainer(Phase(recipe), data, folder)
    save_model_folder(folder / "first", own.model, data.tokenizer.eot)
    del own
    model = AutoModelForCausalLM.from_pretrained(folder / "first")

    class Samples(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return train.steps * train.micro_batch_size

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            inputs = torch.from_numpy(data.loader.sample(index)[:-1])
            return {"input_ids": inputs, "labels": inputs}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.times.append(time.perf_counter())

    arguments = TrainingArguments(
        output_dir=str(folder / "theirs"),
        max_steps=train.steps,
        per_device_train_batch_size=train.micro_batch_size,
        gradient_accumulation_steps=train.grad_accum_steps,
        learning_rate=train.peak_lr,
        lr_scheduler_type="cosine",
        weight_decay=train.weight_decay,
        adam_beta1=train.beta1,
        adam_beta2=train.beta2,
        max_grad_norm=train.grad_clip,
        bf16=train.precision == "bfloat16",
        optim="adamw_torch_fused",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=train.steps,
    )
    clock = Clock()
    TheirTrainer(model=model, args=arguments, train_dataset=Samples(), callbacks=[clock]).train()
    return np.diff([*clock.times, time.perf_counter()]).tolist()


def worker(kind: str, run: Path, size: str, precision: str, steps: int) -> None:
    torch.set_num_threads(2)
    recipe = recipe_of(size, precision, steps)
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        seconds = (train_ours if kind == "ours" else train_theirs)(run, recipe, Path(folder))
    print(json.dumps({"seconds": seconds[WARM_UP:], "cpu": time.process_time() - cpu}))


def measure(kind: str, run: Path, size: str, precision: str, steps: int) -> tuple[float, float]:
    """Return tokens per second and peak bytes of one process."""
    command = [sys.executable, __file__, str(run), "--worker", kind, "--size", size]
    command += ["--precision", precision, "--steps", str(steps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    assert status == 0, f"{kind} of {size} failed"
    recipe = recipe_of(size, precision, steps)
    tokens = recipe.train.micro_batch_size * recipe.data.seq_len
    seconds = json.loads(output.splitlines()[-1])["seconds"]
    return tokens / statistics.median(seconds), usage.ru_maxrss * 1024


def loader_rate(run: Path) -> float:
    """Return the tokens per second that the loader gives on one core."""
    recipe = recipe_of("tiny", "float32", 1)
    loader, begun, count = open_data(run, recipe).loader, time.perf_counter(), 400
    for index in range(count):
        loader.sample(index)
    return count * recipe.data.seq_len / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of `tiny`, for its tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--worker", choices=["ours", "theirs"])
    parser.add_argument("--size", choices=list(SIZES), default=None)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.run, options.size, options.precision, options.steps)
        return
    print(f"loader: {loader_rate(options.run):,.0f} tokens/s\n")
    print("| model | stackwright tokens/s | Trainer tokens/s | ratio (median, from, to) | peak MB | Trainer's | ratio |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    for size in [options.size] if options.size else SIZES:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(options.rounds):
            for kind in ("ours", "theirs"):
                found[kind].append(measure(kind, options.run, size, options.precision, options.steps))
        ratios = [own[0] / other[0] for own, other in zip(found["ours"], found["theirs"], strict=True)]
        rates = [statistics.median(rate for rate, _ in found[kind]) for kind in ("ours", "theirs")]
        peaks = [statistics.median(peak for _, peak in found[kind]) for kind in ("ours", "theirs")]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"| {size} | {rates[0]:,.0f} | {rates[1]:,.0f} | {spread} "
            f"| {peaks[0] / 1e6:,.0f} | {peaks[1] / 1e6:,.0f} | {peaks[0] / peaks[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
