"""Training runs: reproducible, resumable, honest about NaN, and readable by everything else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import mhcdiag
from mhcdiag.errors import InputError, OutputError, SettingError
from mhcdiag.toy import training
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import read_run, train
from mhcdiag.usecases.spikes import spikes

TINY = {
    "depth": 2, "width": 6, "heads": 1, "streams": 3, "batch": 2, "context": 5, "steps": 7, "log_every": 3,
    "checkpoints": 2, "learning_rate": 0.02,
}  # fmt: skip


def tiny(topology: str, **changes) -> ToySettings:
    return ToySettings(topology=topology, **(TINY | changes))


@pytest.mark.parametrize("topology", ["residual", "hc", "mhc", "mhc-lite", "identity-hc"])
def test_a_run_writes_what_gain_and_spikes_read(tmp_path: Path, topology: str):
    run = train(tiny(topology, steps=11), tmp_path / "run")
    assert [row.step for row in run.rows] == list(range(1, 12))
    assert [row.step for row in run.rows if row.gain_forward is not None] == [1, 3, 6, 9, 11]
    assert spikes(str(tmp_path / "run" / "train.jsonl")).series["loss"].points == 11
    found = mhcdiag.gain(tmp_path / "run" / "step_000011.safetensors")
    assert found.layout == {"residual": "plain", "identity-hc": "identity"}.get(topology, "toy")
    assert found.streams == (1 if topology == "residual" else 3)
    captured = tmp_path / "run" / "captured" / "step_000011.safetensors"
    assert captured.exists() == (topology in ("hc", "mhc", "mhc-lite"))
    if captured.exists():
        whole = mhcdiag.gain(captured)
        assert whole.curve("prefix", "forward", "amax")[-1] == pytest.approx(run.rows[-1].gain_forward, rel=1e-5)
        assert whole.curve("prefix", "backward", "amax")[-1] == pytest.approx(run.rows[-1].gain_backward, rel=1e-5)


def test_a_step_at_which_a_checkpoint_is_due_is_written(tmp_path: Path):
    train(tiny("hc"), tmp_path)
    assert sorted(file.name for file in tmp_path.glob("step_*")) == [
        "step_000004.safetensors",
        "step_000007.safetensors",
    ]


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path: Path):
    runs = [train(tiny("mhc", seed=seed), tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "c"))]
    assert runs[0].rows == runs[1].rows
    assert runs[0].rows[0].loss != runs[2].rows[0].loss


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path: Path):
    whole = train(tiny("hc"), tmp_path / "whole")

    def interrupt(row) -> None:
        if row.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny("hc"), tmp_path / "cut", on_step=interrupt)
    resumed = train(tiny("hc"), tmp_path / "cut", resume=True)
    assert resumed.rows == whole.rows
    name = "step_000007.safetensors"
    one, other = load_file(tmp_path / "whole" / name), load_file(tmp_path / "cut" / name)
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key], err_msg=key)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path):
    run = train(tiny("hc"), tmp_path)
    assert train(tiny("hc"), tmp_path, resume=True).rows == run.rows
    assert read_run(tmp_path).rows == run.rows


def test_a_run_with_other_settings_is_not_continued(tmp_path: Path):
    train(tiny("hc"), tmp_path)
    with pytest.raises(SettingError, match=r"other settings \(seed\); --force"):
        train(tiny("hc", seed=9), tmp_path, resume=True)


def test_a_log_that_lost_lines_is_not_continued(tmp_path: Path):
    train(tiny("hc"), tmp_path)
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(InputError, match="0 steps, but a state of step 7"):
        train(tiny("hc"), tmp_path, resume=True)


def test_a_damaged_state_is_told(tmp_path: Path):
    train(tiny("hc"), tmp_path)
    (tmp_path / "resume.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="no state of a run"):
        train(tiny("hc"), tmp_path, resume=True)


def test_an_existing_folder_is_refused_and_force_removes_only_what_a_run_writes(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="exists already; --force replaces it"):
        train(tiny("hc"), tmp_path)
    train(tiny("hc"), tmp_path, force=True)
    train(tiny("hc", steps=3, checkpoints=1), tmp_path, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert [file.name for file in tmp_path.glob("step_*")] == ["step_000003.safetensors"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        train(tiny("hc"), tmp_path / "run", force=True)


def test_nan_ends_the_run_and_keeps_what_was_written(tmp_path: Path, monkeypatch):
    loss = training.ToyModel.loss
    calls = []

    def broken(self, tokens):
        calls.append(1)
        return loss(self, tokens) * (float("nan") if len(calls) == 6 else 1.0)

    monkeypatch.setattr(training.ToyModel, "loss", broken)
    run = train(tiny("hc"), tmp_path)
    assert run.nan_step == 6
    assert [row.step for row in run.rows] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "step_000004.safetensors").exists()
    assert train(tiny("hc"), tmp_path, resume=True).nan_step == 6, "a resumed run does not train past its end"
    assert len(calls) == 6


@pytest.mark.parametrize("topology", ["hc", "mhc"])
def test_captured_maps_are_what_the_checkpoint_makes_of_their_inputs(tmp_path: Path, topology: str):
    """Computed again in float64 NumPy, from the tensors as the README describes them."""
    train(tiny(topology, learning_rate=0.1), tmp_path)
    name = "step_000007.safetensors"
    tensors = {key: values.astype(float) for key, values in load_file(tmp_path / name).items()}
    captured = {key: values.astype(float) for key, values in load_file(tmp_path / "captured" / name).items()}
    for site in range(4):
        prefix = f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.hc"
        x = captured[f"layers.{site}.x_in"]
        wanted = captured[f"layers.{site}.h_res"][: len(x)]
        found = np.stack([_h_res(tensors, prefix, streams, topology) for streams in x])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        mixed = wanted @ x + captured[f"layers.{site}.post"][:, :, None] * captured[f"layers.{site}.branch"][:, None]
        np.testing.assert_allclose(captured[f"layers.{site}.x_out"], mixed, rtol=1e-4, atol=1e-5)


def _h_res(tensors: dict, prefix: str, streams: np.ndarray, topology: str) -> np.ndarray:
    alpha, base = tensors[f"{prefix}.alpha_res"], tensors[f"{prefix}.b_res"]
    if topology == "hc":
        normalised = streams / np.sqrt((streams**2).mean(axis=1, keepdims=True) + 1e-6)
        return alpha * np.tanh(tensors[f"{prefix}.theta_res"] @ normalised.T) + base
    vector = streams.ravel() / np.sqrt((streams**2).mean() + 1e-6)
    logits = alpha * (tensors[f"{prefix}.phi_res"] @ vector).reshape(base.shape) + base
    matrix = np.exp(logits - logits.max(axis=0)) / np.exp(logits - logits.max(axis=0)).sum(axis=0) + 1e-6
    for step in range(39):
        matrix = matrix / (matrix.sum(axis=1 - step % 2, keepdims=True) + 1e-6)
    return matrix


def test_the_learning_rate_warms_up_and_stays(tmp_path: Path):
    run = train(tiny("residual", warmup=4, learning_rate=0.08), tmp_path)
    assert [row.learning_rate for row in run.rows] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.08, 0.08, 0.08])


def test_the_log_is_json_lines_with_the_documented_names(tmp_path: Path):
    train(tiny("hc"), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {
        "step", "loss", "grad_norm", "learning_rate", "gain_forward", "gain_backward", "stream_rms", "stream_max",
    }  # fmt: skip
    assert set(rows[1]) == {"step", "loss", "grad_norm", "learning_rate"}


def test_a_device_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SettingError, match=r"device 'tpu' is not there; available: .*cpu"):
        train(tiny("hc", device="tpu"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_threads_are_given_back(tmp_path: Path):
    before = torch.get_num_threads()
    train(tiny("residual", steps=1), tmp_path)
    assert torch.get_num_threads() == before
