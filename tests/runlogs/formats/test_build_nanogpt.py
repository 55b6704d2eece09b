from runlogs.textchecks import check_text


def test_standard_output(tmp_path):
    log = """\
validation loss: 10.9519
step     0 | loss: 10.955029 | lr 8.3916e-07 | norm: 15.3317 | dt: 1030.40ms | tok/sec: 508818.09
step     1 | loss: 10.920116 | lr 1.6783e-06 | norm: 14.8407 | dt: 406.41ms | tok/sec: 1290035.71
"""
    check_text(
        tmp_path,
        log,
        "build_nanogpt",
        steps=[0, 0, 1],
        lines=[1, 2, 3],
        loss=[None, 10.955029, 10.920116],
        eval_loss=[10.9519, None, None],
        grad_norm=[None, 15.3317, 14.8407],
        learning_rate=[None, 8.3916e-07, 1.6783e-06],
    )


def test_log_txt(tmp_path):
    log = "0 val 10.9519\n0 hella 0.2487\n0 train 10.955029\n1 train 10.920116\n"
    check_text(
        tmp_path,
        log,
        "build_nanogpt",
        steps=[0, 0, 0, 1],
        lines=[1, 2, 3, 4],
        loss=[None, None, 10.955029, 10.920116],
        eval_loss=[10.9519, None, None, None],
        hellaswag=[None, 0.2487, None, None],
    )
