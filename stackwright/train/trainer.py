"""The training loop, and the stage around it.

In: token shards and the tokenizer. Out: `step-NNNNNN/` checkpoints, `metrics.jsonl`, the loss plot. A step is one optimizer
update; its batch is the next samples of the loader, so a run that is stopped and resumed sees the same tokens in the same
order and ends in the same weights, bit for bit, on one processor type, thread count and number of ranks. Ranks share out the
samples of a step, so on another number of them the step is the same but for rounding. A loss or gradient norm that is not
finite stops the run before the optimizer moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackwright.artifact import Artifact, load_artifact
from stackwright.data.loader import Loader, TokenDataset
from stackwright.engine import StageContext
from stackwright.errors import NonFiniteLossError, RecipeError
from stackwright.log import Progress, SilentProgress, get_logger
from stackwright.model.config import ModelConfig
from stackwright.model.lean import forget_scratch
from stackwright.model.masks import Sight, choose_sight, documents_of
from stackwright.model.sharding import shard_model, whole_tensor
from stackwright.model.transformer import Transformer
from stackwright.recipe import Recipe
from stackwright.tokenizer.codec import Tokenizer
from stackwright.tokenizer.training import tokenizer_files
from stackwright.train.checkpoint import ResumeState, latest_checkpoint, load_checkpoint, save_checkpoint
from stackwright.train.hardware import (
    choose_compile,
    choose_precision,
    choose_threads,
    forget_peak_memory,
    keeping_freed_memory,
    peak_memory,
    processor_name,
)
from stackwright.train.load_list import LOAD_LIST, TRAINING_DATA_FILE, write_load_list
from stackwright.train.loss import num_valid, summed_loss
from stackwright.train.metrics import MetricsLog, NoLog, plot_losses, read_metrics
from stackwright.train.optimizer import AdamW
from stackwright.train.phases import Phase, phases_of
from stackwright.train.ranks import Ranks, await_order, one_rank, open_ranks, order_training
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

    @classmethod
    def open(cls, tokens: Artifact, tokenizer_folder: Path, recipe: Recipe) -> TrainData:
        """Open the data of one part of a training.

        Raises:
            TokenizerError: the tokens are of another tokenizer.
            DataError: they are too few for a sample.
        """
        tokenizer = Tokenizer.load(tokenizer_folder)
        train, validation = (TokenDataset(tokens, split, tokenizer.sha256) for split in ("train", "validation"))
        return cls(Loader(train, tokenizer, recipe.data, recipe.seed), tokenizer, tokenizer_folder, validation)


def run_train(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    tokens, tokenizer = context.inputs["tokens"], context.inputs["tokenizer"].folder
    folder, recipe = context.staging.folder, context.recipe
    write_load_list(context.staging, tokens, context.removals)
    order_training({"tokens": str(tokens.folder), "tokenizer": str(tokenizer), "folder": str(folder)})
    state, parameters = train(recipe, tokens, tokenizer, folder, context.progress)
    plot_losses(folder)
    phases, validations = phases_of(recipe), [line for line in read_metrics(folder) if line["kind"] == "validation"]
    return {
        "parameters": parameters,
        "steps": state.step,
        "samples": sum(phase.num_samples(state.step) for phase in phases),
        "tokens": sum(phase.num_tokens(state.step) for phase in phases),
        "tokens_with_loss": state.tokens,
        "validation_bits_per_byte": validations[-1]["bits_per_byte"] if validations else None,
        "ranks": state.ranks,
        "threads": state.threads,
        "precision": state.precision,
        "processor": state.processor,
        "torch": torch.__version__,
    }


def follow_training(recipe: Recipe) -> None:
    """Be one of the ranks that wait for rank 0 to come to the training, and take part in it."""
    order = await_order()
    if order is not None:
        train(recipe, load_artifact(Path(order["tokens"])), Path(order["tokenizer"]), Path(order["folder"]))


def train(
    recipe: Recipe, tokens: Artifact, tokenizer_folder: Path, folder: Path, progress: Progress | None = None
) -> tuple[ResumeState, int]:
    """Train all parts of a recipe with every rank that was launched; returns the last state and the number of parameters."""
    phases = phases_of(recipe)
    last = latest_checkpoint(folder)
    done = 0 if last is None else ResumeState.read(last).step
    with open_ranks() as ranks:
        for phase in phases:
            if done < phase.last_step or phase is phases[-1]:
                data = TrainData.open(tokens, tokenizer_folder, phase.recipe)
                trainer = Trainer(phase, data, folder, progress if ranks.is_first else None, ranks)
                state, parameters = trainer.run(), trainer.config.num_parameters()
                del trainer  # the next one needs the memory
    return state, parameters


class Trainer:
    """Trains one model through one part of a training, into a folder of checkpoints.

    Where steps were done before the part, it begins with the last checkpoint of them.

    Raises:
        RecipeError: the samples of a step cannot be shared out among the ranks.
    """

    def __init__(
        self,
        phase: Phase,
        data: TrainData,
        folder: Path,
        progress: Progress | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        recipe, self.phase = phase.recipe, phase
        self.settings = recipe.train
        self.data, self.folder = data, folder
        self.progress = progress or SilentProgress()
        self.ranks = ranks or one_rank()
        device = self.ranks.device
        self.precision = choose_precision(self.settings, device)
        self.threads = choose_threads(self.settings)
        self.samples_here = _share(phase, self.ranks)
        self.config = ModelConfig.from_settings(recipe.model, data.tokenizer.vocab_size)
        self.model = _new_model(self.config, recipe.seed, self.ranks)
        self.optimizer = AdamW(self.model.named_parameters(), self.settings)
        self.loss_function: Callable[..., Tensor] = summed_loss
        if choose_compile(self.settings, device):
            self.loss_function = torch.compile(summed_loss)
        self.state = ResumeState(
            phase.first_step, 0, 0, self.ranks.size, self.threads, self.precision, processor_name(device)
        )
        self.model.recompute = self.settings.recompute
        self._held_out = choose_documents(data.validation.num_tokens, self.settings.eval_tokens)

    def run(self, stop_at: int | None = None) -> ResumeState:
        """Train to the last step of this part, from the latest checkpoint in the folder if there is one.

        Args:
            stop_at: leave after this step with a checkpoint, without bending the schedule.
        """
        last = min(stop_at or self.phase.last_step, self.phase.last_step)
        with deterministic(self.threads, self.ranks.device), keeping_freed_memory():
            forget_peak_memory(self.ranks.device)
            self._resume()
            task = self.progress.task("train", self.phase.last_step, "steps")
            task.advance(self.state.step)
            log = MetricsLog(self.folder, self.state.step) if self.ranks.is_first else NoLog()
            try:
                while self.state.step < last:
                    line = self._step()
                    log.write(line)
                    task.advance(1)
                    task.note(f"loss {line['loss']:.3f}")
                    self._after_step(log, is_last=self.state.step == last)
            finally:
                log.close()
                forget_scratch()
        return self.state

    def _resume(self) -> None:
        checkpoint = latest_checkpoint(self.folder)
        if checkpoint is None:
            return
        saved = load_checkpoint(checkpoint, self.model, self.optimizer)
        logger.info("resuming from %s", checkpoint.name)
        for name in ("ranks", "threads", "precision", "processor"):
            before, now = getattr(saved, name), getattr(self.state, name)
            if before != now:
                logger.warning("resuming with %s %s after %s: the weights will not be bit-exact", name, now, before)
        next_sample = self.phase.num_samples(saved.step)
        self.state = replace(self.state, step=saved.step, next_sample=next_sample, tokens=saved.tokens)

    def _step(self) -> dict[str, Any]:
        """Do one optimizer update and return its line of metrics."""
        started, step, state = time.perf_counter(), self.state.step, self.state
        self.model.train()
        torch.manual_seed(_step_seed(self.phase.recipe.seed, step, self.ranks.rank))
        loss, valid = self._backward()
        norm = whole_tensor(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)).item()
        self._check_finite(loss, norm)
        rate = learning_rate(step - self.phase.first_step, self.settings)
        self.optimizer.step(rate)
        self.optimizer.zero_grad()
        next_sample = state.next_sample + self.phase.samples_per_step
        self.state = replace(state, step=step + 1, next_sample=next_sample, tokens=state.tokens + valid)
        seconds = time.perf_counter() - started
        return {
            "kind": "train",
            "step": step,
            "loss": loss,
            "grad_norm": norm,
            "lr": rate,
            "tokens": self.phase.first_token + next_sample * self.phase.recipe.data.seq_len,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(self.phase.tokens_per_step / seconds, 1),
        }

    def _backward(self) -> tuple[float, int]:
        """Accumulate the gradients of a step; returns its loss (nats per valid token) and number of valid targets.

        Both are of all ranks. Gradients are averaged over ranks where they are shared out, which the factor undoes.
        """
        ranks, batches = self.ranks, list(self._batches())
        (valid,) = ranks.total(sum(num_valid(targets_BT) for _, targets_BT in batches))
        total = 0.0
        for inputs_BT, targets_BT in batches:
            with torch.autocast(ranks.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
                loss = self.loss_function(self.model, inputs_BT, targets_BT, *self._sight(inputs_BT)) / max(valid, 1)
            torch.autograd.backward(loss * ranks.size)
            total += loss.item()
        (total,) = ranks.total(total)
        return total, int(valid)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of the samples that are this rank's in the next step."""
        first = self.state.next_sample + self.ranks.rank * self.samples_here
        for begin in range(0, self.samples_here, self.settings.micro_batch_size):
            count = min(self.settings.micro_batch_size, self.samples_here - begin)
            inputs, targets = self.data.loader.batch(first + begin, count)
            yield torch.from_numpy(inputs).to(self.ranks.device), torch.from_numpy(targets).to(self.ranks.device)

    def _sight(self, inputs_BT: Tensor) -> tuple[Sight, Tensor | None]:
        """Return what the tokens of a batch see, and their positions where these begin anew with each document."""
        documents_BT, positions_BT = None, None
        if self.phase.recipe.data.document_mask:
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

    def _after_step(self, log: MetricsLog | NoLog, *, is_last: bool) -> None:
        step, eot = self.state.step, self.data.tokenizer.eot
        if self._held_out and (is_last or step % self.settings.eval_every == 0):
            # A pass takes no more tokens than one of training, and so no more memory.
            size = self.settings.micro_batch_size * self.phase.recipe.data.seq_len
            scores = score_documents(self.model, self.data.validation, self._held_out, eot, size, self.ranks)
            log.write({"kind": "validation", "step": step, "bits_per_byte": bits_per_byte(scores)})
        if is_last or step % self.settings.checkpoint_every == 0:
            log.write({"kind": "memory", "step": step, "peak_bytes": peak_memory(self.ranks.device)})
            training_data = self.folder / TRAINING_DATA_FILE
            files = [*tokenizer_files(self.data.tokenizer_folder), *([training_data] if training_data.is_file() else [])]
            save_checkpoint(self.folder, self.model, self.optimizer, self.state, files, eot, self.ranks)


