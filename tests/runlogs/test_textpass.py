"""One pass over lines: records, messages between them, and the end of a log."""

import math

import pytest

from mhcdiag.runlogs.formats.framework_consoles import OLMO
from mhcdiag.runlogs.formats.json_lines import JSONL
from mhcdiag.runlogs.formats.nanogpt_consoles import NANOGPT
from mhcdiag.runlogs.interface import Keys, LogRecord, TextFormat
from mhcdiag.runlogs.lines import Lines
from mhcdiag.runlogs.log_table import ScalerEvent
from mhcdiag.runlogs.textpass import HALF_WRITTEN, TextPass


def passed(whole: list[str], last: list[str], log_format: TextFormat = NANOGPT) -> tuple[list[object], list[str]]:
    """Steps of records, kinds of messages, and the notes."""
    text = TextPass(log_format.parser(Keys()))
    found = list(text.feed(Lines(numbers=range(1, len(whole) + 1), texts=[line.encode() for line in whole])))
    found += text.finish(Lines(numbers=[len(whole) + 1][: len(last)], texts=[line.encode() for line in last]))
    steps = [one.item.step if isinstance(one.item, LogRecord) else one.item.kind for one in found]
    ignored = [at for at, one in enumerate(found) if isinstance(one.item, LogRecord) and one.item.ignored]
    assert ignored == ([len(found) - 1] if HALF_WRITTEN in text.notes else [])
    return [step for at, step in enumerate(steps) if at not in ignored], text.notes


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        (["iter 8: loss 2.5, time 1ms"], True),
        (["iter 8: loss 2.5, time 1ms, mfu 3%"], True),
        (["iter 8: loss 2."], False),
        (["iter 8: loss"], False),
        ([], None),
        (["noise"], None),
    ],
)
def test_a_last_line_with_fewer_fields_is_half_written(last, kept):
    steps, notes = passed(["iter 7: loss 2.5, time 1ms"], last)
    assert steps == ([7, 8] if kept else [7])
    assert notes == ([HALF_WRITTEN] if kept is False else [])


def test_a_nan_is_never_half_a_number():
    assert passed(["iter 7: loss 2.5, time 1ms"], ["iter 8: loss nan"]) == ([7, 8], [])


def test_a_line_that_repeats_the_one_before_is_a_copy():
    text = TextPass(NANOGPT.parser(Keys()))
    lines = [b"iter 7: loss 2.5", b"iter 7: loss 2.5", b"noise", b"noise", b"iter 7: loss 2.5"]
    found = list(text.feed(Lines(numbers=range(1, 6), texts=lines)))
    assert [(one.item.line, one.is_copy) for one in found] == [(1, False), (1, True), (5, False)]


def test_alone_it_has_nothing_to_be_shorter_than():
    assert passed([], ["iter 8: loss 2.5"]) == ([8], [])


@pytest.mark.parametrize(("last", "steps"), [('{"loss": 2, "step": 8', []), ('{"loss": 2, "step": 8} ', [None])])
def test_an_object_that_is_not_closed_is_half_written(last, steps):
    found, notes = passed([], [last], JSONL)
    assert (found, notes) == (steps, [] if steps else [HALF_WRITTEN])


def test_the_open_record_comes_at_the_end_with_its_rank():
    text = TextPass(OLMO.parser(Keys()))
    lines = Lines(numbers=[1, 2], texts=[b"3: [step=1/9]", b"3:     train/CrossEntropyLoss=2.5"])
    assert list(text.feed(lines)) == []
    (found,) = text.finish(Lines(numbers=(), texts=[]))
    assert isinstance(found.item, LogRecord)
    assert found.item.step == 1


def test_messages_know_the_step_and_the_rank():
    text = TextPass(NANOGPT.parser(Keys()))
    lines = [b"Loss is nan, stopping training", b"2: iter 7: loss 2.5", b"", b"5: Loss is nan, stopping training"]
    first, record, second = text.feed(Lines(numbers=[1, 2, 3, 4], texts=lines))
    assert isinstance(first.item, ScalerEvent)
    assert isinstance(second.item, ScalerEvent)
    assert math.isnan(first.item.step)
    assert (first.rank, record.rank) == (None, 2)
    assert (second.item.step, second.item.line, second.rank) == (7, 4, 5)
