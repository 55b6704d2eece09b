"""Costs by the paper's formulas."""

import json
import math
from pathlib import Path

import pytest

from mhcdiag.errors import InputError, SettingError
from mhcdiag.usecases.cost import PRESETS, Sizes, cost_of, fused_traffic, hyper_traffic, read_sizes, recompute_block


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


@pytest.mark.parametrize(
    ("streams", "blocks", "block", "whole"),
    [
        (1, 1, math.sqrt(2 / 3), 1),  # never less than one site
        (2, 6, math.sqrt(6), 2),
        (2, 7, math.sqrt(7), 3),  # 2.65 is rounded to the nearest
        (4, 30, math.sqrt(40), 6),
        (4, 31, math.sqrt(124 / 3), 6),
        (4, 32, math.sqrt(128 / 3), 7),  # 6.53
    ],
)
def test_what_recomputation_keeps_with_the_nearest_whole_block(streams: int, blocks: int, block: float, whole: int):
    found = cost_of(Sizes(width=11, streams=streams, blocks=blocks, dtype="fp32"), model="m")
    assert found.recompute_block == pytest.approx(block)
    entries = -(-2 * blocks // whole)  # the last block may be shorter
    assert found.recomputed_bytes == 4 * 11 * (streams * entries + (streams + 2) * whole)


def test_every_cost_of_one_model_by_hand():
    found = cost_of(Sizes(width=10, streams=3, blocks=4, dtype="fp16"), model="by hand")
    assert (found.model, found.width, found.streams, found.sites, found.dtype) == ("by hand", 10, 3, 8, "fp16")
    assert [(each.topology, each.reads, each.writes) for each in found.traffic] == [
        ("residual", 20, 10),
        ("hc", 16 * 10 + 15, 10 * 10 + 15),
        ("mhc, fused", 160 + 15 - 100 + 40, 100 + 15 - 90 + 30),
    ]
    assert found.parameters_hc == 8 * (5 * 10 + 9 + 6 + 3)
    assert found.parameters_mhc == 8 * (30 * 15 + 15 + 3)
    assert found.stream_bytes == 3 * 10 * 8 * 2
    assert found.pipeline_bytes == 3 * 10 * 2
    # sqrt(24 / 5) = 2.19: blocks of 2 sites, 4 of them
    assert found.recomputed_bytes == 2 * (30 * 4 + 5 * 10 * 2)


@pytest.mark.parametrize(("dtype", "size"), [("bf16", 2), ("fp16", 2), ("fp32", 4)])
def test_bytes_per_element(dtype: str, size: int):
    assert cost_of(Sizes(width=13, streams=1, blocks=1, dtype=dtype), model="").pipeline_bytes == 13 * size


@pytest.mark.parametrize("name", ["width", "streams", "blocks"])
def test_one_is_the_least_of_every_size(name: str):
    sizes = {"width": 2, "streams": 2, "blocks": 2}
    assert getattr(Sizes(**sizes | {name: 1}), name) == 1
    for least in (0, -1):
        with pytest.raises(SettingError, match=f"--{name} {least}: expected at least 1"):
            Sizes(**sizes | {name: least})


def test_four_streams_of_bf16_where_nothing_is_said():
    assert Sizes(width=1, blocks=1) == Sizes(width=1, streams=4, blocks=1, dtype="bf16")


@pytest.mark.parametrize("key", ["hc_mult", "hc_count", "streams", "num_residual_streams"])
def test_every_name_for_the_streams_is_known(tmp_path: Path, key: str):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"hidden_size": 8, "num_hidden_layers": 2, key: 1}))
    assert read_sizes(str(path), dtype="bf16") == Sizes(width=8, streams=1, blocks=2)


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0, "4", [4]])
def test_a_size_that_is_no_positive_whole_number_is_refused(tmp_path: Path, wrong: object):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hidden_size": wrong, "num_hidden_layers": 2, "hc_mult": 4}))
    with pytest.raises(InputError, match=r"hidden_size = .*; expected a whole number of at least 1"):
        read_sizes(str(path), dtype="bf16")


def test_a_missing_configuration_is_told(tmp_path: Path):
    with pytest.raises(InputError, match=r"config\.json: No such file or directory; expected a config\.json"):
        read_sizes(str(tmp_path), dtype="bf16")
