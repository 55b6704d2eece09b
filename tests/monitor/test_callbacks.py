"""The callbacks inside the real trainers, on the CPU."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from kernel_cases import has
from packages import lucidrains_stacks
from torch import nn

LIMITS = {"every": 1, "max_gain": 1e-9, "on_alarm": "stop"}
"""Stops at the first report."""

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers warn of workers, checkpoints and pinned memory


def items(count: int = 8) -> list[dict[str, torch.Tensor]]:
    return [{"ids": lucidrains_stacks.token_ids(seed)[0]} for seed in range(count)]


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


class WithLoss(nn.Module):
    """A model that computes its own loss, as Trainer wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = lucidrains_stacks.stack("hc", sites=4, streams=3, dim=11, seed=0)

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.stack(ids).square().mean()}


@pytest.mark.skipif(not (has("transformers") and has("accelerate")), reason="accelerate is not installed")
@pytest.mark.parametrize(("options", "steps", "reports"), [({"every": 2}, 4, [1, 3]), (LIMITS, 1, [1])])
def test_the_trainer_of_transformers(options: dict[str, Any], steps: int, reports: list[int], tmp_path: Path):
    from transformers import Trainer, TrainingArguments

    from mhcdiag.monitor.hf_trainer import GainCallback

    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=1, gradient_accumulation_steps=2,
        use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    callback = GainCallback(**options, jsonl=tmp_path / "gains.jsonl")
    model = WithLoss()
    trainer = Trainer(model=model, args=arguments, train_dataset=items(), callbacks=[callback])
    trainer.train()
    seen = steps_in(tmp_path / "gains.jsonl")
    assert (trainer.state.global_step, seen) == (steps, reports)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.skipif(not (has("transformers") and has("accelerate")), reason="accelerate is not installed")
def test_a_resumed_trainer_counts_on(tmp_path: Path):
    from transformers import Trainer, TrainingArguments

    from mhcdiag.monitor.hf_trainer import GainCallback

    def train(steps: int, **resume: Any) -> None:
        arguments = TrainingArguments(
            output_dir=str(tmp_path), max_steps=steps, per_device_train_batch_size=1, use_cpu=True, report_to=[],
            save_strategy="steps", save_steps=2, disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip
        callback = GainCallback(every=2, jsonl=tmp_path / "gains.jsonl")
        Trainer(model=WithLoss(), args=arguments, train_dataset=items(), callbacks=[callback]).train(**resume)

    train(2)
    train(6, resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert steps_in(tmp_path / "gains.jsonl") == [1, 3, 5]


@pytest.mark.skipif(not has("lightning"), reason="lightning is not installed")
@pytest.mark.parametrize(("options", "steps", "reports"), [({"every": 2}, 4, [1, 3]), (LIMITS, 1, [1])])
def test_the_trainer_of_lightning(options: dict[str, Any], steps: int, reports: list[int], tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightning.pytorch import LightningModule, Trainer

        from mhcdiag.monitor.lightning import GainCallback

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = WithLoss()

        def training_step(self, batch: dict[str, torch.Tensor], _index: int) -> torch.Tensor:
            return self.model(**batch)["loss"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    callback = GainCallback(**options, jsonl=tmp_path / "gains.jsonl")
    trainer = Trainer(
        max_steps=4, accumulate_grad_batches=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback], default_root_dir=tmp_path,
    )  # fmt: skip
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(items(), batch_size=1))
    seen = steps_in(tmp_path / "gains.jsonl")
    assert (trainer.global_step, seen) == (steps, reports)
    assert not any(submodule._forward_hooks for submodule in module.modules())
