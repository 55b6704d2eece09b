"""What travels between ranks arrives as it left."""

import pickle
from dataclasses import dataclass

import pytest
import torch

from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.ranks import packed, unpacked

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool)


@dataclass(frozen=True)
class Sums:
    name: str
    values: dict[str, Scaled | None]
    tensors: tuple[torch.Tensor, ...]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_type_and_shape(dtype: torch.dtype):
    whole = (torch.arange(24) % 5).view(2, 3, 4).to(dtype)
    sent = (whole, whole[..., 1], whole.permute(2, 0, 1), whole[:, :0], torch.tensor(3).to(dtype))
    for there, here in zip(unpacked(packed(sent)), sent, strict=True):
        assert there.dtype == here.dtype
        assert there.shape == here.shape
        assert torch.equal(there, here)
        there.zero_()  # it is nobody else's memory, and may be written


def test_what_holds_them():
    scaled = Scaled(torch.tensor([[1.0, torch.nan]]), torch.tensor([[3.0, 0.0]]))
    sent = Sums("a", {"sums": scaled, "none": None}, (torch.tensor([1.5], requires_grad=True),))
    there = unpacked(packed(sent))
    assert there.name == "a"
    assert there.values["none"] is None
    torch.testing.assert_close(there.values["sums"].mantissa, scaled.mantissa, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(there.values["sums"].exponent, scaled.exponent)
    assert there.tensors[0].requires_grad


def test_only_the_part_that_is_seen_travels():
    assert len(packed(torch.zeros(1_000_000)[:10])) < 1000


def test_many_small_tensors_are_short():
    """Torch's own way writes an archive for each."""
    many = [torch.zeros(4) for _ in range(100)]
    assert len(packed(many)) < len(pickle.dumps(many)) / 3
