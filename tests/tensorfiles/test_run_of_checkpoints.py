"""The checkpoints of a run, in the order of their steps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mhcdiag.errors import InputError
from mhcdiag.tensorfiles.run_of_checkpoints import find_checkpoints, is_run


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


def test_a_missing_step_is_refused(tmp_path: Path):
    paths = [checkpoint(tmp_path / name) for name in ("step_1.safetensors", "final.safetensors")]
    with pytest.raises(InputError, match=r"final\.safetensors: no step in its name, its metadata"):
        find_checkpoints(paths)


def test_equal_steps_are_refused(tmp_path: Path):
    paths = [checkpoint(tmp_path / name) for name in ("a/step_5.safetensors", "b/step_5.safetensors")]
    with pytest.raises(InputError, match=r"step 5, as .*expected one checkpoint per step"):
        find_checkpoints(paths)


def test_one_checkpoint_is_no_trend(tmp_path: Path):
    with pytest.raises(InputError, match="1 checkpoint; expected two or more"):
        find_checkpoints([checkpoint(tmp_path / "step_5.safetensors")])


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="a folder without checkpoints"):
        find_checkpoints([str(tmp_path)])


def test_shards_of_one_checkpoint_are_no_series(tmp_path: Path):
    for shard in (1, 2):
        checkpoint(tmp_path / f"step_7-0000{shard}-of-00002.safetensors")
    with pytest.raises(InputError, match="1 checkpoint; expected two"):
        find_checkpoints([str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step_7", 7),
        ("step7", 7),
        ("step-7", 7),
        ("step=7", 7),
        ("steps_7", 7),
        ("STEP_0007", 7),
        ("globalstep7", 7),
        ("global_step_7", 7),
        ("iter_7", 7),
        ("iteration-7", 7),
        ("checkpoint-7", 7),
        ("ckpt7", 7),
        ("it7", 7),
        ("run3_step_5_step_7", 7),  # the last one counts
        ("step_0", 0),
    ],
)
def test_names_that_tell_a_step(tmp_path: Path, name: str, step: int):
    paths = [checkpoint(tmp_path / f"{one}.safetensors") for one in (name, "step_99")]
    assert [each.step for each in find_checkpoints(paths)] == [step, 99]


@pytest.mark.parametrize("name", ["epoch_7", "split7", "7", "model-7", "onestep", "step_x7", "step__7"])
def test_names_that_tell_none(tmp_path: Path, name: str):
    folder = tmp_path / "run"  # the folder's name counts, too
    paths = [checkpoint(folder / f"{one}.safetensors") for one in (name, "step_99")]
    with pytest.raises(InputError, match="no step in its name, its metadata or its configuration"):
        find_checkpoints(paths)


def test_the_name_has_the_word_then_the_folder_then_metadata_then_configuration(tmp_path: Path):
    named = checkpoint(tmp_path / "step_2" / "step_1.safetensors", {"step": "3"})
    in_folder = checkpoint(tmp_path / "step_4" / "model.safetensors", {"step": "5"})
    told = checkpoint(tmp_path / "a" / "model.safetensors", {"iteration": "7", "global_step": "6"})
    (tmp_path / "a" / "config.json").write_text('{"step": 8}')
    other = checkpoint(tmp_path / "b" / "model.safetensors", {"step": "9.5", "iteration": "10"})
    paths = [named, in_folder, told, other]
    found = find_checkpoints(list(reversed(paths)))
    assert [(each.path, each.step) for each in found] == list(zip(paths, [1, 4, 6, 10], strict=True))


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.safetensors", True), ("a.pt", True), ("a.pth", True), ("a.bin", True), ("a.log", False), ("a.npz", True),
     ("a.ckpt", True), ("a.gguf", True), ("a.metadata", False), (".metadata", True),
     ("a", False), ("pt", False)],
)  # fmt: skip
def test_a_missing_path_is_a_checkpoint_by_its_name_and_a_folder_always(tmp_path: Path, name: str, is_one: bool):
    assert is_run(str(tmp_path / name)) is is_one
    (tmp_path / name).mkdir()
    assert is_run(str(tmp_path / name))


def test_files_of_a_folder_count_before_its_folders(tmp_path: Path):
    for name in ("step_1.safetensors", "step_3.safetensors", "step_2/model.safetensors", "final.safetensors"):
        checkpoint(tmp_path / name)
    (tmp_path / "step_5.log").write_text("")
    (tmp_path / "step_6").mkdir()
    assert [Path(each.path).name for each in find_checkpoints([str(tmp_path)])] == [
        "step_1.safetensors", "step_3.safetensors",
    ]  # fmt: skip


def test_a_folder_that_is_one_checkpoint_is_one(tmp_path: Path):
    folders = [str(Path(checkpoint(tmp_path / f"step_{step}" / "model.safetensors")).parent) for step in (20, 3)]
    assert [(each.path, each.step) for each in find_checkpoints(folders)] == [(folders[1], 3), (folders[0], 20)]


def test_folders_without_tensors_are_no_checkpoints(tmp_path: Path):
    for step in (1, 2):
        checkpoint(tmp_path / f"step_{step}" / "model.safetensors")
    (tmp_path / "step_3").mkdir()
    (tmp_path / "step_3" / "optimizer.log").write_text("")
    assert [each.step for each in find_checkpoints([str(tmp_path)])] == [1, 2]
