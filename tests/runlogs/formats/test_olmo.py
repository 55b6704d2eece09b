from runlogs.textchecks import check_text

LOG = """\
[2024-04-17 09:42:26] INFO     [olmo.train:816, rank=0] [step=1/739328]
    train/CrossEntropyLoss=11.25
    train/Perplexity=76,631
    optim/total_grad_norm=2.713
    System/Peak GPU Memory (MB)=42,133
[2024-04-17 09:42:38] INFO     [olmo.train:816, rank=0] [step=2/739328,epoch=1,eta=3 days]
    train/CrossEntropyLoss=nan
    train/Perplexity=nan
    optim/total_grad_norm=3.117
"""


def test_records_of_several_lines(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "olmo",
        steps=[1, 2],
        lines=[1, 6],
        loss=[11.25, None],
        grad_norm=[2.713, 3.117],
        **{"System/Peak GPU Memory (MB)": [42133, None]},
    )
    assert table.nan_rows["loss"].tolist() == [False, True]
    assert table.total_steps.tolist() == [739328, 739328]


def test_core_names(tmp_path):
    log = """\
2025-01-03 11:13:17.113 node:0 olmo_core.train.callbacks.console_logger:37 INFO [step=3/701,epoch=1/1,eta=1:13]
    optim/total grad norm=0.713
    train/CE loss=3.311
"""
    check_text(tmp_path, log, "olmo", steps=[3], lines=[1], loss=[3.311], grad_norm=[0.713])
