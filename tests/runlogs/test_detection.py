"""The format that reads most of a log is found without reading everything with every format."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.errors import LogError
from mhcdiag.runlogs.detection import best_text_format, record_worth, refuse_prose, sample_lines, score, unknown
from mhcdiag.runlogs.formats import GENERIC, TEXT_FORMATS
from mhcdiag.runlogs.interface import Keys, LogRecord

KEYS = Keys()
LINES = (
    '{"step": 3, "loss": 2.5, "lr": 0.1}',
    '{"step": 3, "eval_loss": 2.5}',
    '{"event": "start"}',
    "step,loss,lr",
    "3,2.5,0.1",
    " iteration 3/ 7 | consumed samples: 1 | lm loss: 2.5E+00 | grad norm: 1.0 |",
    "iter 3: loss 2.5000, time 11.00ms, mfu 1.00%",
    "step 3: train loss 2.5000, val loss 2.7000",
    "{'loss': 2.5, 'grad_norm': 1.0, 'learning_rate': 0.1, 'epoch': 0.3}",
    "step 3 loss 2.5",
    "3 2.5",
    "a warning about nothing",
    "",
)
pieces = st.lists(st.lists(st.sampled_from(LINES), max_size=13), min_size=1, max_size=3)


@given(found=pieces, to_beat=st.integers(-1, 60), data=st.data())
def test_reading_ends_early_only_where_the_score_cannot_be_beaten(found: list[list[str]], to_beat: int, data):
    one = data.draw(st.sampled_from(TEXT_FORMATS))
    whole, early = score(one, found, KEYS), score(one, found, KEYS, to_beat=to_beat)
    assert early == whole if whole > to_beat else early <= to_beat


@given(found=pieces)
def test_the_first_format_with_the_best_score_wins(found: list[list[str]]):
    formats = TEXT_FORMATS[:-1]
    scores = [score(one, found, KEYS) for one in formats]
    choice = best_text_format(formats, GENERIC, [[line.encode() for line in lines] for lines in found], KEYS)
    if choice is None:
        assert max(scores) == 0
    elif choice.format is not GENERIC:
        assert choice.format is formats[scores.index(max(scores))]
        assert choice.score == max(scores)


def test_lines_of_one_format_end_the_others_at_once():
    lines = [LINES[0]] * 997

    class Counting:
        preferred: ClassVar[dict[str, tuple[str, ...]]] = {}
        fed = 0

        def parser(self, keys: Keys) -> "Counting":
            return self

        def feed(self, line: int, text: str) -> None:
            self.fed += 1

        def finish(self) -> None:
            return None

    counting = Counting()
    assert score(counting, [lines], KEYS, to_beat=4 * len(lines)) == 0
    assert counting.fed == 1


@pytest.mark.parametrize(
    ("values", "preferred", "worth"),
    [
        ({}, {}, 0),
        ({"x": 1.0}, {}, 1),
        ({"lr": 1.0}, {}, 1),
        ({"val_loss": 1.0}, {}, 2),
        ({"loss": 1.0}, {}, 4),
        ({"val_loss": 1.0, "loss": 1.0}, {}, 4),
        ({"loss": 1.0}, {"eval_loss": ("loss",)}, 2),
        ({"x": 1.0}, {"loss": ("y", "x")}, 4),
        ({"y": 1.0}, {"loss": ("x",)}, 1),
    ],
)
def test_what_a_record_is_worth(values, preferred, worth):
    assert record_worth(LogRecord(line=1, values=values), preferred) == worth


@pytest.mark.parametrize(
    ("name", "log_format", "refused"),
    [
        ("run.md", GENERIC, True),
        ("RUN.RST", GENERIC, True),
        ("run.md", TEXT_FORMATS[0], False),
        ("run.log", GENERIC, False),
    ],
)
def test_prose_is_what_only_the_general_format_reads(name, log_format, refused):
    if refused:
        with pytest.raises(LogError, match="a document that names losses"):
            refuse_prose(log_format, name)
    else:
        refuse_prose(log_format, name)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", "an empty file"),
        (b"a" * 7 + b"\x00" * 3, "no training records"),
        (b"a" * 6 + b"\x00" * 4, "binary data"),
        (b"a" * 6 + b"\x7f\x80\xff\x08", "binary data"),
        (b"a" * 6 + b"\t\r\x1b~", "no training records"),
        (b"a" * 6 + b"\x0e\x1a\x0e\x1a", "binary data"),
        (b"a" * 6 + b"\x1b" * 4, "no training records"),
        (b"a" * 4096 + b"\x00" * 9000, "no training records"),
    ],
)
def test_why_a_log_cannot_be_read(head, found):
    assert found in str(unknown("run.log", head))


def test_whole_lines_of_pieces():
    assert sample_lines([b"a\nb\nc", b"d\ne\nf\n", b"g"]) == [[b"a", b"b"], [b"e", b"f"], [b"g"]]
    assert sample_lines([b"a"]) == [[b"a"]]


@pytest.mark.parametrize(("general", "chosen"), [(2, "csv"), (3, "generic")])
def test_the_general_format_must_read_twice_as_much(general, chosen):
    lines = [b"step,loss", b"1,2.5", *[b"step 3 loss 2.5"] * general]
    choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, [lines], KEYS)
    assert choice is not None
    assert choice.format.name == chosen


def test_the_lines_of_a_block_without_its_heading_are_anybodys():
    lines = [text for n in range(12) for text in (f"GLOBAL_STEP: {n}", "    train_loss=2.5", "    lr=0.1")]
    choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, [[line.encode() for line in lines]], KEYS)
    assert choice is not None
    assert choice.format is GENERIC
