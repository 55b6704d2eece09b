# ruff: noqa: E501 (a line of a log is as long as it is)
"""Logs of every format, written record by record for the tests that must hold whatever the format."""

import json
from collections.abc import Callable
from dataclasses import dataclass

Write = Callable[[int, str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How a format writes the record at a position; steps count from 1."""

    write: Write
    """Lines of one record: takes its position and its loss as text."""
    head: str = ""
    """What stands before all records."""
    format: str = "generic"
    """Name of the format that must read it."""


def _hf(at: int, loss: str) -> str:
    return f"{{'loss': {loss}, 'grad_norm': 0.5{at % 7}, 'learning_rate': {1e-4 - at * 1e-7:.3e}, 'epoch': {at / 50:.2f}}}\n"


LOGS: dict[str, Written] = {
    "jsonl": Written(
        format="jsonl", write=lambda at, loss: f'{{"step": {at}, "loss": {loss.replace("nan", "NaN")}, "lr": 0.1}}\n'
    ),
    "ms-swift": Written(
        format="jsonl",
        write=lambda at, loss: (
            f'{{"loss": {loss.replace("nan", "NaN")}, "epoch": {at / 50:.2f}, "global_step/max_steps": "{at}/600"}}\n'
        ),
    ),
    "llamafactory": Written(
        format="llamafactory",
        write=lambda at, loss: f'{{"current_steps": {at}, "total_steps": 900, "loss": {loss.replace("nan", "NaN")}}}\n',
    ),
    "csv": Written(format="csv", head="step,loss,lr\n", write=lambda at, loss: f"{at},{loss},0.1\n"),
    "mllog": Written(
        format="mllog",
        write=lambda at, loss: (
            f':::MLLOG {{"namespace": "", "time_ms": {1684435766361 + at}, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {{"reduced_train_loss": {loss.replace("nan", "NaN")}}}, "metadata": {{"step": {at}}}}}\n'
        ),
    ),
    "megatron": Written(
        format="megatron",
        write=lambda at, loss: (
            f" iteration {at:8}/   90000 | consumed samples: {at * 64:12} | learning rate: 1.0E-04 | lm loss: {loss} | loss scale: 1.0 | grad norm: 0.5 | number of skipped iterations:   0 | number of nan iterations:   0 |\n"
        ),
    ),
    "megatron of old": Written(
        format="megatron",
        write=lambda at, loss: (
            f" iteration {at:8}/   90000 | learning rate 1.0E-04 | lm loss {loss.upper()} | loss scale 4096.0 |\n"
        ),
    ),
    "deepspeed": Written(
        format="deepspeed",
        write=lambda at, loss: f"steps: {at} loss: {loss} iter time (s): 14.206 samples/sec: 7.052\n",
    ),
    "fairseq": Written(
        format="fairseq",
        write=lambda at, loss: (
            f'2021-03-08 12:34:45 | INFO | train_inner | {{"epoch": 1, "loss": "{loss}", "num_updates": "{at}", "gnorm": "1.281", "loss_scale": "1"}}\n'
        ),
    ),
    "nanogpt": Written(format="nanogpt", write=lambda at, loss: f"iter {at}: loss {loss}, time 35.33ms, mfu 13.85%\n"),
    "modded_nanogpt": Written(
        format="modded_nanogpt", write=lambda at, loss: f"step:{at}/20344 train_loss:{loss} train_time:16{at}ms\n"
    ),
    "llmc": Written(format="llmc", write=lambda at, loss: f"s:{at} trl:{loss} lr:0.0006 norm:0.62\n"),
    "nanochat": Written(
        format="nanochat",
        write=lambda at, loss: f"step {at:05}/21400 (0.{at:03}%) | loss: {loss} | grad norm: 1.03 | tok/sec: 38,404\n",
    ),
    "build_nanogpt": Written(
        format="build_nanogpt",
        write=lambda at, loss: f"step {at:5} | loss: {loss} | lr 5.2e-04 | norm: 0.3356 | dt: 406.41ms\n",
    ),
    "torchtitan": Written(
        format="torchtitan",
        write=lambda at, loss: (
            f"[rank0]:[titan] 2025-10-30 14:32:58,990 - root - INFO - step: {at:2}  loss:  {loss}  grad_norm:  4.64  tps: 177,138\n"
        ),
    ),
    "two_columns": Written(format="two_columns", write=lambda at, loss: f"{at} {loss}\n"),
    "hf_stdout": Written(format="hf_stdout", write=_hf),
    "open_instruct": Written(
        format="open_instruct",
        write=lambda at, loss: (
            f"  2%|x  | {at}/9500 [41:41<31:27:10, 12.17s/it]08/02/2024 22:39:11 - INFO -   Step: {at}, LR: 1.38e-05, Loss: {loss}\n"
        ),
    ),
    "olmo": Written(
        format="olmo",
        write=lambda at, loss: (
            f"[2024-04-17 09:42:26] INFO     [olmo.train:816, rank=0] [step={at}/739328]\n    train/CrossEntropyLoss={loss}\n    optim/total_grad_norm=0.5\n"
        ),
    ),
    "composer": Written(
        format="composer",
        write=lambda at, loss: (
            f"[batch={at}/2000]:\n\t Train time/batch: {at}\n\t Train metrics/train/LanguageCrossEntropy: {loss}\n"
        ),
    ),
    "nemo": Written(
        format="nemo",
        write=lambda at, loss: (
            f"Training epoch 0, iteration {at}/1900 | lr: 2.9e-07 | global_step: {at} | reduced_train_loss: {loss} | consumed_samples: {at * 8}\n"
        ),
    ),
    "maxtext": Written(
        format="maxtext",
        write=lambda at, loss: f"completed step: {at}, seconds: 12.444, TFLOP/s/device: 182.028, loss: {loss}\n",
    ),
    "litgpt": Written(
        format="litgpt",
        write=lambda at, loss: (
            f"Epoch 1 | iter {at} step {at // 4} | loss train: {loss}, val: n/a | iter time: 548.72 ms (step)\n"
        ),
    ),
    "metric logger": Written(
        write=lambda at, loss: (
            f"Epoch: [{(at - 1) // 60}]  [{10 * ((at - 1) % 60):4}/600]  eta: 1:02:03  lr: 0.000100  loss: {loss} (2.5)  time: 0.3123  max mem: 12345\n"
        )
    ),
    "tqdm": Written(
        write=lambda at, loss: f"steps:  {at % 100}%|###   | {at}/3000 [00:10<1:06:54,  1.24s/it, avr_loss={loss}]\n"
    ),
    "keras": Written(
        write=lambda at, loss: (
            f"Epoch {at}/500\n1000/1000 [======] - 12s 12ms/step - loss: {loss} - accuracy: 0.51 - val_loss: 2.65\n"
        )
    ),
    "icefall": Written(
        write=lambda at, loss: "".join(
            f"2025-01-18 18:21:26,565 INFO [train.py:1142] ({rank}/4) Epoch 2, batch {50 * at}, loss[loss={loss}, simple_loss=0.27{rank}, over 2699.00 frames. ], tot_loss[loss=2.5, over 6431.39 frames. ], batch size: 1{rank}, lr: 4.48e-03,\n"
            for rank in range(4)
        )
    ),
    "espnet": Written(
        write=lambda at, loss: (
            f"[host:0/8] 2022-02-21 11:00:05,031 (trainer:678) INFO: 1epoch:train:{500 * at - 499}-{500 * at}batch: iter_time=1.299e-04, loss_ctc=86.9, loss={loss}, backward_time=0.125\n"
        )
    ),
    "paddle": Written(
        write=lambda at, loss: (
            f"[02/20 00:00:30] ppdet.engine INFO: Epoch: [0] [{30 * at:4}/30000] learning_rate: 0.0001 loss: {loss} loss_cls: 0.5 eta: 1 day, 2:03:04 batch_cost: 0.5\n"
        )
    ),
    "tensorflow": Written(
        write=lambda at, loss: (
            f"INFO:tensorflow:loss = {loss}, step = {100 * at} (10.242 sec)\nINFO:tensorflow:global_step/sec: 9.7\n"
        )
    ),
    "llama2.c": Written(write=lambda at, loss: f"{10 * at} | loss {loss} | lr 4.68e-05 | 801.79ms | mfu 0.22%\n"),
    "verl": Written(
        write=lambda at, loss: (
            f"step:{at} - actor/entropy_loss:0.441 - actor/pg_loss:{loss} - actor/grad_norm:0.879 - critic/vf_loss:0.521 - critic/grad_norm:9.1\n"
        )
    ),
    "step above": Written(write=lambda at, loss: f"GLOBAL_STEP: {5 * at}\n   train_loss: {loss}\n   lr: 0.1\n"),
    "bracketed step": Written(write=lambda at, loss: f"[{at}] loss={loss} lr=0.1\n"),
    "no step": Written(write=lambda at, loss: f"loss: {loss} lr: {0.1 - at * 1e-5:.6f}\n"),
    "ranks without a name": Written(
        write=lambda at, loss: "".join(f"step {at} loss {loss} time 0.{rank}\n" for rank in range(4))
    ),
    "ranks with a name": Written(
        format="nanogpt",
        write=lambda at, loss: "".join(f"[rank{rank}]:iter {at}: loss {loss}, time 1.0{rank}ms\n" for rank in range(4)),
    ),
}


def curve(count: int) -> list[str]:
    """Losses that fall, each another one than its neighbours, as texts."""
    return [f"{8 - 0.02 * at + 0.01 * (at % 3):.4f}" for at in range(1, count + 1)]


def written(log: Written, losses: list[str]) -> str:
    """The text of a log."""
    return log.head + "".join(log.write(at, loss) for at, loss in enumerate(losses, 1))


def as_json(losses: list[str], *, indent: int | None = None) -> str:
    """The same as trainer_state.json."""
    records = [{"epoch": at / 50, "loss": float(loss), "step": at} for at, loss in enumerate(losses, 1)]
    return json.dumps({"best_metric": None, "log_history": records, "max_steps": 900}, indent=indent)
