"""Training: golden losses, exact resume, the arithmetic of a step, and a stop before harm is done."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stackwright.artifact import load_artifact
from stackwright.data.loader import Loader, TokenDataset
from stackwright.errors import CheckpointError, NonFiniteLossError
from stackwright.recipe import Recipe, TrainSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.checkpoint import latest_checkpoint, moments_file
from stackwright.train.loss import summed_loss
from stackwright.train.metrics import plot_losses, read_metrics, smoothed
from stackwright.train.optimizer import AdamW
from stackwright.train.phases import Phase
from stackwright.train.ranks import Ranks
from stackwright.train.schedule import learning_rate
from stackwright.train.trainer import TrainData, Trainer, deterministic
from tests.corpus import small_recipe

GOLDEN = Path(__file__).parent.parent / "golden" / "training_losses.json"


def make_trainer(run: Path, folder: Path, *overrides: str, ranks: Ranks | None = None) -> Trainer:
    recipe: Recipe = small_recipe(Path("unused"), "train.steps=10", *overrides)
    tokens, tokenizer = load_artifact(run / "tokens"), Tokenizer.load(run / "tokenizer")
    loader = Loader(TokenDataset(tokens, "train", tokenizer.sha256), tokenizer, recipe.data, recipe.seed)
    validation = TokenDataset(tokens, "validation", tokenizer.sha256)
    folder.mkdir(exist_ok=True)
    return Trainer(Phase(recipe), TrainData(loader, tokenizer, run / "tokenizer", validation), folder, ranks=ranks)


def losses_of(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if line["kind"] == "train"]


def state_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of everything that the last checkpoint holds of model and optimizer."""
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None
    return {name: (checkpoint / name).read_bytes() for name in ("model.safetensors", moments_file(0, 1), "resume.json")}


STARCODER2 = ("model.architecture='starcoder2'", "model.num_heads=4", "model.num_kv_heads=2", "model.sliding_window=16")
CURVES = {
    "gpt_bigcode": (),
    "gpt_bigcode, multi-head, documents": ("model.num_kv_heads=2", "data.document_mask=true"),
    "starcoder2": STARCODER2,
    "starcoder2, documents": (*STARCODER2, "data.document_mask=true"),
}


