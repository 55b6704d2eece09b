"""What a finite iteration guarantees, ascended over logits, and the logits for which float32 holds it."""

import math

import pytest
import torch

from mhcdiag.kernels.sinkhorn.interface import COLUMNS, ROWS, Guard, SinkhornRule, Start
from mhcdiag.kernels.sinkhorn.reference import ReferenceSinkhorn
from mhcdiag.mappings.birkhoff import KroneckerPairs, PermutationMixture, TransportPolytope
from mhcdiag.mappings.bounds import _inexact_side
from mhcdiag.mappings.constraints import ExpSinkhorn, LogSinkhorn, SoftmaxSinkhorn
from mhcdiag.mappings.sinkhorn_limits import finite_within, least_sum

N = 4
SIMPLE = N - 1 + 1 / N


def exp_rule(guard: Guard, eps: float, *, iterations: int = 1, shift: tuple[int, ...] = (), limit: float = math.inf):
    return SinkhornRule(
        iterations=iterations, eps=eps, start=Start.EXP, first=ROWS, guard=guard, shift=shift, limit=limit
    )


MHC_CU = exp_rule(Guard.SKIP, 1e-5)
TELECHAT = exp_rule(Guard.ADDED, 1e-6, shift=(ROWS,), limit=30.0)
MOTIF = exp_rule(Guard.FLOOR, 1e-8, limit=20.0)
MEGATRON = exp_rule(Guard.FLOOR, 1e-6, shift=(ROWS,))
DEEPSEEK = SinkhornRule(iterations=1, eps=1e-6)


def of(rule: SinkhornRule, iterations: int) -> SinkhornRule:
    return SinkhornRule(
        iterations=iterations, eps=rule.eps, start=rule.start, first=rule.first, guard=rule.guard, shift=rule.shift,
        limit=rule.limit,
    )  # fmt: skip


def mapped(logits: torch.Tensor, rule: SinkhornRule) -> torch.Tensor:
    """The iteration once more, with a gradient for every rule."""
    if rule.start is Start.SOFTMAX:
        matrix = logits.softmax(dim=rule.second) + rule.eps
    else:
        cut = logits.clamp(-rule.limit, rule.limit)
        matrix = (cut - cut.amax(dim=rule.shift, keepdim=True) if rule.shift else cut).exp()
    for step in range(rule.steps):
        total = matrix.sum(dim=rule.axis(step), keepdim=True)
        if rule.guard is Guard.ADDED:
            total = total + rule.eps
        elif rule.guard is Guard.FLOOR:
            total = total.clamp(min=rule.eps)
        else:
            total = torch.where(total <= rule.eps, torch.ones_like(total), total)
        matrix = matrix / total
    return matrix


def ascended(rule: SinkhornRule, *, steps: int = 150, starts: int = 24) -> float:
    """Largest sum of one site on the side that is not normalised last, ascended over its logits."""
    generator = torch.Generator().manual_seed(1)
    scales = torch.linspace(1.0, 12.0, starts, dtype=torch.float64)
    drawn = torch.randn(N, N, starts, generator=generator, dtype=torch.float64) * scales
    # Whole lines far below the others: a guard that skips them has no gradient that would lead there.
    lines = -25.0 * (torch.rand(N, 1, starts, generator=generator) < 0.6).double()
    logits = (drawn + lines).requires_grad_()
    other = ROWS if rule.last == COLUMNS else COLUMNS
    optimiser, best = torch.optim.Adam([logits], lr=0.5), 0.0
    for _ in range(steps):
        largest = mapped(logits, rule).sum(dim=other).amax(dim=0)
        best = max(best, float(largest.detach().max()))
        optimiser.zero_grad()
        (-largest.sum()).backward()
        optimiser.step()
    return best


def bound(rule: SinkhornRule) -> float:
    worst = _inexact_side(1, N, least_sum=least_sum(rule, N)).worst
    assert isinstance(worst, float)
    return worst


def test_the_iteration_of_this_file_is_that_of_the_package():
    logits = torch.randn(1, N, N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    for rule in (of(MHC_CU, 3), of(TELECHAT, 3), of(MOTIF, 3), of(DEEPSEEK, 3)):
        assert torch.allclose(ReferenceSinkhorn().forward(logits, rule, keep=False).result[0], mapped(logits[0], rule))


@pytest.mark.parametrize(
    ("rule", "most"),
    [(DEEPSEEK, SIMPLE), (MEGATRON, SIMPLE), (TELECHAT, SIMPLE), (MHC_CU, 4.0)],
    ids=["deepseek", "megatron", "telechat", "mhc-cu"],
)
def test_ascent_reaches_the_bound_of_one_site_and_never_exceeds_it(rule: SinkhornRule, most: float):
    assert bound(rule) == pytest.approx(most, abs=1e-5)
    found = ascended(rule)
    assert 0.995 * most < found <= bound(rule) + 1e-9


@pytest.mark.parametrize("iterations", [2, 5])
@pytest.mark.parametrize("rule", [DEEPSEEK, MEGATRON, TELECHAT, MOTIF, MHC_CU, SinkhornRule(eps=0.1)])
def test_nor_after_more_iterations(rule: SinkhornRule, iterations: int):
    assert ascended(of(rule, iterations), steps=40) <= bound(of(rule, iterations)) + 1e-9


def test_after_twenty_iterations_a_line_below_eps_is_still_left_alone():
    """One site of mHC.cu whose other rows are below its eps: the sum is n, where n - 1 + 1/n was promised."""
    logits = torch.full((1, N, N, 1), -80.0, dtype=torch.float64)
    logits[0, 0] = 0.0
    rule = of(MHC_CU, 20)
    assert ReferenceSinkhorn().forward(logits, rule, keep=False).result[0, :, :, 0].sum(dim=1).max() > 4 - 1e-6
    assert bound(rule) == 4.0


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        (DEEPSEEK, 1.0),  # all sums of a softmax plus eps are 1 + n eps
        (MEGATRON, 1.0),  # the shift makes the first sum 1 at least, far above eps
        (MHC_CU, 0.0),
        (exp_rule(Guard.SKIP, 2.0, shift=(ROWS,)), 0.0),  # an eps above 1 leaves sums above 1, too
        (MOTIF, N * math.exp(-20) / 1e-8),  # the cut-off leaves 8.2e-9, below eps
        (TELECHAT, 1 / (1 + 1e-6)),
        (exp_rule(Guard.ADDED, 0.0), 0.0),  # nothing keeps a sum from underflowing
        (exp_rule(Guard.FLOOR, 1e-12, shift=(COLUMNS,)), 0.0),  # a shift along the other axis does not help
        (exp_rule(Guard.ADDED, 0.5, shift=(COLUMNS,), limit=1.0), N * math.exp(-2) / (N * math.exp(-2) + 0.5)),
    ],
)
def test_least_sums_follow_from_start_and_guard(rule: SinkhornRule, least: float):
    assert least_sum(rule, N) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("rule", [DEEPSEEK, TELECHAT, MOTIF, SinkhornRule(eps=0.05)])
