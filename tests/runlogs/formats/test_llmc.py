# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text


def test_main_log(tmp_path):
    log = "s:0 tel:11.0092\ns:0 trl:11.0091 lr:0.000001 norm:15.37\ns:1 trl:10.9598 lr:0.000002 norm:15.24\ns:1 eval:0.2513\n"
    check_text(
        tmp_path,
        log,
        "llmc",
        steps=[0, 0, 1, 1],
        lines=[1, 2, 3, 4],
        loss=[None, 11.0091, 10.9598, None],
        eval_loss=[11.0092, None, None, None],
        grad_norm=[None, 15.37, 15.24, None],
        learning_rate=[None, 1e-6, 2e-6, None],
    )


def test_standard_output(tmp_path):
    log = """\
step    3/97 | loss 10.713000 (+0.31z)| norm 13.1170 (-0.13z)| lr 2.57e-06 | 237.11 ms | 41.3% bf16 MFU | 22111 tok/s
step    4/97 | loss 10.511000 (-0.17z)| norm 11.3170 (-0.77z)| lr 3.43e-06 | 235.31 ms | 41.7% bf16 MFU | 22171 tok/s
"""
    check_text(tmp_path, log, "llmc", steps=[3, 4], lines=[1, 2], loss=[10.713, 10.511], grad_norm=[13.117, 11.317])
