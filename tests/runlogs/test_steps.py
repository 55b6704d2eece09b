"""The step of each row, of logs that are read whole and of logs that grow."""

import json
import math
import re

import numpy as np
import pytest
from runlogs.textchecks import final_rows

from mhcdiag.errors import SettingError
from mhcdiag.runlogs import LineReader, Row
from mhcdiag.runlogs.grammar import Grammar, LineRule
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.steps import StepCount, as_steps, count_steps

NAN, INF = math.nan, math.inf
COUNTING = Grammar(
    name="counting",
    title="a step that may be no number",
    rules=(
        LineRule(mark=re.compile(r"update (?P<step>\S+) loss (?P<loss>\S+)")),
        LineRule(mark=re.compile(r"valid (?P<val_loss>\S+)"), same_step=True),
    ),
)
NOT_FINITE = [NAN, INF, -INF]


def lines(*records: dict[str, float]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def counted(steps: list[float], epochs: list[float] | None = None, totals: list[float] | None = None) -> list[float]:
    """Steps of records, whole and one by one alike."""

    def array(values: list[float] | None) -> np.ndarray | None:
        return None if values is None else np.array(values, dtype=np.float64)

    raw = array(steps)
    assert raw is not None
    found = count_steps(raw, epochs=array(epochs), totals=array(totals), count=StepCount()).tolist()
    one = StepCount()
    nothing = [NAN] * len(steps)
    rows = zip(steps, epochs or nothing, totals or nothing, strict=True)
    assert [one.take(step, epoch=epoch, total=total) for step, epoch, total in rows] == found
    return found


def followed(content: bytes, **options: str) -> list[Row]:
    reader = LineReader(**options)
    return final_rows([*reader.feed(content), *reader.close()])


@pytest.mark.parametrize("strange", NOT_FINITE)
class TestCountersThatAreNotFinite:
    """A run that dies may log NaN for every number: that must not keep its NaN loss from being found."""

    def test_an_epoch_joins_nothing_and_stops_nothing(self, read, strange):
        log = lines(
            {"epoch": 0, "step": 5, "loss": 2.5},
            {"epoch": strange, "step": 6, "loss": 2.5},
            {"epoch": strange, "step": 7, "loss": NAN},
            {"epoch": 1, "step": 1, "loss": 2.25},
            {"epoch": 1, "step": 2, "loss": 2.0},
        )
        table, rows = read(log), followed(log)
        assert (
            ["loss" in row.nan for row in rows] == table.nan_rows["loss"].tolist() == [False, False, True, False, False]
        )
        # The epoch before counts on: followed, from the last step of a known epoch.
        assert [row.step for row in rows] == table.step.tolist() == [5, 6, 7, 6, 7]

    def test_a_step_is_counted_on(self, read, strange):
        log = lines(*({"step": step, "loss": 2 + n / 8} for n, step in enumerate((10, 20, strange, strange, 50, 60))))
        assert [row.step for row in followed(log)] == read(log).step.tolist() == [10, 20, 30, 40, 50, 60]

    def test_the_first_step_is_zero(self, read, strange):
        log = lines(*({"step": step, "loss": 2.5} for step in (strange, 20, 30)))
        assert [row.step for row in followed(log)] == read(log).step.tolist() == [0, 20, 30]

    @pytest.mark.parametrize("count", [1, 2])
    def test_epochs_are_no_steps_then(self, read, strange, count):
        log = lines(*({"epoch": epoch, "loss": 2 + n / 8} for n, epoch in enumerate((3, 4, 5, *[strange] * count))))
        table = read(log)
        assert table.step.tolist() == [row.step for row in followed(log)] == list(range(3 + count))
        assert "no step in the log: the number of the record stands for it" in table.notes

    def test_the_step_that_the_user_names_is_counted_on(self, read, strange):
        log = lines(*({"t": step, "loss": 2.5} for step in (10, 20, strange, 40)))
        assert read(log, step_key="t").step.tolist() == [10, 20, 30, 40]
        assert [row.step for row in followed(log, step_key="t")] == [10, 20, 30, 40]

    def test_a_message_stands_at_the_last_known_step(self, read, strange):
        text = f"@17 2.5\n@{strange} 2.5\nLoss is nan, stopping training\n"
        (event,) = read(text, regex=r"@(?P<step>\S+) (?P<loss>\S+)").scaler_events
        assert event.step == 17

    def test_a_line_without_a_step_belongs_to_the_last_known_one(self, strange):
        parser = COUNTING.parser(Keys())
        assert parser.feed(1, "update 7 loss 2.5").step == 7
        assert not math.isfinite(parser.feed(2, f"update {strange} loss 2.5").step)
        assert parser.feed(3, "valid 2.5").step == 7

    def test_a_planned_number_of_steps_marks_no_phase(self, strange):
        rows = followed(
            lines(
                {"current_steps": 1, "total_steps": 9, "loss": 2.5},
                {"current_steps": 2, "total_steps": strange, "loss": 2.5},
            )
        )
        assert [row.step for row in rows] == [1, 2]
        assert not math.isfinite(rows[1].total_steps)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (" iteration {n}/ 97 | tokens: {t} | lm loss: 2.5E+00 |", "megatron"),
        ("{{'loss': 2.5, 'step': {n}, 'tokens': {t}}}", "hf_stdout"),
        ('{{"current_steps": {n}, "tokens": {t}, "loss": 2.5}}', "llamafactory"),
        ("step {n} loss 2.5 tokens {t}", "generic"),
        ("{n}/97 loss 2.5 tokens {t}", "generic"),
        ('{{"step": {n}, "tokens": {t}, "loss": 2.5}}', "jsonl"),
    ],
)
def test_the_users_step_counts_in_every_format(read, line, name):
    log = "".join(line.format(n=n, t=8 * n) + "\n" for n in range(1, 6))
    table = read(log, step_key="tokens")
    assert (table.format, "tokens" in table.columns) == (name, False)
    assert table.step.tolist() == [8, 16, 24, 32, 40]
    assert [row.step for row in followed(log.encode(), step_key="tokens")] == [8, 16, 24, 32, 40]
    with pytest.raises(SettingError, match="--step-key token: the log has no such field"):
        read(log, step_key="token")