@pytest.mark.parametrize("name", CURVES)
def test_losses_are_the_golden_ones(finished_run: Path, tmp_path: Path, name: str) -> None:
    """In float32, eager, on one thread."""
    make_trainer(finished_run, tmp_path, *CURVES[name]).run()
    losses = losses_of(tmp_path)
    assert losses == pytest.approx(json.loads(GOLDEN.read_text())[name], abs=1e-3)  # processors differ in the last digits
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("overrides", [(), ("model.dropout=0.1",), STARCODER2], ids=["plain", "dropout", "starcoder2"])
def test_recomputing_changes_nothing_but_memory(finished_run: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    make_trainer(finished_run, tmp_path / "kept", *overrides).run(stop_at=3)
    make_trainer(finished_run, tmp_path / "again", *overrides, "train.recompute=true").run(stop_at=3)
    assert losses_of(tmp_path / "again") == losses_of(tmp_path / "kept")
    assert state_of(tmp_path / "again") == state_of(tmp_path / "kept")


@pytest.mark.parametrize("overrides", [(), ("model.dropout=0.1",), ("train.grad_accum_steps=2", "train.micro_batch_size=2")])
def test_resume_is_bit_exact(finished_run: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """Ten steps equal five, stop, five: weights, optimizer, losses."""
    make_trainer(finished_run, tmp_path / "whole", *overrides).run()
    make_trainer(finished_run, tmp_path / "parts", *overrides).run(stop_at=5)
    # The checkpoint of step 4 is the last on the way: step 5 is one that stop_at asked for.
    resumed = make_trainer(finished_run, tmp_path / "parts", *overrides)
    resumed.run()
    assert state_of(tmp_path / "parts") == state_of(tmp_path / "whole")
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_resume_from_an_older_checkpoint_repeats_the_steps_in_between(finished_run: Path, tmp_path: Path) -> None:
    make_trainer(finished_run, tmp_path / "whole").run()
    make_trainer(finished_run, tmp_path / "killed").run(stop_at=7)
    checkpoint = latest_checkpoint(tmp_path / "killed")
    assert checkpoint is not None
    (checkpoint / "resume.json").unlink()  # as a kill leaves it: not a checkpoint, so that of step 4 is the latest
    checkpoint.rename(tmp_path / "away")
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 7, "lo')
    make_trainer(finished_run, tmp_path / "killed").run()
    assert state_of(tmp_path / "killed") == state_of(tmp_path / "whole")
    steps = [line["step"] for line in read_metrics(tmp_path / "killed") if line["kind"] == "train"]
    assert steps == list(range(10))


def test_accumulated_micro_batches_equal_one_large_batch(finished_run: Path, tmp_path: Path) -> None:
    one = make_trainer(finished_run, tmp_path / "one", "train.micro_batch_size=4")
    four = make_trainer(finished_run, tmp_path / "four", "train.micro_batch_size=1", "train.grad_accum_steps=4")
    for trainer in (one, four):
        trainer.model.train()
    (loss_one, valid_one), (loss_four, valid_four) = one._backward(), four._backward()
    assert valid_one == valid_four
    assert loss_one == pytest.approx(loss_four, rel=1e-5)
    for name, parameter in one.model.named_parameters():
        other = dict(four.model.named_parameters())[name]
        assert parameter.grad is not None
        assert other.grad is not None
        assert torch.allclose(parameter.grad, other.grad, atol=1e-6), name


def test_optimizer_step_agrees_with_plain_adamw(finished_run: Path, tmp_path: Path) -> None:
    """Two updates of AdamW as the paper writes them (arXiv 1711.05101, algorithm 2), in numpy."""
    settings = TrainSettings(weight_decay=0.2, beta1=0.8, beta2=0.9, adam_eps=1e-6)
    trainer = make_trainer(finished_run, tmp_path)
    optimizer = AdamW(trainer.model.named_parameters(), settings)
    before = {name: parameter.detach().double().numpy().copy() for name, parameter in trainer.model.named_parameters()}
    moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in before.items()}
    for step in (1, 2):
        trainer._backward()
        for name, parameter in trainer.model.named_parameters():
            assert parameter.grad is not None
            gradient = parameter.grad.double().numpy()
            first, second = moments[name]
            first[:] = 0.8 * first + 0.2 * gradient
            second[:] = 0.9 * second + 0.1 * gradient**2
            decay = 0.2 if parameter.dim() >= 2 else 0.0
            before[name] *= 1 - 0.01 * decay
            before[name] -= 0.01 * (first / (1 - 0.8**step)) / (np.sqrt(second / (1 - 0.9**step)) + 1e-6)
        optimizer.step(0.01)
        optimizer.zero_grad()
    assert optimizer.updates == 2
    for name, parameter in trainer.model.named_parameters():
        assert np.allclose(parameter.detach().numpy(), before[name], atol=2e-5), name


@pytest.mark.parametrize(("what", "attribute"), [("loss", "loss_function"), ("gradient norm", "model")])
def test_a_value_that_is_not_finite_stops_before_the_optimizer_moves(
    finished_run: Path, tmp_path: Path, what: str, attribute: str
) -> None:
    trainer = make_trainer(finished_run, tmp_path)
    trainer.run(stop_at=4)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    if attribute == "loss_function":
        trainer.loss_function = lambda *arguments: summed_loss(*arguments) * math.inf
    else:
        trainer.model.final_norm.weight.register_hook(lambda gradient: gradient * math.nan)
    with (
        deterministic(1),
        pytest.raises(
            NonFiniteLossError,
            match=rf"the {what} of step 4 is (inf|nan); .* last good checkpoint is step-000004; lower train.peak_lr",
        ),
    ):
        trainer._step()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert trainer.state.step == 4


def test_a_checkpoint_of_another_shape_is_refused(finished_run: Path, tmp_path: Path) -> None:
    make_trainer(finished_run, tmp_path).run(stop_at=4)
    with pytest.raises(CheckpointError, match="holds a model of another shape"):
        make_trainer(finished_run, tmp_path, "model.num_layers=3").run()


EFFECTS = [
    "train.peak_lr=0.01",
    "train.min_lr=0.0009",
    "train.warmup_steps=5",
    "train.decay_steps=5",
    "train.beta1=0.5",
    "train.beta2=0.5",
    "train.adam_eps=0.001",
    "train.weight_decay=0.9",
    "train.grad_clip=0.01",
    "train.micro_batch_size=2",
    "train.grad_accum_steps=2",
    "train.precision=bfloat16",
    "model.dropout=0.5",
    "model.init_std=0.5",
    "model.num_kv_heads=2",
    "model.norm_eps=0.5",
    "model.tied_embeddings=false",
    "model.intermediate_size=16",
    "data.fim_rate=0.0",
    "seed=1",
]


@pytest.fixture(scope="module")
def plain_losses(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("plain")
    make_trainer(finished_run, folder).run()
    return losses_of(folder)


@pytest.mark.parametrize("override", EFFECTS)
def test_every_option_has_an_effect(finished_run: Path, tmp_path: Path, plain_losses: list[float], override: str) -> None:
    make_trainer(finished_run, tmp_path, override).run()
    assert losses_of(tmp_path) != plain_losses


def test_learning_rate_warms_up_falls_like_a_cosine_and_stays() -> None:
    settings = TrainSettings(steps=100, peak_lr=1.0, min_lr=0.1, warmup_steps=10, decay_steps=60)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[35] == pytest.approx(0.55)
    assert rates[60:] == pytest.approx([0.1] * 40)
    assert rates[10:61] == sorted(rates[10:61], reverse=True)


def test_santacoders_schedule_ends_its_short_runs_above_the_minimum() -> None:
    """FACTS K 34: the 300 K ablations used a cosine laid out for 600 K."""
    settings = TrainSettings(steps=300_000, decay_steps=600_000, warmup_steps=12_000, peak_lr=2e-4, min_lr=2e-5)
    assert learning_rate(299_999, settings) > 5 * settings.min_lr


def test_the_plot_is_drawn_and_deterministic(finished_run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text((finished_run / "checkpoints" / "metrics.jsonl").read_text())
        plot_losses(tmp_path / name)
    assert (tmp_path / "a" / "loss.svg").read_bytes() == (tmp_path / "b" / "loss.svg").read_bytes()
    assert (tmp_path / "a" / "loss.png").read_bytes()[:4] == b"\x89PNG"
    plot_losses(tmp_path)
    assert not (tmp_path / "loss.png").exists()


def test_moving_average_has_no_bias_at_the_start() -> None:
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smoothed([0.0, 1.0], weight=0.5)[1] == pytest.approx(2 / 3)


def test_resume_state_names_where_the_data_stands(finished_run: Path) -> None:
    state = json.loads((finished_run / "checkpoints" / "step-000008" / "resume.json").read_text())
    assert (state["step"], state["next_sample"]) == (8, 32)


@pytest.mark.filterwarnings("ignore")  # of the compiler's own modules
def test_compiled_training_gives_the_same_losses(
    finished_run: Path, tmp_path: Path, plain_losses: list[float], needs_program: Callable[[str], str]
) -> None:
    needs_program("g++")
    trainer = make_trainer(finished_run, tmp_path, "train.compile=on")
    assert trainer.loss_function is not summed_loss
    trainer.run(stop_at=3)
    assert losses_of(tmp_path) == pytest.approx(plain_losses[:3], abs=1e-4)
