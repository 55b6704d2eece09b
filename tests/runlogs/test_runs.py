import numpy as np
import pytest
from runlogs.tables import NAN, table

from mhcdiag.runlogs import split_runs
from mhcdiag.runlogs.runs import goes_back_to_start

INF = float("inf")


def log(*steps_and_losses: tuple[int, float]) -> str:
    return "".join(f"iter {step}: loss {loss:.4f}, time 1.0ms\n" for step, loss in steps_and_losses)


def plain(first: int, last: int, interval: int = 1, loss: float = 3.0) -> list[tuple[int, float]]:
    return [(step, loss) for step in range(first, last + 1, interval)]


def steps(table, run):
    return table.step[run.rows].tolist()


def test_one_run_is_left_alone(read):
    table = read(log(*plain(0, 96)))
    (run,) = split_runs(table)
    assert run.rows.tolist() == list(range(97))
    assert (run.first_step, run.last_step, run.points, run.notes) == (0, 96, 97, ())
    assert not len(run.replaced)


def test_every_row_is_counted_or_replaced_exactly_once(read):
    table = read(log(*plain(0, 700, 7), *plain(350, 910, 7), *plain(0, 97), *plain(50, 120)))
    runs = split_runs(table)
    rows = np.concatenate([np.concatenate([run.rows, run.replaced]) for run in runs])
    assert sorted(rows.tolist()) == list(range(len(table.step)))


def test_a_resume_replaces_what_it_repeats(read):
    table = read(log(*plain(0, 10_400, 100, loss=3.0), *plain(9_800, 12_000, 100, loss=2.0)))
    (run,) = split_runs(table)
    assert steps(table, run) == list(range(0, 12_001, 100))
    assert table.columns["loss"][run.rows][98] == 2.0
    assert run.notes == ("resumed at 9,800 from 10,400",)
    assert len(run.replaced) == 7


def test_restarts_are_runs_of_their_own(read):
    table = read(log(*plain(1, 1001), *plain(1, 501), *plain(1, 97)))
    runs = split_runs(table)
    assert [(run.first_step, run.last_step, run.points) for run in runs] == [
        (1, 1001, 1001),
        (1, 501, 501),
        (1, 97, 97),
    ]
    assert runs[1].notes == ("a new run begins in line 1,002: step 1 after 1,001",)


def test_a_phase_that_begins_again_is_a_run_of_its_own(read):
    base = "".join(f"step {n:05d}/01009 (0.1%) | loss: 3.5 | lrm: 1.00\n" for n in range(1009))
    tuning = "".join(f"step {n:05d} (0.1%) | loss: 1.5 | lrm: 1.00\n" for n in range(50, 307))
    runs = split_runs(read(base + "Step 01009 | Validation bpb: 0.9\n" + tuning))
    assert [(run.first_step, run.last_step, run.points) for run in runs] == [(0, 1009, 1009), (50, 306, 257)]


def test_interleaved_writers_are_sorted(read):
    mixed = [pair for step in range(1000, 3000, 20) for pair in ((step + 10, 2.5), (step, 2.5), (step + 10, 2.5))]
    table = read(log(*mixed))
    (run,) = split_runs(table)
    assert steps(table, run) == list(range(1000, 3000, 10))
    assert "records of several writers at once: sorted by step" in run.notes
    assert run.points == 200
    assert len(run.replaced) == 100


def test_many_short_runs_are_not_taken_for_interleaved_writers(read):
    assert len(split_runs(read(log(*plain(0, 3) * 13)))) == 13


def test_a_step_that_is_printed_twice_counts_once(read):
    table = read(log(*[pair for pair in plain(0, 96) for _ in range(2)]))
    (run,) = split_runs(table)
    assert run.points == 97
    assert steps(table, run) == list(range(97))


def test_the_lowest_rank_stands_for_its_step(read):
    lines = [
        f"[rank{rank}]:iter {step}: loss {step + rank / 8:.3f}, time 1.0ms\n"
        for step in range(97)
        for rank in (3, 1, 2)
    ]
    table = read("".join(lines))
    (run,) = split_runs(table)
    assert table.rank[run.rows].tolist() == [1] * 97
    assert table.columns["loss"][run.rows].tolist() == [step + 0.125 for step in range(97)]
    assert "lines of 3 ranks: the mean of each step counts, and a NaN on any rank" in run.notes


def test_evaluations_stay_with_their_run(read):
    one = log(*plain(1, 97)) + "step 97: train loss 2.0, val loss 2.5\n"
    two = "step 0: train loss 9.0, val loss 9.5\n" + log(*plain(1, 53))
    table = read(one + two)
    first, second = split_runs(table)
    assert (first.first_step, first.last_step) == (1, 97)
    assert (second.first_step, second.last_step) == (0, 53)
    assert np.nansum(table.columns["eval_loss"][second.rows]) == 9.5


