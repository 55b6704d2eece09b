"""Every call counts in the order in which it ran, and stacks that share no streams are kept apart."""

from functools import partial

import numpy as np
import pytest
import torch
from packages import lucidrains_stacks
from packages.live_models import (
    STREAMS,
    Chained,
    Fractions,
    Looped,
    Siamese,
    Towers,
    calls_of,
    tower,
    worst,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from mhcdiag import Monitor
from mhcdiag.errors import SettingError
from mhcdiag.livepasses.calls import Call, same_streams
from mhcdiag.livepasses.stacks import choose_stack, common_path, group_of, joined, links_of, refined, stacks_of
from mhcdiag.results.gain import LiveGains

IDS = lucidrains_stacks.token_ids(1)


def monitored(model: nn.Module, *inputs: torch.Tensor, backward: bool = False, **options) -> LiveGains:
    """The report of one step; twice the pass, as with two micro-batches."""
    with Monitor(model, **options) as monitor:
        for _ in range(2):
            out = model(*inputs)
            if backward:
                out.square().mean().backward()
        return monitor.step()


RUNS = {
    "plain": lambda layer, x: layer(x),
    "checkpointed": partial(checkpoint, use_reentrant=False),
    "checkpointed, reentrant": partial(checkpoint, use_reentrant=True),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("inject", [False, True])
def test_a_module_that_runs_three_times_counts_three_times(run: str, inject: bool):
    model = Looped(run=RUNS[run], inject=inject)
    found = monitored(model, IDS, backward=True)
    expected = calls_of(model.stack, lambda: model(IDS))
    assert len(expected) == 10
    assert found.forward == pytest.approx(worst(expected), rel=1e-5)
    assert found.backward == pytest.approx(worst(expected, "backward"), rel=1e-5)
    names = [f"stack.layers.1.attn{end}" for end in ("", "@2", "@3")]
    assert [site for site in found.sites if site.startswith("stack.layers.1.attn")] == names
    assert (found.stack, found.stacks) == ("stack.layers", ())


def test_counting_once_would_be_far_off():
    """What the loop above is about: the same blocks without repetition have a third of the sites' growth."""
    once, thrice = (worst(calls_of(m.stack, partial(m, IDS))) for m in (Looped(times=1), Looped(times=3)))
    assert thrice > 4 * once


@pytest.mark.parametrize("shorter", [None, 7])
@pytest.mark.parametrize("names", [("encoder", "decoder"), ("left", "right"), ("tower_a", "b")])
def test_stacks_of_their_own_have_gains_of_their_own(shorter: int | None, names: tuple[str, str]):
    model = Towers(names, shorter)
    found = monitored(model, IDS)
    towers = [model.get_submodule(name) for name in names]
    maps = [lucidrains_stacks.captured_maps(t, part) for t, part in zip(towers, model.inputs(IDS), strict=True)]
    assert [each.stack for each in found.stacks] == [f"{name}.layers" for name in names]
    assert [each.tokens for each in found.stacks] == [each.shape[1] for each in maps]
    for each, expected in zip(found.stacks, maps, strict=True):
        assert each.forward == pytest.approx(worst(expected), rel=1e-5)
        assert each.backward == pytest.approx(worst(expected, "backward"), rel=1e-5)
    assert found.forward == max(each.forward for each in found.stacks)
    assert found.backward == max(each.backward for each in found.stacks)
    assert found.stack == max(found.stacks, key=lambda each: each.worst).stack


def test_one_stack_on_two_inputs_is_not_a_loop():
    model, other = Siamese(), lucidrains_stacks.token_ids(7)
    found = monitored(model, IDS, other)
    assert [each.stack for each in found.stacks] == ["encoder.layers", "encoder.layers #2"]
    for each, ids in zip(found.stacks, (IDS, other), strict=True):
        assert each.forward == pytest.approx(worst(lucidrains_stacks.captured_maps(model.encoder, ids)), rel=1e-5)


def test_one_untrained_stack_on_two_inputs_is_not_a_loop():
    """All streams are still copies of each other there; that one run does not begin where the other ended shows it."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = lucidrains_stacks.Stack("hc", sites=4, streams=3, dim=11, blocks=True)

        def forward(self, one, other):
            return self.encoder(one) + self.encoder(other)

    found = monitored(Both(), IDS, lucidrains_stacks.token_ids(7))
    assert [len(each.sites) for each in found.stacks] == [4, 4]


def test_lists_that_hand_on_their_streams_are_one_stack():
    model = Chained()
    found = monitored(model, IDS)
    assert found.stacks == ()
    assert [site.split(".")[0] for site in found.sites[::2]] == ["prelude", "core", "coda"]
    assert found.forward == pytest.approx(worst(lucidrains_stacks.captured_maps(tower(0), IDS)), rel=1e-5)


def test_names_decide_where_somebody_says_so():
    model = Chained()
    found = monitored(model, IDS, stacks=("prelude", "core"))
    assert [(each.stack, len(each.sites)) for each in found.stacks] == [("prelude", 2), ("core", 2), ("coda", 2)]
    with pytest.raises(SettingError, match=r"stacks='nowhere': no site's path begins so; there are prelude\.0\.ff"):
        Monitor(model, stacks=("nowhere",))


class Branchless(nn.Module):
    """Sites that hand out a function to add the branch with, all in one module: no module returns the streams."""

    def __init__(self) -> None:
        super().__init__()
        from hyper_connections import HyperConnections

        torch.manual_seed(0)
        self.embedding = nn.Embedding(lucidrains_stacks.VOCABULARY, 11)
        for i in range(4):
            self.add_module(f"hc{i}", lucidrains_stacks.wrapper_class("hc")(STREAMS, dim=11, layer_index=i))
            self.add_module(f"mlp{i}", lucidrains_stacks.Branch(11))
            lucidrains_stacks.randomise(self.get_submodule(f"hc{i}"))
        assert isinstance(self.hc0, HyperConnections)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        streams = self.embedding(ids).unsqueeze(1).expand(-1, STREAMS, -1, -1).flatten(0, 1)
        for i in (0, 1, 1, 2, 3):
            read, add = self.get_submodule(f"hc{i}")(streams)
            streams = add(self.get_submodule(f"mlp{i}")(read))
        return streams


def test_sites_between_which_no_module_is_seen_are_one_stack():
    found = monitored(Branchless(), IDS)
    assert found.sites == ("hc0", "hc1", "hc1@2", "hc2", "hc3")
    assert found.stacks == ()


def jacobian_gain(model: Fractions, parts: int) -> float:
    """The largest prefix, suffix and single gain, from pushing unit parts of streams through the wrappers."""
    finest = STREAMS * parts
    maps = []

    def seen(wrapper, args):
        streams = args[0].detach()
        with lucidrains_stacks.norm_output(wrapper) as recorded:
            wrapper.width_connection(streams)
        size = streams.shape[-1] // parts
        columns = []
        for column in range(finest):
            probe = torch.zeros_like(streams).unflatten(0, (-1, STREAMS)).unflatten(-1, (parts, size))
            probe[:, column // parts, :, column % parts, 0] = 1
            with lucidrains_stacks.norm_output(wrapper, replay=recorded[0]):
                _, mixed, _ = wrapper.width_connection(probe.flatten(-2).flatten(0, 1))
            apart = mixed.unflatten(0, (-1, STREAMS)).unflatten(-1, (parts, size))[..., 0]
            columns.append(apart.movedim(1, 2).flatten(0, 1).flatten(-2))
        maps.append(torch.stack(columns, dim=-1).numpy())

    hooks = [layer.register_forward_pre_hook(seen) for layer in model.layers]
    with torch.no_grad():
        model(IDS)
    for hook in hooks:
        hook.remove()
    return worst(np.stack(maps))


@pytest.mark.parametrize(("fractions", "parts"), [((2, 2), 2), ((1, 2, 1), 2), ((2, 3, 1), 6)])
def test_sites_that_mix_parts_of_streams_are_composed_with_those_that_mix_whole_ones(fractions, parts: int):
    model = Fractions(fractions)
    found = monitored(model, IDS)
    assert (len(found.sites), found.stacks, found.unread) == (len(fractions), (), ())
    assert found.forward == pytest.approx(jacobian_gain(model, parts), rel=1e-4)


def test_a_site_that_mixes_whole_streams_mixes_each_part_alike():
    maps = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0))
    fine = refined(maps, 3)
    streams = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((fine @ streams.reshape(5, 6, 2)).reshape(5, 2, 6), maps @ streams)
    assert refined(maps, 1) is maps


def test_marks_know_the_same_numbers_however_they_lie():
    streams = torch.randn(2, 3, 5)
    from mhcdiag.livepasses.calls import mark_of

    one, moved = mark_of(streams).tolist(), mark_of(streams.movedim(1, 2)).tolist()
    assert same_streams(one, moved)
    assert not same_streams(one, mark_of(streams * (1 + 1e-6)).tolist())
    assert not same_streams([1.0, 2.0, 3.0], [1.0, 2.0, 3.001])


@pytest.mark.parametrize(
    ("site", "group"),
    [
        ("encoder.layers.3.attn_hc", "encoder.layers"),
        ("layers.0", "layers"),
        ("block.attn", "block"),
        ("hc1", ""),
        ("a.0.inner.1.hc", "a"),
    ],
)
def test_sites_of_one_list_are_a_group(site: str, group: str):
    assert group_of(site) == group


def test_a_stack_is_called_by_what_its_paths_share():
    assert common_path(["net.encoder.layers.0.a", "net.encoder.layers.1.b"]) == "net.encoder.layers"
    assert common_path(["prelude.0", "core.0"]) == "model"
    assert common_path(["hc0", "hc1"]) == "model"


def call(site: str, *, tokens: int = 4, streams: int = 2, stack: str | None = None) -> Call:
    return Call(site=site, maps=torch.eye(streams).repeat(tokens, 1, 1), tokens=tokens, stack=stack)


def test_calls_that_cannot_be_composed_are_never_linked():
    calls = [call("a.0"), call("a.1", tokens=3), call("a.2"), call("a.3", streams=3)]
    assert links_of(calls) == [-1, -1, 0, -1]
    assert [each.sites for each in stacks_of(calls)] == [("a.0", "a.2"), ("a.1",), ("a.3",)]
    assert [each.name for each in stacks_of(calls)] == ["a", "a #2", "a #3"]


def test_links_are_followed_in_order():
    calls = [call(name) for name in "abc"]
    assert [each.calls for each in joined(calls, [-1, -1, 0])] == [(calls[0], calls[2]), (calls[1],)]


def test_what_somebody_put_into_one_stack_must_fit():
    (stack,) = stacks_of([call("a", stack="x"), call("b", tokens=3, stack="x")])
    assert "expected the same tokens and streams at all" in stack.problem()
    assert "[(3, 2, 2), (4, 2, 2)]" in stack.problem()


def test_a_stack_is_chosen_by_its_name():
    stacks = stacks_of([call("encoder.layers.0"), call("decoder.layers.0"), call("decoder.final.0")])
    assert [each.name for each in stacks] == ["encoder.layers", "decoder.layers", "decoder.final"]
    assert choose_stack(stacks, "encoder") is stacks[0]
    assert choose_stack(stacks, "decoder.final") is stacks[2]
    assert choose_stack(stacks[:1], None) is stacks[0]
    for wanted, said in ((None, "3 stacks of streams"), ("decoder", "expected one of"), ("enc", "expected one of")):
        with pytest.raises(SettingError, match=said):
            choose_stack(stacks, wanted)
