"""What tells one checkpoint from another: equal weights have one hash, however they are stored, and others another."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mhcdiag.tensorfiles import fingerprint as module
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.fingerprint import fingerprint, fingerprint_of

LARGE = torch.arange(200 * 100, dtype=torch.float32).view(200, 100)


def tensors(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "layers.0.bias": torch.arange(3.0),
        "layers.0.up": LARGE.clone(),
        "layers.10.scale": torch.tensor(2.0),
        "layers.2.half": torch.ones(2, 2, dtype=torch.bfloat16),
        "layers.3.small": torch.ones(2, dtype=torch.float8_e4m3fn),
        "layers.4.none": torch.zeros(0, 5),
    } | changes


def of_file(path: Path, held: dict[str, torch.Tensor]) -> str:
    save_file(held, path)
    return fingerprint(open_checkpoint(path))


def test_a_file_and_the_same_tensors_in_memory_have_one_hash(tmp_path: Path):
    found = of_file(tmp_path / "one.safetensors", tensors())
    assert found == fingerprint_of(tensors())
    assert found == fingerprint_of(dict(reversed(tensors().items())))
    assert found.startswith("sha256:")
    assert len(found) == len("sha256:") + 64


def test_a_pickle_of_the_same_tensors_has_the_same(tmp_path: Path):
    torch.save(tensors(), tmp_path / "one.pt")
    assert fingerprint(open_checkpoint(tmp_path / "one.pt")) == fingerprint_of(tensors())


@pytest.mark.parametrize(
    "changes",
    [
        {"layers.0.bias": torch.tensor([0.0, 1.0, 2.0001])},
        {"layers.10.scale": torch.tensor(2.5)},
        {"layers.10.scale": torch.tensor([2.0])},
        {"layers.2.half": torch.ones(2, 2, dtype=torch.float16)},
        {"layers.0.up": LARGE + torch.nn.functional.one_hot(torch.tensor([99] * 200), 100)},
        {"layers.5.more": torch.zeros(1)},
    ],
)
def test_another_value_shape_type_or_name_has_another(changes: dict[str, torch.Tensor]):
    assert fingerprint_of(tensors(**changes)) != fingerprint_of(tensors())


def test_what_is_not_hashed_is_beyond_the_first_row_of_large_tensors():
    changed = LARGE.clone()
    changed[1:] += 1
    assert fingerprint_of(tensors(**{"layers.0.up": changed})) == fingerprint_of(tensors())


def test_little_is_read(tmp_path: Path):
    many = {f"layers.{i}.up": LARGE + i for i in range(20)}
    save_file(many, tmp_path / "many.safetensors")
    checkpoint = open_checkpoint(tmp_path / "many.safetensors")
    opened = checkpoint.bytes_read
    fingerprint(checkpoint)
    assert checkpoint.bytes_read - opened == 20 * 100 * 4


def test_of_very_many_tensors_some_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SMALL_TENSORS", 4)
    held = {f"layers.{i}.bias": torch.full((2,), float(i)) for i in range(8)}
    seen = fingerprint_of(held)
    changed = [fingerprint_of(held | {f"layers.{i}.bias": torch.zeros(2) - 1}) != seen for i in range(8)]
    assert changed == [True, False] * 4
