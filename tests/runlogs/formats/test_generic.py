# ruff: noqa: E501 (a line of a log is as long as it is)
import pytest
from runlogs.textchecks import check_text, rows_of, same_as_rows

from mhcdiag.runlogs import read_log


@pytest.mark.parametrize(
    ("line", "step", "loss", "others"),
    [
        (
            "[2022-08-31 16:19:16,008] [    INFO] - loss: 3.25806541, learning_rate: 2.9e-05, global_step: 10, epoch: 0.02",
            10,
            3.25806541,
            {"learning_rate": 2.9e-05},
        ),  # PaddleNLP
        (
            "Step 3 | loss:1.613 lr:2e-05 tokens_per_second_per_gpu:4117.3",
            3,
            1.613,
            {"learning_rate": 2e-05},
        ),  # torchtune
        (
            "0: INFO    24-11-30 11:13:17 - step: 7  acc: 0  loss: 9.3130  grad: 1.27e+00  wps: 3.11e+04",
            7,
            9.313,
            {"grad_norm": 1.27, "wps": 3.11e4},
        ),  # lingua
        (
            "[INFO|DP=0]: iteration: 11 / 701 | consumed_tokens: 2.1M | lm_loss: 5.213 | lr: 0.0003 | grad_norm: 1.71",
            11,
            5.213,
            {"consumed_tokens": 2.1e6, "grad_norm": 1.71},
        ),  # nanotron
        ("ep: 0, batch: 20, time: 9.17, ntokens: 485.20/513, loss: 10.984375", 20, 10.984375, {"ep": 0}),
        (
            "[2026-06-25 19:33:56] step 000013 | loss 10.340952 | lrm 0.0500 | dt_ms 8124.4",
            13,
            10.340952,
            {"lrm": 0.05},
        ),
        ("loss at 2404 1.3125", 2404, 1.3125, {}),  # GaLore
        ("Epoch [3/7], Step [10/100], Loss: 2.6", 10, 2.6, {"epoch": 3}),
        ("INFO:root:[step 12] train loss = 2.5; grad norm = 0.7", 12, 2.5, {"grad_norm": 0.7}),
        ("[11/30/24 11:13:17] INFO     Step 11: loss 3.1 lr 0.1", 11, 3.1, {"learning_rate": 0.1}),
        (
            "epoch 1:  12%|##  | 120/1000 [00:10<01:20, 11.0it/s, loss=2.31, grad_norm=0.9]",
            120,
            2.31,
            {"grad_norm": 0.9},
        ),
        (
            "| epoch   1 |   200/ 2983 batches | lr 20.0000 | ms/batch  7.65 | loss 12.28 | ppl 216359.45",
            200,
            12.28,
            {},
        ),
    ],
)
def test_lines_of_scripts_without_a_format(tmp_path, line, step, loss, others):
    path = tmp_path / "train.log"
    path.write_text(f"{line}\n")
    table = read_log(str(path))
    assert table.format == "generic"
    assert table.step.tolist() == [step]
    assert table.columns["loss"].tolist() == [loss]
    for name, value in others.items():
        assert table.columns[name].tolist() == [value]
    same_as_rows(table, rows_of(f"{line}\n".encode(), "generic", 5))


def test_an_evaluation_between_losses_that_name_their_step(tmp_path):
    log = """\
loss at 700 3.3125
2024-05-11 | INFO | __main__:main:576 - Eval loss at step 701: 3.25,tokens_seen: 97
loss at 701 3.28125
"""
    check_text(
        tmp_path,
        log,
        "generic",
        steps=[700, 701, 701],
        lines=[1, 2, 3],
        loss=[3.3125, None, 3.28125],
        eval_loss=[None, 3.25, None],
    )


def test_a_batch_that_counts_within_an_epoch_is_joined_to_one_count(tmp_path):
    log = "".join(
        f"ep: {ep}, batch: {batch}, loss: {7 - ep - batch / 100}\n" for ep in range(2) for batch in (20, 40, 60)
    )
    table = check_text(tmp_path, log, "generic", steps=[20, 40, 60, 80, 100, 120], lines=[1, 2, 3, 4, 5, 6])
    assert any("begins again with every epoch" in note for note in table.notes)


def test_a_loss_without_its_number_counts_as_unreadable(read):
    table = read("step: 1 loss: 3.1\nstep: 2 loss: ###\nstep: 3 loss: 2.9\n")
    assert (table.unreadable_lines, table.loss_lines) == (1, 3)
    assert table.columns["loss"].tolist() == [3.1, 2.9]


def test_a_progress_bar_overwrites_one_line(read):
    bar = "\r".join(f"training: {n}/97 [00:{n}<01:00, loss={5 - n / 10:.1f}]" for n in range(1, 6))
    table = read(bar + "\n")
    assert table.step.tolist() == [1, 2, 3, 4, 5]
    assert table.line.tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("bar", "step", "total"),
    [
        ("4/5", 4, 5),
        ("5/5", 5, 5),
        ("5/3", 0, None),
        (f"3/{'9' * 5003}", 3, float("inf")),
        (f"{'9' * 5003}/3", 0, None),
    ],
)
def test_a_fraction_beyond_its_total_is_no_progress(read, bar, step, total):
    table = read(f"{bar} loss=2.5\n")
    assert table.step.tolist() == [step]
    assert (table.total_steps.tolist() if table.total_steps is not None else [None]) == [total]


