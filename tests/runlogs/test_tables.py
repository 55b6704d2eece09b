"""From columns to the table: who is the loss, what is a NaN of the run, what is told."""

import numpy as np
import pytest
from runlogs.textchecks import rows_of, same_as_rows

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.grammar import Grammar
from mhcdiag.runlogs.interface import Keys, LogRecord, NanFamily
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.tables import finish_table

NAN, INF = float("nan"), float("inf")


def made(
    *records: dict[str, float], family: NanFamily = "plain", loss: str | None = None, garbled: int = 0
) -> LogTable:
    """The table of some records, at steps 1, 2, 3 and lines 1, 2, 3."""
    builder = TableBuilder()
    for line, values in enumerate(records, start=1):
        builder.add(LogRecord(line=line, step=float(line), values=values))
    builder.garbled, builder.lines = garbled, len(records) + garbled
    form = Grammar(name="made", title="made", rules=(), nan_family=family, preferred={"loss": ("ce",)})
    return finish_table(builder, path="run.log", log_format=form, keys=Keys(loss=loss))


def test_canonical_names_come_first():
    table = made({"x": 1.0, "time": 2.0, "gnorm": 3.0, "ce": 4.0, "loss": 5.0})
    assert list(table.columns) == ["loss", "grad_norm", "time", "x", "log/loss"]
    assert table.source_names == {"loss": "ce", "grad_norm": "gnorm", "time": "time"}


@pytest.mark.parametrize("names", [("ce", "loss"), ("loss", "ce")])
def test_a_series_that_is_called_like_the_loss_never_stands_for_it(read, names):
    text = "".join(f'{{"step": {n}, "{names[0]}": {n}.5, "{names[1]}": {n}.25}}\n' for n in range(3))
    text += '{"step": 3, "loss": NaN, "x": 1}\n'
    values = [f"{n}.{'5' if names[0] == 'ce' else '25'}" for n in range(3)]
    table = read(text, loss_key="ce")
    np.testing.assert_array_equal(table.columns["loss"], [*map(float, values), NAN])
    assert (table.source_names["loss"], list(table.nan_rows)) == ("ce", ["log/loss"])
    same_as_rows(table, rows_of(text.encode(), "jsonl", 7, loss_key="ce"))


def test_loss_lines_and_those_that_cannot_be_read():
    table = made({"ce": 2.5}, {"x": 1.0}, {"ce": NAN, "x": 1.0}, {"ce": INF, "x": 1.0}, garbled=2)
    assert (table.lines, table.loss_lines, table.unreadable_lines) == (6, 5, 2)
    assert table.nan_rows["loss"].tolist() == [False, False, True, True]


def test_the_evaluation_loss_is_judged_where_there_is_no_other():
    table = made({"val_loss": 2.5, "lr": 1.0}, {"val_loss": NAN, "lr": 1.0})
    assert (list(table.columns), table.source_names["loss"]) == (["loss", "learning_rate"], "val_loss")
    assert table.nan_rows["loss"].tolist() == [False, True]
    assert table.notes == ("no training loss: the evaluation loss 'val_loss' is judged",)
    assert "eval_loss" in made({"val_loss": 2.5, "ce": 1.0}).columns


def test_a_loss_that_is_not_there_is_refused():
    with pytest.raises(LogError, match=r"run.log: no series 'cf'; expected one of 'ce', 'x'"):
        made({"ce": 2.5, "x": 1.0}, loss="cf")
    assert made({"ce": 2.5, "x": 1.0}, loss="x").source_names["loss"] == "x"


class TestJudgement:
    """The rules of NaN over a whole table."""

    def test_records_of_nothing_but_nan_are_gaps(self):
        records = [{"ce": 2.5, "a": 1.0, "b": 1.0}, {"ce": NAN, "a": NAN, "b": NAN}, {"ce": NAN, "a": 1.0, "b": 1.0}]
        table = made(*records, family="golden")
        assert {name: mask.tolist() for name, mask in table.nan_rows.items()} == {"loss": [False, False, True]}
        assert made(*records).nan_rows["loss"].tolist() == [False, True, True]
        assert "1 records whose every metric is NaN: taken as not recorded" in table.notes

    def test_a_loss_that_megatron_left_out(self):
        table = made({"grad_norm": NAN, "x": 1.0}, {"grad_norm": 1.0, "x": 1.0}, family="megatron")
        np.testing.assert_array_equal(table.columns["loss"], [NAN, NAN])
        assert table.nan_rows["loss"].tolist() == [True, False]
        assert table.nan_rows["grad_norm"].tolist() == [True, False]

    def test_a_norm_that_the_scaler_skipped(self):
        records = [
            {"ce": 2.5, "loss_scale": 4.0, "grad_norm": 1.0},
            {"loss_scale": 2.0, "grad_norm": INF},
            {"ce": 2.5, "loss_scale": 2.0, "grad_norm": 1.0},
            {"loss_scale": 2.0, "grad_norm": INF},
        ]
        table = made(*records, family="megatron")
        assert table.nan_rows["grad_norm"].tolist() == [False, False, False, True]
        assert table.nan_rows["loss"].tolist() == [False, False, False, True]
        np.testing.assert_array_equal(table.columns["grad_norm"], [1.0, NAN, 1.0, INF])

    def test_zeros_that_stand_for_nan(self):
        losses = [2.5, 2.5, 0.0, 0.0, 0.0, 0.0, 2.5]
        table = made(*({"ce": loss, "x": 1.0} for loss in losses), family="huggingface")
        assert table.nan_rows["loss"].tolist() == [False] * 4 + [True] * 2 + [False]
        np.testing.assert_array_equal(table.columns["loss"], [2.5, 2.5, 0.0, 0.0, NAN, NAN, 2.5])
        assert any("logging_nan_inf_filter" in note for note in table.notes)

    def test_the_size_of_the_loss_before_zeros_is_known(self):
        losses = [2.5, 2.5, 0.005, 0.0, 0.0, 0.0, 0.0]
        assert made(*({"ce": loss} for loss in losses), family="huggingface").nan_rows == {}

    def test_the_loss_before_zeros_need_not_be_their_neighbour(self):
        records = [{"ce": 2.5}, {"ce": 0.005}, {"x": 1.0}, *[{"ce": 0.0}] * 4]
        assert made(*records, family="huggingface").nan_rows == {}

    def test_a_first_record_has_none_before_it(self):
        records = [
            {"grad_norm": NAN, "loss_scale": 2.0},
            {"ce": 2.5, "loss_scale": 2.0},
            {"ce": 2.5, "loss_scale": 4.0},
        ]
        assert made(*records, family="megatron").nan_rows["loss"].tolist() == [True, False, False]

    def test_values_that_are_finite_stay(self):
        table = made({"ce": 2.5, "x": NAN}, {"ce": 2.0, "x": 1.0})
        assert table.columns["loss"].tolist() == [2.5, 2.0]
        assert {name: mask.tolist() for name, mask in table.nan_rows.items()} == {"x": [True, False]}
        assert table.notes == ()


def test_totals_ranks_and_dropped_series():
    builder = TableBuilder()
    builder.add(LogRecord(line=1, step=1.0, values={"ce": 2.5}, total_steps=9.0), rank=3)
    builder.dropped_series, builder.lines = 7, 1
    builder.notes.append("damaged")
    form = Grammar(name="made", title="made", rules=())
    table = finish_table(builder, path="run.log", log_format=form, keys=Keys())
    assert (table.total_steps.tolist(), table.rank.tolist()) == ([9.0], [3])
    assert table.notes == ("damaged", "more than 1 series: 7 values of others left out")
