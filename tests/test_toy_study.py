"""The tables of the toy study are those of its CSV, and its definitions find what was planted."""

import math
from pathlib import Path

import pytest

from mhcdiag.results.toy import StepRow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def rows(losses: list[float]) -> list[StepRow]:
    return [StepRow(step=step, loss=loss, grad_norm=1.0, learning_rate=0.1) for step, loss in enumerate(losses, 1)]


def test_the_readme_holds_the_tables_of_the_csv():
    import toy_study
    import toy_study_tables

    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    block = text.partition("<!-- study -->\n")[2].partition("<!-- /study -->")[0]
    assert block == toy_study_tables.tables(toy_study.read_table())


def test_every_run_of_the_csv_is_planned():
    import toy_study

    planned = {
        (s.topology, s.learning_rate, s.seed, s.stream_dtype, s.qk_norm, s.sinkhorn_iters)
        for _, s in toy_study.planned()
    }
    done = [
        (r.topology, r.learning_rate, r.seed, r.stream_dtype, r.qk_norm, r.sinkhorn_iters)
        for r in toy_study.read_table()
    ]
    assert len(set(done)) == len(done) > 0
    assert set(done) <= planned


@pytest.mark.parametrize(
    ("planted", "step"),
    [
        ({}, None),
        ({50: 9.0}, None),
        ({50: 9.0, 51: 9.0}, None),
        ({50: 4.1, 51: 4.2, 52: 4.3}, 50),
        ({60: math.nan}, 60),
    ],
)
def test_an_event_is_a_rise_that_lasts(planted: dict[int, float], step: int | None):
    from toy_study_events import first_event

    assert first_event(rows([planted.get(at, 3.0) for at in range(1, 101)])) == step


def test_nan_in_the_first_steps_is_an_event():
    from toy_study_events import first_event

    assert first_event(rows([3.0, math.nan])) == 2
