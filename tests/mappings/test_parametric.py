"""From parameters to mappings: orientation, exact directions, proposals, blends, and streams that are given."""

from math import sqrt

import numpy as np
import pytest
import torch

from mhcdiag.mappings.bounds import entry_bounds
from mhcdiag.mappings.constraints import COLUMNS, ROWS, ExpSinkhorn, LogSinkhorn, SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm, logit_factor
from mhcdiag.mappings.interface import GateActivation, Orientation, SiteGates, Stack
from mhcdiag.mappings.parametric import Activation, Blend, BlendTarget, ParametricStack, Recipe
from mhcdiag.results.gain import Direction
from mhcdiag.weight_readers.alternatives import given_maps
from mhcdiag.weight_readers.first_site import EmbeddingMaps, fold_streams

SITES, STREAMS, WIDTH, TOKENS = 2, 3, 5, 7
SOURCE, TARGET = Orientation.SOURCE_ROWS, Orientation.TARGET_ROWS


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def stack_of(
    *,
    per_stream=False,
    activation=Activation.NONE,
    constraint=None,
    orientation=TARGET,
    proposals=1,
    eps=0.25,
    **changes,
) -> ParametricStack:
    names = tuple(f"site {i}" for i in range(SITES))
    norm = InputNorm(per_stream=per_stream, eps=eps)
    recipe = Recipe(
        norm=norm, activation=activation, constraint=constraint, orientation=orientation, proposals=proposals
    )
    known = {"base": torch.tensor(draw(SITES, STREAMS, STREAMS)), "scale": torch.tensor([0.5, -2.0]).double()}
    return ParametricStack(
        stack=Stack(sites=names, tensors=names, streams=STREAMS),
        depths=(3, 11),
        recipe=recipe,
        **(known | {"factors": None} | changes),
    )


@pytest.mark.parametrize(
    ("constraint", "orientation", "exact"),
    [
        (SoftmaxSinkhorn(), SOURCE, Direction.FORWARD),  # columns of comb are rows of H
        (SoftmaxSinkhorn(), TARGET, Direction.BACKWARD),
        (ExpSinkhorn(first=COLUMNS), TARGET, Direction.FORWARD),
        (ExpSinkhorn(first=COLUMNS), SOURCE, Direction.BACKWARD),
        (ExpSinkhorn(first=ROWS), TARGET, Direction.BACKWARD),
        (LogSinkhorn(iterations=2, first=ROWS), SOURCE, Direction.FORWARD),
        (LogSinkhorn(iterations=2, first=COLUMNS), TARGET, Direction.FORWARD),
        (None, TARGET, None),
    ],
)
def test_the_exact_direction_is_that_whose_sums_are_one(constraint, orientation, exact):
    recipe = stack_of(constraint=constraint, orientation=orientation).recipe
    assert recipe.exact_direction() is exact
    assert recipe.exact_directions() == (frozenset() if exact is None else frozenset({exact}))
    if exact is not None:
        maps = stack_of(constraint=constraint, orientation=orientation).static().maps
        sums = maps.sum(dim=2 if exact is Direction.FORWARD else 1)
        assert (sums - 1).abs().max() < 1e-5


@pytest.mark.parametrize(("orientation", "transposed"), [(TARGET, False), (SOURCE, True)])
def test_rows_of_h_are_targets_whatever_is_stored(orientation, transposed: bool):
    maps = stack_of(orientation=orientation).static().maps[..., 0].numpy()
    base = draw(SITES, STREAMS, STREAMS)
    np.testing.assert_array_equal(maps, base.swapaxes(1, 2) if transposed else base)


@pytest.mark.parametrize(
    ("target", "towards"), [(BlendTarget.IDENTITY, np.eye(STREAMS)), (BlendTarget.UNIFORM, 1 / STREAMS)]
)
def test_a_blend_weighs_its_target_site_by_site(target, towards):
    weights = np.array([0.25, 0.75])
    blend = Blend(weight=torch.tensor(weights), target=target)
    maps = stack_of(blend=blend).static().maps[..., 0].numpy()
    weights = weights[:, None, None]
    np.testing.assert_allclose(maps, (1 - weights) * draw(SITES, STREAMS, STREAMS) + weights * towards)
    blended = blend.apply(torch.zeros(1, STREAMS, STREAMS, 1, dtype=torch.float64), slice(1, 2))
    np.testing.assert_allclose(blended[0, ..., 0], 0.75 * towards * np.ones((STREAMS, STREAMS)))


