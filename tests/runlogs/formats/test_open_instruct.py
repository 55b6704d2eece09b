# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
2024-08-03T04:57:30.017765753Z   2%|x         | 197/9500 [41:41<31:27:10, 12.17s/it]08/02/2024 22:39:11 - INFO - __main__ -   Step: 197, LR: 1.38e-05, Loss: 577.7701416015625
2024-08-03T04:57:42.017765753Z   2%|x         | 198/9500 [41:53<31:27:10, 12.17s/it]08/02/2024 22:39:23 - INFO - __main__ -   Step: 198, LR: 1.39e-05, Loss: 571.13
"""


def test_lines_behind_a_progress_bar(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "open_instruct",
        steps=[197, 198],
        lines=[1, 2],
        loss=[577.7701416015625, 571.13],
        learning_rate=[1.38e-05, 1.39e-05],
    )
    assert table.total_steps.tolist() == [9500, 9500]
