# ruff: noqa: E501 (a line of a log is as long as it is)
import numpy as np
import pytest
from runlogs.textchecks import check_text

from mhcdiag.errors import LogError
from mhcdiag.runlogs.formats.csv_table import CSV
from mhcdiag.runlogs.interface import Keys


def test_lightning_rows_are_sparse(tmp_path):
    log = (
        "epoch,step,train_loss_step,train_loss_epoch,val_loss\n0,49,2.5,,\n0,99,2.25,,\n0,101,,,2.125\n0,101,,2.375,\n"
    )
    table = check_text(
        tmp_path,
        log,
        "csv",
        steps=[49, 99, 101, 101],
        lines=[2, 3, 4, 5],
        loss=[2.5, 2.25, None, None],
        eval_loss=[None, None, 2.125, None],
        train_loss_epoch=[None, None, None, 2.375],
    )
    assert table.source_names["loss"] == "train_loss_step"
    assert table.nan_rows == {}


def test_chart_export_with_bands(tmp_path):
    log = '"Step","llama - train/loss","llama - train/loss__MIN","llama - train/loss__MAX"\n"1","3.5","3.25","3.75"\n"3","3.0","2.5","3.5"\n'
    table = check_text(tmp_path, log, "csv", steps=[1, 3], lines=[2, 3], loss=[3.5, 3.0])
    assert table.source_names == {"loss": "train/loss"}


def test_keras_counts_epochs(tmp_path):
    log = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,1.5,0.25,1.75\n1,0.75,nan,0.5,1.5\n"
    table = check_text(tmp_path, log, "csv", steps=[0, 1], lines=[2, 3], loss=[1.5, None], eval_loss=[1.75, 1.5])
    assert table.nan_rows["loss"].tolist() == [False, True]


def test_tabs_and_decimal_commas(read):
    table = read("step;loss;lr\r\n1;2,5;0,001\r\n2;1.234,25;0,002\r\n")
    assert table.format == "csv"
    assert table.columns["loss"].tolist() == [2.5, 1234.25]
    assert table.columns["learning_rate"].tolist() == [0.001, 0.002]
    assert read("step\tloss\n1\t2.5\n").columns["loss"].tolist() == [2.5]


def test_thousands_separators_in_quotes(read):
    assert read('step,loss\n"1,000","1,234.5"\n').columns["loss"].tolist() == [1234.5]


def test_a_header_that_comes_again_opens_the_next_run(read):
    table = read("step,loss\n1,2.5\n2,2.25\nstep,loss\n1,2.75\n")
    assert table.step.tolist() == [1, 2, 1]
    assert table.unreadable_lines == 0


def test_cells_without_a_number_are_counted(read):
    table = read("step,loss\n1,2.5\n2,bad\n3,\n4,2.0\n5\n")
    np.testing.assert_array_equal(table.columns["loss"], [2.5, np.nan, np.nan, 2.0])
    assert (table.loss_lines, table.unreadable_lines) == (3, 1)


@pytest.mark.parametrize("text", ["dear all, the loss\nwas high, sorry\n", "name,city\nAda,Bern\nBob,Rome\n"])
def test_text_with_commas_is_no_table(read, text):
    with pytest.raises(LogError, match="no training records"):
        read(text, name="notes.csv")


def test_a_table_without_a_loss_says_what_it_has(read):
    table = read("step,accuracy\n1,0.5\n2,0.75\n")
    with pytest.raises(LogError, match=r"no series 'loss' \(format csv; it has accuracy\)"):
        table.require("loss")


def test_a_chart_of_several_runs_keeps_their_names(read):
    table = read('"Step","a - train/loss","a - train/loss__MIN","b - train/loss"\n"1","2.5","2.25","2.75"\n')
    assert table.source_names["loss"] == "a - train/loss"
    assert table.columns["b - train/loss"].tolist() == [2.75]


