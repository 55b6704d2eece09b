"""The format that reads most of a log is found without reading everything with every format."""

from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.runlogs.detection import best_text_format, score
from mhcdiag.runlogs.formats import GENERIC, TEXT_FORMATS
from mhcdiag.runlogs.interface import Keys

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
