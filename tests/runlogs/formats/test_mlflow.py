import numpy as np

from mhcdiag.runlogs import read_log


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
