"""JSON values to numbers."""

import math

import pytest

from mhcdiag.runlogs import read_log
from mhcdiag.runlogs.records import label_of, lost_loss, numbers_of, parse_json


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (1, {"a": 1.0}),
        (2.5, {"a": 2.5}),
        (True, {"a": 1.0}),
        (False, {"a": 0.0}),
        (None, {}),
        ("2.5", {"a": 2.5}),
        ("n/a", {}),
        ("9" * 63, {"a": float("9" * 63)}),
        ("9" * 64, {}),
        ([1, 2], {}),
        ([1.5], {"a": 1.5}),
        ([math.inf], {"a": math.inf}),
        ([], {}),
        (["x"], {}),
        ([True], {}),
        ({"b": 1}, {"a/b": 1.0}),
        ({"b": {"c": {"d": 1}}}, {"a/b/c/d": 1.0}),
        ({"b": {"c": {"d": {"e": 1}}}}, {}),
        (10**308, {"a": 1e308}),
        (10**309, {"a": math.inf}),
    ],
)
def test_what_counts_as_a_number(value, numbers):
    assert numbers_of({"a": value}) == numbers


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": "x\ty", "b": 1}'])
def test_what_strict_parsers_refuse_is_read(text):
    assert "a" in parse_json(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 100_000])
def test_what_is_no_json(text):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        parse_json(text)


@pytest.mark.parametrize(
    ("record", "loss_key", "lost"),
    [
        ({"loss": "n/a"}, None, True),
        ({"train/loss": "###"}, None, True),
        ({"loss": "2.5"}, None, False),
        ({"loss": 2.5, "x": "y"}, None, False),
        ({"loss": None}, None, False),
        ({"loss": [1]}, None, False),
        ({"eval_loss": "n/a"}, None, False),
        ({"loss_scale": "n/a"}, None, False),
        ({"loss": "n/a", "ce": 2.5}, "ce", False),
        ({"loss": 2.5, "ce": "n/a"}, "ce", True),
        ({"nll": "n/a"}, None, False),
    ],
)
def test_a_loss_that_is_there_and_no_number(record, loss_key, lost):
    assert lost_loss(record, loss_key) == lost


def test_a_few_losses_or_norms_in_a_list_are_a_series_each():
    assert numbers_of({"grad_norm": [1, 2.5], "x": {"Loss": [3, 4]}, "lr": [1, 2]}) == {
        "grad_norm/0": 1.0,
        "grad_norm/1": 2.5,
        "x/Loss/0": 3.0,
        "x/Loss/1": 4.0,
    }
    assert len(numbers_of({"norm": [1] * 16})) == 16
    assert numbers_of({"norm": [1] * 17}) == numbers_of({"norm": [1, "x"]}) == {}


@pytest.mark.parametrize(
    ("record", "label"),
    [
        ({"name": "a", "loss": 2.5, "seed": "3"}, "a"),
        ({"model": "gpt", "dataset": "c4", "n": 3}, "gpt\nc4"),
        ({"date": "monday", "start_time": "noon", "message": "done"}, ""),
        ({"host": "2025-01-03", "at": "10:20", "split": "1/3"}, ""),
        ({"name": "", "long": "x" * 200}, ""),
        ({"long": "x" * 199}, "x" * 199),
    ],
)
def test_what_a_record_is_of(record, label):
    assert label_of(record) == label


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("nan", "nan"),
        ("-nan", "nan"),
        ("NAN", "nan"),
        ("-nan(ind)", "nan"),
        ("inf", "inf"),
        ("-inf", "-inf"),
        ("+Inf", "inf"),
    ],
)
def test_bare_words_of_other_languages_are_read(word, value):
    found = parse_json(f'{{"step": 3, "loss": {word}, "x": [{word}, 1], "note": "a: nan, b"}}')
    assert str(float(found["loss"])) == str(float(found["x"][0])) == value
    assert found["step"] == 3


def test_a_run_that_dies_in_json_by_hand(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"step": {at}, "loss": {"2.5" if at < 70 else "nan"}}}\n' for at in range(80)))
    table = read_log(str(path))
    assert table.nan_rows["loss"].sum() == 10
    assert table.unreadable_lines == 0