@pytest.mark.parametrize("repeat", [1, 2])
def test_nan_points_belong_to_the_run(read, repeat):
    table = read(("".join(f"iter {n}: loss {'nan' if n > 7 else 2.5}, time 1.0ms\n" for n in range(13))) * repeat)
    runs = split_runs(table)
    assert [run.points for run in runs] == [13] * repeat


def test_the_losses_of_a_step_are_one_point(read):
    lines = [f"iter {step}: loss {loss}, time 1.0ms\n" for step in range(31) for loss in (2.5, 2.75, 2.5, "nan")]
    table = read("".join(lines))
    (run,) = split_runs(table)
    assert run.points == 31
    assert (table.writers.several, table.writers.records) == (True, 4)
    assert "93 records of a step that has another: their mean counts, and a NaN in any" in run.notes


def test_a_log_without_a_loss_keeps_all_its_rows(read):
    table = read("".join(f'{{"step": {n}, "reward": 1}}\n{{"step": {n}, "lr": 2}}\n' for n in range(13)))
    (run,) = split_runs(table)
    assert sorted(run.rows.tolist()) == list(range(26))


RISING = [10.0, 20.0, 30.0, 40.0, 50.0]


def shape(steps: list[float], **options: object) -> list[tuple[float, float, int]]:
    """First step, last step and points of each run."""
    return [(run.first_step, run.last_step, run.points) for run in split_runs(table(steps, **options))]


@pytest.mark.parametrize(
    ("step", "new"), [(0.0, True), (10.0, True), (29.9, True), (30.0, True), (30.1, False), (45.0, False)]
)
def test_two_intervals_from_the_first_step_a_new_run_begins(step: float, new: bool):
    assert goes_back_to_start(step, first=10.0, last=50.0, interval=10.0, total=NAN, total_before=NAN) == new
    assert len(split_runs(table([*RISING, step, step + 10.0]))) == 1 + new


@pytest.mark.parametrize(
    ("total", "before", "step", "new"),
    [
        (NAN, NAN, 500.0, False),
        (NAN, 900.0, 500.0, True),
        (900.0, NAN, 20.0, False),
        (900.0, 900.0, 50.0, False),
        (800.0, 900.0, 50.0, True),
        (800.0, 900.0, 50.1, False),
        (INF, 900.0, 500.0, True),
        (800.0, INF, 50.0, False),
    ],
)
def test_a_plan_that_is_gone_or_changed_near_the_start_is_a_phase(total, before, step, new):
    assert goes_back_to_start(step, first=0.0, last=1000.0, interval=1.0, total=total, total_before=before) == new


def test_the_plan_of_the_rows_decides():
    steps = [*range(100), 50, 51]
    assert len(split_runs(table(steps, total=[100.0] * 102))) == 1
    assert len(split_runs(table(steps, total=[100.0] * 100 + [NAN] * 2))) == 2
    assert len(split_runs(table([*range(100), 4, 5], total=[100.0] * 100 + [90.0] * 2))) == 2
    assert len(split_runs(table([*range(100), 5, 6], total=[100.0] * 100 + [90.0] * 2))) == 1


def test_the_interval_is_that_of_the_last_two_records_of_the_run():
    assert len(split_runs(table([0.0, 100.0, 110.0, 21.0, 31.0]))) == 1
    assert len(split_runs(table([0.0, 100.0, 110.0, 20.0, 30.0]))) == 2
    assert len(split_runs(table([0.0, 10.0, 110.0, 50.0]))) == 2


def test_equal_steps_are_no_move_back():
    (run,) = split_runs(table([10.0, 20.0, 20.0, 30.0], [2.5, 2.5, 2.25, 2.0]))
    assert run.points == 3
    assert run.notes == ("1 records of a step that has another: their mean counts, and a NaN in any",)


def test_a_resume_replaces_rows_from_its_step_on():
    (run,) = split_runs(table([10, 20, 30, 40, 50, 60, 40, 50, 60, 70]))
    assert run.replaced.tolist() == [3, 4, 5]
    assert run.rows.tolist() == [0, 1, 2, 6, 7, 8, 9]
    assert (run.points, run.notes) == (7, ("resumed at 40 from 60",))


def test_a_resume_replaces_nothing_of_the_run_before():
    first, second = split_runs(table([10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60, 45, 55, 65]))
    assert (first.replaced.tolist(), first.points) == ([], 6)
    assert second.replaced.tolist() == [10, 11]
    assert second.notes == ("a new run begins in line 7: step 10 after 60", "resumed at 45 from 60")


def test_steps_that_are_fractions_are_told_as_such():
    (run,) = split_runs(table([1.5, 2.5, 3.5, 4.5, 5.5, 4.25, 5.25]))
    assert run.notes == ("resumed at 4.25 from 5.5",)