def test_where_others_have_a_step_a_loss_without_one_is_counted_as_ignored(read):
    table = read("loss 9.5\nstep 1 loss 2.5\nloss 8.5\nstep 2 loss 2.25\n")
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert (table.loss_lines, table.unreadable_lines, table.ignored) == (4, 0, {"a loss without a step": 2})


def test_but_a_nan_counts_wherever_it_stands(read):
    table = read("step 1 loss 2.5\nloss nan\nstep 2 loss 2.25\nval loss 2.75\n")
    assert table.step.tolist() == [1, 1, 2, 2]
    assert table.nan_rows["loss"].tolist() == [False, True, False, False]
    assert table.ignored == {}


def test_a_norm_alone_is_a_record(read):
    table = read("step 1 loss 2.5\nstep 2 grad_norm 0.5\nstep 3 lr 0.5 lost\nstep 4 lr 0.25 norms\n")
    assert table.step.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("line", "unreadable"),
    [("step 2 loss: ###", 1), ("loss: ###", 0), ("step 2 loss:", 0), ("step 2 closs: ###", 0), ("step 2 loss = x", 1)],
)
def test_a_loss_that_is_there_but_unreadable_needs_a_step(read, line, unreadable):
    assert read(f"step 1 loss 2.5\n{line}\nstep 3 loss 2.25\n").unreadable_lines == unreadable


@pytest.mark.parametrize(
    "line", ["print(f'loss {loss} 3 step 7')", "    return step 7 loss 3", "self.step 7 loss 3", "#step 7 loss 3"]
)
def test_source_code_is_no_log(read, line):
    assert read(f"step 1 loss 2.5\n{line}\n").step.tolist() == [1]


def test_the_users_loss_is_read_without_the_word(read):
    table = read("step 1 objective 2.5\nstep 2 objective 2.25\n", loss_key="objective", log_format="generic")
    assert table.columns["loss"].tolist() == [2.5, 2.25]


def test_of_two_equal_names_the_first_counts_and_a_nan_in_any(read):
    table = read("step 1 loss 2.5 | loss 3.5\nstep 2 loss 2.25 | loss nan\n")
    assert table.columns["loss"].tolist()[0] == 2.5
    assert table.nan_rows["loss"].tolist() == [False, True]


def test_an_evaluation_that_calls_its_loss_as_the_training_does(read):
    text = "".join(
        f"Epoch: [0]  [{at:3}/200]  loss: {3 - at / 100}\n" + ("Test:  [  0/9]  loss: 0.5\n" if at % 10 == 9 else "")
        for at in range(30)
    )
    table = read(text)
    assert [value for value in table.columns["loss"].tolist() if value == value] == [3 - at / 100 for at in range(30)]  # noqa: PLR0124
    assert table.step[table.columns["eval_loss"] == 0.5].tolist() == [9, 19, 29]


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        ("Epoch 1, batch {n}, loss[loss={loss}, a=1.0 ], tot_loss[loss=9.5, a=2.0 ]", list(range(12))),
        ("step {n} loss tensor({loss}, device='cuda:0')", list(range(12))),
        ("step {n}: loss -> {loss}", list(range(12))),
        ("[05/11 10:20:{n:02}] step {n} loss: {loss}", list(range(12))),
        ("Batch 3/{n}00 loss {loss}", [100 * n for n in range(12)]),
        ("{n}/4 loss={loss}", None),
    ],
)
def test_what_looks_like_a_field_and_is_none_and_the_reverse(read, lines, steps):
    table = read("".join(lines.format(n=n, loss=3.5 - n / 8) + "\n" for n in range(12)))
    assert table.columns["loss"].tolist() == [3.5 - n / 8 for n in range(12)]
    assert steps is None or table.step.tolist() == steps


def test_a_bar_that_begins_again_after_it_was_full_counts_on(read):
    text = "".join(f"{1 + n % 5}/5 [00:0{n % 5}<00:05, loss={3 - n / 16}]\n" for n in range(15))
    table = read(text)
    assert table.step.tolist() == list(range(1, 16))
    cut = read("".join(line + "\n" for at, line in enumerate(text.splitlines()) if at not in (3, 4)))
    assert cut.step.tolist()[3] == 1  # it was not full: another run, or a resume


def test_a_message_with_numbers_is_no_record(read):
    said = (
        "[host:0/8] 2022-02-21 11:00:20,031 (trainer:617) WARNING: The grad norm is nan. Skipping updating the model."
    )
    shown = "[host:0/8] 2022-02-21 11:00:05,031 (trainer:678) INFO: 1epoch:train:{at}-{end}batch: loss_ctc=86.9, loss={loss}"
    table = read("".join(
        shown.format(at=end - 49, end=end, loss=3 - end / 500) + f"\n{said}\n" for end in range(50, 1000, 50)
    ))  # fmt: skip
    assert table.step.tolist() == list(range(50, 1000, 50))  # the rank is no step where a line has no other
    assert "grad_norm" not in table.columns
