"""Streams and gates, in every layout whose records tell read and write weights, and from captured streams."""

import pytest
import torch
from layouts.formulas import CASES
from safetensors.torch import save_file
from stacks import hyper_connections_tensors, write

import mhcdiag

SITES, STREAMS, TOKENS, WIDTH = 6, 3, 11, 13

SEPARATE = {
    "motif": ("bias_res", "bias_pre", "bias_post"),
    "magi": ("bias_res", "bias_pre", "bias_post"),
    "mhc_cu": ("b_res", "b_pre", "b_post"),
    "tokenbender": ("H_res_logits", "H_pre_logits", "H_post_logits"),
}
"""Layouts with one bias each, by name of the residual one, of pre and of post."""


def examine(path, name: str = "streams", **options):
    (found,) = mhcdiag.health(path, only=[name], **options).checks
    return found


def whats(found) -> list[str]:
    return [finding.what for finding in found.findings]


@pytest.mark.parametrize("case", SEPARATE)
def test_biases_of_their_own_are_read(tmp_path, case: str):
    model = CASES[case]()
    residual, pre, post = SEPARATE[case]
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    assert examine(write(tmp_path / "without", tensors, config=model.config)).not_checkable
    for name in [name for name in tensors if residual in name]:
        streams = tensors[name].shape[-1]
        tensors[name.replace(residual, pre)] = torch.zeros(streams).index_fill_(0, torch.tensor([1]), -9.0)
        tensors[name.replace(residual, post)] = torch.zeros(streams).index_fill_(0, torch.tensor([0]), -9.0)
    found = examine(write(tmp_path / "with", tensors, config=model.config))
    assert whats(found)[:2] == [
        "stream 1 is never read (under 0.01 at every site)",
        "stream 0 is never written to (under 0.01 at every site)",
    ]


def test_weights_of_hyper_connections_are_used_as_they_stand(tmp_path):
    healthy = hyper_connections_tensors(sites=SITES, streams=STREAMS)
    for name in healthy:
        if name.endswith("static_alpha"):
            healthy[name][:, 0] = torch.tensor([0.5, -0.7, 0.6])
    assert whats(examine(write(tmp_path / "healthy", healthy))) == []
    sick = {name: tensor.clone() for name, tensor in healthy.items()}
    for name, tensor in sick.items():
        if name.endswith("static_alpha"):
            tensor[1, 0] = 0.001
        elif name.endswith("static_beta"):
            tensor[2] = -0.001
    assert whats(examine(write(tmp_path / "sick", sick))) == [
        "stream 1 is never read (under 0.01 at every site)",
        "stream 2 is never written to (under 0.01 at every site)",
    ]


def test_the_kernel_has_a_rank_in_hyper_connections_too(tmp_path):
    found = examine(write(tmp_path, hyper_connections_tensors(sites=SITES, streams=STREAMS)), "gauge")
    assert 1 <= found.overall["kernel_rank"] <= SITES


@pytest.mark.parametrize(("times", "sick"), [(0.1, False), (3.0, True)])
def test_tanh_saturates_with_a_large_projection(tmp_path, times: float, sick: bool):
    tensors = hyper_connections_tensors(sites=SITES, streams=STREAMS)
    tensors |= {name: tensor * times for name, tensor in tensors.items() if name.endswith("dynamic_alpha_fn")}
    found = examine(write(tmp_path, tensors), "gates")
    assert any("of the inputs of tanh are beyond +-2" in what for what in whats(found)) is sick
    columns = torch.cat([t[:, -STREAMS:].norm(dim=0) for n, t in tensors.items() if n.endswith("dynamic_alpha_fn")])
    drawn = torch.randn(100_000, generator=torch.Generator().manual_seed(0))[:, None] * columns
    saturated = sum(found.per_site["tanh_saturated"]) / SITES
    assert saturated == pytest.approx(float((drawn.abs() > 2).double().mean()), abs=0.005)


class TestCopies:
    """Cosines of captured streams."""

    def captured(self, tmp_path, alike: list[float]):
        """Streams of which a share is the same in all, by site; H_res is the identity."""
        generator = torch.Generator().manual_seed(0)

        def streams(share: float) -> torch.Tensor:
            common = torch.randn(TOKENS, 1, WIDTH, generator=generator)
            return share * common + (1 - share) * torch.randn(TOKENS, STREAMS, WIDTH, generator=generator)

        file = {}
        for site, share in enumerate(alike):
            file[f"layers.{site}.h_res"] = torch.eye(STREAMS).expand(TOKENS, -1, -1).contiguous()
            file[f"layers.{site}.x_in"] = streams(share)
        save_file(file, tmp_path / "captured.safetensors")
        return tmp_path / "captured.safetensors"

    def test_streams_that_become_alike_are_named(self, tmp_path):
        found = examine(self.captured(tmp_path, [0.2, 0.6, 0.9, 0.99]))
        assert [(finding.severity, finding.site) for finding in found.findings] == [("warn", "0.attn")]
        assert "the mean cosine of streams rises from" in found.findings[0].what
        assert found.per_site["cosine"] == tuple(sorted(found.per_site["cosine"]))

    def test_streams_that_stay_apart_are_not(self, tmp_path):
        assert examine(self.captured(tmp_path, [0.2, 0.5, 0.4])).findings == ()

    def test_streams_that_start_alike_and_part_are_not(self, tmp_path):
        assert examine(self.captured(tmp_path, [1.0, 0.6, 0.4])).findings == ()

    def test_copies_all_the_way_are_noted_and_not_blamed_on_mixing(self, tmp_path):
        found = examine(self.captured(tmp_path, [1.0, 0.99, 1.0]))
        assert [finding.severity for finding in found.findings] == ["note"]
        assert "says nothing of mixing" in found.findings[0].advice

    def test_the_cosine_is_that_of_pairs(self, tmp_path):
        x = torch.zeros(2, STREAMS, WIDTH)
        x[:, 0, 0], x[:, 1, 0], x[:, 2, 1] = 2.0, -3.0, 5.0  # cosines -1, 0, 0
        save_file({"layers.0.h_res": torch.eye(STREAMS), "layers.0.x_in": x}, tmp_path / "captured.safetensors")
        assert examine(tmp_path / "captured.safetensors").overall["last_cosine"] == pytest.approx(-1 / 3)
