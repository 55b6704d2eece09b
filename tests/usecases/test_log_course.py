"""From rows to what watches them: means of steps, ranks that differ, late records, the steps asked for."""

from pathlib import Path

import pytest

from mhcdiag.results.spikes import EventKind, LogResult
from mhcdiag.usecases.live_log import LiveLog
from mhcdiag.usecases.log_judging import judge_log
from mhcdiag.usecases.options import LogOptions

RANKS = 4


def judged(tmp_path: Path, text: str, **options: object) -> LogResult:
    path = tmp_path / "train.log"
    path.write_text(text)
    return judge_log(str(path), LogOptions(**options))  # type: ignore[arg-type]


def ranked(count: int = 30, *, name: str = "[rank{rank}]: ", **others: str) -> str:
    """Lines of four ranks; `others`: the loss at "step_rank"."""
    return "".join(
        name.format(rank=rank) + f"step {step} loss {others.get(f'at_{step}_{rank}', f'{2 + rank / 8}')}\n"
        for step in range(1, count + 1)
        for rank in range(RANKS)
    )


@pytest.mark.parametrize("name", ["[rank{rank}]: ", "{rank}: ", "({rank}/4) ", "rank {rank} ", ""])
def test_a_step_is_the_mean_of_its_records(tmp_path: Path, name: str) -> None:
    text = ranked(name=name) if name else ranked(name="").replace("\n", " x\n")
    result = judged(tmp_path, text)
    assert [run.points for run in result.runs] == [30]
    assert result.merged_records == 90
    curve = result.series["loss"].curve
    assert set(curve.low) == set(curve.high) == {2.1875}


def test_a_rank_that_differs_is_an_event_that_passes(tmp_path: Path) -> None:
    result = judged(tmp_path, ranked(at_10_2="5.5", at_11_2="6.5"))
    (event,) = result.series["loss"].events
    assert (event.kind, event.start, event.end, event.value) == (EventKind.RANK, 10, 11, 6.5)
    assert event.note == "rank 2 differs: above 2 times the median of the ranks"
    assert judged(tmp_path, ranked(at_10_2="5.5"), steps=(11.0, 30.0)).series["loss"].events == ()


def test_a_late_record_counts_only_where_it_is_nan(tmp_path: Path) -> None:
    def buffered(text: str) -> str:
        """The output of rank 3 comes when its buffer is full, every 20 steps."""
        lines = text.splitlines(keepends=True)
        blocks = [lines[first : first + 20 * RANKS] for first in range(0, len(lines), 20 * RANKS)]
        return "".join("".join(sorted(block, key=lambda line: line.startswith("[rank3]"))) for block in blocks)

    healthy = judged(tmp_path, buffered(ranked(60)))
    assert (healthy.series["loss"].events, healthy.merged_records) == ((), 180)
    (event,) = judged(tmp_path, buffered(ranked(60, at_21_3="nan"))).series["loss"].events
    assert (event.kind, event.start, event.points) == (EventKind.NAN, 21, 1)


def test_the_steps_asked_for(tmp_path: Path) -> None:
    text = "".join(f"step {step} loss {'nan' if step == 5 else 2.5}\n" for step in range(1, 41))
    result = judged(tmp_path, text, steps=(6.0, 30.0))
    assert result.series["loss"].events == ()
    assert [(run.first_step, run.last_step, run.points) for run in result.runs] == [(6, 30, 25)]
    nothing = judged(tmp_path, text, steps=(90.0, 99.0))
    assert [run.points for run in nothing.runs] == [0]


def test_a_reader_that_learns_better_starts_again(tmp_path: Path) -> None:
    """Twelve lines show one loss, the next ones the better name: events of the first reading are forgotten."""
    first = "".join(f'{{"step": {n}, "ce_loss": NaN}}\n' for n in range(1, 13))
    text = first + "".join(f'{{"step": {n}, "loss": 2.5, "ce_loss": 1.5}}\n' for n in range(13, 60))
    live = LiveLog("train.log", LogOptions())
    assert [change.event.kind for change in live.feed(first.encode())] == [EventKind.NAN]
    live.feed(text[len(first) :].encode())
    live.close()
    whole = judged(tmp_path, text)
    found = live.result()
    assert found.series["loss"].events == whole.series["loss"].events == ()
    assert found.series["loss"].source_name == "loss"
    assert [event.kind for event in found.series["ce_loss"].events] == [EventKind.NAN]


def test_what_opens_beside_the_main_series_is_told_once(tmp_path: Path) -> None:
    live = LiveLog("train.log", LogOptions())
    told = []
    for step in range(1, 41):
        aux = "NaN" if 20 <= step < 23 else "1.5"
        line = f'{{"step": {step}, "loss": 2.5, "aux_loss": {aux}}}\n'
        told += [(step, change.series, str(change.event.kind)) for change in live.feed(line.encode())]
    told += [(41, change.series, str(change.event.kind)) for change in live.close()]
    assert told == [(20, "aux_loss", "isolated_nan"), (22, "aux_loss", "nan")]
    live = LiveLog("train.log", LogOptions())
    changes = live.feed(ranked(at_20_2="5.5").encode())
    assert [(change.series, str(change.event.kind)) for change in changes] == [("loss", "rank")]
    assert live.close() == []
