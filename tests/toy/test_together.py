"""Runs that train at once: the same files as one after another, steps of all of them, errors of any of them."""

import pickle
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mhcdiag.errors import InputError, LayoutError
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.together import PlannedRun, jobs_for, train_together

SETTINGS = [ToySettings(topology=name, depth=2, width=8, steps=6, context=8) for name in ("residual", "hc", "mhc")]


def planned(out: Path, settings: list[ToySettings]) -> list[PlannedRun]:
    """One folder a run, named as the topology."""
    return [PlannedRun(settings=each, folder=out / each.topology, force=False, resume=False) for each in settings]


def test_two_processes_write_what_one_writes(tmp_path: Path):
    alone = train_together(planned(tmp_path / "alone", SETTINGS), jobs=1)
    together = train_together(planned(tmp_path / "together", SETTINGS), jobs=2)
    assert [run.rows for run in together] == [run.rows for run in alone]
    for path in (tmp_path / "alone").rglob("*.safetensors"):
        one, other = load_file(path), load_file(tmp_path / "together" / path.relative_to(tmp_path / "alone"))
        assert one.keys() == other.keys()
        assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_step_is_reported_with_the_place_of_its_run(tmp_path: Path, jobs: int):
    steps: list[tuple[int, int]] = []
    train_together(planned(tmp_path, SETTINGS), jobs=jobs, on_step=lambda place, row: steps.append((place, row.step)))
    assert sorted(steps) == [(place, step) for place in range(3) for step in range(1, 7)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_one_run_is_raised_as_it_was(tmp_path: Path, jobs: int):
    empty = tmp_path / "empty.txt"
    empty.touch()
    bad = ToySettings(topology="mhc", depth=2, width=8, steps=6, context=8, text=str(empty))
    with pytest.raises(InputError, match="it is empty"):
        train_together(planned(tmp_path / "runs", [SETTINGS[0], bad]), jobs=jobs)


def test_input_errors_pass_from_process_to_process():
    error = LayoutError("model.safetensors", found="no mappings", expected="hc", hint="see mhcdiag layouts")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is LayoutError
    assert (str(again), again.path, again.hint) == (str(error), error.path, error.hint)


def test_no_more_jobs_than_runs_and_as_many_as_asked():
    assert jobs_for(SETTINGS, 8) == 3
    assert jobs_for(SETTINGS, 2) == 2
    assert 1 <= jobs_for(SETTINGS, None) <= 3