@pytest.mark.parametrize(("back", "writers"), [(2, False), (3, True)])
def test_from_a_fifth_of_moves_back_on_several_writers_are_assumed(back: int, writers: bool):
    # Ten moves; each back one is a step of one record behind its neighbour.
    steps = [float(n) for n in range(100, 111)]
    for move in range(back):
        steps[3 * move + 1], steps[3 * move + 2] = steps[3 * move + 2], steps[3 * move + 1]
    runs = split_runs(table(steps))
    assert any("several writers" in note for run in runs for note in run.notes) == writers
    if writers:
        assert (shape(steps), runs[0].rows.tolist()[:3]) == ([(100, 110, 11)], [0, 2, 1])


def test_few_records_are_no_writers():
    steps = [100.0, 102, 101, 104, 103, 106, 105, 108, 107]
    assert not any("several writers" in note for run in split_runs(table(steps)) for note in run.notes)
    assert any("several writers" in note for run in split_runs(table([*steps, 110])) for note in run.notes)


@pytest.mark.parametrize(
    ("steps", "writers"),
    [
        ([0, 5, 0, 5, 3, 7, 4, 8, 6, 9, 10], True),
        ([0, 5, 0, 5, 0, 7, 4, 8, 6, 9, 10], False),
        ([0, 5, 0, 5, 0, 7, 4, 8, 6, 9, 2], True),
    ],
    ids=["1-of-4", "2-of-4", "2-of-5"],
)
def test_half_of_the_moves_back_to_the_first_step_are_restarts(steps: list[float], writers: bool):
    notes = [note for run in split_runs(table(steps)) for note in run.notes]
    assert any("several writers" in note for note in notes) == writers


def test_nan_losses_that_are_printed_twice_count_once():
    (run,) = split_runs(table([1, 2, 2, 3], nan=[1, 2]))
    assert (run.points, run.rows.tolist(), run.replaced.tolist()) == (3, [0, 1, 3], [2])
    assert run.notes == ("1 records of a step that has another: the first counts, and a NaN in any",)


def test_the_first_record_stands_for_its_step():
    (run,) = split_runs(table([1, 2, 2, 2, 3], [2.5, 2.0, 1.5, 2.0, 1.0]))
    assert (run.points, run.replaced.tolist()) == (3, [2, 3])


class TestRanks:
    """Of several writers of one step the lowest rank stands for it."""

    def test_it_counts_where_it_has_the_step(self):
        (run,) = split_runs(table([1, 1, 2, 3, 3], [2.5, 9.0, 8.0, 7.0, 2.0], rank=[0, 1, 1, 1, 0]))
        assert run.rows.tolist() == [0, 2, 4]
        assert run.replaced.tolist() == [1, 3]
        assert run.notes == ("lines of 2 ranks: the mean of each step counts, and a NaN on any rank",)

    def test_one_rank_and_lines_without_one(self):
        (run,) = split_runs(table([1, 1, 2], [2.5, 2.25, 2.0], rank=[-1, 3, 3]))
        assert (run.points, run.rows.tolist()) == (2, [0, 2])
        (run,) = split_runs(table([1, 1, 2], [2.5, 2.25, 2.0], rank=[3, 4, -1]))
        assert run.rows.tolist() == [0, 2]
        assert run.notes == ("lines of 2 ranks: the mean of each step counts, and a NaN on any rank",)


@pytest.mark.parametrize(("between", "bound"), [(96.0, 2), (51.0, 2), (50.0, 2), (49.0, 1), (3.0, 1)])
def test_an_evaluation_between_two_runs_goes_to_the_nearer_step(between: float, bound: int):
    steps = [99.0, 100.0, between, 0.0, 1.0]
    first, second = split_runs(table(steps, [2.5, 2.5, NAN, 2.5, 2.5]))
    assert len(first.rows) == 1 + bound
    assert len(second.rows) == 4 - bound


def test_rows_without_a_loss_are_kept_in_the_order_of_steps():
    (run,) = split_runs(table([3, 1, 2], [2.5, NAN, NAN]))
    assert (run.rows.tolist(), run.points, run.first_step, run.last_step) == ([1, 2, 0], 1, 1, 3)
    assert split_runs(table([], loss=[])) == []


def test_a_table_whose_loss_never_came_is_one_run_without_points():
    (run,) = split_runs(table([3, 1, 2], [NAN, NAN, NAN]))
    assert (run.rows.tolist(), run.points) == ([1, 2, 0], 0)


def test_writers_and_ranks_at_once():
    steps = [float(n) for pair in range(10, 40, 2) for n in (pair + 1, pair, pair)]
    ranks = [rank for _ in range(15) for rank in (0, 0, 1)]
    (run,) = split_runs(table(steps, [2.5 + n / 64 for n in range(45)], rank=ranks))
    assert run.points == 30
    assert run.replaced.tolist() == list(range(2, 45, 3))
