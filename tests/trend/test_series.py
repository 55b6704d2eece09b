"""The checkpoints of a run, in the order of their steps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mhcdiag.errors import InputError
from mhcdiag.trend.series import find_checkpoints


def checkpoint(path: Path, metadata: dict[str, str] | None = None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"layers.0.h_res": torch.eye(2)}, path, metadata=metadata)
    return str(path)


@pytest.mark.parametrize(
    "names",
    [
        ("step_000900.safetensors", "step_10000.safetensors"),
        ("ckpt-900.safetensors", "ckpt-10000.safetensors"),
        ("checkpoint-900/model.safetensors", "checkpoint-10000/model.safetensors"),
        ("global_step900/model.safetensors", "global_step10000/model.safetensors"),
        ("run1-iter900.safetensors", "run1-iter10000.safetensors"),
    ],
)
def test_a_folder_is_read_in_the_order_of_its_steps(tmp_path: Path, names: tuple[str, str]):
    for name in reversed(names):
        checkpoint(tmp_path / name)
    assert [each.step for each in find_checkpoints([str(tmp_path)])] == [900, 10000]


def test_metadata_tells_the_step_where_the_name_does_not(tmp_path: Path):
    paths = [checkpoint(tmp_path / f"{name}.safetensors", {"step": step}) for name, step in (("b", "7"), ("a", "11"))]
    assert [each.step for each in find_checkpoints(paths)] == [7, 11]


def test_configuration_tells_the_step_where_nothing_else_does(tmp_path: Path):
    paths = []
    for name, step in (("one", 5), ("two", 3)):
        paths.append(str(Path(checkpoint(tmp_path / name / "model.safetensors")).parent))
        (tmp_path / name / "config.json").write_text(f'{{"global_step": {step}}}')
    assert [each.step for each in find_checkpoints(paths)] == [3, 5]


def test_a_missing_step_is_told(tmp_path: Path):
    paths = [checkpoint(tmp_path / name) for name in ("step_1.safetensors", "final.safetensors")]
    with pytest.raises(InputError, match=r"final\.safetensors: no step in its name, its metadata"):
        find_checkpoints(paths)


def test_equal_steps_are_told(tmp_path: Path):
    paths = [checkpoint(tmp_path / name) for name in ("a/step_5.safetensors", "b/step_5.safetensors")]
    with pytest.raises(InputError, match=r"step 5, as .*expected one checkpoint per step"):
        find_checkpoints(paths)


def test_one_checkpoint_is_no_trend(tmp_path: Path):
    with pytest.raises(InputError, match="1 checkpoint; expected two or more"):
        find_checkpoints([checkpoint(tmp_path / "step_5.safetensors")])


def test_a_folder_without_checkpoints_is_told(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="a folder without checkpoints"):
        find_checkpoints([str(tmp_path)])


def test_shards_of_one_checkpoint_are_no_series(tmp_path: Path):
    for shard in (1, 2):
        checkpoint(tmp_path / f"step_7-0000{shard}-of-00002.safetensors")
    with pytest.raises(InputError, match="1 checkpoint; expected two"):
        find_checkpoints([str(tmp_path)])
