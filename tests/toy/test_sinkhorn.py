"""Sinkhorn for training: the right matrices, and the right gradients, compiled or not."""

import pytest
import torch

from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.toy import compiled
from mhcdiag.toy import sinkhorn as module
from mhcdiag.toy.sinkhorn import sinkhorn

KERNELS = ["plain", "compiled"]


@pytest.fixture(params=KERNELS)
def kernel(request, monkeypatch) -> str:
    if request.param == "plain":
        monkeypatch.setattr(module, "_compiled", lambda _: None)
    elif compiled.kernels() is None:
        pytest.skip("numba is not installed")
    return request.param


def logits(streams: int, tokens: int, *, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(streams)
    return scale * torch.randn(streams, streams, tokens, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("streams", "tokens", "iterations"), [(2, 3, 1), (3, 5, 7), (4, 7, 20), (5, 131, 2)])
def test_the_gradient_is_that_of_the_function(kernel: str, streams: int, tokens: int, iterations: int):
    start = logits(streams, min(tokens, 7)).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: sinkhorn(each, iterations=iterations), (start,))


@pytest.mark.parametrize(("streams", "tokens"), [(3, 131), (4, 257)])
def test_matrices_are_those_of_the_published_iteration(kernel: str, streams: int, tokens: int):
    start = logits(streams, tokens)
    # DeepSeek-V4 holds the transpose, and normalises its columns last.
    published = SoftmaxSinkhorn().apply(start.transpose(0, 1).clone()).transpose(0, 1)
    torch.testing.assert_close(sinkhorn(start, iterations=20), published, rtol=1e-12, atol=0)


def test_rows_come_last_and_sum_to_one(kernel: str):
    matrices = sinkhorn(logits(4, 13, scale=5.0), iterations=3)
    torch.testing.assert_close(matrices.sum(dim=1), torch.ones(4, 13, dtype=torch.float64), rtol=0, atol=2e-6)
    assert (matrices.sum(dim=0) - 1).abs().max() > 1e-3, "three iterations leave the columns unfinished"


def test_the_argument_is_not_changed(kernel: str):
    start = logits(3, 5)
    before = start.clone()
    sinkhorn(start, iterations=4)
    assert torch.equal(start, before)


def test_gradients_stay_finite_where_a_literal_exponential_overflows(kernel: str):
    start = torch.zeros(4, 4, 1)
    start[0, :, 0] = 110.0  # exp(110) is no float32
    start[:, 0, 0] -= 110.0
    start.requires_grad_()
    weights = torch.arange(16.0).view(4, 4, 1)
    (sinkhorn(start, iterations=20) * weights).sum().backward()
    assert start.grad.isfinite().all()


def test_both_kernels_agree_in_float32(monkeypatch):
    if compiled.kernels() is None:
        pytest.skip("numba is not installed")
    found = []
    for kernels in (module._compiled, lambda _: None):
        monkeypatch.setattr(module, "_compiled", kernels)
        start = logits(4, 131, dtype=torch.float32).requires_grad_()
        matrices = sinkhorn(start, iterations=20)
        matrices.square().sum().backward()
        found.append((matrices.detach(), start.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
