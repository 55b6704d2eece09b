# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
{'loss': 2.713, 'grad_norm': 1.317, 'learning_rate': 9.7e-06, 'epoch': 0.13}
  3%|x    | 13/389 [00:11<05:37,  1.11it/s]{'loss': '2.611', 'grad_norm': '1.217', 'learning_rate': '9.5e-06', 'epoch': '0.26'}
{'eval_loss': 2.311, 'eval_runtime': 3.7, 'epoch': 0.26}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 9.3e-06, 'epoch': 0.39}
{'train_runtime': 113.7, 'train_loss': 1.77, 'epoch': 0.39}
"""


def test_dictionaries_without_a_step(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "hf_stdout",
        steps=[0, 1, 2, 3, 4],
        lines=[1, 2, 3, 4, 5],
        loss=[2.713, 2.611, None, None, None],
        eval_loss=[None, None, 2.311, None, None],
        train_loss=[None, None, None, None, 1.77],
    )
    assert table.nan_rows["loss"].tolist() == [False, False, False, True, False]  # printed as 0.0
    assert any("no step in the log" in note for note in table.notes)
    assert any("logging_nan_inf_filter" in note for note in table.notes)
