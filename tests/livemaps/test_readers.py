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


class OfXTransformers(torch.nn.Module):
    """What x-transformers' HyperConnection does: its Sinkhorn sees each row as a matrix of one row, and gives ones."""

    def __init__(self, dim: int, streams: int) -> None:
        super().__init__()
        self.norm, self.num_residual_streams = torch.nn.LayerNorm(dim, bias=False), streams
        self.static_alpha = torch.nn.Parameter(torch.randn(streams, streams + 1))
        self.dynamic_alpha_fn = torch.nn.Parameter(torch.randn(dim, streams + 1))
        self.static_beta = torch.nn.Parameter(torch.randn(streams))

    def prepare(self, residuals):
        streams = residuals.unflatten(0, (-1, self.num_residual_streams)).movedim(1, 2)
        alpha = self.norm(streams) @ self.dynamic_alpha_fn + self.static_alpha
        mixing = alpha[..., 1:].unsqueeze(-2).softmax(dim=-2)
        for _ in range(5):
            mixing = torch.nn.functional.normalize(mixing, p=1, dim=-1)
            mixing = torch.nn.functional.normalize(mixing, p=1, dim=-2)
        read = (alpha[..., :1].sigmoid().mT @ streams).squeeze(-2)
        beta = self.static_beta.sigmoid().expand(streams.shape[:-1])
        return read, mixing.squeeze(-2).mT @ streams, {"beta": beta}

    def forward(self, branch, residuals, *, beta):
        return (residuals + branch.unsqueeze(-2) * beta[..., None]).movedim(2, 1).flatten(0, 1)


def test_the_mixing_of_x_transformers_is_read_as_it_runs():
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(OfXTransformers(8, 4) for _ in range(3))

    def run():
        streams = torch.randn(2 * 4, 5, 8)
        for layer in layers:
            read, residuals, kept = layer.prepare(streams)
            streams = layer(torch.tanh(read), residuals, **kept)

    found = caught(layers, run)
    assert list(found) == ["0", "1", "2"]
    for maps in found.values():
        np.testing.assert_allclose(maps, np.ones((10, 4, 4)), rtol=1e-6)


def test_x_transformers_itself():
    package = pytest.importorskip("x_transformers")
    torch.manual_seed(0)
    decoder = package.Decoder(dim=16, depth=2, heads=2, attn_dim_head=8, num_residual_streams=4)
    found = caught(decoder, lambda: decoder(torch.randn(2, 5, 16)))
    assert len(found) == 4
    for maps in found.values():
        np.testing.assert_allclose(maps, np.ones((10, 4, 4)), rtol=1e-6)


@pytest.mark.parametrize("name", ["channel_first", "multi_input_streams", "images"])
def test_other_wrappers_of_the_package(name: str):
    """H x, read off the method with the branch's part at zero, against the mapping that is caught."""
    from hyper_connections import HyperConnections
    from hyper_connections.hyper_connections_channel_first import HyperConnections as OfImages
    from hyper_connections.hyper_connections_with_multi_input_streams import HyperConnections as OfMany

    torch.manual_seed(0)
    made = {
        "channel_first": lambda: HyperConnections(3, dim=6, channel_first=True),
        "multi_input_streams": lambda: OfMany(3, dim=6),
        "images": lambda: OfImages(3, dim=6),
    }[name]()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) / 2
    shape = {"channel_first": (6, 6, 5), "multi_input_streams": (6, 5, 6), "images": (6, 6, 2, 4)}[name]
    streams = torch.randn(shape)
    found = caught(made, lambda: made.width_connection(streams))[""]
    with torch.no_grad():
        mixed = made.width_connection(streams)[1]

    def by_token(packed: torch.Tensor) -> np.ndarray:
        if len(packed) == 2:  # streams stand before the features already
            return packed.reshape(-1, 3, 6).numpy()
        apart = packed.unflatten(0, (2, 3))
        apart = apart.movedim(2, -1) if name != "multi_input_streams" else apart
        return apart.movedim(1, -2).reshape(-1, 3, 6).numpy()

    np.testing.assert_allclose(found @ by_token(streams), by_token(mixed), rtol=1e-4, atol=1e-5)