@pytest.mark.parametrize(
    ("cell", "value", "unreadable"),
    [
        ("2.25", 2.25, 0),
        ("nan", np.nan, 0),
        ("", None, 0),
        ("-", None, 0),
        ("NA", None, 0),
        ("None", None, 0),
        ("null", None, 0),
        ("bad", None, 1),
        ("+2", 2.0, 0),
        (".5", 0.5, 0),
    ],
)
def test_cells(read, cell, value, unreadable):
    table = read(f"step,loss,lr\n1,2.5,0.1\n2,{cell},0.1\n")
    assert table.step.tolist() == [1, 2]
    np.testing.assert_array_equal(table.columns["loss"], [2.5, np.nan if value is None else value])
    assert table.unreadable_lines == unreadable
    assert ("loss" in table.nan_rows) == (cell == "nan")


@pytest.mark.parametrize(("row", "unreadable"), [("2,2.25", 1), ("2", 0), ("2,2.25,0.1,7", 1), ("", 0)])
def test_rows_of_another_length(read, row, unreadable):
    table = read(f"step,loss,lr\n1,2.5,0.1\n{row}\n")
    assert (table.step.tolist(), table.unreadable_lines) == ([1], unreadable)


def test_rows_of_another_length_without_a_loss_are_no_losses(read):
    assert read("step,accuracy\n1,2.5\n2,2.25,7\n").unreadable_lines == 0


def test_rows_of_words(read):
    table = read("loss,lr\n2.5,0.1\nnan,inf\nnan,\nfoo,bar\n2.25,0.1\n")
    np.testing.assert_array_equal(table.columns["loss"], [2.5, np.nan, np.nan, 2.25])
    assert table.nan_rows["loss"].tolist() == [False, True, True, False]
    assert table.nan_rows["learning_rate"].tolist() == [False, True, False, False]


def test_another_header_may_follow(read):
    table = read("step,loss\n1,2.5\nstep,lr\n2,0.5\nfoo,bar\n3,0.25\n")
    np.testing.assert_array_equal(table.columns["loss"], [2.5, np.nan, np.nan])
    np.testing.assert_array_equal(table.columns["learning_rate"], [np.nan, 0.5, 0.25])


@pytest.mark.parametrize(
    ("log", "losses"),
    [
        ("step\tloss\n1\t2,5\n2\t1.234,5\n", [2.5, 1234.5]),
        ("step\tloss\n1\t1,234\n2\t2,5\n", [1234.0, 2.5]),
        ("step;loss\n1;1,234\n", [1.234]),
        ('step,loss\n1,"1,234"\n', [1234.0]),
        ("step\tloss\n1\t0,125\n", [0.125]),
    ],
)
def test_decimal_commas_and_thousands(read, log, losses):
    assert read(log, log_format="csv").columns["loss"].tolist() == losses


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("step,loss", True),
        ("step,x", True),
        ("epoch,x", True),
        ("x,loss", True),
        ("x,y", False),
        ("loss", False),
        ("loss,loss", False),
        ("step=1,loss", False),
        ("{step},loss", False),
        ("1,loss", False),
        (",loss", True),
    ],
)
def test_what_is_a_header(header, found):
    parser = CSV.parser(Keys())
    assert parser.feed(1, header) is None
    record = parser.feed(2, "7,2.5")
    assert (record is not None and len(record.values) > 0) == found


def test_a_header_of_the_users_names():
    parser = CSV.parser(Keys(loss="objective", step="t"))
    parser.feed(1, "t,objective")
    assert parser.feed(2, "7,2.5").values == {"t": 7.0, "objective": 2.5}
    assert parser.feed(3, "8,bad").garbled
    assert parser.feed(4, "8,2.5").values == {"t": 8.0, "objective": 2.5}


def test_numbers_between_commas_are_no_header(read):
    with pytest.raises(LogError):
        read("nan, nan avg loss, 0.001 rate\n2.5, 2.5 avg loss, 0.001 rate\n", log_format="csv")
