"""What stands around an event: lines, states of a progress bar, records."""

import json
from pathlib import Path

import pytest
from runlogs.tables import NAN, table

from mhcdiag.cli.main import run
from mhcdiag.runlogs.context import LONGEST_CONTEXT, context_lines, context_records


def test_the_context_of_a_line_is_as_many_lines_on_either_side(tmp_path: Path):
    path = tmp_path / "run.log"
    path.write_text("".join(f"line {number}\n" for number in range(1, 10)), encoding="utf-8")
    found = context_lines(str(path), [(5, 50.0), (1, 10.0), (9, NAN)], 2)
    assert [[number for number, _ in around] for around in found.values()] == [[3, 4, 5, 6, 7], [1, 2, 3], [7, 8, 9]]
    assert found[5, 50.0][0] == (3, "line 3")
    assert context_lines(str(path), [(4, 0.0)], 0) == {(4, 0.0): [(4, "line 4")]}
    assert context_lines("-", [(4, 0.0)], 2) == {}
    assert context_lines(str(tmp_path / "gone"), [(4, 0.0)], 2) == {}


@pytest.mark.parametrize(("step", "shown"), [(12.0, [11, 12, 13]), (1.0, [1, 2]), (NAN, [19, 20]), (99.0, [19, 20])])
def test_of_a_bar_the_states_around_the_step(tmp_path: Path, step: float, shown: list[int]):
    path = tmp_path / "run.log"
    path.write_text("start\n" + "\r".join(f"{at}/200 [{at:02}:00, loss={at}.12]" for at in range(1, 21)) + "\nend\n")
    (around,) = context_lines(str(path), [(2, step)], 1).values()
    assert [(number, text.partition("/")[0]) for number, text in around] == [(2, str(at)) for at in shown]


def test_records_are_shown_as_they_were_read():
    log = table([10, 20, 30], [2.5, 2.0, 1.5], nan=[1], gnorm=[1.0, NAN, 0.123456789])
    assert context_records(log, [(2, 20.0)], 1) == {
        (2, 20.0): [
            (1, "step 10, gnorm 1, loss 2.5"),
            (2, "step 20, loss nan"),
            (3, "step 30, gnorm 0.123457, loss 1.5"),
        ]
    }
    assert context_records(log, [(1, 10.0)], 0) == {(1, 10.0): [(1, "step 10, gnorm 1, loss 2.5")]}
    assert context_records(log, [(2, 10.0)], 0) == {}
    wide = table([1], **{f"series_{at}": [1.0] for at in range(99)})
    assert len(context_records(wide, [(1, NAN)], 1)[1, NAN][0][1]) == LONGEST_CONTEXT


def test_the_command_shows_records_of_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = {"log_history": [{"step": 10 * at, "loss": float("nan") if at == 7 else 2.5} for at in range(1, 21)]}
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps(state, indent=2))
    assert run(["spikes", str(path), "--context", "1"]) == 1
    out = capsys.readouterr().out
    assert " record " in out
    assert [line.split("|")[1].strip() for line in out.splitlines() if " | step" in line] == [
        "step 60, loss 2.5",
        "step 70, loss nan",
        "step 80, loss 2.5",
    ]
