"""Names and numbers in a line, one way of writing after the other."""

import math

import pytest

from mhcdiag.runlogs.grammar import (
    LONGEST_TEXT,
    comma_fields,
    dashed_fields,
    json_fields,
    loose_fields,
    piped_fields,
    quoted_fields,
    semicolon_fields,
    spaced_fields,
    unwrapped,
)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("lm loss: 7.07E-01 | grad norm: 0.7 |", {"lm loss": 0.707, "grad norm": 0.7}),
        ("loss 7.07 | lr 3e-4 | dt: 13ms", {"loss": 7.07, "lr": 3e-4, "dt": 13.0}),
        ("loss: nan | norm: -inf", {"loss": "nan", "norm": float("-inf")}),
        (" : 3 | x: | y | z: ### | w = 2", {"w": 2.0}),
        ("a=b: 3", {}),
        ("tok/sec: 38,404 | mem: 2.5GiB (3%)", {"tok/sec": 38404.0, "mem": 2.5}),
    ],
)
def test_pieces_between_pipes(text, fields):
    assert {name: "nan" if math.isnan(value) else value for name, value in piped_fields(text)} == fields


def test_pieces_between_commas_that_separate_no_thousands():
    assert dict(comma_fields("loss: 10.874, seconds: 1,234.5, lr=2")) == {"loss": 10.874, "seconds": 1234.5, "lr": 2.0}
    assert dict(comma_fields("loss 4.24,time 35ms")) == {"loss": 4.24, "time": 35.0}


def test_objects():
    assert dict(json_fields('{"loss": "2.5", "a": {"b": 1}}')) == {"loss": 2.5, "a/b": 1.0}
    assert dict(json_fields("[1, 2]")) == dict(json_fields("{")) == {}


def test_printed_dictionaries():
    assert dict(quoted_fields("{'loss': '2.5', 'lr': 1e-05, 'x': None, 'y': [a]}")) == {"loss": 2.5, "lr": 1e-5}
    assert dict(quoted_fields('{"loss": 2.5, \'a (GiB)\': "3"}')) == {"loss": 2.5, "a (GiB)": 3.0}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("grad_norm: [0.73] |", "grad_norm: 0.73 |"),
        ("'grad_norm': [nan], 'x': 1", "'grad_norm': nan, 'x': 1"),
        ("loss:[2.046/2.047], step:[    2/ 5630]", "loss:2.046, step:2"),
        ("lr=[8.91e-06, 8.9e-06], mom=[[0.9, 0.95]]", "lr=8.91e-06, mom=0.9"),
        ("loss: tensor(0.73, device='cuda:0', grad_fn=<NllLossBackward0>)", "loss: 0.73"),
        ("'loss': np.float64(nan), 'lr': numpy.float32(1e-3)", "'loss': nan, 'lr': 1e-3"),
        ("loss=Array(2.5, dtype=float32) x", "loss=2.5 x"),
        ("loss: tensor([2.5])", "loss: 2.5"),
        (
            "memory: 2.49GiB(3.14%) time (ms): 12 loss: 2.5 (2.6)",
            "memory: 2.49GiB(3.14%) time (ms): 12 loss: 2.5 (2.6)",
        ),
        ("shape: [a, 2] f(3) x[1]", "shape: [a, 2] f(3) x[1]"),
    ],
)
def test_numbers_that_a_library_wraps(text: str, plain: str):
    assert unwrapped(text) == plain


@pytest.mark.parametrize("fields", [piped_fields, comma_fields, quoted_fields, spaced_fields, loose_fields])
def test_every_way_of_writing_fields_reads_a_norm_in_brackets(fields):
    found = dict(fields("'grad_norm': [0.73]" if fields is quoted_fields else "grad_norm: [0.73]"))
    assert found == {"grad_norm": 0.73}


def test_a_loss_that_is_a_number_is_no_prose():
    assert dict(loose_fields("loss is 3.1, lr is 0.1")) == {"loss": 3.1, "lr": 0.1}
    assert dict(loose_fields("the loss was 3.1")) == {"the loss was": 3.1}


def test_between_semicolons_and_dashes():
    assert dict(semicolon_fields("acc:  51.25; ppl: 8.43; xent: 2.13; 1320/1445 tok/s;  50 sec;")) == {
        "acc": 51.25,
        "ppl": 8.43,
        "xent": 2.13,
    }
    assert dict(dashed_fields("loss 2.5 - time (sec): 2.1 - lr: 0.1")) == {"loss": 2.5, "time (sec)": 2.1, "lr": 0.1}


def test_names_before_colons_and_equal_signs():
    assert dict(spaced_fields("train_loss:4.17 train_time:16ms step_avg:nan x:1:2 at 2025-01-03")) | {
        "step_avg": 0
    } == {
        "train_loss": 4.17,
        "train_time": 16.0,
        "step_avg": 0,
    }
    assert dict(spaced_fields("step:  1  loss:  8.16  a=2")) == {"step": 1.0, "loss": 8.16, "a": 2.0}


def test_whatever_looks_like_a_name_and_its_number():
    assert dict(loose_fields("lm loss 2.5, grad norm = 0.7")) == {"lm loss": 2.5, "grad norm": 0.7}
    assert dict(loose_fields('"loss": "2.5"')) == {"loss": 2.5}
    assert dict(loose_fields("(loss) 2.5")) == {"loss": 2.5}


@pytest.mark.parametrize("fields", [quoted_fields, spaced_fields, loose_fields])
def test_the_first_eight_thousand_characters(fields):
    assert LONGEST_TEXT == 8192
    field = "'loss': 2.5, " if fields is quoted_fields else "loss: 2.5 , "
    assert len(list(fields(" " * (LONGEST_TEXT - 20) + field))) == 1
    assert list(fields(" " * LONGEST_TEXT + field)) == []
