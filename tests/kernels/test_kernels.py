"""Every implementation of composite gains against the reference in float64 NumPy, and what they do at the edges."""

import sys
from subprocess import CalledProcessError

import numpy as np
import pytest
import torch
from kernel_cases import ALL_KERNELS, has, runs_triton
from reference import reference

from mhcdiag.kernels.choice import MANY_MATRICES
from mhcdiag.kernels.composite import dispatch
from mhcdiag.kernels.composite.interface import BINS, KEYS, ZERO, Kernel, Outputs, bin_bounds
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled

EVERYTHING = Outputs.PER_TOKEN | Outputs.MATRICES
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest error as a share of the norm gain of the same product."""

kernels = pytest.mark.parametrize("kernel", ALL_KERNELS, ids=lambda kernel: kernel.name)
quiet = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy, inside Triton's interpreter
streams_sizes = pytest.mark.parametrize("streams", [2, 3, 4, 8])


def maps_of(streams: int, *, sites: int = 5, tokens: int = 67, seed: int = 0, dtype: torch.dtype) -> torch.Tensor:
    """Signed, asymmetric mappings [site, stream, stream, token] near the identity, as float64 numbers of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(sites, streams, streams, tokens, generator=generator, dtype=torch.float64)
    maps = torch.eye(streams, dtype=torch.float64)[None, :, :, None] + 0.4 * noise
    return maps.to(dtype).double()


def order_of(maps: torch.Tensor, axes: str) -> torch.Tensor:
    """The same mappings, stored in another order of axes; only strides differ."""
    if axes == "tokens first":
        return maps.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    if axes == "part of a larger buffer":
        return torch.nn.functional.pad(maps, (3, 5))[..., 3:-5]
    return maps


@kernels
@streams_sizes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
def test_gains_are_those_of_numpy(kernel: Kernel, streams: int, dtype: torch.dtype, stored: torch.dtype):
    maps = maps_of(streams, dtype=stored)
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    # Half precision is computed in float32: handing it over as it is stored must make no difference.
    found = kernel.chunk_gains(maps.to(stored if dtype is torch.float32 else dtype), EVERYTHING)
    assert (found.kernel, found.nonfinite) == (kernel.name, None)
    for kind, gained in found.kinds.items():
        for k, (direction, definition) in enumerate(KEYS):
            norm = np.asarray(expected.gain[kind, direction, "norm", "mean"])
            largest = np.asarray(expected.gain[kind, direction, "norm", "max"])
            of_mean = ReferenceKernel().chunk_gains(
                gained.matrices.mantissa.double().unsqueeze(-1) / 67, Outputs.NOTHING
            )
            for values, reduction, scale in (
                (gained.sums.mantissa[k] / 67, "mean", norm),
                (gained.maxima.mantissa[k], "max", largest),
                (gained.per_token.mantissa[k].double().mean(dim=-1), "mean", norm),
                (of_mean.kinds["single"].sums.mantissa[k], "of_mean", norm),
            ):
                wanted = np.asarray(expected.gain[kind, direction, definition, reduction])
                assert np.all(np.abs(values.double().numpy() - wanted) <= TOLERANCE[dtype] * scale)


@kernels
@streams_sizes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_spans_are_those_of_numpy(kernel: Kernel, streams: int, dtype: torch.dtype):
    maps = maps_of(streams, dtype=torch.float32)
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    found = kernel.span_sums(maps.to(dtype))
    for key in KEYS:
        scale = np.nan_to_num(np.asarray(expected.spans[key[0], "norm"]))
        error = np.abs(found[key].mantissa.double().numpy() / 67 - expected.spans[key])
        assert np.all(np.isnan(error) == np.tri(5, k=-1, dtype=bool))
        assert np.all(np.nan_to_num(error) <= TOLERANCE[dtype] * scale)


@kernels
@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 131])
@pytest.mark.parametrize("axes", ["tokens last", "tokens first", "part of a larger buffer"])
def test_any_number_of_tokens_and_any_strides(kernel: Kernel, tokens: int, axes: str):
    maps = maps_of(3, tokens=tokens, dtype=torch.float32)
    expected = ReferenceKernel().chunk_gains(maps, EVERYTHING)
    found = kernel.chunk_gains(order_of(maps, axes), EVERYTHING)
    for kind, gained in expected.kinds.items():
        for name in ("sums", "maxima", "matrices", "per_token"):
            mine, theirs = getattr(found.kinds[kind], name).mantissa, getattr(gained, name).mantissa
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@kernels
def test_nothing_but_sums_and_maxima_comes_unasked(kernel: Kernel):
    for gained in kernel.chunk_gains(maps_of(2, dtype=torch.float32), Outputs.NOTHING).kinds.values():
        assert gained.per_token is None
        assert gained.matrices is None


@kernels
@quiet
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_broken_mapping_is_counted_and_seen_downstream(kernel: Kernel, value: float):
    maps = maps_of(4, tokens=70, dtype=torch.float32).float()
    maps[2, 1, 2, 66] = value
    found = kernel.chunk_gains(maps, EVERYTHING)
    assert found.nonfinite.tolist() == [0, 0, 1, 0, 0]
    assert found.kinds["prefix"].sums.mantissa[1].isfinite().tolist() == [True, True] + [False] * 3
    assert not kernel.span_sums(maps)["forward", "amax"].mantissa[0, -1].isfinite()


