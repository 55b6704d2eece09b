"""Every implementation of Sinkhorn-Knopp against float64 NumPy, its gradient, and the laws of the iteration."""

import sys

import numpy as np
import pytest
import torch
from kernel_cases import ALL_SINKHORNS, has

from mhcdiag.kernels.choice import MANY_MATRICES
from mhcdiag.kernels.sinkhorn import normalise as module
from mhcdiag.kernels.sinkhorn.interface import COLUMNS, ROWS, Guard, SinkhornKernel, SinkhornRule, Start
from mhcdiag.kernels.sinkhorn.normalise import sinkhorn
from mhcdiag.kernels.sinkhorn.reference import ReferenceSinkhorn

RULES = {
    "softmax, columns first": SinkhornRule(),
    "softmax, rows first": SinkhornRule(first=ROWS, iterations=7, eps=1e-4),
    "softmax, one iteration": SinkhornRule(first=ROWS, iterations=1),
    "exp, floor": SinkhornRule(start=Start.EXP, guard=Guard.FLOOR, shift=(COLUMNS,), eps=1e-3, iterations=9),
    "exp, rows first, cut off": SinkhornRule(
        start=Start.EXP, guard=Guard.SKIP, first=ROWS, shift=(ROWS,), limit=2.5, eps=0.7, iterations=5
    ),
    "exp, shifted by the largest of all": SinkhornRule(
        start=Start.EXP, shift=(ROWS, COLUMNS), first=ROWS, eps=1e-5, iterations=4
    ),
    "exp, as it is": SinkhornRule(start=Start.EXP, guard=Guard.ADDED, iterations=3, eps=1e-2),
}
DIFFERENTIABLE = {name: rule for name, rule in RULES.items() if rule.has_gradient}
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-5, torch.float64: 1e-12}

