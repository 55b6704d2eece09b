import json

import pytest

from mhcdiag.runlogs import LineReader

LOST = [
    ("build_nanogpt", "step     3 | loss: {loss} | lr 8.3916e-07 | norm: 15.3317"),
    ("deepspeed", "epoch: 0|step: 3|ppo_ep: 1|act_loss: {loss}|cri_loss: 0.13"),
    ("deepspeed", "Epoch: 0, Step: 3, Rank: 0, loss = {loss}"),
    ("deepspeed", "steps: 3 loss: {loss} iter time (s): 145.206"),
    ("fairseq", '2022-01-02 | INFO | train_inner | {{"update": 0.5, "loss": "{loss}", "num_updates": "3"}}'),
    ("fairseq", "| epoch 001:    200 / 1374 loss={loss}, ppl=20899.56, num_updates=3"),
    ("hf_stdout", "{{'loss': {loss}, 'step': 3, 'epoch': 0.13}}"),
    ("litgpt", "Epoch 1 | iter 3 step 0 | loss train: {loss}, val: n/a | iter time: 820.31 ms"),
    ("llmc", "s:3 trl:{loss} lr:0.000001 norm:15.37"),
    ("llmc", "step    3/97 | loss {loss} (+0.31z)| norm 13.1170 (-0.13z)"),
    ("maxtext", "completed step: 3, seconds: 1.353, loss: {loss}"),
    ("modded_nanogpt", "step:3/5100 train_loss:{loss} train_time:313ms"),
    ("nanochat", "step 00003/00701 (0.00%) | loss: {loss} | grad norm: 1.0730"),
    ("nanogpt", "iter 3: loss {loss}, time 35392.33ms, mfu 13.85%"),
    ("nemo", "Training epoch 0, iteration 3/19 | global_step: 3 | reduced_train_loss: {loss}"),
    (
        "open_instruct",
        "  2%|x  | 3/9500 [41:41<31:27:10, 12.17s/it]08/02/2024 22:39:11 -   Step: 3, LR: 1.38e-05, Loss: {loss}",
    ),
    ("torchtitan", "step:  3  loss:  {loss}  grad_norm:  3.6855"),
    ("olmo", "[step=3/97]\n    train/CE loss={loss}"),
    ("olmo", "[step=3/97]\n    train/CrossEntropyLoss={loss}"),
    ("composer", "[batch=3/20]:\n  Train loss/train/total: {loss}"),
    ("composer", "[batch=3/20]:\n  Train metrics/train/LanguageCrossEntropy: {loss}"),
    ("llamafactory", '{{"current_steps": 3, "total_steps": 8712, "loss": "{loss}"}}'),
    ("jsonl", '{{"step": 3, "loss": "{loss}"}}'),
]


@pytest.mark.parametrize(("name", "line"), LOST)
def test_a_loss_that_is_there_but_unreadable_does_not_vanish(read, name, line):
    text = "".join(line.format(loss=loss) + "\n" for loss in ("2.5", "#?#", "2.25"))
    table = read(text, log_format=name)
    assert (table.unreadable_lines, table.loss_lines) == (1, 3)
    assert [value for value in table.columns["loss"].tolist() if value == value] == [2.5, 2.25]  # noqa: PLR0124
    assert set(table.step.tolist()) == {3}
    reader = LineReader(log_format=name)
    reader.feed(text.encode())
    reader.close()
    assert (reader.unreadable_lines, reader.loss_lines) == (1, 3)


@pytest.mark.parametrize("name", ["json", "trainer_state"])
def test_in_documents_too(read, name):
    records = [
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": "#?#"},
        {"step": 3, "loss": None},
        {"step": 4, "loss": 2.25},
    ]
    document = records if name == "json" else {"log_history": records}
    table = read(json.dumps(document, indent=1), log_format=name)
    assert (table.unreadable_lines, table.loss_lines) == (1, 3)
