import numpy as np
import pytest

from mhcdiag.runlogs import read_log
from mhcdiag.runlogs.formats.experiment_trackers import MLFLOW
from mhcdiag.runlogs.interface import LogSample


def test_a_metric_file_is_named_by_the_file(read):
    table = read("1628697792090 332.68 0\n1628697793090 331.5 1\n1628697794090 NaN 2\n", name="train_loss")
    assert table.format == "mlflow"
    assert table.step.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(table.columns["loss"], [332.68, 331.5, np.nan])
    assert table.nan_rows["loss"].tolist() == [False, False, True]
    assert table.columns["time"].tolist() == [1628697792.09, 1628697793.09, 1628697794.09]


def test_a_run_folder_sets_its_series_side_by_side(tmp_path):
    metrics = tmp_path / "metrics"
    (metrics / "train").mkdir(parents=True)
    (tmp_path / "meta.yaml").write_text("")
    (metrics / "train" / "loss").write_text("1628697792090 2.5 0\n1628697793090 2.25 7\nbroken\n")
    (metrics / "grad_norm").write_text("1628697793090 0.5 7\n")
    table = read_log(str(tmp_path))
    assert table.step.tolist() == [0, 7]
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    np.testing.assert_array_equal(table.columns["grad_norm"], [np.nan, 0.5])
    assert (table.unreadable_lines, table.loss_lines) == (1, 3)


def test_a_step_of_thousands_of_digits_is_counted_on(read):
    table = read(f"1628697792090 2.5 6\n1628697793090 2.5 {'9' * 5003}\n", name="loss")
    assert table.step.tolist() == [6, 7]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1628697792090 2.5 0\n", "mlflow"),
        ("1628697792090 2.5 -7 more words\n", "mlflow"),
        ("162869779209 nan 0\n", "mlflow"),
        ("1628697792090 2.5 0\n" * 3 + "broken\n", "mlflow"),
        ("1628697792090 2.5 0\nbroken\n", None),
        ("1628697792090 2.5 0\n" * 2 + "broken\n", None),
        ("16286977920 2.5 0\n", None),
        ("162869779209012 2.5 0\n", None),
        ("1628697792090 2.5\n", None),
        ("", None),
    ],
)
def test_three_lines_tell_the_format(text, name):
    assert MLFLOW.fits(LogSample(path="loss", head=text.encode(), pieces=())) == (name == "mlflow")


def test_a_step_that_was_logged_twice_makes_a_second_record(read):
    table = read("1628697792090 2.5 3\n1628697793090 2.25 1\n1628697794090 2.0 3\n", name="loss")
    assert table.step.tolist() == [1, 3, 3]
    assert table.columns["loss"].tolist() == [2.25, 2.5, 2.0]
    assert (table.line.tolist(), table.lines) == ([2, 1, 3], 3)


@pytest.mark.parametrize(("name", "unreadable"), [("loss", 1), ("accuracy", 0)])
def test_lines_of_the_loss_that_cannot_be_read(read, name, unreadable):
    table = read("1628697792090 2.5 0\n" * 3 + "\n1628697793090 ### 1\n", name=name)
    assert table.unreadable_lines == unreadable
