"""The same run, written twice into one folder, counts once and says so; nothing is hidden by that."""

import json
from pathlib import Path

import numpy as np
import pytest

from mhcdiag.errors import LogError
from mhcdiag.policies.verdicts import SpikeGate
from mhcdiag.results.spikes import JudgedLog
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.check import check
from mhcdiag.usecases.options import LogOptions
from mhcdiag.usecases.same_runs import LossCurve, same_run
from mhcdiag.usecases.spikes import SpikesRequest, judge_logs, spikes

COUNT = 200
NOISE = np.random.default_rng(3).normal(0, 0.02, COUNT)
LOSSES = [4 - 0.01 * at + float(NOISE[at]) for at in range(COUNT)]


def jsonl(path: Path, losses: list[float], **extra: list[float]) -> None:
    rows = [
        {"step": 10 * at, "loss": loss} | {name: values[at] for name, values in extra.items()}
        for at, loss in enumerate(losses)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def console(path: Path, losses: list[float], every: int = 1) -> None:
    lines = [f"step {10 * at} | loss {loss:.4f} | lr 1e-4\n" for at, loss in enumerate(losses) if at % every == 0]
    path.write_text("".join(lines))


def report(folder: Path, *named: Path):
    logs = tuple(map(str, (folder, *named)))
    return judge_logs(SpikesRequest(logs=logs, options=LogOptions(), gate=SpikeGate()))


def results(folder: Path, *named: Path):
    return [log.result for log in report(folder, *named).logs if isinstance(log, JudgedLog)]


@pytest.mark.parametrize("every", [1, 5])
def test_a_console_beside_the_records_counts_once(tmp_path, every):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    console(tmp_path / "train.log", LOSSES, every)
    (found,) = results(tmp_path)
    assert found.path == str(tmp_path / "metrics.jsonl")
    assert found.notes[-1] == (
        f"the same run stands in {tmp_path / 'train.log'} too (equal steps and losses): counted once"
    )


def test_what_the_user_named_is_judged_as_it_is(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    console(tmp_path / "train.log", LOSSES)
    request = SpikesRequest(
        logs=(str(tmp_path / "metrics.jsonl"), str(tmp_path / "train.log")), options=LogOptions(), gate=SpikeGate()
    )
    assert len(judge_logs(request).logs) == 2


def test_of_copies_the_one_that_failed_counts(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    jsonl(tmp_path / "other.jsonl", LOSSES, grad_norm=[1.0] * (COUNT - 20) + [float("nan")] * 20)
    found = report(tmp_path)
    assert found.verdict is Verdict.FAIL
    (log,) = found.logs
    assert isinstance(log, JudgedLog)
    assert log.result.path.endswith("other.jsonl")


def test_a_copy_that_could_not_be_judged_is_told(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    console(tmp_path / "train.log", LOSSES[:100])
    with (tmp_path / "train.log").open("a") as file:
        file.writelines(f"step {at} | loss: ### | lr 1e-4\n" for at in range(1000, 1600, 10))
    assert len(results(tmp_path)) == 2
    assert report(tmp_path).verdict is Verdict.UNJUDGED


def test_different_runs_count_each(tmp_path):
    jsonl(tmp_path / "a.jsonl", LOSSES)
    jsonl(tmp_path / "b.jsonl", [loss + 0.01 for loss in LOSSES])
    jsonl(tmp_path / "c.jsonl", [*LOSSES[:-3], *[float("nan")] * 3])
    assert len(results(tmp_path)) == 3
    assert report(tmp_path).verdict is Verdict.FAIL


def test_a_check_counts_once_too(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    console(tmp_path / "train.log", LOSSES)
    (one,) = check(tmp_path).inputs
    assert one.result is not None
    assert "counted once" in one.result.notes[-1]
    assert len(check([tmp_path / "metrics.jsonl", tmp_path / "train.log"]).inputs) == 2


def test_a_log_that_cannot_be_read_makes_the_folder_unjudged(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    (tmp_path / "README.md").write_text("step 1 loss 2.5\n")
    (tmp_path / "config.json").write_text('{"loss": "mse"}')
    assert report(tmp_path).verdict is Verdict.PASS
    (tmp_path / "broken.csv").write_text("step,loss\n1,#\n2,#\n")
    found = report(tmp_path)
    assert found.verdict is Verdict.UNJUDGED
    assert {Path(log.result.path if isinstance(log, JudgedLog) else log.path).name for log in found.logs} == {
        "broken.csv",
        "metrics.jsonl",
    }


def curve(step, loss, decimals=4):
    return LossCurve(step=np.array(step, dtype=float), loss=np.array(loss, dtype=float), decimals=decimals)


STEPS, LOSS = np.arange(20.0), np.round(4 - np.arange(20) / 7, 4)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (curve(STEPS, LOSS), True),
        (curve(STEPS, LOSS + 0.00004), True),
        (curve(STEPS, LOSS + 0.0002), False),
        (curve(STEPS, np.round(LOSS, 2), decimals=2), True),
        (curve(STEPS, np.round(LOSS, 1), decimals=1), False),
        (curve(STEPS + 1, LOSS), False),
        (curve(STEPS[:10], LOSS[:10]), True),
        (curve(STEPS[:9], LOSS[:9]), False),
        (curve(STEPS[::2], LOSS[::2]), True),
        (curve([*STEPS[:15], 100, 101, 102], [*LOSS[:15], 1, 1, 1]), False),
        (curve(STEPS, [*LOSS[:19], np.nan]), False),
        (curve(STEPS, [2.5] * 20), False),
    ],
)
def test_when_two_curves_are_the_same_run(other, same):
    assert same_run(curve(STEPS, LOSS), other) == same
    assert same_run(other, curve(STEPS, LOSS)) == same


def test_nan_at_the_same_steps_and_a_loss_that_never_changes():
    died = curve(STEPS, [*LOSS[:15], *[np.nan] * 5])
    assert same_run(died, died)
    flat = curve(STEPS, [2.5] * 20)
    assert not same_run(flat, flat)


def test_the_folder_of_one_run_is_one_log(tmp_path):
    jsonl(tmp_path / "metrics.jsonl", LOSSES)
    console(tmp_path / "train.log", LOSSES)
    found = spikes(tmp_path)
    assert found.path == str(tmp_path / "metrics.jsonl")
    assert "counted once" in found.notes[-1]
    jsonl(tmp_path / "b.jsonl", [loss + 1 for loss in LOSSES])
    with pytest.raises(LogError, match=r"a folder with 2 logs \(b.jsonl, metrics.jsonl\)"):
        spikes(tmp_path)