def _share(phase: Phase, ranks: Ranks) -> int:
    """Return how many samples of a step each rank takes."""
    if phase.samples_per_step % ranks.size:
        train = phase.recipe.train
        raise RecipeError(
            f"a step of {phase.samples_per_step} samples (micro_batch_size {train.micro_batch_size} x grad_accum_steps "
            f"{train.grad_accum_steps}) cannot be shared out evenly among {ranks.size} ranks",
            "start another number of processes, or change train.grad_accum_steps",
        )
    return phase.samples_per_step // ranks.size


def _new_model(config: ModelConfig, seed: int, ranks: Ranks) -> Transformer:
    """Return a model with its first weights, shared out where there are several ranks; it is never whole in memory then."""
    if ranks.mesh is None:
        with torch.device(ranks.device):
            model = Transformer(config)
    else:
        with torch.device("meta"):
            model = Transformer(config)
        shard_model(model, ranks.mesh)
        model.to_empty(device=ranks.device)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def _step_seed(seed: int, step: int, rank: int) -> int:
    """Return what dropout is seeded with: no state of a generator has to be kept, and no two ranks drop alike."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


@contextmanager
def deterministic(threads: int, device: torch.device | None = None) -> Iterator[None]:
    """Run torch with a fixed number of threads and, on the CPU, deterministic algorithms, and put both back."""
    before_threads, before_mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fill: Any = torch.utils.deterministic  # its one attribute is made at run time
    before_fill = fill.fill_uninitialized_memory
    torch.set_num_threads(threads)
    # use_deterministic_algorithms does the same, and loads the compiler for it: 68 MB.
    torch.set_deterministic_debug_mode("error" if device is None or device.type == "cpu" else "default")
    # Filling fresh memory would only hide a read of it, which no operation here does, and costs a sixth of the time.
    fill.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before_threads)
        torch.set_deterministic_debug_mode(before_mode)
        fill.fill_uninitialized_memory = before_fill
