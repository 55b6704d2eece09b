"""The measurement: reductions, spans, chunks and what it says of broken mappings."""

import gc
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from kernel_cases import ALL_KERNELS
from reference import reference

from mhcdiag.kernels.composite.interface import ChunkGains, Kernel, Outputs
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.mappings.interface import CHUNK_TOKENS, Stack
from mhcdiag.measures import reductions as quantiles_module
from mhcdiag.measures.gain import SPAN_TOKENS, measure_gains
from mhcdiag.measures.reductions import ExactQuantiles, HistogramQuantiles, rank_of
from mhcdiag.results.gain import Direction, Reduction
from mhcdiag.results.numbers import Huge, log10_of


@dataclass(frozen=True)
class Maps:
    """Mappings that are already there, as a `MapSource`."""

    maps: torch.Tensor

    @property
    def stack(self) -> Stack:
        names = tuple(f"site {i}" for i in range(self.maps.shape[0]))
        return Stack(sites=names, tensors=names, streams=self.maps.shape[1])

    @property
    def tokens(self) -> int:
        return self.maps.shape[-1]

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> torch.Tensor:
        assert start % CHUNK_TOKENS == 0
        assert stop - start <= CHUNK_TOKENS
        return self.maps[..., start:stop]


def random_maps(sites: int, streams: int, tokens: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(sites, streams, streams, tokens, generator=generator, dtype=torch.float64)
    return torch.eye(streams, dtype=torch.float64)[None, :, :, None] + 0.3 * noise


@pytest.mark.parametrize("tokens", [1, 2, 101, 199])
def test_every_number_is_that_of_numpy(tokens: int):
    maps = random_maps(5, 3, tokens)
    found = measure_gains(Maps(maps), exact_side=None)
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    for key, curve in expected.gain.items():
        np.testing.assert_allclose(found.curves[key], curve, rtol=1e-10, err_msg=str(key))
    for key, value in expected.worst.items():
        assert found.worst[key].value == pytest.approx(value, rel=1e-10)


def test_the_worst_span_is_named():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(7, 1, 1, 3)
    maps[2] *= 3
    maps[3] *= 2
    maps[5] *= 0.5
    worst = measure_gains(Maps(maps), exact_side=None).worst[Direction.FORWARD, "norm"]
    assert (worst.value, worst.from_site, worst.to_site) == (6.0, "site 2", "site 3")


def test_of_equally_bad_spans_the_shortest_is_named_then_the_first():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(5, 1, 1, 3)
    worst = measure_gains(Maps(maps), exact_side=None).worst[Direction.BACKWARD, "amax"]
    assert (worst.value, worst.from_site, worst.to_site) == (1.0, "site 0", "site 0")


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    maps = random_maps(3, 2, 37)
    whole = measure_gains(Maps(maps), exact_side=Direction.FORWARD)
    monkeypatch.setattr("mhcdiag.measures.gain.CHUNK_TOKENS", 8)
    parts = measure_gains(_AnyChunk(maps), exact_side=Direction.FORWARD)
    for key, curve in whole.curves.items():
        np.testing.assert_allclose(parts.curves[key], curve, rtol=1e-12, err_msg=str(key))
    for key, span in whole.worst.items():
        assert (parts.worst[key].from_site, parts.worst[key].to_site) == (span.from_site, span.to_site)
        assert parts.worst[key].value == pytest.approx(span.value, rel=1e-12)
    np.testing.assert_allclose(parts.sinkhorn.column_residual, whole.sinkhorn.column_residual)
    assert parts.sinkhorn.log_sum_max == pytest.approx(whole.sinkhorn.log_sum_max)


class _AnyChunk(Maps):
    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> torch.Tensor:
        return self.maps[..., start:stop]


def test_worst_is_never_below_a_mean_although_spans_see_fewer_tokens():
    """Token 1 is not among the evenly spaced ones; its huge mapping counts all the same."""
    maps = random_maps(2, 2, 2 * SPAN_TOKENS)
    maps[..., 1] *= 1e6
    found = measure_gains(Maps(maps), exact_side=None)
    assert found.span_tokens == SPAN_TOKENS
    for (kind, direction, definition, reduction), curve in found.curves.items():
        if reduction is Reduction.MEAN:
            assert found.worst[direction, definition].value >= max(curve), kind


def test_the_mean_without_first_tokens_stands_beside_the_mean():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(3, 1, 1, 5)
    maps[..., 0] *= 100
    maps[..., 3] *= 50
    found = measure_gains(Maps(maps), exact_side=None, first_tokens=(0, 3))
    single = {reduction: found.curves["single", "forward", "norm", reduction][0] for reduction in ("mean", "max")}
    assert single == {"mean": pytest.approx(153 / 5), "max": 100.0}
    assert found.curves["single", "forward", "norm", Reduction.MEAN_WITHOUT_FIRST] == (1.0, 1.0, 1.0)


def test_a_gain_beyond_float64_is_a_huge_number():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(122, 1, 1, 3) * 1e40
    found = measure_gains(Maps(maps), exact_side=None)
    for reduction in ("mean", "p50", "p99", "max", "of_mean"):
        number = found.curves["prefix", "backward", "norm", reduction][-1]
        assert isinstance(number, Huge)
        assert number.log10 == pytest.approx(4880)
        assert found.curves["single", "backward", "norm", reduction][-1] == pytest.approx(1e40)
    assert found.worst["forward", "norm"].value.log10 == pytest.approx(4880)
    assert found.worst["forward", "norm"].to_site == "site 121"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_mapping_is_counted_and_poisons_the_worst_span(value: float):
    maps = random_maps(5, 3, 11)
    maps[2, 1, 0, 4] = value
    found = measure_gains(Maps(maps), exact_side=None)
    assert found.nonfinite_tokens == (0, 0, 1, 0, 0)
    worst = found.worst["forward", "norm"]
    assert not math.isfinite(worst.value)
    assert (worst.from_site, worst.to_site) == ("site 2", "site 2")


def test_broken_tokens_add_up_over_chunks():
    """Two in the first chunk of site 1, one in the second; site 2 has one in the second alone."""
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(3, 1, 1, CHUNK_TOKENS + 5)
    maps[1, 0, 1, 7], maps[1, 1, 1, 4000], maps[1, 0, 0, CHUNK_TOKENS] = math.nan, math.inf, -math.inf
    maps[2, 1, 0, CHUNK_TOKENS + 4] = math.nan
    found = measure_gains(Maps(maps), exact_side=None)
    assert found.nonfinite_tokens == (0, 3, 1)
    assert math.isnan(found.curves["single", "forward", "norm", "max"][2])


@pytest.mark.parametrize("broken", [3, CHUNK_TOKENS + 3])
def test_nan_of_either_chunk_stays_in_the_sinkhorn_quality(broken: int):
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(2, 1, 1, CHUNK_TOKENS + 5)
    maps[1, :, :, broken] = math.nan
    quality = measure_gains(Maps(maps), exact_side=Direction.FORWARD).sinkhorn
    assert math.isnan(quality.log_sum_max)
    assert math.isnan(quality.log_sum_mean)
    assert [math.isnan(each) for each in quality.column_residual] == [False, True]


def test_first_tokens_are_left_out_chunk_by_chunk():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(2, 1, 1, CHUNK_TOKENS + 5)
    first = (0, CHUNK_TOKENS - 1, CHUNK_TOKENS, CHUNK_TOKENS + 4)
    maps[..., list(first)] *= 100
    maps[..., CHUNK_TOKENS + 1] *= 2
    found = measure_gains(Maps(maps), exact_side=None, first_tokens=first)
    without = found.curves["single", "forward", "norm", Reduction.MEAN_WITHOUT_FIRST]
    assert without == pytest.approx((1 + 1 / (CHUNK_TOKENS + 1),) * 2)


@pytest.mark.parametrize("exact", list(Direction))
def test_sinkhorn_quality_is_that_of_numpy(exact: Direction):
    maps = random_maps(3, 5, 7).abs()
    quality = measure_gains(Maps(maps), exact_side=exact).sinkhorn
    each = maps.permute(0, 3, 1, 2).numpy()
    assert quality.row_residual == pytest.approx(tuple(abs(each.sum(axis=-1) - 1).max(axis=-1).mean(axis=1)))
    assert quality.column_residual == pytest.approx(tuple(abs(each.sum(axis=-2) - 1).max(axis=-1).mean(axis=1)))
    sums = (each[2] @ each[1] @ each[0]).sum(axis=-2 if exact is Direction.FORWARD else -1)
    logs = abs(np.log(sums)).max(axis=-1)
    assert (quality.log_sum_mean, quality.log_sum_max) == pytest.approx((logs.mean(), logs.max()))
    assert quality.exact_side is exact


def test_sinkhorn_quality_of_composites_beyond_float64():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(31, 1, 1, 3) * 1e40
    assert measure_gains(Maps(maps), exact_side=Direction.FORWARD).sinkhorn.log_sum_max == pytest.approx(
        31 * math.log(1e40), rel=1e-6
    )


def test_sinkhorn_quality_tells_attenuation_from_growth():
    """Columns of the composite sum to 0.4 and 1.6; |ln 0.4| is the larger of the two."""
    maps = torch.tensor([[0.2, 0.8], [0.2, 0.8]], dtype=torch.float64)[None, :, :, None].repeat(1, 1, 1, 2)
    quality = measure_gains(Maps(maps), exact_side=Direction.FORWARD).sinkhorn
    assert quality.row_residual == pytest.approx((0.0,), abs=1e-15)
    assert quality.column_residual == pytest.approx((0.6,))
    assert quality.log_sum_mean == quality.log_sum_max == pytest.approx(-math.log(0.4))


def test_ranks_are_whole_numbers():
    assert [rank_of(99, tokens) for tokens in (1, 100, 101, 700, 1024)] == [1, 99, 100, 693, 1014]
    assert rank_of(50, 3) == 2


@pytest.mark.parametrize("kernel", ALL_KERNELS, ids=lambda kernel: kernel.name)
def test_the_histogram_is_within_a_bin_of_the_order_statistic(kernel: Kernel):
    values = torch.randn(3, 4001, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).exp()
    exact, histogram = ExactQuantiles(), HistogramQuantiles(kernel)
    for start in range(0, 4001, 997):
        exact.add(Scaled(values[:, start : start + 997], None), start=start)
        histogram.add(Scaled(values[:, start : start + 997], None), start=start)
    counted, found = histogram.result(kernel), exact.result(kernel)
    for percentile in ("p50", "p99"):
        within = 2 ** (1 / 512) - 1 + 1e-12
        np.testing.assert_allclose(getattr(counted, percentile), getattr(found, percentile), rtol=within)


@pytest.mark.parametrize("kernel", ALL_KERNELS, ids=lambda kernel: kernel.name)
def test_the_histogram_knows_zero_infinity_nan_and_huge_numbers(kernel: Kernel):
    def histogram(value: float, exponent: float | None = None) -> object:
        quantiles = HistogramQuantiles(kernel)
        powers = None if exponent is None else torch.full((1, 3), exponent, dtype=torch.float64)
        quantiles.add(Scaled(torch.full((1, 3), value, dtype=torch.float64), powers), start=0)
        return quantiles.result(kernel).p50[0]

    assert histogram(0.0) == 0.0
    assert histogram(math.inf) == math.inf
    assert math.isnan(histogram(math.nan))
    assert histogram(1.0, 16211.0).log10 == pytest.approx(16211 * math.log10(2), rel=1e-4)


@pytest.mark.parametrize("kernel", ALL_KERNELS, ids=lambda kernel: kernel.name)
def test_nan_ranks_above_everything_in_both_collectors(kernel: Kernel):
    """One of 100 tokens leaves both percentiles alone, two are the upper one, and with 51 the lower one is NaN, too."""
    for broken, expected in ((1, [False, False]), (2, [False, True]), (51, [True, True])):
        values = torch.arange(1.0, 101, dtype=torch.float64)[None].clone()
        values[0, :broken] = torch.nan
        for quantiles in (ExactQuantiles(), HistogramQuantiles(kernel)):
            quantiles.add(Scaled(values, None), start=0)
            found = quantiles.result(kernel)
            assert [math.isnan(found.p50[0]), math.isnan(found.p99[0])] == expected


@pytest.mark.parametrize("split", [(0, 2), (1,)])
def test_collectors_of_several_ranks_hold_what_one_would(split: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    values = torch.rand(2, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for limit in (299, 300):
        monkeypatch.setattr(quantiles_module, "EXACT_TOKENS", limit)
        whole, mine, other = (quantiles_module.quantiles_for(300, ReferenceKernel()) for _ in range(3))
        for i, chunk in enumerate(values.split(100, dim=-1)):
            for collector in (whole, mine if i in split else other):
                collector.add(Scaled(chunk, None), start=100 * i)
        assert quantiles_module.merged([mine, other]).result(ReferenceKernel()) == whole.result(ReferenceKernel())


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("no"), RuntimeError("not enough memory: x")])
def test_a_chunk_that_does_not_fit_is_halved_and_the_record_says_so(error: Exception, monkeypatch: pytest.MonkeyPatch):
    maps = random_maps(3, 2, 101)
    maps[..., :50] *= 1e200  # one half needs exponents, the other does not
    whole = measure_gains(Maps(maps), exact_side=None)
    plain = ReferenceKernel.chunk_gains

    def small_memory(self: ReferenceKernel, maps: torch.Tensor, outputs: Outputs) -> ChunkGains:
        if maps.shape[-1] > 40:
            raise error
        return plain(self, maps, outputs)

    monkeypatch.setattr(ReferenceKernel, "chunk_gains", small_memory)
    parts = measure_gains(Maps(maps), exact_side=None)
    assert parts.piece == 26
    assert whole.piece == CHUNK_TOKENS
    for key, curve in whole.curves.items():
        np.testing.assert_allclose(
            [log10_of(number) for number in parts.curves[key]], [log10_of(number) for number in curve], rtol=1e-9
        )


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch):
    def broken(*_arguments: object) -> ChunkGains:
        raise RuntimeError("shapes disagree")

    monkeypatch.setattr(ReferenceKernel, "chunk_gains", broken)
    with pytest.raises(RuntimeError, match="shapes disagree"):
        measure_gains(Maps(random_maps(3, 2, 101)), exact_side=None)