@pytest.mark.parametrize(
    ("steps", "filled"),
    [
        ([NAN, NAN, 5], [0, 1, 5]),
        ([3, NAN], [3, 4]),
        ([3, 5, NAN, NAN, 20], [3, 5, 7, 9, 20]),
        ([9, 5, NAN], [9, 5, 6]),
        ([5, 5, NAN], [5, 5, 6]),
        ([1.5, 1.75, NAN], [1.5, 1.75, 2.75]),
        ([1, 3, INF, -INF], [1, 3, 5, 7]),
    ],
)
def test_a_missing_step_is_counted_on_by_the_last_increase(steps: list[float], filled: list[float]):
    assert counted(steps) == filled


@pytest.mark.parametrize(
    ("steps", "epochs", "joined"),
    [
        ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5]),
        ([1, 2, 3, 1, 2, 3], [1, 1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 6]),
        ([20, 40, 20, 40, 20], [0, 0, 1, 1, 2], [20, 40, 60, 80, 100]),
        ([0, 5, 0, 5, 1, 5], [0, 0, 1, 1, 2, 2], [0, 5, 6, 11, 12, 16]),
        ([5, 3], [0, 1], [5, 8]),
        ([1, 2, 3, 4], [0, 0, 1, 1], None),  # goes on
        ([1, 2, 2, 3], [0, 0, 1, 1], None),  # an equal step begins nothing
        ([1, 2, 1, 2], [0, 0, 0, 0], None),  # a resume within the epoch
        ([1, 2, 1, 2], [1, 1, 0, 0], None),  # a resume from the epoch before
        ([1, 2, 1, 2], [0.5, 1, 1.5, 2], None),  # parts of epochs
        ([1, 2, 1, 2], [NAN, NAN, NAN, 1], None),
        ([1, 2, 9, 1, 2], [0, 0, NAN, 1, 1], [1, 2, 9, 3, 4]),
    ],
)
def test_steps_that_begin_again_with_an_epoch_are_joined(steps, epochs, joined):
    assert counted(steps, epochs) == (steps if joined is None else joined)


@pytest.mark.parametrize(
    ("steps", "epochs", "totals", "joined"),
    [
        ([10, 990, 10], [0, 0, 1], [1000] * 3, [10, 990, 1010]),
        ([10, 990, 10], [0, 0, 3], [1000] * 3, [10, 990, 3010]),  # epochs that are missing have passed all the same
        ([10, 990, 10], [0, 0, 1], [NAN] * 3, [10, 990, 1000]),
        ([10, 990, 10], [0, 0, 1], [900] * 3, [10, 990, 1000]),  # it runs up to something else
        ([1, 2, 1, 2, 1, 2, 1], [0, 0, 1, 1, 0, 0, 1], [2] * 7, [1, 2, 3, 4, 1, 2, 3]),  # a resume from epoch 0
    ],
)
def test_epochs_count_by_what_the_step_runs_up_to(steps, epochs, totals, joined):
    assert counted(steps, epochs, totals) == joined


