from runlogs.textchecks import check_text

SOURCE = """\
import torch
def step(loss):
    train_loss = loss.item()
    print(f"step:{step}/{total} train_loss:{train_loss:.4f} val_loss:{val_loss}")
    loss = loss / 7
"""
LOG = """\
step:0/5100 val_loss:10.8258 train_time:0ms step_avg:nanms
step:1/5100 train_loss:10.8259 train_time:313ms step_avg:nanms
step:2/5100 train_loss:10.1077 train_time:1661ms step_avg:830.55ms
"""


def test_points_behind_source_code(tmp_path):
    table = check_text(
        tmp_path,
        SOURCE * 3 + LOG,
        "modded_nanogpt",
        steps=[0, 1, 2],
        lines=[16, 17, 18],
        loss=[None, 10.8259, 10.1077],
        eval_loss=[10.8258, None, None],
    )
    assert table.total_steps.tolist() == [5100, 5100, 5100]


def test_evaluations_alone_are_the_loss(read):
    table = read("step:0/3350 val_loss:10.83 train_time:0.1s\nstep:25/3350 val_loss:7.13 train_time:3.7s\n")
    assert table.columns["loss"].tolist() == [10.83, 7.13]
    assert "eval_loss" not in table.columns
    assert any("no training loss: the evaluation loss 'val_loss'" in note for note in table.notes)
