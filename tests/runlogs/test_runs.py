import numpy as np
import pytest

from mhcdiag.runlogs import split_runs


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
    assert "300 records of several writers: sorted by step" in run.notes
    assert any("100 records that were printed twice" in note for note in run.notes)


def test_many_short_runs_are_not_taken_for_interleaved_writers(read):
    assert len(split_runs(read(log(*plain(0, 3) * 13)))) == 13


def test_a_step_that_is_printed_twice_counts_once(read):
    table = read(log(*[pair for pair in plain(0, 96) for _ in range(2)]))
    (run,) = split_runs(table)
    assert run.points == 97
    assert steps(table, run) == list(range(97))


def test_the_lowest_rank_counts(read):
    lines = [
        f"[rank{rank}]:iter {step}: loss {step + rank / 8:.3f}, time 1.0ms\n"
        for step in range(97)
        for rank in (3, 1, 2)
    ]
    table = read("".join(lines))
    (run,) = split_runs(table)
    assert table.rank[run.rows].tolist() == [1] * 97
    assert table.columns["loss"][run.rows].tolist() == [step + 0.125 for step in range(97)]
    assert "lines of 3 ranks: rank 1 counts" in run.notes


def test_a_nan_on_a_rank_that_does_not_count_is_told(read):
    lines = [
        f"{rank}: iter {step}: loss {'nan' if rank and step == 13 else 2.5}, time 1.0ms\n"
        for step in range(31)
        for rank in (0, 1)
    ]
    (run,) = split_runs(read("".join(lines)))
    assert any("a rank that does not count logs a NaN loss at step 13" in note for note in run.notes)


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


def test_a_second_loss_of_a_step_is_a_point_of_its_own(read):
    lines = [f"iter {step}: loss {loss}, time 1.0ms\n" for step in range(31) for loss in (2.5, 2.75, 2.5, "nan")]
    table = read("".join(lines))
    (run,) = split_runs(table)
    assert run.points == 93
    assert table.nan_rows["loss"][run.rows].sum() == 31
    assert "31 records that were printed twice: left out" in run.notes
    assert "62 records of a step that has another loss: all count" in run.notes


def test_a_log_without_a_loss_keeps_all_its_rows(read):
    table = read("".join(f'{{"step": {n}, "reward": 1}}\n{{"step": {n}, "lr": 2}}\n' for n in range(13)))
    (run,) = split_runs(table)
    assert sorted(run.rows.tolist()) == list(range(26))
