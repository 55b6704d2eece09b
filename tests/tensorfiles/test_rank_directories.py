"""What DeepSpeed, Megatron-LM and the Trainer of transformers write while they train."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from layouts.fused_families import megatron
from reference import disagreements, reference
from stacks import CONFIG, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint


def deepspeed(folder: Path, ranks: int = 1, **changes: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(ranks):
        state = {"module": {f"module.{name}": t for name, t in deepseek_v4_tensors().items()}, "optimizer": {"a": 1}}
        torch.save(state | changes, folder / f"mp_rank_{rank:02}_model_states.pt")
    return folder


class TestDeepSpeed:
    """`mp_rank_XX_model_states.pt`."""

    def test_one_rank(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "deepseek_v4", "num_hidden_layers": 3, "hc_mult": 2}')
        deepspeed(tmp_path / "global_step500")
        (tmp_path / "latest").write_text("global_step500\n")
        plain = mhcdiag.gain(write(tmp_path / "plain", deepseek_v4_tensors(), config=CONFIG), inputs="static")
        for path in (tmp_path, tmp_path / "global_step500"):
            result = mhcdiag.gain(path, inputs="static")
            assert result.gain == plain.gain
        assert open_checkpoint(tmp_path).config["hc_mult"] == 2

    def test_equal_ranks_are_one_model(self, tmp_path):
        checkpoint = open_checkpoint(deepspeed(tmp_path, ranks=3))
        assert checkpoint.read("layers.1.hc_ffn_base").equal(deepseek_v4_tensors()["layers.1.hc_ffn_base"])
        assert checkpoint.read("layers.1.hc_ffn_base", rows=slice(2, 5)).shape == (3,)
        one = open_checkpoint(deepspeed(tmp_path / "one"))
        assert checkpoint.bytes_total == 3 * one.bytes_total

    def test_a_split_tensor_is_refused_when_it_is_read(self, tmp_path):
        deepspeed(tmp_path, ranks=2)
        other = {"module": {f"module.{n}": t + 1 for n, t in deepseek_v4_tensors().items()}}
        torch.save(other, tmp_path / "mp_rank_01_model_states.pt")
        with pytest.raises(ContainerError, match=r"tensor 'layers\.0\.hc_attn_base' differs between 2 tensor-parallel"):
            mhcdiag.gain(tmp_path)

    def test_a_missing_rank_is_named(self, tmp_path):
        deepspeed(tmp_path, ranks=3)
        (tmp_path / "mp_rank_01_model_states.pt").unlink()
        with pytest.raises(ContainerError, match=r"tensor-parallel rank 1 is missing beside .*; expected 3 files"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("zero_pp_rank_0_mp_rank_00_model_states.pt", "ZeRO-3 partitions"),
            ("layer_00-model_00-model_states.pt", "DeepSpeed's pipeline layers"),
        ],
    )
    def test_partitions_are_refused_with_what_to_do(self, tmp_path, name: str, found: str):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ContainerError, match=rf"{found} .*; run the zero_to_fp32\.py"):
            open_checkpoint(tmp_path)

    def test_latest_that_leads_nowhere(self, tmp_path):
        (tmp_path / "latest").write_text("global_step7")
        with pytest.raises(ContainerError, match=r"latest: it names 'global_step7', which is not beside it"):
            open_checkpoint(tmp_path)

    def test_weights_beside_latest_win(self, tmp_path):
        path = write(tmp_path, deepseek_v4_tensors(), config=CONFIG)
        (path / "latest").write_text("global_step7")
        assert len(open_checkpoint(path).tensors) == 18


def megatron_folder(root: Path, *, stages: int, chunks: int = 1, tensor_ranks: int = 1) -> Path:
    """The 2-layer model of the formulas, cut into pipeline stages that number their layers from 0."""
    model = megatron({}, dev=False)
    parts = stages * chunks
    for part in range(parts):
        # A signal passes chunk 0 of all stages before chunk 1 of the first.
        stage, chunk = part % stages, part // stages
        layers = [part] if parts == 2 else [0, 1]
        weights = {}
        for local, layer in enumerate(layers):
            for name, value in model.tensors.items():
                if f"layers.{layer}." in name:
                    short = name.replace(f"layers.{layer}.", f"layers.{local}.")
                    weights[short] = torch.tensor(value, dtype=torch.float32)
        weights["embedding.weight"] = torch.zeros(2)
        for rank in range(tensor_ranks):
            name = f"mp_rank_{rank:02}" + (f"_{stage:03}" if stages > 1 else "")
            folder = root / "iter_0000042" / name
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "model_optim_rng.pt"
            state = torch.load(file, weights_only=False) if file.exists() else {}
            args = Namespace(enable_hyper_connections=True, num_layers=2, mhc_sinkhorn_iterations=2)
            state |= {"args": args, "iteration": 42, "model" if chunks == 1 else f"model{chunk}": weights}
            torch.save(state, file)
    (root / "latest_checkpointed_iteration.txt").write_text("42")
    return root


class TestMegatron:
    """`mp_rank_TT[_PPP]/model_optim_rng.pt`."""

    @pytest.mark.parametrize(("stages", "chunks", "ranks"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (2, 1, 2)])
    def test_stages_are_put_in_order(self, tmp_path, stages: int, chunks: int, ranks: int):
        root = megatron_folder(tmp_path, stages=stages, chunks=chunks, tensor_ranks=ranks)
        expected = reference(megatron({}, dev=False).static())
        for path in (root, root / "iter_0000042"):
            result = mhcdiag.gain(path, inputs="static")
            assert result.sites == ("0.attn", "0.ffn", "1.attn", "1.ffn")
            assert disagreements(result, expected, relative=2e-6) == []
            assert any("the configuration has enable_hyper_connections" in said for said in result.assumed)

    def test_a_missing_stage_is_named(self, tmp_path):
        root = megatron_folder(tmp_path, stages=2, tensor_ranks=2)
        folder = root / "iter_0000042" / "mp_rank_01_000"
        (folder / "model_optim_rng.pt").unlink()
        folder.rmdir()
        with pytest.raises(ContainerError, match=r"rank \(tensor, pipeline, expert\) 1, 0, 0 is missing"):
            open_checkpoint(root)

    def test_an_empty_rank_folder_is_named(self, tmp_path):
        root = megatron_folder(tmp_path, stages=1)
        (root / "iter_0000042" / "mp_rank_00" / "model_optim_rng.pt").unlink()
        with pytest.raises(ContainerError, match=r"mp_rank_00: no model_optim_rng\.pt or model_rng\.pt"):
            open_checkpoint(root)

    def test_expert_ranks_are_refused(self, tmp_path):
        (tmp_path / "mp_rank_00_000_001").mkdir()
        with pytest.raises(ContainerError, match="expert-parallel ranks"):
            open_checkpoint(tmp_path)


class TestTrainer:
    """`checkpoint-N/` of transformers."""

    def test_the_optimizer_beside_the_model_is_left_alone(self, tmp_path):
        folder = write(tmp_path / "checkpoint-500", deepseek_v4_tensors(), config=CONFIG)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            torch.save({"state": torch.zeros(3)}, folder / name)
        assert len(open_checkpoint(folder).tensors) == 18

    def test_one_file_of_weights_among_the_trainers(self, tmp_path):
        torch.save({"w": torch.zeros(3)}, tmp_path / "model.pt")
        torch.save({"state": torch.zeros(3)}, tmp_path / "training_args.bin")
        torch.save({"state": torch.zeros(3)}, tmp_path / "rng_state_0.pth")
        assert list(open_checkpoint(tmp_path).tensors) == ["w"]

    def test_state_without_weights_is_refused(self, tmp_path):
        torch.save({"state": torch.zeros(3)}, tmp_path / "optimizer.pt")
        with pytest.raises(ContainerError, match=r"a trainer's state without the model: 'optimizer\.pt'"):
            open_checkpoint(tmp_path)