@pytest.mark.parametrize("iterations", [2, 3, 8])
def test_no_logits_leave_a_smaller_sum(rule: SinkhornRule, iterations: int):
    """Before the last step, of logits as far apart as they may be, whole lines among them."""
    rule = of(rule, iterations)
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(N, N, 4000, generator=generator, dtype=torch.float64) * 40
    logits += torch.randn(N, 1, 4000, generator=generator).double() * 40
    other = ROWS if rule.last == COLUMNS else COLUMNS
    matrix = logits.softmax(dim=rule.second) + rule.eps if rule.start is Start.SOFTMAX else None
    if matrix is None:
        cut = logits.clamp(-rule.limit, rule.limit)
        matrix = (cut - cut.amax(dim=rule.shift, keepdim=True) if rule.shift else cut).exp()
    for step in range(rule.steps - 1):
        total = matrix.sum(dim=rule.axis(step), keepdim=True)
        matrix = matrix / (total + rule.eps if rule.guard is Guard.ADDED else total.clamp(min=rule.eps))
    sums = matrix.sum(dim=other)
    assert float((sums.amin(dim=0) / sums.amax(dim=0)).min()) >= least_sum(rule, N) - 1e-12


def float32(rule: SinkhornRule, value: float) -> torch.Tensor:
    """The matrices of float32 where one line, or all of them, has logits of this size."""
    logits = torch.zeros(2, N, N, 1)
    logits[0, 0] = value
    logits[1] = value
    return ReferenceSinkhorn().forward(logits, of(rule, 20), keep=False).result


@pytest.mark.parametrize("rule", [MHC_CU, exp_rule(Guard.ADDED, 1e-5)], ids=["mhc-cu", "eps added"])
def test_an_exponential_without_shift_or_limit_overflows_float32(rule: SinkhornRule):
    low, high = finite_within(rule, N)
    assert high == pytest.approx(88.72 - math.log(N), abs=0.01)
    assert float32(rule, high).isfinite().all()
    assert float32(rule, low / 1e3).isfinite().all()
    lost = float32(rule, high + 0.1)[1]  # each exponential is finite, their sum is not: nothing is left of the line
    assert float(lost.sum()) == 0
    assert float32(rule, high + math.log(N) + 0.1).isnan().any()


@pytest.mark.parametrize(
    "rule", [DEEPSEEK, MEGATRON, TELECHAT, MOTIF], ids=["deepseek", "megatron", "telechat", "motif"]
)
def test_a_softmax_a_shift_and_a_cut_off_do_not(rule: SinkhornRule):
    low, high = finite_within(rule, N)
    assert high > 1e38
    for value in (low, high):
        assert float32(rule, value).isfinite().all()


def test_without_eps_logits_far_apart_divide_zero_by_zero():
    rule = exp_rule(Guard.ADDED, 0.0)
    low, high = finite_within(rule, N)
    assert (low, high) == (-20.0, 20.0)
    for value in (low, high):
        assert float32(rule, value).isfinite().all()
    assert not float32(rule, -200.0).isfinite().all()
    # So does one that float32 cannot hold, while a guard that skips a sum of zero divides by nothing.
    assert finite_within(exp_rule(Guard.FLOOR, 1e-46), N) == (-20.0, 20.0)
    assert finite_within(exp_rule(Guard.SKIP, 0.0, shift=(ROWS,)), N)[0] < -1e38


@pytest.mark.parametrize(
    "constraint",
    [
        PermutationMixture(streams=4),
        KroneckerPairs(),
        TransportPolytope(),
        SoftmaxSinkhorn(),
        ExpSinkhorn(),
        LogSinkhorn(iterations=5, first=ROWS),
    ],
)
def test_constraints_know_the_logits_that_they_can_take(constraint):
    low, high = constraint.finite_within(N)
    rows = 24 if isinstance(constraint, PermutationMixture) else N
    shape = (1, rows, 1) if isinstance(constraint, PermutationMixture | KroneckerPairs) else (N, N, 1)
    assert high > 1e30
    for first, rest in ((low, high), (high, low), (high, high)):
        logits = torch.full(shape, rest)
        logits[0, 0] = first
        assert constraint.apply(logits).isfinite().all()


def test_a_low_temperature_makes_logits_overflow_sooner():
    low, high = LogSinkhorn(iterations=1, first=ROWS, temperature=1e-3).finite_within(N)
    assert high == -low == pytest.approx(3.4028235e38 / 4e3)
