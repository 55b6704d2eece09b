import json

import numpy as np
import pytest

from mhcdiag.errors import LogError

HISTORY = [
    {"epoch": 0.1, "grad_norm": 1.5, "learning_rate": 1e-5, "loss": 2.5, "step": 7},
    {"epoch": 0.2, "grad_norm": float("nan"), "learning_rate": 2e-5, "loss": 0.0, "step": 14},
    {"epoch": 0.2, "eval_loss": 2.25, "eval_runtime": 3.5, "step": 14},
    {"epoch": 0.3, "grad_norm": 1.25, "learning_rate": 3e-5, "loss": 2.0, "step": 21},
    {"epoch": 0.3, "step": 21, "total_flos": 1e18, "train_loss": 1.5, "train_runtime": 99.0},
]


def state(history: list[dict[str, float]]) -> str:
    return json.dumps({"best_metric": None, "log_history": history, "max_steps": 97}, indent=2)


def test_history_with_evaluations_and_the_closing_summary(read):
    table = read(state(HISTORY), name="trainer_state.json")
    assert table.format == "trainer_state"
    assert table.step.tolist() == [7, 14, 14, 21, 21]
    np.testing.assert_array_equal(table.columns["loss"], [2.5, np.nan, np.nan, 2.0, np.nan])
    np.testing.assert_array_equal(table.columns["eval_loss"], [np.nan, np.nan, 2.25, np.nan, np.nan])
    np.testing.assert_array_equal(table.columns["train_loss"], [np.nan, np.nan, np.nan, np.nan, 1.5])
    assert table.nan_rows["loss"].tolist() == [False, True, False, False, False]  # 0.0 with a NaN norm
    assert any("logging_nan_inf_filter" in note for note in table.notes)


def test_three_zeros_after_a_real_loss_are_nan_but_a_loss_that_fades_is_not(read):
    def losses(*values: float) -> str:
        return state([{"loss": value, "step": 5 * n} for n, value in enumerate(values)])

    assert read(losses(2.5, 0.0, 0.0, 0.0, 0.0)).nan_rows["loss"].tolist() == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert read(losses(0.3, 0.001, 0.0001, 0.0, 0.0, 0.0, 0.0)).nan_rows == {}


def test_a_state_that_is_cut_short_is_read_up_to_the_cut(read):
    text = state(HISTORY)
    table = read(text[: text.index('"total_flos"')])
    assert table.step.tolist() == [7, 14, 14, 21]
    assert any("cut short" in note and "4 records" in note for note in table.notes)


@pytest.mark.parametrize("text", ['{"log_history": ', '{"log_history": 3}', '{"log_history": {"a": 1}}'])
def test_a_state_without_records_is_an_error(read, text):
    with pytest.raises(LogError, match=r"broken JSON|no list 'log_history'|no training records"):
        read(text)


def test_the_parser_for_text_is_not_taken_for_indented_json(read):
    assert read(state(HISTORY * 997)).format == "trainer_state"
