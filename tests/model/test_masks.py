"""What a token sees: both ways of computing attention equal a plain reference, and cost no more than the window."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stackwright.model import masks
from stackwright.model.masks import FlexSight, SdpaSight, Sight, documents_of


def reference(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, window: int | None, documents_BT: Tensor | None) -> Tensor:
    """Attention written out: every product, every rule, every weight."""
    B, H, T, D = q_BHTD.shape
    S, group = k_BKSD.size(2), H // k_BKSD.size(1)
    seen_BHTD = torch.zeros(B, H, T, D)
    for row in range(B):
        for head in range(H):
            for place in range(T):
                query = S - T + place
                keys = [key for key in range(query + 1) if window is None or query - key < window]
                if documents_BT is not None:
                    keys = [key for key in keys if documents_BT[row, key] == documents_BT[row, query]]
                scores = k_BKSD[row, head // group, keys] @ q_BHTD[row, head, place] / math.sqrt(D)
                seen_BHTD[row, head, place] = torch.softmax(scores, 0) @ v_BKSD[row, head // group, keys]
    return seen_BHTD


def heads(num: int, T: int, seed: int) -> Tensor:
    return torch.randn(2, num, T, 16, generator=torch.Generator().manual_seed(seed))


DOCUMENTS_BT = torch.tensor([[0] * 5 + [1] * 30 + [2] + [3] * 4, [0] * 39 + [1]])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["sdpa", "flex"])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 1, 7, 39, 40, 100])
@pytest.mark.parametrize("documents_BT", [None, DOCUMENTS_BT], ids=["one document", "documents"])
def test_attention_equals_the_reference(
    kind: str, num_kv_heads: int, window: int | None, documents_BT: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "MIN_CHUNK", 8)
    q, k, v = heads(4, 40, 0), heads(num_kv_heads, 40, 1), heads(num_kv_heads, 40, 2)
    sight: Sight = SdpaSight(window, documents_BT) if kind == "sdpa" else FlexSight(40, window, documents_BT)
    assert torch.allclose(sight.attend(q, k, v), reference(q, k, v, window, documents_BT), atol=1e-5)


@pytest.mark.parametrize(("T", "S"), [(1, 1), (1, 40), (3, 40), (17, 40), (40, 40)])
@pytest.mark.parametrize("window", [None, 1, 7, 60])
def test_queries_after_what_was_seen_before(T: int, S: int, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MIN_CHUNK", 8)
    q, k, v = heads(4, T, 0), heads(2, S, 1), heads(2, S, 2)
    assert torch.allclose(SdpaSight(window).attend(q, k, v), reference(q, k, v, window, None), atol=1e-5)


def test_gradients_equal_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MIN_CHUNK", 8)
    gradients = []
    for is_reference in (False, True):
        q, k, v = (tensor.requires_grad_() for tensor in (heads(4, 40, 0), heads(2, 40, 1), heads(2, 40, 2)))
        sight = SdpaSight(9, DOCUMENTS_BT)
        seen = reference(q, k, v, 9, DOCUMENTS_BT) if is_reference else sight.attend(q, k, v)
        (seen * torch.arange(16)).sum().backward()
        gradients.append([tensor.grad for tensor in (q, k, v)])
    for ours, expected in zip(*gradients, strict=True):
        assert ours is not None
        assert expected is not None
        assert torch.allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("documents_BT", [None, torch.arange(4096)[None] // 300], ids=["window", "window and documents"])
def test_work_beyond_the_window_grows_with_the_window(documents_BT: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        masks.F,
        "scaled_dot_product_attention",
        lambda q, k, v, **rest: products.append(q.size(2) * k.size(2)) or attend(q, k, v, **rest),
    )
    for T in (1024, 2048, 4096):
        q = torch.zeros(1, 1, T, 8)
        SdpaSight(256, None if documents_BT is None else documents_BT[:, :T]).attend(q, q, q)
        assert sum(products) <= T * (256 + 256)
        products.clear()


def test_documents_end_with_their_end_of_text() -> None:
    tokens_BT = torch.tensor([[5, 6, 0, 7, 0, 0, 8, 9], [0, 1, 2, 3, 4, 5, 6, 0]])
    documents_BT, positions_BT = documents_of(tokens_BT, eot=0)
    assert documents_BT.tolist() == [[0, 0, 0, 1, 1, 2, 3, 3], [0, 1, 1, 1, 1, 1, 1, 1]]
    assert positions_BT.tolist() == [[0, 1, 2, 0, 1, 0, 0, 1], [0, 0, 1, 2, 3, 4, 5, 6]]
