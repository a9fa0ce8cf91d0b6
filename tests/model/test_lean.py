"""The arithmetic of training on a processor beside torch's own: values, gradients, and what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackwright.model import lean
from stackwright.model.lean import linear_of, normed_linear
from stackwright.model.masks import SdpaSight


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def gradients(function: Callable[[], Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the value and the gradients of a weighted sum of it."""
    value = function()
    weights = torch.linspace(-1, 1, value.numel()).view_as(value)
    return (value, *torch.autograd.grad((value * weights).sum(), tensors))


def assert_close(ours: tuple[Tensor, ...], plain: tuple[Tensor, ...], tolerance: float = 1e-5) -> None:
    for own, other in zip(ours, plain, strict=True):
        assert own.dtype == other.dtype
        assert torch.allclose(own, other, atol=tolerance, rtol=tolerance)


@pytest.fixture
def layer() -> tuple[Tensor, nn.LayerNorm, nn.Linear]:
    torch.manual_seed(0)
    norm, linear = nn.LayerNorm(24), nn.Linear(24, 10)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return torch.randn(2, 9, 24, requires_grad=True), norm, linear


def test_products_of_cheap_functions_have_torchs_values_and_gradients(layer: tuple[Tensor, nn.LayerNorm, nn.Linear]) -> None:
    x, norm, linear = layer
    tensors = (x, linear.weight, linear.bias)
    assert_close(gradients(lambda: linear_of(gelu, x, linear), *tensors), gradients(lambda: linear(gelu(x)), *tensors))
    tensors = (*tensors, norm.weight, norm.bias)
    assert_close(gradients(lambda: normed_linear(norm, x, linear), *tensors), gradients(lambda: linear(norm(x)), *tensors))


def test_under_autocast_products_are_bfloat16_and_gradients_float32(layer: tuple[Tensor, nn.LayerNorm, nn.Linear]) -> None:
    x, norm, linear = layer
    tensors = (x, linear.weight, linear.bias, norm.weight, norm.bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = gradients(lambda: normed_linear(norm, x, linear), *tensors)
        plain = gradients(lambda: linear(norm(x)), *tensors)
    assert ours[0].dtype == torch.bfloat16
    assert_close(ours, plain, 0.03)


def test_the_value_of_a_cheap_function_is_not_kept(layer: tuple[Tensor, nn.LayerNorm, nn.Linear]) -> None:
    x, norm, linear = layer

    def kept(function: Callable[[], Tensor]) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []
        own = {tensor.untyped_storage().data_ptr() for tensor in (x, *norm.parameters(), *linear.parameters())}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in own and tensor.numel() >= x.numel():
                shapes.append(tuple(tensor.shape))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            function()
        return shapes

    assert kept(lambda: normed_linear(norm, x, linear)) == []
    assert kept(lambda: linear_of(gelu, x, linear)) == []
    assert kept(lambda: linear(gelu(x))) != []


def test_without_gradients_it_is_torchs_own(layer: tuple[Tensor, nn.LayerNorm, nn.Linear]) -> None:
    x, norm, linear = layer
    with torch.no_grad():
        assert torch.equal(normed_linear(norm, x, linear), linear(norm(x)))


def test_threads_do_not_share_what_a_product_needs_for_a_moment(
    layer: tuple[Tensor, nn.LayerNorm, nn.Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is held between its two pieces while another goes through; each has its own result."""
    monkeypatch.setattr(lean, "CHUNK_ROWS", 9)
    x, _, linear = layer
    other, has_first_piece, go_on = torch.randn_like(x), threading.Event(), threading.Event()
    found: list[Tensor] = []
    pieces: list[Tensor] = []

    def held(piece: Tensor) -> Tensor:
        pieces.append(piece)
        if len(pieces) == 2:
            has_first_piece.set()
            assert go_on.wait(10)
        return gelu(piece)

    thread = threading.Thread(target=lambda: found.append(linear_of(held, x, linear).detach()))
    thread.start()
    assert has_first_piece.wait(10)
    linear_of(gelu, other, linear)
    go_on.set()
    thread.join()
    assert torch.allclose(found[0], linear(gelu(x)), atol=1e-5)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None, documents: Tensor | None) -> Tensor:
    """Attention by its formula, from all scores at once."""
    group, (num_tokens, head_dim) = q.size(1) // k.size(1), q.shape[2:]
    keys, values = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    distance = torch.arange(num_tokens)[:, None] - torch.arange(num_tokens)
    seen = distance >= 0
    if window is not None:
        seen &= distance < window
    if documents is not None:
        seen = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    scores = (q @ keys.transpose(-2, -1)) * head_dim**-0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 5, 100])
@pytest.mark.parametrize("has_documents", [False, True])
@pytest.mark.parametrize("chunk", [7, 64])
def test_attention_in_chunks_has_the_values_and_gradients_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, kv_heads: int, window: int | None, has_documents: bool, chunk: int
) -> None:
    monkeypatch.setattr("stackwright.model.masks.CHUNK_QUERIES", chunk)
    torch.manual_seed(0)
    q = torch.randn(2, 4, 30, 8, requires_grad=True)
    k, v = (torch.randn(2, kv_heads, 30, 8, requires_grad=True) for _ in range(2))
    documents = torch.tensor([[0] * 11 + [1] * 19, [3] * 20 + [4] * 10]) if has_documents else None
    called: list[int] = []
    original = lean.attend_in_chunks

    def counted(*arguments: object) -> Tensor:
        called.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("stackwright.model.masks.attend_in_chunks", counted)
    assert_close(
        gradients(lambda: SdpaSight(window, documents).attend(q, k, v), q, k, v),
        gradients(lambda: plain_attention(q, k, v, window, documents), q, k, v),
    )
    assert called
