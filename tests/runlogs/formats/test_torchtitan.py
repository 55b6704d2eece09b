from runlogs.textchecks import check_text

LOG = (
    "[rank0]:[titan] 2025-10-30 14:32:58,897 - root - INFO - \x1b[31mstep:  1  \x1b[32mloss:  8.1661  "
    "\x1b[38;2;180;60;0mgrad_norm:  3.6855  \x1b[33mmemory:  2.47GiB(3.12%)  \x1b[34mtps: 3,502\x1b[39m\n"
    "[rank0]:[titan] 2025-10-30 14:32:58,990 - root - INFO - Destroying the purged checkpoints\n"
    "[rank0]:[titan] 2025-10-30 14:32:59,077 - root - INFO - \x1b[31mstep:  2  \x1b[32mloss:  6.1098  "
    "\x1b[38;2;180;60;0mgrad_norm:  4.6416  \x1b[33mmemory:  2.49GiB(3.14%)  \x1b[34mtps: 177,138\x1b[39m\n"
    "[rank0]:[titan] 2025-10-30 14:33:01,077 - root - INFO - validate step:  2  loss:  6.3170  memory: 2.1GiB(2.7%)\n"
)


def test_colours_and_ranks(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "torchtitan",
        steps=[1, 2, 2],
        lines=[1, 3, 4],
        loss=[8.1661, 6.1098, None],
        eval_loss=[None, None, 6.317],
        grad_norm=[3.6855, 4.6416, None],
        tps=[3502, 177138, None],
    )
    assert table.rank.tolist() == [0, 0, 0]
