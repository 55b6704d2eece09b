import math

import numpy as np
import pytest
from runlogs.textchecks import check_text, rows_of, same_as_rows

NAN = float("nan")


def lines(*records: str) -> str:
    return "".join(f"{record}\n" for record in records)


def test_flat_records(tmp_path):
    log = lines(*(f'{{"step": {n}, "loss": {3 - n / 7}, "grad_norm": 0.{n}, "lr": 0.0003}}' for n in range(1, 6)))
    check_text(
        tmp_path,
        log,
        "jsonl",
        steps=[1, 2, 3, 4, 5],
        lines=[1, 2, 3, 4, 5],
        loss=[3 - n / 7 for n in range(1, 6)],
        grad_norm=[0.1, 0.2, 0.3, 0.4, 0.5],
        learning_rate=[0.0003] * 5,
    )


def test_weights_and_biases_history_with_sparse_and_nested_series(tmp_path):
    log = lines(
        '{"_step": 0, "_timestamp": 1700000000.5, "train/loss": 3.1, "_runtime": 1.7}',
        '{"_step": 1, "_timestamp": 1700000003.5, "train/loss": 3.0, "optim": {"grad_norm": 0.7}, "note": "warm"}',
        '{"_step": 1, "_timestamp": 1700000005.5, "val/loss": 2.9, "samples": [1, 2]}',
    )
    table = check_text(
        tmp_path,
        log,
        "jsonl",
        steps=[0, 1, 1],
        lines=[1, 2, 3],
        loss=[3.1, 3.0, None],
        eval_loss=[None, None, 2.9],
        grad_norm=[None, 0.7, None],
        time=[1700000000.5, 1700000003.5, 1700000005.5],
    )
    assert table.source_names["loss"] == "train/loss"
    assert table.source_names["grad_norm"] == "optim/grad_norm"


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", '"nan"', '"inf"', "1e999", '"-Infinity"'])
def test_nan_in_all_spellings_is_an_event(read, token):
    table = read(lines('{"step": 1, "loss": 2.5, "lr": 0.1}', f'{{"step": 2, "loss": {token}, "lr": 0.1}}'))
    assert table.nan_rows["loss"].tolist() == [False, True]
    assert not math.isfinite(table.columns["loss"][1])
    assert table.unreadable_lines == 0


def test_null_and_a_missing_key_are_no_events(read):
    table = read(lines('{"step": 1, "loss": 2.5}', '{"step": 2, "loss": null}', '{"step": 3, "lr": 0.1}'))
    assert table.nan_rows == {}
    np.testing.assert_array_equal(table.columns["loss"], [2.5, NAN, NAN])
    assert (table.loss_lines, table.unreadable_lines) == (1, 0)


def test_a_record_of_nan_only_is_that_of_a_dead_run(read):
    dead = read(lines('{"step": 1, "a": 1, "loss": 2, "b": 3}', '{"step": 2, "a": NaN, "loss": NaN, "b": NaN}'))
    assert dead.nan_rows["loss"].tolist() == [False, True]
    assert dead.notes == ()


def test_broken_lines_are_counted(read):
    good = [f'{{"step": {n}, "loss": {n}.5}}' for n in range(1, 4)]
    table = read(lines(*good, '{"step": 4, "loss": 4.', '{"step": 5, "loss": "n/a"}', "[1, 2]", "Traceback: loss"))
    assert table.columns["loss"].tolist()[:3] == [1.5, 2.5, 3.5]
    assert (table.loss_lines, table.unreadable_lines) == (5, 2)


def test_numbers_as_texts_and_thousands_separators(read):
    table = read(
        lines(
            '{"step": "1", "loss": "2.5", "tokens": "1,234,567"}',
            '{"step": "2", "loss": "2.25", "tokens": "0"}',
        )
    )
    assert table.step.tolist() == [1, 2]
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert table.columns["tokens"].tolist() == [1234567, 0]


def test_many_lines_at_once_read_as_one_by_one(read):
    """A block of equal records, one with another key, a NaN and a half-written line must not disturb each other."""
    records = [f'{{"step": {n}, "loss": {n % 13}.25, "name": "x", "ids": [1]}}' for n in range(4001)]
    records[1003] = '{"step": 1003, "loss": NaN, "name": "x", "ids": [1]}'
    records[2003] = '{"loss": 1.5, "step": 2003, "extra": 7}'
    records[3001] = '{"step": 3001, "lo'
    log = lines(*records)
    table = read(log)
    assert len(table.step) == 4000
    assert table.nan_rows["loss"].nonzero()[0].tolist() == [1003]
    assert table.line[3001] == 3003
    same_as_rows(table, rows_of(log.encode(), "jsonl", 997))


def test_the_loss_and_the_step_by_name(read):
    log = lines('{"t": 3, "step": 0, "loss": 9, "ce": 2.5}', '{"t": 6, "step": 0, "loss": 9, "ce": 2.25}')
    table = read(log, loss_key="ce", step_key="t")
    assert table.step.tolist() == [3, 6]
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert table.source_names["loss"] == "ce"


def test_a_norm_in_brackets_is_read(read):
    table = read("".join(f'{{"step": {n}, "loss": 2.5, "grad_norm": [{n / 2}]}}\n' for n in range(3)))
    assert table.columns["grad_norm"].tolist() == [0.0, 0.5, 1.0]
