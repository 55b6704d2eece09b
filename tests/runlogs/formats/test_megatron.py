# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

NAN = float("nan")
LOG = """\
using world size: 7, data-parallel-size: 7
 [2025-03-04 05:06:07.123] iteration       11/   97000 | consumed samples:          341 | elapsed time per iteration (ms): 611.3 | learning rate: 1.100E-05 | global batch size:    31 | lm loss: 1.071300E+01 | mtp_1 loss: 1.091000E+01 | loss scale: 65536.0 | grad norm: 3.713 | number of skipped iterations:   0 | number of nan iterations:   0 |
 [2025-03-04 05:06:08.123] iteration       22/   97000 | consumed samples:          682 | elapsed time per iteration (ms): 613.9 | learning rate: 2.200E-05 | global batch size:    31 | lm loss: 9.017000E+00 | mtp_1 loss: 9.310000E+00 | loss scale: 65536.0 | grad norm: 2.117 | number of skipped iterations:   0 | number of nan iterations:   0 |
 [2025-03-04 05:06:09.123] iteration       33/   97000 | consumed samples:         1023 | elapsed time per iteration (ms): 613.9 | learning rate: 2.200E-05 | global batch size:    31 | loss scale: 32768.0 | grad norm: inf | number of skipped iterations:   1 | number of nan iterations:   0 |
 validation loss at iteration 33 | lm loss value: 8.871000E+00 | lm loss PPL: 7.122E+03 |
 [2025-03-04 05:06:10.123] iteration       44/   97000 | consumed samples:         1364 | elapsed time per iteration (ms): 613.9 | learning rate: 3.300E-05 | global batch size:    31 | loss scale: 32768.0 | grad norm: nan | number of skipped iterations:   0 | number of nan iterations:   0 |
"""


def test_points_evaluations_and_the_loss_that_is_left_out_when_it_is_nan(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "megatron",
        steps=[11, 22, 33, 33, 44],
        lines=[2, 3, 4, 5, 6],
        loss=[10.713, 9.017, None, None, None],
        eval_loss=[None, None, None, 8.871, None],
        grad_norm=[3.713, 2.117, None, None, None],
        loss_scale=[65536, 65536, 32768, None, 32768],
        skipped=[0, 0, 1, None, 0],
    )
    assert table.source_names["loss"] == "lm loss"
    assert table.columns["mtp_1 loss"][0] == 10.91
    assert table.nan_rows["loss"].tolist() == [
        False,
        False,
        False,
        False,
        True,
    ]  # the overflow was skipped: no event
    assert table.nan_rows["grad_norm"].tolist() == [False, False, False, False, True]
    assert table.total_steps.tolist()[:3] == [97000, 97000, 97000]


def test_neox_names_and_samples_per_second_first(tmp_path):
    log = """\
 samples/sec: 41.3 | iteration       13/     700 | elapsed time per iteration (ms): 743.1 | learning rate: 1.3E-04 | approx flops per GPU: 113.7TFLOPS | lm_loss: 6.130000E+00 | number of skipped iterations:   0 | number of nan iterations:   0 |
 samples/sec: 41.9 | iteration       26/     700 | elapsed time per iteration (ms): 741.7 | learning rate: 1.7E-04 | approx flops per GPU: 113.9TFLOPS | lm_loss: 5.170000E+00 | number of skipped iterations:   0 | number of nan iterations:   0 |
 validation results at iteration 26 | lm_loss value: 5.310000E+00 | lm_loss_ppl value: 2.02E+02 |
"""
    check_text(
        tmp_path,
        log,
        "megatron",
        steps=[13, 26, 26],
        lines=[1, 2, 3],
        loss=[6.13, 5.17, None],
        eval_loss=[None, None, 5.31],
        learning_rate=[1.3e-4, 1.7e-4, None],
    )


def test_a_loss_that_is_there_but_unreadable_is_counted(read):
    whole = " iteration {n}/ 97 | lm loss: {loss} | grad norm: 1.5 |\n"
    split = " iteration {n}/ 97 | elapsed time per iteration (ms): 3.5 |\n lm loss: {loss} | grad norm: 1.5 |\n"
    for line in (whole, split):
        log = "".join(line.format(n=n, loss=loss) for n, loss in enumerate(["2.5", "###", "2.0"], start=1))
        table = read(log)
        assert (table.format, table.unreadable_lines, table.loss_lines) == ("megatron", 1, 3)


def test_lines_of_one_step(read):
    log = " iteration 3/ 97 | elapsed time per iteration (ms): 3.5 |\n lm loss: 2.5 | grad norm: 1.5 |\n"
    table = read(log + log.replace("3/", "4/"))
    assert table.step.tolist() == [3, 3, 4, 4]
    assert table.columns["loss"].tolist()[1::2] == [2.5, 2.5]


def test_a_validation_loss_that_is_unreadable_is_no_training_loss(read):
    log = (
        " iteration 3/ 97 | lm loss: 2.5 |\n validation loss at iteration 3 | lm loss value: ### | lm loss PPL: 9.5 |\n"
    )
    assert read(log).unreadable_lines == 0