kernels = pytest.mark.parametrize("kernel", ALL_SINKHORNS, ids=lambda kernel: kernel.name)
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
differentiable = pytest.mark.parametrize("rule", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
streams_sizes = pytest.mark.parametrize("streams", [2, 3, 4, 8])


def logits_of(streams: int, tokens: int, *, matrices: int = 1, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(streams)
    return scale * torch.randn(matrices, streams, streams, tokens, generator=generator, dtype=torch.float64)


def in_numpy(logits: np.ndarray, rule: SinkhornRule) -> np.ndarray:
    """The iteration, one matrix [row, column] after the other, as the rule's fields say it."""
    found = np.empty_like(logits)
    for m, t in np.ndindex(logits.shape[0], logits.shape[-1]):
        found[m, :, :, t] = one_in_numpy(logits[m, :, :, t], rule)
    return found


def one_in_numpy(logits: np.ndarray, rule: SinkhornRule) -> np.ndarray:
    axes = {ROWS: 1, COLUMNS: 0}
    order = [rule.first, ROWS if rule.first == COLUMNS else COLUMNS] * rule.iterations
    if rule.start is Start.SOFTMAX:
        matrix = np.exp(logits)
        matrix = matrix / matrix.sum(axis=axes[order[1]], keepdims=True) + rule.eps
        order = order[:-1]
    else:
        cut = np.clip(logits, -rule.limit, rule.limit)
        shift = tuple(axes[axis] for axis in rule.shift)
        matrix = np.exp(cut - cut.max(axis=shift, keepdims=True)) if shift else np.exp(cut)
    for axis in order:
        sums = matrix.sum(axis=axes[axis], keepdims=True)
        if rule.guard is Guard.ADDED:
            sums = sums + rule.eps
        elif rule.guard is Guard.FLOOR:
            sums = np.maximum(sums, rule.eps)
        else:
            sums = np.where(sums <= rule.eps, 1.0, sums)
        matrix = matrix / sums
    return matrix


def differentiable_in_torch(logits: torch.Tensor, rule: SinkhornRule) -> torch.Tensor:
    """A chain of plain operations, for autograd."""
    matrix = logits.softmax(dim=ROWS if rule.first == COLUMNS else COLUMNS) + rule.eps
    for step in range(2 * rule.iterations - 1):
        matrix = matrix / (matrix.sum(dim=rule.axis(step), keepdim=True) + rule.eps)
    return matrix


@kernels
@rules
@streams_sizes
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_matrices_are_those_of_numpy(kernel: SinkhornKernel, rule: SinkhornRule, streams: int, dtype: torch.dtype):
    logits = logits_of(streams, 7, matrices=2).to(dtype)
    found = kernel.forward(logits, rule, keep=False).result
    assert found.dtype == dtype
    expected = in_numpy(logits.double().numpy(), rule)
    np.testing.assert_allclose(found.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@kernels
@differentiable
@streams_sizes
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gradients_are_those_of_plain_operations(
    kernel: SinkhornKernel, rule: SinkhornRule, streams: int, dtype: torch.dtype
):
    logits = logits_of(streams, 131, matrices=2).to(dtype)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    exact = logits.double().requires_grad_()
    (differentiable_in_torch(exact, rule) * weights.double()).sum().backward()
    kept = kernel.forward(logits, rule, keep=True)
    found = kernel.backward(weights, kept, rule)
    # Half precision stores logits and gradients only: the way back is in float32.
    assert kept.result.dtype == found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(found.double(), exact.grad, rtol=0, atol=tolerance * exact.grad.abs().max().item())


@kernels
@pytest.mark.parametrize("tokens", [1, 127, 128, 129, 257, 515])
def test_any_number_of_tokens_and_any_strides(kernel: SinkhornKernel, tokens: int):
    logits = logits_of(3, tokens, matrices=2)
    expected = ReferenceSinkhorn().forward(logits, SinkhornRule(), keep=False).result
    tokens_first = logits.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    part = torch.nn.functional.pad(logits, (3, 5))[..., 3:-5]
    for stored in (logits, tokens_first, part):
        found = kernel.forward(stored, SinkhornRule(), keep=False).result
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@kernels
def test_the_last_side_sums_to_one_and_the_other_is_left(kernel: SinkhornKernel):
    for first, exact in ((ROWS, 2), (COLUMNS, 1)):
        rule = SinkhornRule(first=first, iterations=3)
        matrices = kernel.forward(logits_of(4, 13, scale=5.0), rule, keep=False).result
        ones = torch.ones(1, 4, 13, dtype=torch.float64)
        torch.testing.assert_close(matrices.sum(dim=exact), ones, rtol=0, atol=2e-6)
        assert (matrices.sum(dim=3 - exact) - 1).abs().max() > 1e-3, "three iterations leave the other side unfinished"


@kernels
def test_the_argument_is_not_changed(kernel: SinkhornKernel):
    for rule in RULES.values():
        logits = logits_of(3, 5)
        before = logits.clone()
        kernel.forward(logits, rule, keep=rule.has_gradient)
        assert torch.equal(logits, before)


@kernels
def test_a_broken_logit_breaks_its_own_token_and_no_other(kernel: SinkhornKernel):
    logits = logits_of(4, 130)
    logits[0, 1, 2, 129] = torch.nan
    found = kernel.forward(logits, SinkhornRule(), keep=False).result.isfinite()
    assert found[..., :129].all()
    assert not found[..., 129].any()


@pytest.fixture(params=ALL_SINKHORNS, ids=lambda kernel: kernel.name)
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel that `sinkhorn` takes."""
    monkeypatch.setattr(module, "choose_sinkhorn", lambda _logits, **_: request.param)
    return request.param.name


@pytest.mark.parametrize(("streams", "tokens", "iterations"), [(2, 3, 1), (3, 5, 7), (4, 2, 20), (8, 1, 2)])
def test_the_gradient_is_that_of_the_function(chosen: str, streams: int, tokens: int, iterations: int):
    if chosen == "triton":
        pytest.skip("thousands of runs through the interpreter; its gradient is compared above")
    logits = logits_of(streams, tokens)[0].requires_grad_()
    for first in (ROWS, COLUMNS):
        rule = SinkhornRule(iterations=iterations, first=first)
        assert torch.autograd.gradcheck(lambda each, rule=rule: sinkhorn(each, rule), (logits,))


def test_gradients_stay_finite_where_a_literal_exponential_overflows(chosen: str):
    logits = torch.zeros(4, 4, 1)
    logits[0, :, 0] = 110.0  # exp(110) is no float32
    logits[:, 0, 0] -= 110.0
    logits.requires_grad_()
    weights = torch.arange(16.0).view(4, 4, 1)
    (sinkhorn(logits, SinkhornRule(first=ROWS)) * weights).sum().backward()
    assert logits.grad.isfinite().all()


def test_axes_in_front_are_a_batch_and_half_precision_stays(chosen: str):
    logits = logits_of(3, 5, matrices=6).view(2, 3, 3, 3, 5).bfloat16().requires_grad_()
    found = sinkhorn(logits, SinkhornRule())
    found.float().square().sum().backward()
    assert (found.shape, found.dtype, logits.grad.dtype) == (logits.shape, torch.bfloat16, torch.bfloat16)
    one = sinkhorn(logits[1, 2].detach(), SinkhornRule())
    # Triton's interpreter cuts float32 down to bfloat16 where the compiled program, like torch, rounds.
    last_bit = 2**-7 if chosen == "triton" else 0
    torch.testing.assert_close(found[1, 2], one, rtol=last_bit, atol=0)


def test_without_a_gradient_nothing_is_kept(chosen: str):
    with torch.no_grad():
        found = sinkhorn(logits_of(3, 5).requires_grad_(), SinkhornRule())
    assert not found.requires_grad


def test_few_matrices_stay_with_torch():
    assert module.choose_sinkhorn(torch.zeros(4, 4, 1), matrices=MANY_MATRICES).name == "torch"


@pytest.mark.skipif(not has("numba"), reason="numba is not installed")
def test_many_take_numba():
    assert module.choose_sinkhorn(torch.zeros(4, 4, 1), matrices=MANY_MATRICES + 1).name == "numba"


def test_without_numba_torch_does_everything(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mhcdiag.kernels.sinkhorn.cpu", None)
    module._numba.cache_clear()
    found = module.choose_sinkhorn(torch.zeros(4, 4, 1), matrices=10**9)
    module._numba.cache_clear()
    assert found.name == "torch"


@pytest.mark.skipif(not has("numba"), reason="numba is not installed")
def test_no_bit_depends_on_how_blocks_are_split_over_threads():
    from mhcdiag.kernels.sinkhorn import cpu as loops

    start = logits_of(4, 5 * loops.BLOCK + 3, matrices=2).exp().float().numpy()
    fixed = (start, np.float32(1e-6), loops.ADDED, 1, 9)
    whole, parts = [(np.empty((2, 9, 4, start.shape[-1]), np.float32), np.empty_like(start)) for _ in range(2)]
    loops.forward(0, 12, *fixed, *whole)
    for first, last in ((5, 12), (0, 1), (1, 5)):
        loops.forward(first, last, *fixed, *parts)
    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))
