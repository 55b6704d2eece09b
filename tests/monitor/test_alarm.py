"""When a report is an alarm: at each limit, just beside it, NaN and infinity in every place."""

import logging
import math

import pytest

from mhcdiag.errors import GainAlarmError
from mhcdiag.monitor.alarm import Alarm, AlarmAction
from mhcdiag.results.gain import LiveGains
from mhcdiag.results.numbers import Huge, Number


def report(gain: Number, *, step: int = 200, backward: Number = 1e-6) -> LiveGains:
    return LiveGains(
        step=step, sites=("0.attn",), tokens=3, prefix_forward=(gain,), suffix_backward=(backward,), forward=gain,
        backward=backward, forward_max=gain, backward_max=backward,
    )  # fmt: skip


def above(value: float) -> float:
    return math.nextafter(value, math.inf)


@pytest.mark.parametrize(
    ("gain", "limit", "is_alarm"),
    [
        (30.0, 30.0, False),
        (math.nextafter(30.0, 0), 30.0, False),
        (above(30.0), 30.0, True),
        (math.inf, 30.0, True),
        (math.inf, math.inf, False),
        (Huge(400.0), 1e308, True),
        (math.nan, 30.0, True),
        (math.nan, math.inf, True),
        (math.nan, None, False),
        (1e9, None, False),
        (0.0, 0.0, True),  # the other direction is above
    ],
)
def test_a_gain_is_fine_up_to_its_limit(gain: Number, limit: float | None, is_alarm: bool) -> None:
    reason = Alarm(max_gain=limit).reason(report(gain), None)
    assert (reason is not None) is is_alarm


@pytest.mark.parametrize(("forward", "backward"), [(1.0, 31.0), (31.0, 1.0), (1.0, math.nan), (math.nan, 1.0)])
def test_either_direction_is_an_alarm(forward: float, backward: float) -> None:
    assert Alarm(max_gain=30.0).reason(report(forward, backward=backward), None) is not None
    assert Alarm(max_growth=30.0).reason(report(forward, backward=backward), report(1.0)) is not None


@pytest.mark.parametrize(
    ("before", "now", "factor", "is_alarm"),
    [
        (10.0, 1000.0, 100.0, False),
        (10.0, 1000.001, 100.0, True),
        (1.0, 10.0, 10.0, False),
        (1.0, 9.99, 10.0, False),
        (1.0, 10.01, 10.0, True),
        (10.0, 1.0, 1.0, False),
        (10.0, 4.99, 0.5, False),
        (10.0, 5.01, 0.5, True),
        (10.0, math.nan, 100.0, True),
        (math.nan, 10.0, 100.0, True),
        (math.nan, math.nan, 100.0, True),
        (10.0, math.nan, math.inf, True),
        (10.0, math.inf, 100.0, True),
        (math.inf, math.inf, 100.0, True),
        (math.inf, 10.0, 100.0, False),
        (10.0, Huge(400.0), 100.0, True),
        (Huge(400.0), Huge(402.0), 100.0, False),
        (Huge(400.0), Huge(402.1), 100.0, True),
        (10.0, 1e9, None, False),
        (10.0, math.nan, None, False),
    ],
)
def test_growth_between_two_reports_is_fine_up_to_its_factor_and_nan_never(
    before: Number, now: Number, factor: float | None, is_alarm: bool
) -> None:
    reason = Alarm(max_growth=factor).reason(report(now), report(before, step=100))
    assert (reason is not None) is is_alarm


@pytest.mark.parametrize("gain", [1e9, math.nan, math.inf])
def test_the_first_report_has_not_grown(gain: float) -> None:
    assert Alarm(max_growth=2.0).reason(report(gain), None) is None


def test_the_reason_names_steps_gains_and_limit() -> None:
    alarm = Alarm(max_gain=30.0, max_growth=2.0)
    before = report(1.0, step=100)
    assert alarm.reason(report(31.0), before) == "step 200: composite gain 31.00 above the limit 30.00"
    assert alarm.reason(report(3.0), before) == (
        "step 200: composite gain 3.000 after 1.000 at step 100, more than 2.000 times as much"
    )
    assert alarm.reason(report(2.0), before) is None


def test_each_action_does_its_own(caplog: pytest.LogCaptureFixture) -> None:
    assert Alarm().action is AlarmAction.LOG
    calls: list[tuple[LiveGains, str]] = []
    found = report(31.0)
    with caplog.at_level(logging.WARNING, logger="mhcdiag"):
        Alarm(action=lambda one, why: calls.append((one, why))).raise_alarm(found, "why")
        assert (calls, caplog.messages) == ([(found, "why")], [])
        Alarm(action=AlarmAction.LOG).raise_alarm(found, "100 % more")
        assert (len(calls), caplog.messages) == (1, ["100 % more"])
        with pytest.raises(GainAlarmError, match=r"^why$"):
            Alarm(action=AlarmAction.STOP).raise_alarm(found, "why")
    assert (len(calls), caplog.messages) == (1, ["100 % more"])
