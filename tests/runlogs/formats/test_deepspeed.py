# ruff: noqa: E501 (a line of a log is as long as it is)
import pytest
from runlogs.textchecks import check_text

from mhcdiag.errors import LogError

CHAT = """\
[2023-04-18 08:48:01,543] [INFO] [loss_scaler.py:188:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768
[2023-04-18 08:48:01,735] [INFO] [loss_scaler.py:188:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768
epoch: 0|step: 0|ppo_ep: 1|act_loss: 0.2099609375|cri_loss: 0.13|unsuper_loss: 0.0
average reward score: -0.67919921875
epoch: 0|step: 1|ppo_ep: 1|act_loss: -0.0302978515625|cri_loss: 0.11|unsuper_loss: 0.0
average reward score: 0.0713
[2023-04-18 08:49:05,121] [INFO] [logging.py:96:log_dist] [Rank 0] step=7, skipped=3, lr=[9.1e-07, 9.1e-07], mom=[(0.9, 0.95), (0.9, 0.95)]
"""


def test_chat_with_rewards_engine_lines_and_the_message_of_both_models_once(tmp_path):
    table = check_text(
        tmp_path,
        CHAT,
        "deepspeed",
        steps=[0, 0, 1, 1, 7],
        lines=[3, 4, 5, 6, 7],
        loss=[0.2099609375, None, -0.0302978515625, None, None],
        reward=[None, -0.67919921875, None, 0.0713, None],
        learning_rate=[None, None, None, None, 9.1e-07],
        skipped=[None, None, None, None, 3],
    )
    assert table.source_names["loss"] == "act_loss"
    (event,) = table.scaler_events
    assert (event.kind, event.line, event.loss_scale) == ("overflow", 1, 32768)


def test_pipeline_engine_and_printed_losses(tmp_path):
    engine = """\
steps: 2 loss: 12.8004 iter time (s): 145.206 samples/sec: 7.052
steps: 3 loss: 12.7113 iter time (s): 143.113 samples/sec: 7.151
"""
    check_text(tmp_path, engine, "deepspeed", steps=[2, 3], lines=[1, 2], loss=[12.8004, 12.7113])
    printed = """\
Epoch: 0, Step: 5, Rank: 0, loss = 2.713
Epoch: 0, Step: 6, Rank: 0, loss = 2.617
"""
    check_text(tmp_path, printed, "deepspeed", steps=[5, 6], lines=[1, 2], loss=[2.713, 2.617])


def test_perplexity_alone_is_no_loss(read):
    table = read("***** Evaluating perplexity, Epoch 0/3 *****\nppl: 4998.29\nppl: 2.017\n")
    assert table.format == "deepspeed"
    assert table.columns["ppl"].tolist() == [4998.29, 2.017]
    with pytest.raises(LogError, match=r"no series 'loss'.*it has ppl.*--loss-key"):
        table.require("loss")
