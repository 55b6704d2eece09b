"""What hooks read from running models, against what the packages' own modules mixed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from packages import lucidrains_stacks, transformers_hooks
from packages.transformers_models import DEEPSEEK_V4, deepseek_v4, hy_v4, mixers

from mhcdiag.livemaps import LiveSites, live_sites
from mhcdiag.livemaps.interface import SiteCall
from mhcdiag.livemaps.mixer_outputs import MEGATRON


def caught(model: torch.nn.Module, run: Callable[[], object]) -> dict[str, np.ndarray]:
    """H_res [token, n, n] by site of one pass."""
    found: dict[str, np.ndarray] = {}
    handles = []
    sites = live_sites(model)
    assert not sites.unread
    for site in sites.sites:

        def take(read: Callable[[], SiteCall], name: str = site.name) -> None:
            found[name] = read().formed(None).h_res.numpy()

        handles += site.reader.attach(site.module, take)
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return found


def test_deepseek_v4():
    model = deepseek_v4(layers=3, hidden=20, streams=3, seed=1)
    ids = transformers_hooks.token_ids(0)
    found = caught(model, lambda: model(input_ids=ids, use_cache=False))
    assert list(found) == [name for name, _ in mixers(model, DEEPSEEK_V4)]
    expected = transformers_hooks.captured_maps(model, DEEPSEEK_V4, ids)
    np.testing.assert_allclose(np.stack(list(found.values())), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", ["hc", "hc_without_tanh", "hc_views", "mhc", "mhc_proposals", "mhc_v2", "mhc_v2_proposals"]
)
def test_hyper_connections(kind: str):
    model = lucidrains_stacks.stack(kind, sites=6, streams=3, dim=11, seed=2)
    ids = lucidrains_stacks.token_ids(0)
    found = caught(model, lambda: model(ids))
    expected = lucidrains_stacks.captured_maps(model, ids)
    for (name, _), maps in zip(model.wrappers(), expected, strict=True):
        np.testing.assert_allclose(found[name], maps, rtol=1e-4, atol=1e-5, err_msg=name)


def test_megatron_style_modules_return_their_mapping():
    class Mixer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mapping_proj = torch.nn.Linear(6, 3)
            self.alpha_res = torch.nn.Parameter(torch.ones(1))
            self.bias = torch.nn.Parameter(torch.ones(3))

        def forward(self, streams: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return streams, torch.arange(9.0).view(1, 1, 3, 3), streams

    model = Mixer()
    [site] = live_sites(model).sites
    assert site.reader is MEGATRON
    found = caught(model, lambda: model(torch.ones(1, 1, 6)))
    np.testing.assert_array_equal(found[""][0], np.arange(9.0).reshape(3, 3))


def test_streams_that_are_not_mixed_have_no_sites():
    for model in (hy_v4(layers=2, hidden=16, streams=3, seed=1), torch.nn.Linear(2, 2)):
        assert live_sites(model) == LiveSites(sites=(), unread=())