@pytest.mark.parametrize(
    ("steps", "whole"),
    [
        ([1.0, 2.0], True),
        ([1.0, 2.5], False),
        ([2.0**53 - 1], True),
        ([2.0**53], False),
        ([-(2.0**53)], False),
        ([], True),
    ],
)
def test_whole_steps_are_integers(steps: list[float], whole: bool):
    found = as_steps(np.array(steps))
    assert found.dtype == (np.int64 if whole else np.float64)
    assert found.tolist() == steps


class TestWhichSeriesIsTheStep:
    """By name, by how often it is there, else the epochs, else the number of the record."""

    @pytest.mark.parametrize(
        ("epochs", "steps"),
        [
            ([0, 1, 2], [0, 1, 2]),
            ([3, 5, 9], [3, 5, 9]),
            ([0, 1, 1], [0, 1, 2]),
            ([2, 1, 3], [0, 1, 2]),
            ([0, 0.5, 1], [0, 1, 2]),
            ([7], [0]),
        ],
    )
    def test_whole_epochs_that_rise(self, read, epochs, steps):
        table = read(lines(*({"epoch": epoch, "loss": 2 + n / 8} for n, epoch in enumerate(epochs))))
        assert table.step.tolist() == steps
        assert ("epoch" in table.columns) == (steps != epochs)

    @pytest.mark.parametrize(("times", "counts"), [(2, True), (1, False)])
    def test_in_half_of_the_records_at_least(self, read, times, counts):
        log = lines(*({"loss": 2 + n / 8, **({"step": 10 + n} if n < times else {})} for n in range(4)))
        table = read(log)
        assert table.step.tolist() == ([10, 11, 12, 13] if counts else [0, 1, 2, 3])

    @pytest.mark.parametrize(("missing", "counted"), [(2, True), (3, False)])
    def test_more_than_half_missing_gives_the_number_of_the_record(self, read, missing, counted):
        text = "".join(f"@{10 + n if n >= missing else '#'} 2.{n}\n" for n in range(4))
        table = read(text, regex=r"@(?P<step>\S+) (?P<loss>\S+)")
        if counted:
            assert table.step.tolist() == [0, 1, 12, 13]
            assert "2 records without a step: counted on from the record before" in table.notes
        else:
            assert table.step.tolist() == [0, 1, 2, 3]
            assert "3 of 4 records without a step: the record's number stands for it" in table.notes

    def test_epochs_join_only_what_the_parser_or_another_series_counts(self, read):
        table = read(lines(*({"epoch": e, "step": s, "loss": 2.5} for e, s in [(0, 1), (0, 2), (1, 1), (1, 2)])))
        assert table.step.tolist() == [1, 2, 3, 4]
        assert "the step begins again with every epoch: joined to one count" in table.notes


class TestFollowed:
    """The same while the log grows."""

    @pytest.mark.parametrize(
        ("steps", "epochs", "joined"),
        [
            ([0, 1, 0, 1, 0], [0, 0, 1, 1, 2], [0, 1, 2, 3, 4]),
            ([1, 2, 1, 2, 1], [0, 0, 1, 1, 2], [1, 2, 3, 4, 5]),
            ([1, 2, 2, 3], [0, 0, 1, 1], [1, 2, 2, 3]),
            ([1, 2, 1, 2], [0, 0, 0, 0], [1, 2, 1, 2]),
            ([1, 2, 1, 2], [1, 1, 0, 0], [1, 2, 1, 2]),
            ([3, 4, 1, 2], [0.5, 0.75, 1.25, 1.5], [3, 4, 1, 2]),
        ],
    )
    def test_epochs(self, steps, epochs, joined):
        log = lines(*({"epoch": e, "step": s, "loss": 2.5} for s, e in zip(steps, epochs, strict=True)))
        assert [row.step for row in followed(log)] == joined

    @pytest.mark.parametrize(
        ("steps", "filled"),
        [([3, 5, None, None], [3, 5, 7, 9]), ([9, 5, None], [9, 5, 6]), ([None, None, 4], [0, 1, 2])],
    )
    def test_missing_steps(self, steps, filled):
        log = lines(*({"loss": 2 + n / 8, **({} if s is None else {"step": s})} for n, s in enumerate(steps)))
        assert [row.step for row in followed(log)] == filled
