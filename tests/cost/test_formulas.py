"""Costs by the paper's formulas."""

import json
from pathlib import Path

import pytest

from mhcdiag.cost import PRESETS, Sizes, cost_of, read_sizes
from mhcdiag.cost.formulas import fused_traffic, hyper_traffic, recompute_block
from mhcdiag.errors import InputError, SettingError


def test_table_2_at_four_streams():
    """About 21 C elements read and 13 C written."""
    found = hyper_traffic(Sizes(width=2560, blocks=30))
    assert (found.reads, found.writes) == (21 * 2560 + 24, 13 * 2560 + 24)


@pytest.mark.parametrize("streams", [2, 3, 5, 7])
def test_table_2_is_the_sum_of_its_steps(streams: int):
    n, c = streams, 11
    steps = [  # reads, writes: mappings; read; write back; mix; add
        (n * c, n * n + 2 * n), (n * c + n, c), (c + n, n * c), (n * c + n * n, n * c), (2 * n * c, n * c),
    ]  # fmt: skip
    found = hyper_traffic(Sizes(width=c, streams=n, blocks=1))
    assert (found.reads, found.writes) == tuple(map(sum, zip(*steps, strict=True)))
    fused = fused_traffic(Sizes(width=c, streams=n, blocks=1))
    # One kernel in place of the last three: C and the n streams in, the n streams out.
    assert found.reads - fused.reads == (3 * n + 1) * c - (n + 1) * c
    assert found.writes - fused.writes == 2 * n * c


def test_equation_20_is_where_memory_is_least():
    assert recompute_block(streams=4, sites=60) == pytest.approx(6.32, abs=0.01)
    n, sites = 5, 77

    def kept(block: float) -> float:
        return n * sites / block + (n + 2) * block

    best = recompute_block(streams=n, sites=sites)
    assert kept(best) < min(kept(0.99 * best), kept(1.01 * best))


def test_one_stream_costs_no_more_communication_than_the_residual_stream():
    one, four = (cost_of(Sizes(width=13, streams=n, blocks=3), model="") for n in (1, 4))
    assert one.pipeline_bytes == 2 * 13
    assert four.pipeline_bytes == 4 * one.pipeline_bytes


@pytest.mark.parametrize("topology", ["hc", "mhc"])
def test_parameters_are_those_of_the_toy_models(topology: str):
    from torch import Generator

    from mhcdiag.toy.settings import ToySettings
    from mhcdiag.toy.topologies import topology_for

    settings = ToySettings(topology=topology, width=14, streams=3, depth=5)
    real = topology_for(settings).initial(settings, Generator()).values()
    found = cost_of(Sizes(width=14, streams=3, blocks=5), model="")
    assert getattr(found, f"parameters_{topology}") == sum(each.numel() for each in real)


def test_presets_are_the_published_sizes():
    assert {name: (each.width, each.blocks) for name, each in PRESETS.items()} == {
        "3b": (1280, 12), "9b": (1920, 18), "27b": (2560, 30), "v4-flash": (4096, 43), "v4-pro": (7168, 61),
    }  # fmt: skip


def test_sizes_are_read_from_a_configuration(tmp_path: Path):
    config = {"text_config": {"hidden_size": 7168, "num_hidden_layers": 61, "hc_mult": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_sizes(str(tmp_path), dtype="fp32") == Sizes(width=7168, streams=4, blocks=61, dtype="fp32")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is no JSON object"),
        ('{"hidden_size": 8, "hc_mult": 4}', "no num_hidden_layers"),
        ('{"hidden_size": 8, "num_hidden_layers": 2}', "no hc_mult or hc_count"),
        ('{"hidden_size": "8", "num_hidden_layers": 2, "hc_mult": 4}', "hidden_size = '8'; expected a whole number"),
    ],
)
def test_other_configurations_are_refused(tmp_path: Path, content: str, message: str):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_sizes(str(path), dtype="bf16")


def test_impossible_sizes_are_refused():
    with pytest.raises(SettingError, match="--streams 0: expected at least 1"):
        Sizes(width=8, streams=0, blocks=1)
    with pytest.raises(SettingError, match="--dtype fp8"):
        Sizes(width=8, blocks=1, dtype="fp8")
