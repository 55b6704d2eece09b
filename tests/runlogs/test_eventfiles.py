"""Event files of one folder: the same run started again, or different runs."""

import pytest
from runlogs.formats.test_tensorboard import VERSION, event, scalar

from mhcdiag.errors import LogError
from mhcdiag.runlogs import iter_logs, read_log


def write(folder, number, steps, *, tag="loss", time=None):
    start = 100.0 * number if time is None else time
    events = [event(step, scalar(tag, 2.5 - step / 4096), time=start + at) for at, step in enumerate(steps)]
    path = folder / f"events.out.tfevents.{number}.host"
    path.write_bytes(VERSION + b"".join(events))
    return str(path)


SECOND = [
    (range(510, 1000, 10), True),  # resumed from a checkpoint
    (range(1000, 1500, 10), True),  # goes on
    (range(1100, 1500, 10), True),  # goes on after a pause
    (range(10, 500, 10), False),  # from scratch
    (range(50, 500, 50), False),  # from scratch, logged less often
    (range(0, 500, 10), False),
    (range(9000, 9500, 10), False),  # far ahead: no part of that run
]


@pytest.mark.parametrize(("steps", "same"), SECOND)
def test_a_run_that_was_started_again_is_one_log_and_another_run_a_log_of_its_own(tmp_path, steps, same):
    files = [write(tmp_path, 1, range(10, 1000, 10)), write(tmp_path, 2, steps)]
    assert iter_logs(str(tmp_path)) == ([str(tmp_path)] if same else files)
    if not same:
        with pytest.raises(LogError, match=r"a folder with 2 logs \(events.out.tfevents.1.host, "):
            read_log(str(tmp_path))


def test_runs_that_were_written_at_the_same_time_are_different(tmp_path):
    files = [write(tmp_path, 1, range(10, 1000, 10)), write(tmp_path, 2, range(510, 1500, 10), time=150.0)]
    assert iter_logs(str(tmp_path)) == files


def test_writers_of_other_series_and_files_without_a_loss_belong_to_the_run(tmp_path):
    write(tmp_path, 1, range(10, 1000, 10))
    write(tmp_path, 2, range(10, 1000, 10), tag="eval/loss", time=100.0)
    write(tmp_path, 3, range(10, 1000, 10), tag="hparam/x")
    (tmp_path / "events.out.tfevents.4.host").write_bytes(b"")
    assert iter_logs(str(tmp_path)) == [str(tmp_path)]
