"""The package `hyper-connections` by its formulas, for where the package itself is not installed."""

import numpy as np
import pytest
import torch
from stacks import write

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.weight_readers.alternatives import given_maps

SITES, STREAMS, WIDTH, VIEWS, TOKENS, PROPOSALS = 2, 3, 7, 2, 5, 2
ITERATIONS = 2


def tensors(*, constrained: bool) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).standard_normal
    found = {}
    for site in range(SITES):
        path = f"layers.{site}.attn." if site == 0 else "layers.0.ff."
        leading = (PROPOSALS,) if constrained else ()
        found[f"{path}static_alpha"] = draw((STREAMS, VIEWS + STREAMS))
        found[f"{path}dynamic_alpha_fn"] = draw((*leading, WIDTH, VIEWS + STREAMS))
        found[f"{path}norm.gamma"] = draw(WIDTH)
        found[f"{path}{'residual_scale' if constrained else 'dynamic_alpha_scale'}"] = draw(())
        found[f"{path}static_beta"] = draw(STREAMS)
    return found


def opened(tmp_path, *, constrained: bool, changed=None):
    held = {
        name: torch.tensor(np.asarray(value, dtype=np.float64))
        for name, value in tensors(constrained=constrained).items()
    }
    return open_checkpoint(write(tmp_path, held | (changed or {})))


def mapping(site_tensors, x: np.ndarray, *, constrained: bool, tanh: bool) -> np.ndarray:
    """H of one token's streams x [n, C]: a row of alpha is a source stream, its last n columns are targets."""
    alpha_fn, gamma = site_tensors["dynamic_alpha_fn"], site_tensors["norm.gamma"]
    scale = site_tensors["residual_scale" if constrained else "dynamic_alpha_scale"]
    normed = x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(WIDTH) * (gamma + 1)
    found = []
    for weight in alpha_fn if constrained else [alpha_fn]:
        moving = normed @ weight
        alpha = (scale * (np.tanh(moving) if tanh else moving) + site_tensors["static_alpha"])[:, VIEWS:]
        if constrained:
            alpha = np.exp(alpha)
            for _ in range(ITERATIONS):
                alpha = alpha / alpha.sum(axis=0, keepdims=True)
                alpha = alpha / alpha.sum(axis=1, keepdims=True)
        found.append(alpha.T)
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("constrained", "settings", "tanh"),
    [
        (False, Overrides(), True),
        (False, Overrides(tanh=True), True),
        (False, Overrides(tanh=False), False),
        (True, Overrides(sinkhorn_iters=ITERATIONS), False),
    ],
)
def test_given_streams_are_mixed_as_the_formulas_have_it(tmp_path, constrained: bool, settings: Overrides, tanh: bool):
    checkpoint = opened(tmp_path, constrained=constrained)
    layout, recognition = recognise(checkpoint)
    parameters = layout.read(checkpoint, recognition, settings, dynamic=False).parameters
    x = np.random.default_rng(1).standard_normal((TOKENS, STREAMS, WIDTH))
    site = recognition.sites[0]
    found = given_maps(parameters, layout.projection_of(checkpoint, site, STREAMS), torch.tensor(x).float())
    held = {role: checkpoint.read(name).double().numpy() for role, name in site.tensors.items()}
    expected = [mapping(held, streams, constrained=constrained, tanh=tanh) for streams in x]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("constrained", [False, True])
def test_random_inputs_see_the_norm_weight_plus_one(tmp_path, constrained: bool):
    checkpoint = opened(tmp_path, constrained=constrained)
    layout, recognition = recognise(checkpoint)
    parameters = layout.read(checkpoint, recognition, Overrides(), dynamic=True).parameters
    for site, factor in zip(recognition.sites, parameters.factors, strict=True):
        alpha, gamma = (checkpoint.read(site.tensors[role]).double() for role in ("dynamic_alpha_fn", "norm.gamma"))
        each = [one[:, VIEWS:] * (1 + gamma)[:, None] for one in (alpha if constrained else [alpha])]
        weight = torch.cat(each, dim=1)
        torch.testing.assert_close(factor.triangle.T @ factor.triangle, weight.T @ weight)
        assert factor.inputs == WIDTH


@pytest.mark.parametrize("constrained", [False, True])
def test_static_parts_are_the_columns_behind_the_views(tmp_path, constrained: bool):
    checkpoint = opened(tmp_path, constrained=constrained)
    layout, recognition = recognise(checkpoint)
    reading = layout.read(checkpoint, recognition, Overrides(), dynamic=False)
    for i, site in enumerate(recognition.sites):
        assert torch.equal(reading.parameters.base[i], checkpoint.read(site.tensors["static_alpha"])[:, VIEWS:])
    assert reading.parameters.recipe.proposals == (PROPOSALS if constrained else 1)
    assert reading.assumed == (
        ("Sinkhorn iterations: 20 (not stored; --sinkhorn-iters)",)
        if constrained
        else ("tanh on the input-dependent part (not stored; --tanh/--no-tanh)",)
    )


@pytest.mark.parametrize("shape", [(STREAMS, STREAMS), (STREAMS, STREAMS - 1), (STREAMS,)])
def test_a_matrix_without_a_view_is_refused(tmp_path, shape):
    changed = {"layers.0.attn.static_alpha": torch.ones(shape)}
    checkpoint = opened(tmp_path, constrained=False, changed=changed)
    layout, recognition = recognise(checkpoint)
    with pytest.raises(LayoutError, match=r"expected \[n, v \+ n\] for n streams and v >= 1 views"):
        layout.read(checkpoint, recognition, Overrides(), dynamic=False)


def test_fractions_are_refused(tmp_path):
    changed = {"layers.0.attn.dynamic_beta_fn": torch.ones(WIDTH, 2)}
    checkpoint = opened(tmp_path, constrained=False, changed=changed)
    layout, recognition = recognise(checkpoint)
    with pytest.raises(LayoutError, match="splits its features into 2 fractions"):
        layout.read(checkpoint, recognition, Overrides(), dynamic=False)
