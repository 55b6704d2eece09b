"""Token means of the mappings: what the reduction `of_mean` measures, as matrices."""

import math

import numpy as np
import pytest
import torch
from plots.gain_results import hc, identity, measured

from mhcdiag.results.gain import Definition, Direction, Kind, Reduction


def test_they_are_the_means_over_tokens_of_each_mapping_and_of_the_composite():
    maps = hc(5, streams=3, tokens=199)
    result = measured(maps)
    np.testing.assert_allclose(result.mean_mappings, maps.mean(dim=-1).numpy(), rtol=1e-12)
    composites = [np.linalg.multi_dot(list(reversed(maps[..., t].numpy()))) for t in range(199)]
    np.testing.assert_allclose(result.mean_composite, np.mean(composites, axis=0), rtol=1e-10)


@pytest.mark.parametrize("definition", list(Definition))
def test_their_gain_is_that_of_the_reduction_of_mean(definition: Definition):
    result = measured(hc(7, streams=3))
    for direction, axis in ((Direction.FORWARD, 1), (Direction.BACKWARD, 0)):
        matrices = np.array([*result.mean_mappings, result.mean_composite])
        sums = np.abs(matrices).sum(axis=1 + axis) if definition is Definition.NORM else matrices.sum(axis=1 + axis)
        singles = result.gain[Kind.SINGLE, direction, definition, Reduction.OF_MEAN]
        whole = result.gain[Kind.PREFIX, direction, definition, Reduction.OF_MEAN][-1]
        np.testing.assert_allclose(np.abs(sums).max(axis=1), [*singles, whole], rtol=1e-12)


def test_entries_beyond_float64_are_infinite_and_keep_their_sign():
    maps = torch.zeros(11, 2, 2, 3, dtype=torch.float64)
    maps[:, 0, 0], maps[:, 1, 1] = -1e40, 1e-40
    composite = measured(maps).mean_composite
    assert composite[0] == (-math.inf, 0.0)
    assert composite[1] == (0.0, pytest.approx(0.0))


def test_nan_stays_where_it_is():
    maps = hc(3, streams=2)
    maps[1, 0, 1, 4] = math.nan
    result = measured(maps)
    assert [[math.isnan(x) for x in row] for row in result.mean_mappings[1]] == [[False, True], [False, False]]


def test_nothing_is_mixed_so_there_is_none():
    assert (identity(5).mean_mappings, identity(5).mean_composite) == ((), ())
