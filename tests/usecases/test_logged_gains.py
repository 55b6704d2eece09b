"""The gains that a log carries: which columns, which rows, and the size of the streams."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mhcdiag.errors import LogError
from mhcdiag.monitor.sinks import JsonLines
from mhcdiag.results.gain import Direction, LiveGains
from mhcdiag.usecases.log_judging import judge_log
from mhcdiag.usecases.logged_gains import logged_gains
from mhcdiag.usecases.options import LogOptions

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD


def log_of(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_of(count: int = 3, *, first: int = 1, **columns: Any) -> list[dict[str, Any]]:
    """Rows at steps 10, 20, ...; a column is a number for all rows or a list."""
    return [
        {"step": 10 * (first + at), "loss": 2.5}
        | {name: one[at] if isinstance(one, list) else one for name, one in columns.items()}
        for at in range(count)
    ]


@pytest.mark.parametrize(
    ("forward", "backward"),
    [("gain_forward", "gain_backward"), ("fwd_gain", "bwd_gain"), ("mhc/gain_fwd", "mhc/gain_bwd")],
)
def test_columns_whose_names_say_gain_and_a_direction(tmp_path: Path, forward: str, backward: str) -> None:
    found = logged_gains(log_of(tmp_path, rows_of(**{backward: [4.0, 5.0, 6.0], forward: [1.0, 2.0, 3.0]})))
    assert [point.step for point in found.points] == [10, 20, 30]
    assert [(point.gain[FORWARD], point.gain[BACKWARD]) for point in found.points] == [(1, 4), (2, 5), (3, 6)]
    assert {point.source for point in found.points} == {f"{forward}, {backward}"}
    assert (found.sizes, found.notes) == ((), ())


def test_a_direction_that_the_log_lacks_is_nan(tmp_path: Path) -> None:
    (first, *_) = logged_gains(log_of(tmp_path, rows_of(gain_bwd=7.0))).points
    assert math.isnan(first.gain[FORWARD])  # type: ignore[arg-type]
    assert first.gain[BACKWARD] == 7


@pytest.mark.parametrize("name", ["gain", "forward", "gainforward_x", "again_forward", "forwards_gain"])
def test_other_columns_are_no_gain(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogError, match="no gain among its series"):
        logged_gains(log_of(tmp_path, rows_of(**{name: 7.0})))


def test_rows_without_a_gain_are_left_out_and_rows_with_nan_are_not(tmp_path: Path) -> None:
    rows = rows_of(5, gain_forward=[1.0, 2.0, math.nan, 4.0, math.inf])
    del rows[1]["gain_forward"]
    found = logged_gains(log_of(tmp_path, rows)).points
    assert [point.step for point in found] == [10, 30, 40, 50]
    assert math.isnan(found[1].gain[FORWARD])  # type: ignore[arg-type]


def test_either_direction_makes_a_row_count(tmp_path: Path) -> None:
    rows = [*rows_of(2, gain_forward=1.0), *rows_of(2, first=3, gain_backward=1.0)]
    assert [point.step for point in logged_gains(log_of(tmp_path, rows)).points] == [10, 20, 30, 40]


def test_two_rows_are_enough_and_one_is_not(tmp_path: Path) -> None:
    assert len(logged_gains(log_of(tmp_path, rows_of(2, gain_forward=1.0))).points) == 2
    rows = rows_of(4, gain_forward=1.0)
    for row in rows[1:]:
        del row["gain_forward"]
    with pytest.raises(LogError, match="1 rows with a gain; expected two or more for a trend"):
        logged_gains(log_of(tmp_path, rows))


def test_the_last_run_of_a_log_is_judged(tmp_path: Path) -> None:
    rows = [*rows_of(40, gain_forward=9.0, stream_rms=9.0), *rows_of(5, gain_forward=1.0, stream_rms=2.0)]
    found = logged_gains(log_of(tmp_path, rows))
    assert [point.gain[FORWARD] for point in found.points] == [1.0] * 5
    assert found.sizes == tuple((10.0 * at, 2.0) for at in range(1, 6))
    assert found.notes == ("2 runs in the log: the last one is judged",)


def test_sizes_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    rows = rows_of(4, gain_forward=1.0, **{"mhc/stream_rms": [1.0, math.nan, math.inf, 4.0]})
    assert logged_gains(log_of(tmp_path, rows)).sizes == ((10, 1), (40, 4))


def test_the_first_eight_series_are_named_where_none_is_a_gain(tmp_path: Path) -> None:
    columns = {f"metric_{at}": 1.0 for at in range(9)}
    with pytest.raises(LogError, match=r"no gain among its series \(([^)]*)\)") as raised:
        logged_gains(log_of(tmp_path, rows_of(**columns)))
    named = raised.value.found.partition("(")[2].rstrip(")").split(", ")
    assert len(named) == 8
    assert set(named) <= {"loss", *columns}


def test_the_composite_is_judged_and_the_others_are_named(tmp_path: Path) -> None:
    rows = rows_of(
        attn_amax_gain_fwd=1.0,
        attn_composite_amax_gain_fwd_max=[10.0, 20.0, 40.0],
        mlp_composite_amax_gain_fwd_max=[11.0, 19.0, 30.0],
        attn_composite_amax_gain_bwd_max=2.0,
    )
    found = logged_gains(log_of(tmp_path, rows))
    assert [(point.gain[FORWARD], point.gain[BACKWARD]) for point in found.points] == [(11, 2), (20, 2), (40, 2)]
    assert found.points[0].source == (
        "the largest of attn_composite_amax_gain_fwd_max, mlp_composite_amax_gain_fwd_max, "
        "attn_composite_amax_gain_bwd_max"
    )
    (note,) = found.notes
    assert "other gain columns: attn_amax_gain_fwd (--gain-key NAME judges another)" in note


def test_a_key_decides(tmp_path: Path) -> None:
    rows = rows_of(attn_gain_bwd=[5.0, 6.0, 7.0], composite_gain_fwd=9.0, amplification=[2.0, 3.0, 4.0])
    path = log_of(tmp_path, rows)
    (first, *_) = logged_gains(path, ["amplification", "attn_gain_bwd"]).points
    assert (first.gain[FORWARD], first.gain[BACKWARD]) == (2, 5)
    (first, *_) = logged_gains(path, ["attn_gain_bwd"]).points
    assert math.isnan(first.gain[FORWARD])  # type: ignore[arg-type]
    with pytest.raises(LogError, match=r"no series 'gain'; expected one of .*'attn_gain_bwd'"):
        logged_gains(path, ["gain"])


def test_a_larger_gain_that_is_not_judged_is_told(tmp_path: Path) -> None:
    found = logged_gains(log_of(tmp_path, rows_of(composite_gain_fwd=2.0, attn_gain_fwd=[1.0, 900.0, 2.0])))
    assert any("attn_gain_fwd, which is not judged, reaches 900" in note for note in found.notes)
    found = logged_gains(log_of(tmp_path, rows_of(composite_gain_fwd=900.0, attn_gain_fwd=[1.0, 900.0, 2.0])))
    assert not any("not judged" in note for note in found.notes)


def test_a_nan_in_one_of_the_columns_is_no_finite_gain(tmp_path: Path) -> None:
    rows = rows_of(layer_0_gain_fwd=[1.0, math.nan, 1.0], layer_1_gain_fwd=[3.0, 4.0, math.inf])
    found = logged_gains(log_of(tmp_path, rows))
    gains = [point.gain[FORWARD] for point in found.points]
    assert gains[0] == 3
    assert math.isnan(gains[1])  # type: ignore[arg-type]
    assert gains[2] == math.inf
    assert any("only that of single layers (2 columns)" in note for note in found.notes)


def test_a_name_without_a_direction_is_told(tmp_path: Path) -> None:
    found = logged_gains(log_of(tmp_path, rows_of(max_gain=[1.0, 2.0, 3.0])))
    assert [point.gain[FORWARD] for point in found.points] == [1, 2, 3]
    assert found.notes == ("max_gain: the name says no direction, taken for forward",)


def live(step: int, forward: float) -> LiveGains:
    return LiveGains(
        step=step,
        sites=("0.attn", "0.ffn"),
        tokens=64,
        prefix_forward=(1.0, forward),
        suffix_backward=(forward, 1.0),
        forward=forward,
        backward=2.0,
        forward_max=10 * forward,
        backward_max=20.0,
    )


def test_the_reports_of_our_own_monitor(tmp_path: Path) -> None:
    path = tmp_path / "gains.jsonl"
    sink = JsonLines(path)
    for step in range(1, 13):
        sink.write(live(step, math.nan if step == 12 else 1.5 * step))
    found = logged_gains(str(path))
    gains = [point.gain[FORWARD] for point in found.points]
    assert gains[:11] == [1.5 * step for step in range(1, 12)]
    assert math.isnan(gains[11])  # type: ignore[arg-type]
    assert [point.gain[BACKWARD] for point in found.points] == [2.0] * 12
    result = judge_log(str(path), LogOptions())
    assert list(result.series) == ["forward", "backward"]
    assert [(event.kind.value, event.start) for event in result.series["forward"].events] == [("nan", 12)]


def test_the_gains_of_a_log_with_thousands_of_series(tmp_path: Path) -> None:
    # internal_medicine.jsonl of bo-ke/llm-internal-medicine: names in order of the alphabet, no loss.
    cells = {f"gradient_health/layer_{at}/cell": 1.0 for at in range(1100)}
    rows = [
        {"global_step": 5 * at, **cells}
        | {
            "mhc_health/global_attn_amax_gain_fwd": 1.0,
            "mhc_health/global_attn_composite_amax_gain_bwd_max": 3.0,
            "mhc_health/global_attn_composite_amax_gain_fwd_max": 2.0**at,
            "mhc_health/layer_0/attn_composite_amax_gain_fwd_max": 1.0,
        }
        for at in range(4)
    ]
    path = tmp_path / "internal_medicine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = logged_gains(str(path))
    assert [(point.step, point.gain[FORWARD], point.gain[BACKWARD]) for point in found.points] == [
        (0, 1, 3), (5, 2, 3), (10, 4, 3), (15, 8, 3),
    ]  # fmt: skip


def test_of_the_logs_in_a_folder_the_one_with_gains_is_judged(tmp_path: Path) -> None:
    log_of(tmp_path, rows_of())
    (tmp_path / "mhc").mkdir()
    gains = log_of(tmp_path / "mhc", rows_of(gain_fwd=[1.0, 2.0, 3.0]))
    found = logged_gains(str(tmp_path))
    assert [point.gain[FORWARD] for point in found.points] == [1, 2, 3]
    assert found.notes[-1] == f"of 2 logs in the folder, the gains of {gains} are judged"
    (tmp_path / "copy").mkdir()
    log_of(tmp_path / "copy", rows_of(2, gain_fwd=[1.0, 2.0 + 1e-7]))
    assert len(logged_gains(str(tmp_path)).points) == 3
    (tmp_path / "other").mkdir()
    log_of(tmp_path / "other", rows_of(gain_fwd=[1.0, 2.0, 3.1]))
    with pytest.raises(LogError, match="a folder with 3 logs"):
        logged_gains(str(tmp_path))


def test_a_folder_without_gains(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        log_of(tmp_path / name, rows_of())
    with pytest.raises(LogError, match="2 logs without a gain"):
        logged_gains(str(tmp_path))


def test_a_log_of_the_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    log_of(tmp_path, rows_of(gain_fwd=1.0))
    (tmp_path / "slurm.out").write_text("killed\n")
    with pytest.raises(LogError, match=r"slurm\.out: no training records"):
        logged_gains(str(tmp_path))