def test_many_tokens_take_the_histogram():
    for tokens, kind in ((quantiles_module.EXACT_TOKENS, ExactQuantiles), (65_537, HistogramQuantiles)):
        assert isinstance(quantiles_module.quantiles_for(tokens, ReferenceKernel()), kind)


@dataclass
class CountingMaps:
    """Forty times the same chunk, which count the tensors that are alive when they are asked for."""

    one: torch.Tensor
    alive: list[int]
    stack = Stack(sites=("a", "b"), tensors=("a", "b"), streams=2)
    tokens = 40 * CHUNK_TOKENS

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> torch.Tensor:
        del stop, device
        if start // CHUNK_TOKENS in (10, 39):
            gc.collect()
            self.alive.append(sum(type(each) is torch.Tensor for each in gc.get_objects()))
        return self.one


def test_no_tensor_is_kept_from_a_chunk():
    """A small one would pin the heap around it: memory grew by a hundred megabytes in ten million tokens."""
    source = CountingMaps(random_maps(2, 2, CHUNK_TOKENS), [])
    measure_gains(source, exact_side=None)
    early, late = source.alive
    assert late == early


def test_memory_that_is_out_for_the_smallest_piece_is_an_error(monkeypatch: pytest.MonkeyPatch):
    tried: list[int] = []

    def no_memory(self: ReferenceKernel, maps: torch.Tensor, outputs: Outputs) -> ChunkGains:
        tried.append(maps.shape[-1])
        raise MemoryError

    monkeypatch.setattr(ReferenceKernel, "chunk_gains", no_memory)
    with pytest.raises(MemoryError):
        measure_gains(Maps(random_maps(3, 2, 64)), exact_side=None)
    assert tried == [64, 32, 16]


def test_stored_float32_is_multiplied_in_float64():
    maps = random_maps(40, 3, 5).float()
    found = measure_gains(Maps(maps), exact_side=None)
    expected = reference(maps.double().permute(0, 3, 1, 2).numpy())
    for key, curve in expected.gain.items():
        np.testing.assert_allclose(found.curves[key], curve, rtol=1e-10, err_msg=str(key))
