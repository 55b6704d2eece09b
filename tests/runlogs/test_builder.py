"""Records to columns: each value in its row."""

from array import array

import numpy as np
import pytest

from mhcdiag.runlogs import builder as module
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.interface import LogRecord

NAN, INF = float("nan"), float("inf")


def filled(*records: LogRecord, ranks: list[int | None] | None = None) -> TableBuilder:
    table = TableBuilder()
    for record, rank in zip(records, ranks or [None] * len(records), strict=True):
        table.add(record, rank=rank)
    return table


def test_series_that_come_and_go_are_padded():
    table = filled(
        LogRecord(line=3, step=1.0, values={"a": 1.0}),
        LogRecord(line=5, values={"b": 2.0}),
        LogRecord(line=8, step=3.0, values={"a": 3.0}, total_steps=9.0),
        LogRecord(line=9, step=4.0, values={"c": 5.0}),
    )
    assert (table.rows, table.line.tolist(), list(table.series)) == (4, [3, 5, 8, 9], ["a", "b", "c"])
    np.testing.assert_array_equal(table.column("a"), [1.0, NAN, 3.0, NAN])
    np.testing.assert_array_equal(table.column("b"), [NAN, 2.0, NAN, NAN])
    np.testing.assert_array_equal(table.column("c"), [NAN, NAN, NAN, 5.0])
    np.testing.assert_array_equal(table.steps(), [1.0, NAN, 3.0, 4.0])
    np.testing.assert_array_equal(table.totals(), [NAN, NAN, 9.0, NAN])
    assert table.counts == {"a": 2, "b": 1, "c": 1}
    assert table.ranks() is None


def test_nothing_told():
    table = TableBuilder()
    assert (table.rows, table.totals(), table.ranks(), table.steps().tolist()) == (0, None, None, [])


def test_ranks_are_padded_on_both_sides():
    records = [LogRecord(line=n, values={"a": 1.0}) for n in range(5)]
    assert filled(*records, ranks=[None, None, 3, 0, None]).ranks().tolist() == [-1, -1, 3, 0, -1]


def test_records_without_values_are_counted_only():
    table = filled(
        LogRecord(line=1, values={}, garbled=True),
        LogRecord(line=2, values={"a": 1.0}, garbled=True),
        LogRecord(line=3, values={}, step=7.0),
    )
    assert (table.garbled, table.rows) == (2, 1)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite_are_remembered(value: float):
    table = filled(LogRecord(line=1, values={"a": 1.0, "b": value}), LogRecord(line=2, values={"a": value, "b": value}))
    assert {name: rows.tolist() for name, rows in table.strange.items()} == {"b": [0, 1], "a": [1]}


def test_blocks_stand_between_records():
    table = filled(LogRecord(line=1, step=7.0, values={"a": 1.0}))
    table.add_block([2, 3], {"b": array("d", [4.0, 5.0]), "a": array("d", [2.0, 3.0])})
    table.add(LogRecord(line=4, step=9.0, values={"b": 6.0}))
    np.testing.assert_array_equal(table.column("a"), [1.0, 2.0, 3.0, NAN])
    np.testing.assert_array_equal(table.column("b"), [NAN, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(table.steps(), [7.0, NAN, NAN, 9.0])
    assert (table.line.tolist(), table.counts) == ([1, 2, 3, 4], {"a": 3, "b": 3})


def test_a_thousand_series_are_kept(monkeypatch: pytest.MonkeyPatch):
    assert module.MOST_SERIES == 1000
    monkeypatch.setattr(module, "MOST_SERIES", 2)
    table = filled(
        LogRecord(line=1, values={"a": 1.0, "b": NAN, "c": NAN}), LogRecord(line=2, values={"d": 1.0, "a": 2.0})
    )
    table.add_block([3], {"e": array("d", [1.0]), "b": array("d", [2.0])})
    assert (list(table.series), table.dropped_series, list(table.strange)) == (["a", "b"], 3, ["b"])
    np.testing.assert_array_equal(table.column("b"), [NAN, NAN, 2.0])


def test_what_can_be_a_loss_a_norm_the_step_or_is_asked_for_is_kept_beyond_that(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_SERIES", 1)
    table = TableBuilder(lambda name: name == "gain")
    for line in (1, 2):
        table.add(LogRecord(line=line, values=dict.fromkeys(["a", "b", "train/loss", "gnorm", "it", "gain", "c"], 1.0)))
    table.add_block([3], {"loss": array("d", [1.0]), "d": array("d", [2.0])})
    assert list(table.series) == ["a", "train/loss", "gnorm", "it", "gain", "loss"]
    assert table.dropped_series == 5
    whole = TableBuilder()
    rows = np.arange(2)
    whole.fill(line=rows, step=rows * 1.0, series=[(name, rows, rows * 1.0) for name in ("a", "b", "val_loss")])
    assert (list(whole.series), whole.dropped_series) == (["a", "val_loss"], 2)


def test_labels_are_counted():
    table = filled(
        LogRecord(line=1, values={"a": 1.0}, label="x"),
        LogRecord(line=2, values={"a": 1.0}, label="x"),
        LogRecord(line=3, values={"a": 1.0}),
        LogRecord(line=4, values={}, label="y"),
    )
    assert (table.labels, table.labelled) == ({"x"}, 2)
