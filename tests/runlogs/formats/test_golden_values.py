import json

import numpy as np
import pytest


def golden(**series: dict[str, object]) -> str:
    return json.dumps(
        {
            name.replace("_", " "): {"start_step": 1, "end_step": 15, "step_interval": 5, "values": values}
            for name, values in series.items()
        }
    )


def test_nan_for_all_series_is_a_gap_and_nan_for_the_loss_alone_an_event(read):
    table = read(
        golden(
            lm_loss={"1": 12.5, "5": "nan", "10": "nan", "15": 11.5},
            num_zeros={"1": 7.0, "5": "nan", "10": 5.0, "15": "nan"},
            iteration_time={"1": "nan", "5": "nan", "10": "nan", "15": "nan"},
        ),
        name="golden_values_dev.json",
    )
    assert table.format == "golden_values"
    assert table.step.tolist() == [1, 5, 10, 15]
    np.testing.assert_array_equal(table.columns["loss"], [12.5, np.nan, np.nan, 11.5])
    assert table.nan_rows["loss"].tolist() == [False, False, True, False]
    assert set(table.nan_rows) == {"loss"}
    assert any("never recorded (all nan): iteration time" in note for note in table.notes)
    assert any("1 records whose every metric is NaN" in note for note in table.notes)


def test_values_as_a_list_count_by_the_interval(read):
    table = read(golden(lm_loss=[12.5, 12.25, 12.0]))
    assert table.step.tolist() == [1, 6, 11]
    assert table.columns["loss"].tolist() == [12.5, 12.25, 12.0]


@pytest.mark.parametrize("step", ["--2", "\u00b2", "1.5", "x"])
def test_a_step_that_is_no_whole_number_is_left_out(read, step):
    assert read(golden(lm_loss={"-1": 2.5, step: 9.0, "7": 2.0})).step.tolist() == [-1, 7]


@pytest.mark.parametrize("wrong", [{"start_step": "a"}, {"step_interval": None}, {"step_interval": float("nan")}])
def test_a_list_that_cannot_be_counted_is_no_series(read, wrong):
    series = {"start_step": 1, "end_step": 15, "step_interval": 5, "values": [2.5, 2.25]}
    table = read(json.dumps({"lm loss": series, "x": series | wrong}))
    assert list(table.columns) == ["loss"]


def test_a_loss_that_is_nan_wherever_it_stands_is_an_event_if_it_stands_at_some_steps_only(read):
    table = read(
        golden(
            lm_loss={"1": 12.5, "5": 12.0, "10": 11.5},
            grad_norm={"5": "nan"},
            num_zeros={"1": "nan", "5": 7.0, "10": "nan"},
            time={"1": "nan", "5": "nan", "10": "nan"},
        )
    )
    (note,) = [note for note in table.notes if note.startswith("never recorded")]
    assert note == "never recorded (all nan): time"
    assert table.nan_rows["grad_norm"].tolist() == [False, True, False]
    assert "num zeros" in table.columns
