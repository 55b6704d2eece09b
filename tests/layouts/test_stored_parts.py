"""Read and write weights: where they stand, and what is none."""

import pytest
import torch
from stacks import write

from mhcdiag.layouts.interface import Recognition, Site
from mhcdiag.layouts.stored_parts import AlphaGates, FusedGates, SeparateGates, read_gates
from mhcdiag.mappings.interface import GateActivation
from mhcdiag.tensorfiles import open_checkpoint

STREAMS = 3


def opened(tmp_path, **tensors: torch.Tensor):
    return open_checkpoint(write(tmp_path, tensors))


def a_site(**tensors: str) -> Site:
    return Site(name="0.attn", tensors=tensors, depth=0)


@pytest.mark.parametrize(("post", "found"), [(STREAMS, True), (STREAMS + 1, False)])
def test_separate_gates_are_those_named_alike_and_of_one_number_a_stream(tmp_path, post: int, found: bool):
    checkpoint = opened(tmp_path, a_pre=torch.zeros(STREAMS), a_post=torch.zeros(post), a_res=torch.zeros(3, 3))
    names = SeparateGates("bias").names(checkpoint, a_site(bias="a_res"), STREAMS)
    assert names == (("a_pre", "a_post") if found else ())


def test_half_of_a_pair_is_none(tmp_path):
    checkpoint = opened(tmp_path, a_pre=torch.zeros(STREAMS), a_res=torch.zeros(3, 3))
    assert SeparateGates("bias").names(checkpoint, a_site(bias="a_res"), STREAMS) == ()


def test_alpha_gates_are_the_mean_of_the_views():
    alpha = torch.arange(15.0).view(STREAMS, 5)  # two views, then the residual columns
    found = AlphaGates().cut([alpha, torch.tensor([7.0, 8.0, 9.0])], STREAMS, gate=GateActivation.NONE)
    assert found is not None
    assert found.pre.tolist() == [0.5, 5.5, 10.5]
    assert found.post.tolist() == [7.0, 8.0, 9.0]


def test_alphas_in_one_row_begin_with_the_view():
    found = AlphaGates().cut([torch.arange(9.0), torch.zeros(STREAMS)], STREAMS, gate=GateActivation.NONE)
    assert found is not None
    assert found.pre.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "alpha",
    [
        torch.zeros(STREAMS + 1, STREAMS + 2),  # rows that are not one a stream
        torch.zeros(STREAMS, STREAMS),  # no view beside the residual columns
        torch.zeros(STREAMS),
    ],
)
def test_other_alphas_are_no_gates(alpha: torch.Tensor):
    assert AlphaGates().cut([alpha, torch.zeros(STREAMS)], STREAMS, gate=GateActivation.NONE) is None


def test_every_site_has_its_gates_in_order(tmp_path):
    rows = STREAMS * (STREAMS + 2)
    checkpoint = opened(tmp_path, first=torch.arange(float(rows)), second=-torch.arange(float(rows)))
    sites = tuple(Site(name=name, tensors={"base": name}, depth=depth) for depth, name in enumerate(checkpoint.tensors))
    recognition = Recognition(model="", sites=sites)
    found = read_gates(checkpoint, recognition, (FusedGates("base"),), STREAMS, unconstrained=False)
    assert found is not None
    assert [gates.pre.tolist() for gates in found] == [[0.0, 1.0, 2.0], [-0.0, -1.0, -2.0]]
    assert [gates.post.tolist() for gates in found] == [[3.0, 4.0, 5.0], [-3.0, -4.0, -5.0]]
    assert {gates.gate for gates in found} == {GateActivation.SIGMOID}


def test_one_site_without_gates_leaves_none(tmp_path):
    checkpoint = opened(tmp_path, first=torch.zeros(STREAMS * (STREAMS + 2)), second=torch.zeros(2))
    sites = tuple(Site(name=name, tensors={"base": name}, depth=depth) for depth, name in enumerate(checkpoint.tensors))
    recognition = Recognition(model="", sites=sites)
    assert read_gates(checkpoint, recognition, (FusedGates("base"),), STREAMS, unconstrained=False) is None
