"""Values agree with the safetensors library, and no byte is read that was not asked for."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from tensorfiles.builders import SOUND, file_of

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.element_types import BITS, torch_dtype

DTYPES = sorted(BITS.keys() - {"F4", "F6_E2M3", "F6_E3M2"})


def tensor_of(dtype: str, shape: list[int], *, seed: int) -> torch.Tensor:
    """Random bytes as a tensor: bits must survive, whatever they mean."""
    width = torch_dtype(dtype)
    assert width is not None
    generator = torch.Generator().manual_seed(seed)
    high = 2 if dtype == "BOOL" else 256
    data = torch.randint(high, (math.prod(shape) * width.itemsize,), dtype=torch.uint8, generator=generator)
    return data.view(width).reshape(shape) if data.numel() else torch.empty(shape, dtype=width)


def assert_same_bits(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if expected.numel():
        assert found.reshape(-1).view(torch.uint8).tolist() == expected.reshape(-1).view(torch.uint8).tolist()


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).filter(
    lambda name: name != "__metadata__"
)
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=4)
checkpoints = st.dictionaries(names, st.tuples(st.sampled_from(DTYPES), shapes), min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specification=checkpoints, data=st.data())
def test_values_and_rows_agree_with_the_library(
    specification: dict[str, tuple[str, list[int]]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("round") / "model.safetensors"
    tensors = {
        name: tensor_of(dtype, shape, seed=seed) for seed, (name, (dtype, shape)) in enumerate(specification.items())
    }
    save_file(tensors, path, metadata={"sites": "[]"})
    checkpoint = open_checkpoint(path)
    full_names = {info.name: name for name, info in checkpoint.tensors.items()}
    assert full_names.keys() == specification.keys()
    assert checkpoint.metadata == {"sites": "[]"}
    with safe_open(path, "pt") as oracle:
        for full, name in full_names.items():
            expected = oracle.get_tensor(full)
            info = checkpoint.tensors[name]
            assert (info.dtype, info.shape) == (specification[full][0], tuple(expected.shape))
            assert_same_bits(checkpoint.read(name), expected)
            if expected.ndim:
                ends = st.none() | st.integers(-6, 6)
                rows = slice(data.draw(ends), data.draw(ends))
                assert_same_bits(checkpoint.read(name, rows=rows), expected[rows])


@pytest.fixture
def wide(tmp_path: Path) -> tuple[NamedTensors, int]:
    """A checkpoint of 13 rows of 7 BF16 numbers beside a larger tensor, and the length of its header."""
    path = tmp_path / "model.safetensors"
    save_file({"fn": torch.ones(13, 7).bfloat16(), "experts": torch.zeros(1009)}, path)
    return open_checkpoint(path), path.stat().st_size - 13 * 7 * 2 - 1009 * 4


def test_opening_reads_headers_and_nothing_else(wide: tuple[NamedTensors, int]) -> None:
    checkpoint, header_bytes = wide
    assert list(checkpoint.tensors) == ["experts", "fn"]
    assert checkpoint.bytes_read == header_bytes
    assert checkpoint.bytes_total == header_bytes + 13 * 7 * 2 + 1009 * 4


def test_reading_a_tensor_reads_its_bytes_and_nothing_else(wide: tuple[NamedTensors, int]) -> None:
    checkpoint, header_bytes = wide
    checkpoint.read("fn")
    assert checkpoint.bytes_read == header_bytes + 13 * 7 * 2


@pytest.mark.parametrize(
    ("rows", "count"), [(slice(2, 5), 3), (slice(-1, None), 1), (slice(5, 2), 0), (slice(11, 99), 2)]
)
def test_reading_rows_reads_their_bytes_and_nothing_else(
    rows: slice, count: int, wide: tuple[NamedTensors, int]
) -> None:
    checkpoint, header_bytes = wide
    assert checkpoint.read("fn", rows=rows).shape == (count, 7)
    assert checkpoint.bytes_read == header_bytes + count * 7 * 2


def test_values_belong_to_the_caller(wide: tuple[NamedTensors, int]) -> None:
    checkpoint, _ = wide
    checkpoint.read("fn").zero_()
    assert checkpoint.read("fn").float().min() == 1


def test_a_name_that_is_not_there_is_a_key_error(wide: tuple[NamedTensors, int]) -> None:
    checkpoint, _ = wide
    assert "nothing" not in checkpoint.tensors
    with pytest.raises(KeyError, match="nothing"):
        checkpoint.read("nothing")
    with pytest.raises(KeyError, match="nothing"):
        checkpoint.tensors["nothing"]


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "MXINT4"])
def test_what_torch_cannot_hold_is_listed_and_refused_when_read(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    entry = {"dtype": dtype, "shape": [2, 4], "data_offsets": [0, 6 if dtype.startswith("F6") else 4]}
    path.write_bytes(file_of({"experts": entry}, data=bytes(entry["data_offsets"][1])))
    checkpoint = open_checkpoint(path)
    assert checkpoint.tensors["experts"].dtype == dtype
    with pytest.raises(ContainerError, match=f"tensor 'experts' has dtype '{dtype}', which torch cannot hold"):
        checkpoint.read("experts")


def test_a_shape_beyond_what_torch_counts_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    entry = {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}
    path.write_bytes(file_of({"empty": entry}, data=b""))
    with pytest.raises(ContainerError, match=r"tensor 'empty' has shape .*which torch cannot hold"):
        open_checkpoint(path).read("empty")


def test_a_file_replaced_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(SOUND))
    checkpoint = open_checkpoint(path)
    path.unlink()
    path.write_bytes(file_of(SOUND) + b" ")
    with pytest.raises(ContainerError, match="the file changed while it was being read"):
        checkpoint.read("a")


def test_prefixes_of_wrappers_are_taken_off_names_but_kept_in_records(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"module._orig_mod.w": torch.ones(2), "module.blocks.0._orig_mod.b": torch.ones(3)}, path)
    checkpoint = open_checkpoint(path)
    assert {name: info.name for name, info in checkpoint.tensors.items()} == {
        "blocks.0.b": "module.blocks.0._orig_mod.b",
        "w": "module._orig_mod.w",
    }
    assert checkpoint.read("blocks.0.b").tolist() == [1, 1, 1]
