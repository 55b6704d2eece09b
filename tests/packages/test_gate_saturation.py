"""The share of saturated gates, against the logits that the modules of each package hand to their sigmoids."""

import copy
from typing import Any

import pytest
import torch
from packages import lucidrains_stacks
from packages.transformers_models import DEEPSEEK_V4, mixers
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

import mhcdiag

TOKENS = 3000


class Sigmoids(TorchFunctionMode):
    """What sigmoids are given while this is open."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        if func in (torch.sigmoid, torch.Tensor.sigmoid, torch.nn.functional.sigmoid):
            self.seen.append(args[0].detach())
        return func(*args, **(kwargs or {}))


def share(seen: list[torch.Tensor]) -> float:
    """Pre and post count alike."""
    return sum(float((each.abs() > 6).double().mean()) for each in seen) / len(seen)


def found(path, **options) -> tuple[float, ...]:
    (check,) = mhcdiag.health(path, only=["gates"], **options).checks
    assert check.skipped == ()
    sites = check.per_site["saturated_at_site"]
    assert check.overall["saturated"] == pytest.approx(sum(sites) / len(sites))
    return sites


@torch.no_grad()
def test_deepseek_v4_of_transformers(tmp_path, build_case):
    pytest.importorskip("transformers")
    case = build_case("deepseek_v4")
    expected = []
    for at, (_, mixer) in enumerate(mixers(case.model, DEEPSEEK_V4)):
        mixer.scale[:2] = torch.tensor([0.5, 4.0]) * (1 + at)
        streams = torch.randn(1, TOKENS, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult)
        with Sigmoids() as sigmoids:
            mixer(streams)
        expected.append(share(sigmoids.seen))
    case.model.save_pretrained(tmp_path)
    assert max(expected) > 0.1
    assert found(tmp_path) == pytest.approx(tuple(expected), abs=0.02)
    static = mhcdiag.health(tmp_path, only=["gates"], inputs="static").checks[0].overall["saturated"]
    assert static < sum(expected) / len(expected) - 0.05, "without the input-dependent part they seem to be open"


@torch.no_grad()
def test_what_streams_are_read_and_written_is_the_mean_over_inputs(tmp_path, build_case):
    """A stream whose static weight is next to nothing is read all the same where inputs open its gate."""
    pytest.importorskip("transformers")
    model = copy.deepcopy(build_case("deepseek_v4").model)
    reads, writes = [], []
    for _, mixer in mixers(model, DEEPSEEK_V4):
        mixer.base[:2] = -9.0  # pre of two streams
        mixer.base[5:8] = torch.tensor([-9.0, 0.5, 2.0])
        mixer.fn[:8] *= 6 / mixer.fn[:8].norm(dim=1, keepdim=True)
        mixer.fn[1] = 0
        mixer.scale[:2] = torch.tensor([3.0, 0.5])
        with Sigmoids() as sigmoids:
            mixer(torch.randn(1, TOKENS, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult))
        pre, post = (each.sigmoid().mean(dim=(0, 1)) for each in sigmoids.seen)
        reads.append(pre.double())
        writes.append(post.double())
    model.save_pretrained(tmp_path)
    (check,) = mhcdiag.health(tmp_path, only=["streams"]).checks
    assert check.per_site["largest_pre"] == pytest.approx([float(each.max()) for each in reads], abs=0.02)
    assert check.per_site["largest_post"] == pytest.approx([float(each.max()) for each in writes], abs=0.02)
    share = torch.stack(reads).square().sum(dim=0)
    share = share / share.sum()
    assert check.overall["effective_streams"] == pytest.approx(float((-(share * share.log()).sum()).exp()), abs=0.05)
    whats = [finding.what for finding in check.findings]
    assert "stream 1 is never read (under 0.01 at every site)" in whats
    static = [f.what for f in mhcdiag.health(tmp_path, only=["streams"], inputs="static").checks[0].findings]
    assert "stream 0, 1 is never read (under 0.01 at every site)" in static


@pytest.mark.parametrize("kind", ["mhc", "mhc_proposals", "mhc_v2"])
@torch.no_grad()
def test_mhc_of_hyper_connections(tmp_path, kind: str):
    pytest.importorskip("hyper_connections")
    model = lucidrains_stacks.stack(kind, sites=4, streams=4, dim=24, seed=3)
    expected = []
    for at, (_, wrapper) in enumerate(model.wrappers()):
        wrapper.pre_branch_scale.fill_(1.5 * (1 + at))
        wrapper.h_post_scale.fill_(6.0)
        with Sigmoids() as sigmoids:
            wrapper.width_connection(model.pack(torch.randn(1, TOKENS, 4, 24)))
        expected.append(share(sigmoids.seen[:2]))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    # Of several proposals the one that moves most is taken.
    tolerance = 0.06 if kind == "mhc_proposals" else 0.02
    assert max(expected) > 0.1
    assert found(tmp_path / "model.safetensors") == pytest.approx(tuple(expected), abs=tolerance)
