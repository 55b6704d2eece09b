"""Following a log gives what reading it whole gives."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhcdiag.results.spikes import Event, EventKind
from mhcdiag.usecases.live_log import LiveLog
from mhcdiag.usecases.log_judging import judge_log
from mhcdiag.usecases.options import LogOptions

OPTIONS = LogOptions(log_format="jsonl")


def lines(steps: list[int], seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    out = []
    for index, step in enumerate(steps):
        loss = 2.3 + 8 * (1 + step / 53) ** -0.8 + 0.02 * random.standard_normal()
        norm = float(np.exp(-1 + 0.1 * random.standard_normal()))
        if index in range(401, 407):
            loss, norm = loss + 2.0, norm * 9
        if index == 523:
            loss = float("nan")
        out.append(json.dumps({"step": step, "loss": loss, "grad_norm": norm}))
    return ("\n".join(out) + "\n").encode()


PLAIN = lines(list(range(701)))
RESUMED = lines([*range(451), *range(380, 701)])
APPENDED = lines([*range(451), *range(451)])


def whole(data: bytes, folder: Path) -> dict[str, tuple[Event, ...]]:
    path = folder / "log.jsonl"
    path.write_bytes(data)
    return {name: one.events for name, one in judge_log(str(path), OPTIONS).series.items()}


def followed(data: bytes, cuts: list[int]) -> dict[str, tuple[Event, ...]]:
    live = LiveLog("log.jsonl", OPTIONS)
    bounds = [0, *sorted(cuts), len(data)]
    for first, after in pairwise(bounds):
        live.feed(data[first:after])
    live.close()
    return {name: one.events for name, one in live.result().series.items()}


def comparable(events: dict[str, tuple[Event, ...]]) -> str:
    return repr(events)  # NaN differs from itself, its text does not


@pytest.mark.parametrize("data", [PLAIN, RESUMED, APPENDED], ids=["plain", "resumed", "appended"])
def test_line_by_line_is_the_same(data: bytes, tmp_path: Path) -> None:
    cuts = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]
    assert comparable(followed(data, cuts)) == comparable(whole(data, tmp_path))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(RESUMED)), max_size=9))
def test_any_split_of_the_bytes_is_the_same(cuts: list[int]) -> None:
    assert comparable(followed(RESUMED, cuts)) == comparable(followed(RESUMED, []))


def test_the_norm_that_moves_with_the_loss_is_named(tmp_path: Path) -> None:
    found = whole(PLAIN, tmp_path)
    spike = next(event for event in found["loss"] if event.kind is EventKind.SPIKE)
    assert spike.companion is not None
    assert (spike.companion.start, spike.companion.first) == (401.0, "same step")
    assert [event.kind for event in found["loss"]] == [EventKind.SPIKE, EventKind.NAN]
    assert [event.kind for event in found["grad_norm"]] == [EventKind.GRADSPIKE]
