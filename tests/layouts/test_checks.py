"""What every layout refuses, and what it counts as broken."""

from math import inf, nan

import pytest
import torch
from stacks import write

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.checks import describe_nonfinite, read_float, refuse_overrides, require_layers, require_shape
from mhcdiag.layouts.interface import Overrides, Site
from mhcdiag.tensorfiles import open_checkpoint

SITE = Site(name="3.attn", tensors={}, depth=6)


def opened(tmp_path, **tensors: torch.Tensor):
    return open_checkpoint(write(tmp_path, tensors))


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_one_number_that_is_not_finite_is_named(value: float):
    values = {"whole": torch.ones(2, 3), "broken": torch.tensor([1.0, value, 2.0, value, 0.0])}
    found = describe_nonfinite(SITE, values)
    assert (found.site, found.tensors) == ("3.attn", ("broken",))
    assert found.found == "2 of 5 values of broken are NaN or infinite"


def test_every_broken_tensor_is_named():
    found = describe_nonfinite(
        SITE, {"a": torch.tensor([nan]), "b": torch.ones(2), "c": torch.tensor([[inf, -inf, nan]])}
    )
    assert found.tensors == ("a", "c")
    assert found.found == "1 of 1 values of a, 3 of 3 values of c are NaN or infinite"


def test_finite_numbers_of_any_size_are_not_broken():
    assert describe_nonfinite(SITE, {"a": torch.tensor([3e38, -3e38, 0.0, 1e-40])}) is None


@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        ((2, 3), True),
        ((-1, 3), True),
        ((2, -1), True),
        ((3, 2), False),
        ((2, 3, 1), False),
        ((2,), False),
        ((-1, 2), False),
    ],
)
def test_shapes_fit_size_by_size(tmp_path, expected, fits: bool):
    checkpoint = opened(tmp_path, x=torch.zeros(2, 3))
    if fits:
        require_shape(checkpoint, "x", expected, meaning="m")
        return
    with pytest.raises(LayoutError, match=r"tensor x has shape \[2, 3\]; expected \["):
        require_shape(checkpoint, "x", expected, meaning="m")


def test_any_size_is_called_so(tmp_path):
    with pytest.raises(LayoutError, match=r"expected \[any, 7\] \(seven\)"):
        require_shape(opened(tmp_path, x=torch.zeros(2, 3)), "x", (-1, 7), meaning="seven")


@pytest.mark.parametrize(
    ("found", "count", "said"),
    [
        ([0, 1, 2], 3, None),
        ([2, 0, 1], None, None),
        ([], None, None),
        ([0, 2], None, "layer 1 has no mixer; expected every layer from 0 to 2"),
        ([0, 1], 4, "layers 2, 3 have no mixer; expected every layer from 0 to 3"),
        ([9], None, "layers 0, 1, 2, 3, 4, 5, 6, 7, ... have no mixer; expected every layer from 0 to 9"),
        ([8], None, "layers 0, 1, 2, 3, 4, 5, 6, 7 have no mixer; expected every layer from 0 to 8"),
        ([0, 1, 7], 2, None),  # layers behind the last one are somebody else's
    ],
)
def test_a_gap_in_the_layers_is_named(tmp_path, found, count: int | None, said: str | None):
    checkpoint = opened(tmp_path, x=torch.zeros(1))
    if said is None:
        require_layers(checkpoint, found, count=count, what="mixer")
        return
    with pytest.raises(LayoutError, match=said):
        require_layers(checkpoint, found, count=count, what="mixer")


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_half_precision_becomes_float32_and_float64_stays(tmp_path, stored, read):
    found = read_float(opened(tmp_path, x=torch.tensor([0.5, -2.0], dtype=stored)), "x")
    assert (found.dtype, found.tolist()) == (read, [0.5, -2.0])


def test_whole_numbers_are_no_mixing_parameter(tmp_path):
    with pytest.raises(LayoutError, match="tensor x has element type I32"):
        read_float(opened(tmp_path, x=torch.ones(2, dtype=torch.int32)), "x")


def test_settings_are_refused_where_they_are_set():
    refuse_overrides(Overrides(), "plain", "tanh", "sinkhorn_eps")
    refuse_overrides(Overrides(sinkhorn_iters=3), "plain", "tanh")
    with pytest.raises(SettingError, match=r"^--sinkhorn-eps means nothing for layout plain"):
        refuse_overrides(Overrides(sinkhorn_eps=0.0), "plain", "tanh", "sinkhorn_eps")
    with pytest.raises(SettingError, match=r"^--tanh means nothing"):
        refuse_overrides(Overrides(tanh=False), "plain", "tanh")