@kernels
@quiet
@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_products_beyond_float32_keep_their_logarithm(kernel: Kernel, factor: float):
    maps = maps_of(4, sites=11, dtype=torch.float32).float() * factor
    expected = reference(maps.double().permute(0, 3, 1, 2).numpy())
    found = kernel.chunk_gains(maps, EVERYTHING).kinds["prefix"].maxima
    wanted = np.log2(expected.gain["prefix", "forward", "norm", "max"])
    np.testing.assert_allclose(found.log2()[1], wanted, rtol=1e-5)
    spans = kernel.span_sums(maps)["forward", "norm"].log2()[0]
    np.testing.assert_allclose(spans, np.log2(67 * expected.spans["forward", "norm"][0]), rtol=1e-5)


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log", [False, True])
def test_order_statistics_are_those_of_a_sorted_row(kernel: Kernel, dtype: torch.dtype, log: bool):
    values = torch.randn(5, 997, dtype=dtype, generator=torch.Generator().manual_seed(3)).mul(4)
    values = values if log else values.exp()  # logarithms are negative, too
    values[1] = values[1, 0]
    values[2, ::7] = 0.0
    values[3, 5] = torch.inf
    values[4, 8] = torch.nan
    found = kernel.order_statistics(values, (499, 988))
    expected = values.sort(dim=-1).values[:, [498, 987]]
    assert torch.equal(found, expected)


@kernels
@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 63, 1000, 5000])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3, 100.0])
def test_order_statistics_of_gains_near_one_beside_an_outlier(kernel: Kernel, tokens: int, spread: float):
    """What mHC gives: all in a few numbers next to each other; and all but one of them in one part of the range."""
    values = 1 + spread * torch.rand(3, tokens, generator=torch.Generator().manual_seed(tokens))
    values[1, tokens // 2] = 1e30
    values[2, tokens // 3] = 1e-30
    ordered = values.sort(dim=-1).values
    for ranks in ((1, tokens), ((tokens + 1) // 2, -(-99 * tokens // 100)), (tokens, tokens)):
        found = kernel.order_statistics(values, ranks)
        assert torch.equal(found, ordered[:, [rank - 1 for rank in ranks]]), ranks


@kernels
def test_every_value_is_counted_in_its_bin(kernel: Kernel):
    """Bounds belong to the bin that begins with them, on either side of 1."""
    bounds = torch.tensor(bin_bounds(), dtype=torch.float64)
    below = torch.nextafter(bounds, torch.zeros(()).double())
    values = torch.stack(
        [torch.cat([bounds, below, torch.zeros(1)]), torch.cat([bounds / 8, below * 2, torch.ones(1)])]
    )
    found = {octave: counts for octave, counts in kernel.octave_counts(Scaled(values, None)).items() if counts.any()}
    ones = torch.ones(BINS, dtype=torch.int64)
    last, first = torch.eye(BINS, dtype=torch.int64)[-1], torch.eye(BINS, dtype=torch.int64)[0]
    expected = {
        ZERO: [first, 0 * ones],
        -3: [0 * ones, ones],
        -1: [last, 0 * ones],
        0: [ones + (ones - last), first + last],
        1: [0 * ones, ones - last],
    }
    assert found.keys() == expected.keys()
    for octave, rows in expected.items():
        assert torch.equal(found[octave], torch.stack(rows)), octave


def test_a_small_measurement_stays_with_torch():
    small = dispatch.choose_kernel(device="cpu", streams=4, matrices=MANY_MATRICES, dtype=torch.float64)
    assert small.name == "torch"


@pytest.mark.skipif(not has("numba"), reason="numba is not installed")
@pytest.mark.parametrize(("streams", "name"), [(2, "numba"), (3, "numba"), (4, "numba"), (8, "numba"), (5, "torch")])
def test_a_large_one_takes_numba_for_the_streams_it_knows(streams: int, name: str):
    chosen = dispatch.choose_kernel(device="cpu", streams=streams, matrices=MANY_MATRICES + 1, dtype=torch.float32)
    assert chosen.name == name


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_numba_and_triton_torch_does_everything(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mhcdiag.kernels.composite.cpu", None)
    monkeypatch.setitem(sys.modules, "mhcdiag.kernels.composite.gpu", None)
    dispatch._numba.cache_clear()
    dispatch._triton.cache_clear()
    chosen = dispatch.choose_kernel(device=device, streams=4, matrices=10**9, dtype=torch.float32)
    dispatch._numba.cache_clear()
    dispatch._triton.cache_clear()
    assert chosen.name == "torch"


@pytest.mark.skipif(not has("triton"), reason="triton is not installed")
def test_where_triton_is_installed_but_cannot_compile_torch_does_everything(monkeypatch: pytest.MonkeyPatch):
    """Triton's errors, a compiler's that ended badly, ...: none of them is a RuntimeError of its own accord."""
    from mhcdiag.kernels import gpu_launch

    def fail(*_arguments: object) -> None:
        raise CalledProcessError(1, "gcc")

    monkeypatch.setattr(gpu_launch, "_store_one", {(1,): fail})
    monkeypatch.setattr(torch, "zeros", lambda *sizes, **_options: torch.ones(sizes))
    dispatch._triton.cache_clear()
    chosen = dispatch.choose_kernel(device="cuda", streams=4, matrices=10**9, dtype=torch.float32)
    dispatch._triton.cache_clear()
    assert chosen.name == "torch"


@pytest.mark.skipif(not runs_triton(), reason="triton is not installed, or not told to interpret")
def test_the_smallest_program_writes_and_one_that_does_not_is_refused(monkeypatch: pytest.MonkeyPatch):
    from mhcdiag.kernels import gpu_launch

    place = torch.zeros(1)
    gpu_launch._store_one[(1,)](place)
    assert place.item() == 1
    monkeypatch.setattr(gpu_launch, "_store_one", {(1,): lambda _place: None})
    with pytest.raises(RuntimeError, match="ran and did nothing"):
        gpu_launch.try_out("cpu")
