"""Law: no sample exceeds a bound."""

import pytest
import torch
from stacks import CONFIG, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.mappings.bounds import _inexact_side
from mhcdiag.results.numbers import log10_of

EPS = 1e-5


def assert_bounded(result: mhcdiag.GainResult) -> None:
    for direction in ("forward", "backward"):
        bound = result.bound[direction]
        for kind in ("single", "prefix", "suffix"):
            sampled = result.curve(kind, direction, "norm", "max")
            for most, number in zip(getattr(bound, kind), sampled, strict=True):
                assert log10_of(number) <= log10_of(most) + EPS
        assert log10_of(result.worst[direction, "norm"].value) <= log10_of(bound.worst) + EPS


@pytest.mark.parametrize("inputs", ["static", "random"])
def test_stochastic_mappings(tmp_path, inputs: str):
    tensors = deepseek_v4_tensors(streams=3)
    for name in tensors:
        if name.endswith("base"):
            tensors[name] *= 6  # peaked: twenty iterations do not converge
    path = write(tmp_path, tensors, config=CONFIG | {"hc_mult": 3, "hc_sinkhorn_iters": 2})
    result = mhcdiag.gain(path, inputs=inputs, tokens=499)
    assert_bounded(result)
    assert result.bound["forward"].worst == 1.0
    assert result.bound["backward"].single[0] == pytest.approx(3 - 1 + 1 / 3)
    assert result.bound["backward"].worst == 3.0
    assert "stochastic" in result.bound["backward"].why


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_hyper_connections(tmp_path, tanh: bool, scale: float):
    tensors = hyper_connections_tensors()
    for name in tensors:
        if name.endswith("dynamic_alpha_scale"):
            tensors[name].fill_(scale)
    assert_bounded(mhcdiag.gain(write(tmp_path, tensors), tokens=499, tanh=tanh))


def test_the_bound_is_reached_by_some_input(tmp_path):
    """One stream, one site, no static part: x along the projection makes |alpha| sqrt(d) |w|, the bound itself."""
    tensors = hyper_connections_tensors(sites=1, streams=1, width=5)
    (path,) = {name.rsplit(".", 1)[0] for name in tensors if name.endswith("static_alpha")}
    tensors[f"{path}.static_alpha"].zero_()
    w = tensors[f"{path}.dynamic_alpha_fn"][:, 1]
    reached = 0.2 * (w / w.norm() * 5**0.5) @ w
    bound = mhcdiag.gain(write(tmp_path, tensors), tanh=False).bound["forward"].worst
    assert bound == pytest.approx(float(reached), rel=1e-5)


def test_static_inputs_bound_the_unread_part_by_tanh_or_not_at_all(tmp_path):
    path = write(tmp_path, hyper_connections_tensors())
    assert_bounded(mhcdiag.gain(path, inputs="static"))
    without = mhcdiag.gain(path, inputs="static", tanh=False).bound["forward"]
    assert without.worst is None
    assert "nothing bounds" in without.why


def test_captured_mappings_bound_nothing(tmp_path):
    from stacks import captured_tensors

    result = mhcdiag.gain(write(tmp_path, captured_tensors(torch.rand(2, 3, 2, 2))))
    assert result.bound["forward"].worst is None


@pytest.mark.parametrize(
    ("streams", "sites", "single", "prefix", "suffix", "worst"),
    [
        (3, 1, (2 + 1 / 3,), (2 + 1 / 3,), (2 + 1 / 3,), 2 + 1 / 3),
        (2, 3, (1.5,) * 3, (1.5, 2.0, 2.0), (2.0, 2.0, 1.5), 2.0),
        (5, 2, (4.2,) * 2, (4.2, 5.0), (5.0, 4.2), 5.0),
    ],
)
def test_the_side_that_is_not_exact_is_bounded_by_the_number_of_streams(streams, sites, single, prefix, suffix, worst):
    other = _inexact_side(sites, streams, least_sum=1.0)
    assert (other.single, other.prefix, other.suffix) == tuple(map(pytest.approx, (single, prefix, suffix)))
    assert other.worst == pytest.approx(worst)
    assert other.by_layout
    # Where nothing is known of the sums before the last step, one site is bounded by n, too.
    assert _inexact_side(sites, streams, least_sum=0.0).single == (float(streams),) * sites


def test_entrywise_bounds_are_norms_of_products_of_bounds(tmp_path):
    """Without an input-dependent part the bound of P(a,b) is the norm of |H_b| ... |H_a|."""
    tensors = hyper_connections_tensors(sites=3, spread=0.7)
    for name in tensors:
        if name.endswith("dynamic_alpha_scale"):
            tensors[name].zero_()
    bound = mhcdiag.gain(write(tmp_path, tensors)).bound
    paths = ("layers.0.attn", "layers.0.ff", "layers.1.attn")
    a, b, c = (tensors[f"{path}.static_alpha"][:, 1:].double().numpy().T for path in paths)
    a, b, c = abs(a), abs(b), abs(c)
    for direction, axis in (("forward", 1), ("backward", 0)):
        norms = {
            "single": [each.sum(axis=axis).max() for each in (a, b, c)],
            "prefix": [each.sum(axis=axis).max() for each in (a, b @ a, c @ b @ a)],
            "suffix": [each.sum(axis=axis).max() for each in (c @ b @ a, c @ b, c)],
        }
        for kind, expected in norms.items():
            assert getattr(bound[direction], kind) == pytest.approx(tuple(expected), rel=1e-5)
        everywhere = max(max(each) for each in norms.values())
        assert bound[direction].worst == pytest.approx(everywhere, rel=1e-5)
