"""Records of several lines, closed by the next heading or a series that comes again."""

import re

import pytest

from mhcdiag.runlogs.grammar import BlockGrammar
from mhcdiag.runlogs.interface import Keys, LogRecord

BLOCKS = BlockGrammar(
    name="blocks",
    title="headings and series",
    head=re.compile(r"#(?P<step>\S+?)(?:/(?P<total>\S+))?$"),
    series=re.compile(r"  (?P<name>\w+)=(?P<value>\S+)$"),
    garbled=re.compile(r"  loss="),
)


def records(*lines: str, keys: Keys | None = None) -> list[tuple[int, float | None, float | None, dict[str, float]]]:
    """Line, step, total and values of each record; the garbled ones have neither."""
    parser = BLOCKS.parser(keys or Keys())
    found = [parser.feed(number, text) for number, text in enumerate(lines, start=1)]
    return [
        (one.line, one.step, one.total_steps, {"garbled": 1.0} if one.garbled else one.values)
        for one in [*found, parser.finish()]
        if one is not None
    ]


def test_a_heading_closes_the_record_before():
    assert records("#1/9", "  loss=2.5", "  lr=0.5", "#2", "  loss=2.25") == [
        (1, 1.0, 9.0, {"loss": 2.5, "lr": 0.5}),
        (4, 2.0, None, {"loss": 2.25}),
    ]


def test_a_series_that_comes_again_closes_it_too():
    assert records("#1", "  loss=2.5", "  lr=0.5", "  loss=2.25", "  lr=0.25") == [
        (1, 1.0, None, {"loss": 2.5, "lr": 0.5}),
        (4, None, None, {"loss": 2.25, "lr": 0.25}),
    ]


def test_series_before_the_first_heading_and_headings_alone():
    assert records("  loss=2.5", "#1", "#2", "noise") == [(1, None, None, {"loss": 2.5})]
    assert records() == []


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_values_that_are_not_finite_are_values(value: str):
    ((_, _, _, values),) = records("#1", f"  loss={value}")
    assert repr(values["loss"]) == value


def test_a_loss_without_a_number_is_told_and_the_record_goes_on():
    assert records("#1", "  lr=0.5", "  loss=###", "  norm=1.5", "  lr=###") == [
        (3, None, None, {"garbled": 1.0}),
        (1, 1.0, None, {"lr": 0.5, "norm": 1.5}),
    ]
    assert records("#1", "  loss=a b") == [(2, None, None, {"garbled": 1.0})]


def test_the_users_step_is_a_series_and_not_the_heading():
    assert records("#1/9", "  t=7", keys=Keys(step="t")) == [(1, None, 9.0, {"t": 7.0})]


def test_what_a_record_is():
    parser = BLOCKS.parser(Keys())
    assert parser.feed(1, "noise") is None
    assert parser.feed(2, "  loss=###") == LogRecord(line=2, values={}, garbled=True)
