"""What only a GPU shows: the same numbers as on the CPU, attention kernels with gradients, compiled training.

pytest -m gpu
"""

from __future__ import annotations

import pytest
import torch

from stackwright.model.config import ModelConfig
from stackwright.model.masks import FlexSight, SdpaSight, documents_of
from stackwright.model.transformer import Transformer
from stackwright.recipe import TrainSettings
from stackwright.train.loss import summed_loss
from stackwright.train.optimizer import AdamW

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
    pytest.mark.timeout(600),  # compilers
]

CONFIGS = {
    "gpt_bigcode": ModelConfig(512, 256, 2, 4, 1, 1024, 512),
    "starcoder2": ModelConfig(512, 256, 2, 4, 2, 1024, 512, positions="rope", sliding_window=128),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Transformer:
    model = Transformer(CONFIGS[request.param])
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def tokens_of(config: ModelConfig, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, config.vocab_size, (2, config.max_seq_len), generator=torch.Generator().manual_seed(seed))


def test_logits_are_those_of_the_cpu(model: Transformer) -> None:
    tokens = tokens_of(model.config)
    with torch.no_grad():
        here = model(tokens)
        there = model.cuda()(tokens.cuda())
    assert torch.allclose(here, there.cpu(), atol=1e-3)


def test_loss_and_gradients_are_those_of_the_cpu(model: Transformer) -> None:
    tokens, targets = tokens_of(model.config), tokens_of(model.config, 1)
    targets[0, :100] = -100
    torch.autograd.backward(summed_loss(model.train(), tokens, targets) / targets.numel())
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    model.cuda()
    torch.autograd.backward(summed_loss(model, tokens.cuda(), targets.cuda()) / targets.numel())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad.cpu(), expected[name], atol=1e-4), name


@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize("has_documents", [False, True])
def test_flex_attention_and_its_gradients_are_those_of_sdpa(window: int | None, has_documents: bool) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (torch.randn(2, heads, 512, 64, generator=generator, device="cuda", requires_grad=True) for heads in (8, 2, 2))
    tokens = torch.randint(0, 100, (2, 512), generator=generator, device="cuda")
    documents = documents_of(tokens, 0)[0] if has_documents else None
    outer = torch.randn(2, 8, 512, 64, generator=generator, device="cuda")
    found = []
    for sight in (FlexSight(512, window, documents, "cuda"), SdpaSight(window, documents)):
        value = sight.attend(q, k, v)
        found.append((value, *torch.autograd.grad(value, (q, k, v), outer)))
    for flex, sdpa in zip(*found, strict=True):
        assert torch.allclose(flex, sdpa, atol=2e-2)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_learns_a_batch_in_bfloat16(model: Transformer, compiled: bool, recompute: bool) -> None:
    model.cuda().train()
    model.recompute = recompute
    tokens, targets = tokens_of(model.config).cuda(), tokens_of(model.config, 1).cuda()
    optimizer = AdamW(model.named_parameters(), TrainSettings())
    function = torch.compile(summed_loss) if compiled else summed_loss
    losses = []
    for _ in range(20):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = function(model, tokens, targets) / targets.numel()
        torch.autograd.backward(loss)
        optimizer.step(1e-3)
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
