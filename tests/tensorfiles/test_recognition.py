"""What counts as a checkpoint: whatever `gain` reads, `trend` and `check` take too, and logs they leave to the logs."""

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from tensorfiles.gguf_files import write_gguf
from tensorfiles.range_server import Site, serve

import mhcdiag
from mhcdiag.errors import ContainerError, InputError, LogError, MhcdiagError
from mhcdiag.policies.inputs import Input, from_paths
from mhcdiag.results.check import Family
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.tensorfiles import checkpoints_in, http_client, is_checkpoint
from mhcdiag.usecases.trend import trend

Tensors = dict[str, torch.Tensor]
STEPS = (900, 2_000, 10_000)  # in another order as text


def maps(step: int) -> Tensors:
    """Mappings of three sites whose whole gain grows with the step."""
    return {f"layers.{i}.h_res": torch.eye(2).repeat(5, 1, 1) * (1 + step / 50_000) for i in range(3)}


def gain_at(step: int) -> float:
    return (1 + step / 50_000) ** 3


def as_safetensors(folder: Path, step: int) -> Path:
    save_file(maps(step), folder / f"step_{step}.safetensors")
    return folder / f"step_{step}.safetensors"


def as_shards(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    shards = {f"model-{i + 1:05}-of-00003.safetensors": name for i, name in enumerate(maps(step))}
    for shard, name in shards.items():
        save_file({name: maps(step)[name]}, path / shard)
    index = {"weight_map": {name: shard for shard, name in shards.items()}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def as_shards_of_torch(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    for i, (name, tensor) in enumerate(maps(step).items()):
        torch.save({name: tensor}, path / f"pytorch_model-{i + 1:05}-of-00003.bin")
    return path


def as_torch(suffix: str, **options: bool) -> Callable[[Path, int], Path]:
    def write(folder: Path, step: int) -> Path:
        torch.save({"state_dict": maps(step)}, folder / f"step={step}{suffix}", **options)
        return folder / f"step={step}{suffix}"

    return write


def as_gguf(folder: Path, step: int) -> Path:
    return write_gguf(folder / f"iter{step}.gguf", {n: t.numpy() for n, t in maps(step).items()}, {})


def as_npz(folder: Path, step: int) -> Path:
    np.savez(folder / f"ckpt_{step}.npz", h_res=np.stack([each.numpy() for each in maps(step).values()]))
    return folder / f"ckpt_{step}.npz"


def as_distcp(folder: Path, step: int) -> Path:
    from torch.distributed.checkpoint import FileSystemWriter
    from torch.distributed.checkpoint import save as save_distributed

    with warnings.catch_warnings(action="ignore"):
        save_distributed({"model": maps(step)}, storage_writer=FileSystemWriter(folder / f"step-{step}"), no_dist=True)
    return folder / f"step-{step}"


def as_deepspeed(folder: Path, step: int) -> Path:
    path = folder / f"global_step{step}"
    path.mkdir()
    (folder / "latest").write_text(path.name)
    torch.save({"module": maps(step)}, path / "mp_rank_00_model_states.pt")
    torch.save({"optimizer_state_dict": {}}, path / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    return path


def as_megatron(folder: Path, step: int) -> Path:
    path = folder / f"iter_{step:07}"
    (path / "mp_rank_00").mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    torch.save({"model": maps(step)}, path / "mp_rank_00" / "model_optim_rng.pt")
    return path


WRITERS = {
    ".safetensors": as_safetensors,
    "sharded": as_shards,
    "numbered .bin": as_shards_of_torch,
    ".pt": as_torch(".pt"),
    "old .pth": as_torch(".pth", _use_new_zipfile_serialization=False),
    ".bin": as_torch(".bin"),
    ".ckpt": as_torch(".ckpt"),
    ".gguf": as_gguf,
    ".npz": as_npz,
    "distributed": as_distcp,
    "DeepSpeed": as_deepspeed,
    "Megatron": as_megatron,
}


@pytest.mark.parametrize("name", WRITERS)
class TestEveryContainer:
    """`gain` reads it, so the others take it."""

    def written(self, name: str, folder: Path) -> list[str]:
        return [str(WRITERS[name](folder, step)) for step in STEPS]

    def test_is_a_checkpoint_that_gain_reads(self, name: str, tmp_path: Path):
        for path, step in zip(self.written(name, tmp_path), STEPS, strict=True):
            assert is_checkpoint(path)
            worst = mhcdiag.gain(path).worst[Direction.FORWARD, Definition.NORM].value
            assert float(worst) == pytest.approx(gain_at(step), rel=1e-5)

    def test_has_a_trend_from_paths_and_from_the_folder_of_the_run(self, name: str, tmp_path: Path):
        paths = self.written(name, tmp_path)
        (tmp_path / "train.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
        for given in ([paths[2], paths[0], paths[1]], [str(tmp_path)]):
            result = trend(given)
            assert [(point.step, point.source) for point in result.points] == list(zip(STEPS, paths, strict=True))
            gains = [float(point.gain[Direction.FORWARD]) for point in result.points]
            assert gains == pytest.approx([gain_at(step) for step in STEPS], rel=1e-5)
            assert not result.skipped

    def test_is_one_input_of_a_check_in_natural_order(self, name: str, tmp_path: Path):
        paths = self.written(name, tmp_path)
        assert from_paths([str(tmp_path)]) == [Input(family=Family.CHECKPOINT, path=path) for path in paths]
        assert from_paths(paths) == [Input(family=Family.CHECKPOINT, path=path) for path in paths]

    def test_under_another_name_is_known_by_its_content(self, name: str, tmp_path: Path):
        path = Path(self.written(name, tmp_path)[0])
        renamed = path.rename(path.with_name("weights.log"))
        assert is_checkpoint(str(renamed))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def address(site: Site, monkeypatch, tmp_path_factory) -> Iterator[str]:
    monkeypatch.setattr(http_client, "WAITS", (0.0, 0.0, 0.0))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("huggingface")))  # without the login of who runs this
    with serve(site) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield url


def test_a_trend_over_a_web_server_shows_no_signature(site: Site, address: str):
    for step in STEPS:
        site.files[f"/run/step_{step}.safetensors"] = save(maps(step))
    paths = [f"{address}/run/step_{step}.safetensors?X-Signature=it{step + 1}" for step in reversed(STEPS)]
    result = trend(paths)
    shown = [f"{address}/run/step_{step}.safetensors" for step in STEPS]
    assert [(point.step, point.source) for point in result.points] == list(zip(STEPS, shown, strict=True))
    assert result.path == shown[-1]
    with pytest.raises(InputError, match=r"step_900\.safetensors: 1 checkpoint; expected two") as one:
        trend(paths[-1:])
    with pytest.raises(InputError, match=r"step 900, as .*step_900\.safetensors; expected one") as twice:
        trend([*paths, paths[-1]])
    assert not any("Signature" in str(error.value) for error in (one, twice))


def test_a_checkpoint_on_a_server_that_cannot_be_read_is_skipped_without_its_signature(site: Site, address: str):
    for step in STEPS[:2]:
        site.files[f"/run/step_{step}.safetensors"] = save(maps(step))
    result = trend([f"{address}/run/step_{step}.safetensors?X-Signature=secret" for step in STEPS])
    assert [each.what for each in result.skipped] == [f"{address}/run/step_10000.safetensors"]
    assert "secret" not in repr(result)


def test_a_trend_over_revisions_of_a_model_of_the_hub(site: Site, address: str):
    for step in STEPS:
        site.hub("lab/run", {f"{step}.safetensors": save(maps(step))}, commit=f"c{step}")
        site.files[f"/api/models/lab/run/revision/step-{step}"] = site.files.pop("/api/models/lab/run/revision/main")
    result = trend([f"hf://lab/run@step-{step}" for step in STEPS])
    assert [point.step for point in result.points] == list(STEPS)
    assert float(result.points[2].gain[Direction.BACKWARD]) == pytest.approx(gain_at(STEPS[2]), rel=1e-5)


@pytest.mark.parametrize("path", ["hf://lab/run@step-7", "http://host/a.safetensors", "https://host/train.log"])
def test_an_address_is_a_checkpoint_by_its_scheme(path: str):
    assert is_checkpoint(path)
    assert from_paths([path]) == [Input(family=Family.CHECKPOINT, path=path)]


def event_file(checksum: bytes) -> bytes:
    """The first record of TensorBoard: length, its checksum, an event with time and version."""
    return struct.pack("<Q", 24) + checksum + b"\x09" + struct.pack("<d", 1.7e9) + b"\x1a\x0dbrain.Event:2" + bytes(4)


LOGS = {
    "train.log": b"step 1 loss 2.5\n",
    "train.jsonl": b'{"step": 1, "loss": 2.5}\n',
    "events.out.tfevents.1": event_file(b"\x8b\x1f\xa2\xc4"),
    "events.out.tfevents.2": event_file(b'{" a'),  # one checksum in 256 begins like the header of safetensors
    "train.log.gz": b"\x1f\x8b\x08\0",
    "empty.log": b"",
    "state.pkl": b"\x80\x04}\x94.",  # a pickle, but none of torch.save
    "data.zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_stays_a_log(name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(LOGS[name])
    assert not is_checkpoint(str(path))
    assert from_paths([str(path)]) == [Input(family=Family.LOG, path=str(path))]
    with pytest.raises(LogError):
        trend([str(path)])


def test_an_archive_of_logs_stays_a_log_and_one_cut_short_too(tmp_path: Path):
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.log", "step 1 loss 2.5\n")
    assert not is_checkpoint(str(path))
    path.write_bytes(path.read_bytes()[:-30])
    assert not is_checkpoint(str(path))


def test_a_pipe_is_a_log_and_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_checkpoint(str(tmp_path / "pipe"))
    assert not is_checkpoint("-")


@pytest.mark.parametrize("content", [b"", b"torn", b"version https://git-lfs.github.com/spec/v1\n"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".npz"])
def test_a_broken_file_is_a_checkpoint_by_its_name(suffix: str, content: bytes, tmp_path: Path):
    (tmp_path / f"step_1{suffix}").write_bytes(content)
    assert is_checkpoint(str(tmp_path / f"step_1{suffix}"))


def test_a_folder_without_checkpoints_is_refused_as_before(tmp_path: Path):
    (tmp_path / "train.log").write_text("step 1 loss 2.5\n")
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r": a folder without checkpoints; expected files or folders named by their"):
        trend([str(tmp_path)])
    assert checkpoints_in(str(tmp_path)) == []


def test_a_log_without_gains_is_refused_as_before(tmp_path: Path):
    (tmp_path / "train.jsonl").write_text("".join(f'{{"step": {i}, "loss": 2.5}}\n' for i in range(9)))
    with pytest.raises(LogError, match=r"no gain among its series \(loss\); expected columns like gain_forward"):
        trend([str(tmp_path / "train.jsonl")])


def test_a_run_and_its_parts_in_a_folder_of_runs(tmp_path: Path):
    """Model and checkpoints of a Trainer, a run of loose files, and what lies in between."""
    trainer = tmp_path / "trainer"
    trainer.mkdir()
    for step in STEPS:
        as_shards(trainer, step)
    save_file(maps(1), trainer / "model.safetensors")
    (trainer / "config.json").write_text("{}")
    loose = tmp_path / "loose"
    loose.mkdir()
    for step in STEPS:
        as_npz(loose, step)
    torch.save({"a": 1}, loose / "random_states_0.pkl")  # in a folder the name counts
    hidden = tmp_path / ".git"
    hidden.mkdir()
    as_safetensors(hidden, 1)
    (loose / "._ckpt_900.npz").write_bytes(b"what macOS leaves on a file server")
    assert [os.path.relpath(path, tmp_path) for path in checkpoints_in(str(tmp_path))] == [
        "loose/ckpt_900.npz", "loose/ckpt_2000.npz", "loose/ckpt_10000.npz",
        "trainer", "trainer/checkpoint-900", "trainer/checkpoint-2000", "trainer/checkpoint-10000",
    ]  # fmt: skip


def test_a_model_in_the_cache_of_huggingface_is_one_checkpoint(tmp_path: Path):
    for step in STEPS:
        model = tmp_path / f"models--lab--step_{step}"
        (model / "blobs").mkdir(parents=True)
        save_file(maps(step), model / "blobs" / f"{step:040x}")
        (model / "snapshots" / "c0ffee").mkdir(parents=True)
        link = model / "snapshots" / "c0ffee" / "model.safetensors"
        link.symlink_to(f"../../blobs/{step:040x}")
        assert checkpoints_in(str(model)) == [str(link)]
    assert [point.step for point in trend([str(tmp_path)]).points] == list(STEPS)


def test_the_search_ends_at_some_depth(tmp_path: Path):
    folder = tmp_path.joinpath("a", "b", "c", "d")
    (folder / "e").mkdir(parents=True)
    path = as_safetensors(folder, 1)
    as_safetensors(folder / "e", 2)
    assert checkpoints_in(str(tmp_path)) == [str(path)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_kept_for_whoever_says_so(tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0)
    assert checkpoints_in(str(tmp_path)) == [str(tmp_path / "locked")]
    with pytest.raises(ContainerError, match="cannot be read"):
        mhcdiag.gain(tmp_path / "locked")


def test_a_trend_of_one_checkpoint_is_refused_as_before(tmp_path: Path):
    with pytest.raises(MhcdiagError, match=r"ckpt_900\.npz: 1 checkpoint; expected two or more for a t"):
        trend([str(as_npz(tmp_path, 900))])