def test_log_sinkhorn_divides_by_the_temperature_and_ends_on_the_other_side():
    logits = draw(STREAMS, STREAMS, TOKENS)
    for first, axis in ((ROWS, 1), (COLUMNS, 0)):
        matrix = np.exp(logits / 0.5)
        for _ in range(2):
            matrix = matrix / matrix.sum(axis=axis, keepdims=True)
            matrix = matrix / matrix.sum(axis=1 - axis, keepdims=True)
        found = LogSinkhorn(iterations=2, first=first, temperature=0.5).apply(torch.tensor(logits))
        np.testing.assert_allclose(found, matrix, rtol=1e-10)


class TestGivenStreams:
    """Logits of streams that are given, from the definition."""

    X = draw(TOKENS, STREAMS, WIDTH, seed=3)

    def expected(self, weight: np.ndarray, proposals: int, *, per_stream: bool, tanh: bool) -> np.ndarray:
        """Row by row: [token, proposal, row, column] averaged over proposals, with the norm's eps."""
        x = self.X if per_stream else self.X.reshape(TOKENS, -1)
        z = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 0.25) @ weight
        if per_stream:
            z = z.reshape(TOKENS, STREAMS, proposals, STREAMS).transpose(0, 2, 1, 3)
        z = z.reshape(TOKENS, proposals, STREAMS, STREAMS)
        return (0.5 * (np.tanh(z) if tanh else z) + draw(SITES, STREAMS, STREAMS)[0]).mean(axis=1)

    @pytest.mark.parametrize("tanh", [False, True])
    @pytest.mark.parametrize("proposals", [1, 2])
    @pytest.mark.parametrize("per_stream", [False, True])
    def test_they_are_projected_scaled_and_added(self, per_stream: bool, proposals: int, tanh: bool):
        logits = proposals * STREAMS * (1 if per_stream else STREAMS)
        weight = draw(WIDTH if per_stream else STREAMS * WIDTH, logits, seed=4)
        activation = Activation.TANH if tanh else Activation.NONE
        parameters = stack_of(per_stream=per_stream, proposals=proposals, activation=activation)
        found = given_maps(parameters, torch.tensor(weight).float(), torch.tensor(self.X).float())
        expected = self.expected(weight, proposals, per_stream=per_stream, tanh=tanh)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_without_a_projection_every_token_has_the_static_mapping(self):
        found = given_maps(stack_of(orientation=SOURCE), None, torch.tensor(self.X).float())
        np.testing.assert_allclose(found, np.stack([draw(SITES, STREAMS, STREAMS)[0].T] * TOKENS), rtol=1e-6)


@pytest.mark.parametrize("per_stream", [False, True])
@pytest.mark.parametrize("proposals", [1, 2])
def test_random_inputs_go_through_offset_tanh_scale_and_base(per_stream: bool, proposals: int):
    logits = proposals * STREAMS * (1 if per_stream else STREAMS)
    weights = [draw(29, logits, seed=site).astype(np.float32) for site in range(SITES)]
    offset = draw(SITES, STREAMS, seed=9)
    parameters = stack_of(
        per_stream=per_stream,
        proposals=proposals,
        activation=Activation.TANH,
        orientation=SOURCE,
        factors=tuple(logit_factor(torch.tensor(weight)) for weight in weights),
        offset=torch.tensor(offset),
    )
    source = parameters.random(tokens=TOKENS, seed=5)
    assert [sampler.site for sampler in source.samplers] == [3, 11]
    found = source.chunk(0, TOKENS).numpy()
    base = draw(SITES, STREAMS, STREAMS)
    for site, sampler in enumerate(source.samplers):
        z = sampler.draw(0, TOKENS).astype(np.float64)
        if per_stream:
            z = z.reshape(STREAMS, proposals, STREAMS, TOKENS).transpose(1, 0, 2, 3)
        z = z.reshape(proposals, STREAMS, STREAMS, TOKENS)
        alpha = (0.5, -2.0)[site] * np.tanh(z + offset[site][:, None]) + base[site][..., None]
        np.testing.assert_allclose(found[site], alpha.mean(axis=0).swapaxes(0, 1), rtol=1e-5, atol=1e-6)


