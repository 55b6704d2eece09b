"""Series that are watched for NaN only: what was not recorded, what is isolated, what has died."""

import numpy as np
import pytest
from detectors.builders import INF, NAN

from mhcdiag.detectors.other_series import OVERDUE, OtherSeries, Recording
from mhcdiag.results.spikes import EventKind


def feed(series: OtherSeries, values: list[float], *, first: int = 0) -> OtherSeries:
    value = np.array(values)
    at = np.arange(first, first + len(values))
    series.feed(step=10.0 * at, line=at + 1, value=value, bad=~np.isfinite(value))
    return series


def kinds(values: list[float], *, cut: int = 0, ended: bool = True, evaluation: bool = False) -> list[str]:
    series = feed(OtherSeries(evaluation=evaluation), values[:cut])
    feed(series, values[cut:], first=cut)
    if ended:
        series.finish()
    return [str(event.kind) for event in series.events()]


FINE = [1.0] * 9


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize(("count", "kind"), [(1, "isolated_nan"), (2, "isolated_nan"), (3, "nan"), (4, "nan")])
@pytest.mark.parametrize("cut", [0, 9, 10, 11, 12])
def test_three_in_a_row_are_no_accident(count: int, kind: str, bad: float, cut: int) -> None:
    assert kinds([*FINE, *[bad] * count, 1.0], cut=cut) == [kind]


@pytest.mark.parametrize(("ended", "kind"), [(True, "nan"), (False, "isolated_nan")])
def test_a_nan_to_the_end_has_not_come_back(ended: bool, kind: str) -> None:
    assert kinds([*FINE, NAN], ended=ended) == [kind]
    assert kinds([*FINE, NAN, NAN, NAN], ended=ended) == ["nan"]


def test_isolated_ones_stay_apart() -> None:
    assert kinds([*FINE, NAN, 1.0, NAN, 1.0]) == ["isolated_nan"] * 2
    assert kinds(FINE) == []


class TestBlank:
    """NaN in more than half of the rows before the last finite value: not recorded."""

    @pytest.mark.parametrize(
        ("values", "blank"),
        [
            ([1.0, NAN, 1.0], False),
            ([1.0, NAN, NAN, 1.0], False),  # exactly half
            ([1.0, NAN, NAN, NAN, 1.0], True),
            ([NAN, NAN, 1.0], True),
            ([NAN, 1.0], False),
            ([1.0, NAN, NAN, NAN], False),  # after the last finite value nothing counts
            ([NAN, NAN, NAN], False),
        ],
    )
    @pytest.mark.parametrize("cut", range(4))
    def test_the_share(self, values: list[float], blank: bool, cut: int) -> None:
        recording = Recording()
        bad = ~np.isfinite(np.array(values))
        recording.feed(bad[:cut])
        recording.feed(bad[cut:])
        assert recording.blank == blank

    @pytest.mark.parametrize(("after", "died"), [(0, False), (15, False), (16, True)])
    def test_three_of_its_own_intervals(self, after: int, died: bool) -> None:
        assert OVERDUE == 3.0
        evaluated = [1.0, *[NAN] * 4] * 4 + [1.0]
        assert kinds([*evaluated, *[NAN] * after]) == (["nan"] if died else [])

    def test_of_one_finite_value_the_rows_up_to_it_are_the_interval(self) -> None:
        assert kinds([NAN, NAN, 1.0, *[NAN] * 9]) == []
        assert kinds([NAN, NAN, 1.0, *[NAN] * 10]) == ["nan"]

    def test_the_event_begins_behind_the_last_finite_value(self) -> None:
        (event,) = feed(OtherSeries(evaluation=True), [NAN, NAN, 1.0, *[NAN] * 10]).events()
        assert (event.start, event.line, event.points, event.recovered) == (30.0, 4, 10, None)


@pytest.mark.parametrize(("evaluation", "found"), [(True, []), (False, ["nan"])])
def test_what_never_was_finite_is_an_evaluation_that_was_not_made(evaluation: bool, found: list[str]) -> None:
    assert kinds([NAN] * 5, evaluation=evaluation) == found
    series = feed(OtherSeries(evaluation=evaluation), [NAN] * 5)
    assert (series.unrecorded(), series.points) == (evaluation, 5)


def test_every_run_is_judged_alone() -> None:
    series = feed(OtherSeries(evaluation=False), [*FINE, NAN])
    series.new_run()
    feed(series, [*FINE, NAN, 1.0])
    series.new_run()
    feed(series, FINE)
    assert [(event.run, event.kind) for event in series.events()] == [(0, EventKind.NAN), (1, EventKind.ISOLATED_NAN)]


def test_a_resume_ends_a_stretch() -> None:
    series = feed(OtherSeries(evaluation=False), [*FINE, NAN, NAN, NAN])
    series.rewind()
    feed(series, FINE, first=5)
    (event,) = series.events()
    assert (event.kind, event.note) == (EventKind.NAN, "ended by a resume")
