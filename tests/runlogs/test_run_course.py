"""The course of a log row by row: what is one point, what comes late, what waits."""

import numpy as np
import pytest

from mhcdiag.runlogs.log_table import Writers
from mhcdiag.runlogs.run_course import OPEN_STEPS, Item, Late, Merged, NewRun, Records, Rewind, RunCourse, Span

NAN = float("nan")


def records(steps: list[float], *, without: tuple[int, ...] = (), ranks: list[int] | None = None) -> Records:
    """Rows at some steps; those at the positions `without` carry no loss."""
    return Records(
        step=np.array(steps, dtype=np.float64),
        line=np.arange(1, len(steps) + 1),
        carries=~np.isin(np.arange(len(steps)), without),
        rank=None if ranks is None else np.array(ranks),
    )


def part(whole: Records, rows: slice) -> Records:
    return Records(
        step=whole.step[rows],
        line=whole.line[rows],
        carries=whole.carries[rows],
        rank=None if whole.rank is None else whole.rank[rows],
    )


def followed(whole: Records, writers: Writers, cut: int = 0) -> tuple[list[Item], RunCourse]:
    course = RunCourse(writers)
    items = [*course.feed(part(whole, slice(None, cut))), *course.feed(part(whole, slice(cut, None))), *course.finish()]
    return items, course


def rows_in_order(items: list[Item]) -> list[object]:
    """Numbers of rows one by one, groups as tuples, and what stands between."""
    found: list[object] = []
    for item in items:
        if isinstance(item, Span):
            found.extend(range(item.first, item.after))
        elif isinstance(item, Merged):
            found.append(item.rows)
        else:
            found.append(item)
    return found


class TestOneRecordPerStep:
    """Rows go on as they come, but for those that only the next loss can place."""

    @pytest.mark.parametrize("cut", range(8))
    def test_resumes_and_runs(self, cut: int):
        items, course = followed(records([10, 20, 30, 40, 50, 40, 50, 10, 20]), Writers(), cut)
        assert rows_in_order(items) == [0, 1, 2, 3, 4, Rewind(40.0), 5, 6, NewRun(), 7, 8]
        assert [(run.points, run.replaced) for run in course.runs] == [(5, 2), (2, 0)]

    @pytest.mark.parametrize("cut", range(6))
    def test_a_row_without_a_loss_that_lies_behind_waits(self, cut: int):
        items, _ = followed(records([90, 100, 1, 99, 0, 1], without=(2, 3)), Writers(), cut)
        assert rows_in_order(items) == [0, 1, NewRun(), 2, 3, 4, 5]
        items, _ = followed(records([90, 100, 1, 110], without=(2,)), Writers(), min(cut, 4))
        assert rows_in_order(items) == [0, 1, 2, 3]
        items, _ = followed(records([90, 100, 1], without=(2,)), Writers(), min(cut, 3))
        assert rows_in_order(items) == [0, 1, 2]

    def test_a_resume_comes_behind_what_waited(self):
        items, _ = followed(records([10, 20, 30, 40, 50, 15, 40], without=(5,)), Writers())
        assert rows_in_order(items) == [0, 1, 2, 3, 4, 5, Rewind(40.0), 6]

    @pytest.mark.parametrize("cut", range(5))
    def test_a_second_record_of_a_step_is_no_point(self, cut: int):
        items, course = followed(records([1, 2, 2, 2, 3]), Writers(), cut)
        assert rows_in_order(items) == [0, 1, 2, 3, 4]
        assert (course.runs[0].points, course.merged) == (3, 2)

    def test_points_are_those_inside_the_steps_asked_for(self):
        course = RunCourse(Writers(), first=2, last=3)
        course.feed(records([1, 2, 3, 4]))
        (run,) = course.runs
        assert (run.points, run.smallest, run.largest) == (2, 2, 3)


class TestSeveral:
    """Ranks without a name, or micro-batches."""

    @pytest.mark.parametrize("cut", range(7))
    def test_a_step_is_one_point_when_the_next_begins(self, cut: int):
        items, course = followed(records([1, 1, 2, 2, 2, 3, 4]), Writers(several=True), cut)
        assert rows_in_order(items) == [(0, 1), (2, 3, 4), (5,), (6,)]
        assert (course.runs[0].points, course.merged) == (4, 3)

    def test_or_at_once_when_it_is_complete(self):
        course = RunCourse(Writers(several=True, records=2))
        assert course.feed(records([1])) == []
        assert course.feed(records([1])) == [Merged((0, 1))]
        assert course.feed(records([1])) == [Late(2)]
        assert course.merged == 2

    def test_resumes_and_runs(self):
        steps = [10, 10, 20, 20, 30, 30, 40, 40, 50, 50, 40, 40, 10, 10]
        for writers in (Writers(several=True), Writers(several=True, records=2)):
            items, course = followed(records(steps), writers)
            assert rows_in_order(items) == [
                (0, 1), (2, 3), (4, 5), (6, 7), (8, 9), Rewind(40.0), (10, 11), NewRun(), (12, 13),
            ]  # fmt: skip
            assert [(run.points, run.replaced) for run in course.runs] == [(4, 2), (1, 0)]

    def test_rows_without_a_loss_go_on_alone(self):
        items, _ = followed(records([1, 1, 1, 2], without=(1,)), Writers(several=True))
        assert rows_in_order(items) == [1, (0, 2), (3,)]


class TestRanks:
    """Each rank has a course of its own, and the steps meet."""

    @pytest.mark.parametrize("cut", range(8))
    def test_lines_of_ranks_in_any_order(self, cut: int):
        whole = records([1, 1, 2, 1, 2, 3, 2, 3], ranks=[0, 1, 0, 2, 1, 0, 2, 1])
        items, _ = followed(whole, Writers(ranks=3), cut)
        assert rows_in_order(items) == [(0, 1, 3), (2, 4, 6), (5, 7)]

    def test_a_rank_that_falls_far_behind_is_late(self):
        steps = [*range(OPEN_STEPS + 2), 0.0]
        items, course = followed(records(steps, ranks=[0] * (OPEN_STEPS + 2) + [1]), Writers(ranks=2))
        assert isinstance(items[2], Late)
        assert items[2].row == OPEN_STEPS + 2
        assert (course.runs[0].points, course.merged) == (OPEN_STEPS + 2, 1)

    def test_a_rank_that_goes_back_itself_resumes(self):
        whole = records([10, 10, 20, 20, 30, 30, 40, 40, 50, 50, 40, 40], ranks=[0, 1] * 6)
        items, course = followed(whole, Writers(ranks=2))
        assert rows_in_order(items)[5:] == [Rewind(40.0), (10, 11)]
        assert len(course.runs) == 1


def test_several_writers_are_sorted_while_they_talk():
    steps = [step for at in range(0, 40, 4) for step in (at + 2, at, at + 3, at + 1)]
    items, course = followed(records(steps), Writers(interleaved=True))
    order = [steps[item.rows[0]] for item in items if isinstance(item, Merged)]
    assert order == sorted(steps)
    assert (course.runs[0].points, len(course.runs)) == (40, 1)