def test_copies_of_an_embedding_fold_the_projection():
    weight = draw(STREAMS * WIDTH, STREAMS * STREAMS, seed=4).astype(np.float32)
    rows = torch.tensor(draw(TOKENS, WIDTH, seed=6)).float()
    parameters = stack_of(orientation=SOURCE)
    folded = fold_streams(torch.tensor(weight), STREAMS)
    source = EmbeddingMaps(parameters=parameters, folded=folded, rows=lambda a, b: rows[a:b], tokens=TOKENS)
    copies = rows[:, None].expand(-1, STREAMS, -1)
    expected = given_maps(parameters, torch.tensor(weight), copies)
    torch.testing.assert_close(source.chunk(0, TOKENS)[0].permute(2, 0, 1).float(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(folded, weight.reshape(STREAMS, WIDTH, -1).sum(axis=0))
    assert source.stack is parameters.stack


class TestEntryBounds:
    """M = |b| + |alpha| min(1, sqrt(d) |W column| + |offset|)."""

    BASE, SCALES = abs(draw(SITES, STREAMS, STREAMS)), np.array([0.5, 2.0])[:, None, None]

    def lengths(self, weights, *, per_stream: bool) -> np.ndarray:
        each = np.stack([np.sqrt((weight**2).sum(axis=0)) * sqrt(len(weight)) for weight in weights])
        return each[:, None, :] if per_stream else each.reshape(SITES, STREAMS, STREAMS)

    @pytest.mark.parametrize("tanh", [False, True])
    @pytest.mark.parametrize("per_stream", [False, True])
    @pytest.mark.parametrize("orientation", [SOURCE, TARGET])
    def test_projections_reach_as_far_as_their_columns_are_long(self, tanh: bool, per_stream: bool, orientation):
        columns = STREAMS if per_stream else STREAMS * STREAMS
        weights = draw(SITES, 11, columns, seed=1) * np.linspace(0.01, 0.3, columns)
        found = entry_bounds(
            stack_of(
                per_stream=per_stream,
                activation=Activation.TANH if tanh else Activation.NONE,
                orientation=orientation,
                factors=tuple(logit_factor(torch.tensor(weight)) for weight in weights),
            )
        )
        reach = self.lengths(weights, per_stream=per_stream)
        assert reach.min() < 1 < reach.max()
        expected = self.BASE + self.SCALES * (np.minimum(reach, 1) if tanh else reach)
        np.testing.assert_allclose(found, expected.swapaxes(1, 2) if orientation is SOURCE else expected)

    def test_offsets_reach_further(self):
        weights, offset = draw(SITES, 11, STREAMS, seed=1) * 0.01, draw(SITES, STREAMS, seed=2)
        factors = tuple(logit_factor(torch.tensor(weight)) for weight in weights)
        known = {"per_stream": True, "factors": factors, "offset": torch.tensor(offset)}
        reach = self.lengths(weights, per_stream=True) + abs(offset)[:, None, :]
        np.testing.assert_allclose(entry_bounds(stack_of(**known)), self.BASE + self.SCALES * reach)
        squashed = entry_bounds(stack_of(**known, activation=Activation.TANH))
        np.testing.assert_allclose(squashed, self.BASE + self.SCALES * np.minimum(reach, 1))

    def test_what_was_not_read_is_bounded_by_tanh_alone(self):
        known = entry_bounds(stack_of(activation=Activation.TANH))
        np.testing.assert_allclose(known, self.BASE + self.SCALES * np.ones((SITES, STREAMS, STREAMS)))
        assert entry_bounds(stack_of()) is None
        np.testing.assert_allclose(entry_bounds(stack_of(input_dependent=False)), self.BASE)


@pytest.mark.parametrize(
    ("gate", "weights"),
    [
        (GateActivation.NONE, abs),
        (GateActivation.SIGMOID, lambda x: 1 / (1 + np.exp(-x))),
        (GateActivation.SOFTMAX, lambda x: np.exp(x) / np.exp(x).sum()),
    ],
)
def test_gates_become_weights(gate: GateActivation, weights):
    pre, post = draw(2, STREAMS)
    gates = SiteGates(pre=torch.tensor(pre), post=torch.tensor(post), gate=gate)
    np.testing.assert_allclose(gates.reads(), weights(pre))
    np.testing.assert_allclose(gates.writes(), weights(post))


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (InputNorm(per_stream=False, eps=0.5), lambda s: np.sqrt(s / 10 + 0.5)),
        (InputNorm(per_stream=False, eps=3.0, clamped=True), lambda s: np.maximum(np.sqrt(s), 3.0) / sqrt(10)),
    ],
)
def test_eps_of_a_norm_is_added_or_a_floor(norm: InputNorm, expected):
    squares = np.array([0.0, 4.0, 9.0, 40.0])
    np.testing.assert_allclose(norm.rms(squares, 10), expected(squares))
