"""The step of each row, of logs that are read whole and of logs that grow."""

import json
import math
import re

import pytest

from mhcdiag.errors import SettingError
from mhcdiag.runlogs import LineReader, Row
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.interface import Keys

NAN, INF = math.nan, math.inf
COUNTING = Grammar(
    name="counting",
    title="a step that may be no number",
    rules=(
        Rule(mark=re.compile(r"update (?P<step>\S+) loss (?P<loss>\S+)")),
        Rule(mark=re.compile(r"valid (?P<val_loss>\S+)"), same_step=True),
    ),
)
NOT_FINITE = [NAN, INF, -INF]


def lines(*records: dict[str, float]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def followed(content: bytes, **options: str) -> list[Row]:
    reader = LineReader(**options)
    return [entry for entry in [*reader.feed(content), *reader.close()] if isinstance(entry, Row)]


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
        log = lines(*({"step": step, "loss": 2.5} for step in (10, 20, strange, strange, 50, 60)))
        assert [row.step for row in followed(log)] == read(log).step.tolist() == [10, 20, 30, 40, 50, 60]

    def test_the_first_step_is_zero(self, read, strange):
        log = lines(*({"step": step, "loss": 2.5} for step in (strange, 20, 30)))
        assert [row.step for row in followed(log)] == read(log).step.tolist() == [0, 20, 30]

    @pytest.mark.parametrize("count", [1, 2])
    def test_epochs_are_no_steps_then(self, read, strange, count):
        log = lines(*({"epoch": epoch, "loss": 2.5} for epoch in (3, 4, 5, *[strange] * count)))
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
    assert table.format == name
    assert table.step.tolist() == [8, 16, 24, 32, 40]
    assert [row.step for row in followed(log.encode(), step_key="tokens")] == [8, 16, 24, 32, 40]
    with pytest.raises(SettingError, match="--step-key token: the log has no such field"):
        read(log, step_key="token")
