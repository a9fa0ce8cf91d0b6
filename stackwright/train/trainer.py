"""The training loop, and the stage around it.

In: token shards and the tokenizer. Out: `step-NNNNNN/` checkpoints, `metrics.jsonl`, the loss plot. A step is one optimizer
update; its batch is the next samples of the loader, so a run that is stopped and resumed sees the same tokens in the same
order and ends in the same weights, bit for bit, on one processor type and thread count. A loss or gradient norm that is not
finite stops the run before the optimizer moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stackwright.data.loader import Loader, TokenDataset
from stackwright.engine import StageContext
from stackwright.errors import NonFiniteLossError
from stackwright.log import Progress, SilentProgress, get_logger
from stackwright.model.config import ModelConfig
from stackwright.model.masks import Sight, choose_sight, documents_of
from stackwright.model.transformer import Transformer
from stackwright.recipe import Recipe, TrainSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.tokenizer.training import tokenizer_files
from stackwright.train.checkpoint import ResumeState, latest_checkpoint, load_checkpoint, save_checkpoint
from stackwright.train.hardware import choose_compile, choose_precision, choose_threads, processor_name
from stackwright.train.load_list import LOAD_LIST, TRAINING_DATA_FILE, write_load_list
from stackwright.train.loss import num_valid, summed_loss
from stackwright.train.metrics import MetricsLog, plot_losses, read_metrics
from stackwright.train.optimizer import build_optimizer, set_learning_rate
from stackwright.train.schedule import learning_rate
from stackwright.train.validation import bits_per_byte, choose_documents, score_documents

logger = get_logger("train")


TABLES = {"load_list": LOAD_LIST}


@dataclass(frozen=True)
class TrainData:
    """What the loop reads: training samples, and held-out documents where the run has any."""

    loader: Loader
    tokenizer: Tokenizer
    tokenizer_folder: Path
    validation: TokenDataset


def run_train(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    recipe, tokens = context.recipe, context.inputs["tokens"]
    folder = context.inputs["tokenizer"].folder
    tokenizer = Tokenizer.load(folder)
    train = TokenDataset(tokens, "train", tokenizer.sha256)
    loader = Loader(train, tokenizer, recipe.data, recipe.seed)
    data = TrainData(loader, tokenizer, folder, TokenDataset(tokens, "validation", tokenizer.sha256))
    write_load_list(context.staging, tokens, context.removals)
    trainer = Trainer(recipe, data, context.staging.folder, context.progress)
    state = trainer.run()
    validations = [line for line in read_metrics(context.staging.folder) if line["kind"] == "validation"]
    return {
        "parameters": trainer.config.num_parameters(),
        "steps": state.step,
        "samples": state.next_sample,
        "tokens": state.next_sample * recipe.data.seq_len,
        "tokens_with_loss": state.tokens,
        "validation_bits_per_byte": validations[-1]["bits_per_byte"] if validations else None,
        "threads": state.threads,
        "precision": state.precision,
        "processor": state.processor,
        "torch": torch.__version__,
    }


class Trainer:
    """Trains one model in one process, into one folder of checkpoints."""

    def __init__(self, recipe: Recipe, data: TrainData, folder: Path, progress: Progress | None = None) -> None:
        self.settings: TrainSettings = recipe.train
        self.data, self.folder = data, folder
        self.progress = progress or SilentProgress()
        self.precision = choose_precision(self.settings)
        self.threads = choose_threads(self.settings)
        self.samples_per_step = self.settings.micro_batch_size * self.settings.grad_accum_steps
        self.tokens_per_step = self.samples_per_step * recipe.data.seq_len
        self.config = ModelConfig.from_settings(recipe.model, data.tokenizer.vocab_size)
        self.model = Transformer(self.config)
        self.model.init_weights(torch.Generator().manual_seed(recipe.seed))
        self.optimizer = build_optimizer(self.model, self.settings)
        self.loss_function = torch.compile(summed_loss) if choose_compile(self.settings) else summed_loss
        self.state = ResumeState(0, 0, 0, self.threads, self.precision, processor_name())
        self.model.recompute = self.settings.recompute
        self._seed, self._is_masked = recipe.seed, recipe.data.document_mask
        self._held_out = choose_documents(data.validation.num_tokens, self.settings.eval_tokens)

    def run(self, stop_at: int | None = None) -> ResumeState:
        """Train to the last step of the recipe, from the latest checkpoint in the folder if there is one.

        Args:
            stop_at: leave after this step with a checkpoint, without bending the schedule.
        """
        last = min(stop_at or self.settings.steps, self.settings.steps)
        with deterministic(self.threads):
            self._resume_or_start()
            task = self.progress.task("train", self.settings.steps, "steps")
            task.advance(self.state.step)
            log = MetricsLog(self.folder, self.state.step)
            try:
                while self.state.step < last:
                    line = self._step()
                    log.write(line)
                    task.advance(1)
                    task.note(f"loss {line['loss']:.3f}")
                    self._after_step(log, is_last=self.state.step == last)
            finally:
                log.close()
        plot_losses(self.folder)
        return self.state

    def _resume_or_start(self) -> None:
        checkpoint = latest_checkpoint(self.folder)
        if checkpoint is None:
            torch.manual_seed(self._seed)
            return
        saved = load_checkpoint(checkpoint, self.model, self.optimizer)
        logger.info("resuming from %s", checkpoint.name)
        for name in ("threads", "precision", "processor"):
            before, now = getattr(saved, name), getattr(self.state, name)
            if before != now:
                logger.warning("resuming with %s %s after %s: the weights will not be bit-exact", name, now, before)
        self.state = ResumeState(saved.step, saved.next_sample, saved.tokens, self.threads, self.precision, processor_name())

    def _step(self) -> dict[str, Any]:
        """Do one optimizer update and return its line of metrics."""
        started, step = time.perf_counter(), self.state.step
        self.model.train()
        loss, valid = self._backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self._check_finite(loss, float(norm))
        rate = learning_rate(step, self.settings)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state = self.state
        self.state = ResumeState(
            step + 1,
            state.next_sample + self.samples_per_step,
            state.tokens + valid,
            state.threads,
            state.precision,
            state.processor,
        )
        seconds = time.perf_counter() - started
        return {
            "kind": "train",
            "step": step,
            "loss": loss,
            "grad_norm": float(norm),
            "lr": rate,
            "tokens": (step + 1) * self.tokens_per_step,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(self.tokens_per_step / seconds, 1),
        }

    def _backward(self) -> tuple[float, int]:
        """Accumulate the gradients of a step; returns its loss (nats per valid token) and number of valid targets."""
        micro = self.settings.micro_batch_size
        batches: list[tuple[Tensor, Tensor]] = []
        for index in range(self.settings.grad_accum_steps):
            inputs, targets = self.data.loader.batch(self.state.next_sample + index * micro, micro)
            batches.append((torch.from_numpy(inputs), torch.from_numpy(targets)))
        valid = sum(num_valid(targets_BT) for _, targets_BT in batches)
        total = 0.0
        for inputs_BT, targets_BT in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
                loss = self.loss_function(self.model, inputs_BT, targets_BT, *self._sight(inputs_BT)) / max(valid, 1)
            torch.autograd.backward(loss)
            total += loss.item()
        return total, valid

    def _sight(self, inputs_BT: Tensor) -> tuple[Sight, Tensor | None]:
        """Return what the tokens of a batch see, and their positions where these begin anew with each document."""
        documents_BT, positions_BT = None, None
        if self._is_masked:
            documents_BT, positions_BT = documents_of(inputs_BT, self.data.tokenizer.eot)
        kind, window = self.settings.attention, self.config.window
        sight = choose_sight(kind, inputs_BT.size(1), window, documents_BT, inputs_BT.device, self.config.dropout)
        return sight, positions_BT

    def _check_finite(self, loss: float, norm: float) -> None:
        for name, value in (("loss", loss), ("gradient norm", norm)):
            if not math.isfinite(value):
                checkpoint = latest_checkpoint(self.folder)
                left = f"the last good checkpoint is {checkpoint.name}" if checkpoint else "there is no checkpoint yet"
                raise NonFiniteLossError(
                    f"the {name} of step {self.state.step} is {value}; the weights were not changed and {left}",
                    "lower train.peak_lr or train.grad_clip, or set train.precision to float32",
                )

    def _after_step(self, log: MetricsLog, *, is_last: bool) -> None:
        step = self.state.step
        if self._held_out and (is_last or step % self.settings.eval_every == 0):
            scores = score_documents(self.model, self.data.validation, self._held_out, self.data.tokenizer.eot)
            log.write({"kind": "validation", "step": step, "bits_per_byte": bits_per_byte(scores)})
        if is_last or step % self.settings.checkpoint_every == 0:
            training_data = self.folder / TRAINING_DATA_FILE
            files = [*tokenizer_files(self.data.tokenizer_folder), *([training_data] if training_data.is_file() else [])]
            save_checkpoint(self.folder, self.model, self.optimizer, self.state, files, self.data.tokenizer.eot)


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Run torch with a fixed number of threads and deterministic algorithms, and put both back."""
    before_threads, before_mode = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill: Any = torch.utils.deterministic  # its one attribute is made at run time
    before_fill = fill.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory would only hide a read of it, which no operation here does, and costs a sixth of the time.
    fill.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before_threads)
        torch.use_deterministic_algorithms(before_mode)
        fill.fill_uninitialized_memory = before_fill
