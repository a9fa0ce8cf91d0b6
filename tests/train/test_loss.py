"""The loss and its gradients beside the plain formula, and the memory that it does without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stackwright.model.transformer import Transformer
from stackwright.train import loss
from stackwright.train.loss import summed_loss, target_nats
from tests.model.test_transformer import SHAPES, random_ids, random_model


def plain_loss(model: Transformer, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """The sum of -log p over the targets that count, from all logits at once."""
    log_p_BTV = torch.log_softmax(model(inputs_BT).double(), -1)
    picked_BT = log_p_BTV.gather(2, targets_BT.clamp(min=0).unsqueeze(2)).squeeze(2)
    return -(picked_BT * (targets_BT >= 0)).sum()


def batch_of(shape: str) -> tuple[Transformer, Tensor, Tensor]:
    model, inputs = random_model(SHAPES[shape]), random_ids(SHAPES[shape], 2, 20)
    targets = random_ids(SHAPES[shape], 2, 20, seed=9)
    targets[0, 3:9] = -100
    return model.train(), inputs, targets


def gradients(function: Callable[..., Tensor], model: Transformer, *arguments: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.autograd.backward(0.3 * function(model, *arguments))
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("shape", ["multi-query", "untied"])
@pytest.mark.parametrize("chunk", [7, 256], ids=["many chunks", "one chunk"])
def test_loss_and_gradients_are_those_of_the_plain_sum(monkeypatch: pytest.MonkeyPatch, shape: str, chunk: int) -> None:
    monkeypatch.setitem(loss.CHUNK_TOKENS, "cpu", chunk)
    model, inputs, targets = batch_of(shape)
    assert summed_loss(model, inputs, targets).item() == pytest.approx(plain_loss(model, inputs, targets).item(), rel=1e-5)
    ours, plain = gradients(summed_loss, model, inputs, targets), gradients(plain_loss, model, inputs, targets)
    assert ours.keys() == plain.keys() == dict(model.named_parameters()).keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, plain[name], atol=1e-5), name


def test_in_bfloat16_the_products_are_and_the_sums_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.CHUNK_TOKENS, "cpu", 7)
    model, inputs, targets = batch_of("multi-query")

    def in_bfloat16(*arguments: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return summed_loss(*arguments)

    ours, plain = gradients(in_bfloat16, model, inputs, targets), gradients(summed_loss, model, inputs, targets)
    for name, gradient in ours.items():
        assert gradient.dtype == torch.float32, name
        assert (gradient - plain[name]).abs().max() < 0.02 * plain[name].abs().max() + 1e-3, name
    assert not torch.equal(
        ours["head.weight" if "head.weight" in ours else "token_embedding.weight"], plain["token_embedding.weight"]
    )


@pytest.mark.parametrize(("enabled", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_logits_are_multiplied_in_the_type_of_autocast(enabled: bool, dtype: torch.dtype) -> None:
    model, inputs, targets = batch_of("multi-query")
    with LargestLogits(model.head.weight) as seen, torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        summed_loss(model, inputs, targets)
    assert seen.products == {dtype}


def test_a_batch_of_ignored_targets_costs_nothing_and_moves_nothing() -> None:
    model, inputs, targets = batch_of("multi-query")
    targets[:] = -100
    assert summed_loss(model, inputs, targets).item() == 0.0
    assert all(not gradient.any() for gradient in gradients(summed_loss, model, inputs, targets).values())


class LargestLogits(TorchDispatchMode):
    """Notes the most rows of logits that any operation makes, and the types of the products that make them."""

    def __init__(self, head_VC: Tensor) -> None:
        super().__init__()
        self.head, self.vocab_size, self.rows = head_VC.untyped_storage(), head_VC.size(0), 0
        self.products: set[torch.dtype] = set()

    def is_logits(self, value: Any) -> bool:
        """Whether the last dimension of a value is the vocabulary, and the value is not a view of the head."""
        if not isinstance(value, Tensor) or value.dim() < 2 or value.size(-1) != self.vocab_size:
            return False
        return value.untyped_storage().data_ptr() != self.head.data_ptr()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if self.is_logits(value):
                self.rows = max(self.rows, value.numel() // self.vocab_size)
                if func is torch.ops.aten.mm.default:
                    self.products.add(value.dtype)
        return result


@pytest.mark.parametrize("function", [summed_loss, target_nats])
def test_the_logits_of_a_batch_never_exist_at_once(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Tensor]) -> None:
    """Neither made nor kept: what the graph holds for the gradients has no row of logits."""
    monkeypatch.setitem(loss.CHUNK_TOKENS, "cpu", 8)
    model, inputs, targets = batch_of("multi-query")
    kept: list[Tensor] = []
    seen = LargestLogits(model.head.weight)

    def keep(tensor: Tensor) -> Tensor:
        if seen.is_logits(tensor):
            kept.append(tensor)
        return tensor

    with seen, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = function(model, inputs, targets).sum()
        if total.requires_grad:
            torch.autograd.backward(total)
    assert seen.rows == 8
    assert kept == []


def test_the_nats_of_each_target_add_up_to_the_loss() -> None:
    model, inputs, targets = batch_of("multi-query")
    nats = target_nats(model, inputs, targets)
    assert nats.shape == targets.shape
    assert not nats[targets < 0].any()
    assert nats.sum().item() == pytest.approx(summed_loss(model, inputs, targets).item(), rel=1e-5)
