"""What must hold for every format of text logs: no record lost, no NaN lost, no verdict by chance."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from runlogs.formats.test_shapes import SHAPES
from usecases.written_logs import LOGS, Written, as_json, curve, written

from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.results.spikes import EventKind, LogResult
from mhcdiag.usecases.live_log import LiveLog
from mhcdiag.usecases.log_judging import judge_log
from mhcdiag.usecases.options import LogOptions

COUNT, DEAD = 40, 30
CLEAN = curve(COUNT)
DIES = [*CLEAN[:DEAD], *["nan"] * (COUNT - DEAD)]


def _shape(name: str) -> Written:
    format_, _, _, head, write = SHAPES[name]
    return Written(format=format_, head=head, write=lambda at, loss: write(at - 1, float(loss)))


ALL = {**LOGS, **{name: _shape(name) for name in SHAPES}}
every_format = pytest.mark.parametrize("name", ALL)


def result_of(folder: Path, text: str, name: str = "train.log") -> LogResult:
    path = folder / name
    path.write_text(text)
    return judge_log(str(path), LogOptions())


def verdict(result: LogResult) -> str:
    return str(judge(result, SpikeGate()).verdict)


def counted(result: LogResult) -> int:
    """Records that are accounted for: accepted, merged, unreadable or ignored."""
    accepted = sum(run.points for run in result.runs) + result.replaced_records
    return accepted + result.merged_records + result.unreadable_lines + result.ignored_lines


def facts(result: LogResult) -> str:
    """All that is reported, but for the curves, which are there to be drawn."""
    series = {name: (one.source_name, one.points, one.events) for name, one in result.series.items()}
    numbers = (result.lines, result.loss_lines, result.merged_records, result.unreadable_lines, result.ignored_lines)
    return repr((result.format, numbers, result.doubt, result.runs, sorted(result.notes), series))


def records_of(log: Written, losses: list[str]) -> list[str]:
    return [log.write(at, loss) for at, loss in enumerate(losses, 1)]


@every_format
def test_every_record_is_a_point_and_a_course_without_trouble_passes(tmp_path: Path, name: str) -> None:
    result = result_of(tmp_path, written(ALL[name], CLEAN))
    assert (result.format, verdict(result)) == (ALL[name].format, "pass")
    assert [run.points for run in result.runs] == [COUNT]
    assert counted(result) == result.loss_lines
    assert (result.unreadable_lines, result.ignored_lines, result.doubt) == (0, 0, "")


@every_format
def test_a_nan_in_any_record_never_passes(tmp_path: Path, name: str) -> None:
    for at in (0, random.Random(name).randrange(1, COUNT - 1), COUNT - 1):
        result = result_of(tmp_path, written(ALL[name], [*CLEAN[:at], "nan", *CLEAN[at + 1 :]]))
        assert verdict(result) == "fail", at
        assert counted(result) == result.loss_lines


@every_format
@pytest.mark.parametrize(("losses", "expected"), [(CLEAN, "pass"), (DIES, "fail")], ids=["clean", "dies"])
def test_lines_that_are_repeated_change_no_verdict(tmp_path: Path, name: str, losses: list[str], expected: str) -> None:
    chance = random.Random(name)
    lines = written(ALL[name], losses).splitlines(keepends=True)
    result = result_of(tmp_path, "".join(line * chance.choice([1, 1, 2, 3]) for line in lines))
    assert verdict(result) == expected
    assert sum(run.points for run in result.runs) == COUNT
    assert counted(result) == result.loss_lines


@every_format
@pytest.mark.parametrize("by_line", [True, False], ids=["lines", "records"])
def test_lines_that_are_missing_before_the_event_never_turn_fail_into_pass(
    tmp_path: Path, name: str, by_line: bool
) -> None:
    chance, log = random.Random(name), ALL[name]

    def kept() -> Iterator[str]:
        for at, record in enumerate(records_of(log, DIES)):
            for part in record.splitlines(keepends=True) if by_line else [record]:
                if at >= DEAD or chance.random() > 0.4:
                    yield part

    assert verdict(result_of(tmp_path, log.head + "".join(kept()))) != "pass"


@every_format
def test_followed_at_any_split_it_is_what_it_is_read_whole(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    text = written(ALL[name], DIES)
    data = text.encode()
    live = LiveLog(str(tmp_path / "train.log"), LogOptions())
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice([1, 9])))
    for first, after in zip([0, *cuts], [*cuts, len(data)], strict=True):
        live.feed(data[first:after])
    live.close()
    assert facts(live.result()) == facts(result_of(tmp_path, text))


MESSAGES = (
    "Loss is nan, stopping training",
    "WARNING: The grad norm is nan. Skipping updating the model.",
    "ERROR:tensorflow:Model diverged with loss = NaN.",
    "Batch 5: Invalid loss, terminating training",
    "FloatingPointError: Loss became infinite or NaN at iteration=123!",
    "WARNING: Grad scale is small: 9.5367431640625e-07",
    "Non-finite loss, ending training",
    "RuntimeError: found NaN in local grad norm for bucket #0",
)


@every_format
def test_a_message_that_announces_nan_never_passes(tmp_path: Path, name: str) -> None:
    chance, log = random.Random(name), ALL[name]
    records = records_of(log, CLEAN)
    records.insert(chance.randrange(1, COUNT), chance.choice(MESSAGES) + "\n")
    assert verdict(result_of(tmp_path, log.head + "".join(records))) == "fail"


@pytest.mark.parametrize("name", ["icefall", "ranks without a name", "ranks with a name"])
@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_nan_on_any_rank_never_passes(tmp_path: Path, name: str, rank: int, bad: str) -> None:
    lines = written(LOGS[name], CLEAN).splitlines(keepends=True)
    at = 4 * 20 + rank
    lines[at] = lines[at].replace(CLEAN[20], bad)
    result = result_of(tmp_path, "".join(lines))
    assert verdict(result) == "fail"
    (event,) = [event for event in result.series["loss"].events if event.kind is EventKind.NAN]
    assert (event.points, event.start) == (1, {"icefall": 1050}.get(name, 21))


OTHERS = ("val_loss", "critic/vf_loss", "aux_loss", "actor/grad_norm_max", "grad_norm/layer_3")
WRITERS = {
    "jsonl": lambda at, other, value: f'{{"step": {at}, "loss": {CLEAN[at]}, "{other}": {value}}}\n',
    "generic": lambda at, other, value: f"step {at} - loss: {CLEAN[at]} - {other}: {value}\n",
    "csv": lambda at, other, value: ("" if at else f"step,loss,{other}\n") + f"{at},{CLEAN[at]},{value}\n",
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("bad", "expected"), [((20,), "pass"), ((20, 21, 22), "fail"), ((COUNT - 1,), "fail")], ids=["1", "3", "end"]
)
def test_nan_in_another_series(tmp_path: Path, other: str, writer: str, bad: tuple[int, ...], expected: str) -> None:
    rows = (WRITERS[writer](at, other, "NaN" if at in bad else f"1.{at}") for at in range(COUNT))
    result = result_of(tmp_path, "".join(rows), f"run.{writer}")
    assert verdict(result) == expected
    (found,) = [event for series in result.series.values() for event in series.events]
    assert found.kind is (EventKind.NAN if expected == "fail" else EventKind.ISOLATED_NAN)
    assert found.start == bad[0]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("at", [0, 20, COUNT - 1])
def test_a_nan_in_any_record_of_a_document_never_passes(tmp_path: Path, indent: int | None, at: int) -> None:
    losses = [*CLEAN[:at], "nan", *CLEAN[at + 1 :]]
    state = result_of(tmp_path, as_json(losses, indent=indent), "trainer_state.json")
    assert (state.format, verdict(state), counted(state)) == ("trainer_state", "fail", COUNT)
    records = [{"step": step, "loss": float(loss), "lr": 0.1} for step, loss in enumerate(losses, 1)]
    document = result_of(tmp_path, json.dumps(records, indent=indent), "history.json")
    assert (document.format, verdict(document), counted(document)) == ("json", "fail", COUNT)
