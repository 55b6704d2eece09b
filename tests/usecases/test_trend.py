"""From captured mappings and logs of known gain to a trend and its verdict."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mhcdiag
from mhcdiag.errors import InputError, LogError, SettingError
from mhcdiag.policies.verdicts import TrendGate, judge_trend
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.results.trend import FP16_LARGEST, Source
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.trend import ASSUMED_RMS, trend

SITES = 3
RATE = 0.002


def run_of_checkpoints(folder: Path, *, steps=range(100, 1500, 200), rate: float = RATE, bent: int = 1) -> str:
    """Mappings whose whole gain is exp(rate * step), all of it from one site, both directions alike."""
    for step in steps:
        maps = torch.eye(2, dtype=torch.float64).repeat(SITES, 5, 1, 1)
        maps[bent] *= math.exp(rate * step)
        save_file(
            {f"layers.{i}.h_res": m.contiguous() for i, m in enumerate(maps)}, folder / f"step_{step}.safetensors"
        )
    return str(folder)


def log_of(path: Path, gains: list[float], **extra: float) -> str:
    rows = [
        {"step": 10 * at, "loss": 3.0, "grad_norm": 1.0, "gain_forward": gain, "gain_backward": 1.0} | extra
        for at, gain in enumerate(gains, 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_checkpoints_give_rate_crossing_and_culprit(tmp_path: Path):
    result = trend([run_of_checkpoints(tmp_path)])
    assert result.source is Source.CHECKPOINTS
    for direction in Direction:
        found = result.trends[direction]
        assert found.growth.rate == pytest.approx(RATE, rel=1e-6)
        crossings = {each.name: each for each in found.crossings}
        assert crossings["1000"].expected == pytest.approx(math.log(1000) / RATE, rel=1e-6)
        assert crossings["3"].passed == 700
        assert crossings["fp16"].limit == FP16_LARGEST
        assert result.drivers[direction][0].site == "0.ffn"
        assert result.drivers[direction][0].share == pytest.approx(1)


def test_a_log_gives_the_same(tmp_path: Path):
    gains = [math.exp(0.05 * 10 * at) for at in range(1, 12)]
    result = trend([log_of(tmp_path / "train.jsonl", gains)])
    assert result.source is Source.LOG
    assert result.trends[Direction.FORWARD].growth.rate == pytest.approx(0.05)
    assert not result.trends[Direction.BACKWARD].growth.grows()


def test_the_overflow_of_fp16_follows_the_logged_size_of_the_streams(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    rows = [
        {"step": 10 * at, "loss": 3.0, "gain_forward": 1.0, "gain_backward": 1.0, "stream_rms": 4.0 * 2.0**at}
        for at in range(1, 9)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    crossing = next(each for each in trend([str(path)]).trends[Direction.FORWARD].crossings if each.name == "fp16")
    assert crossing.limit == FP16_LARGEST
    assert crossing.expected == pytest.approx(10 * math.log2(FP16_LARGEST / 4))


def test_a_size_that_is_given_scales_the_gain_at_which_fp16_ends(tmp_path: Path):
    gains = [math.exp(0.05 * 10 * at) for at in range(1, 8)]
    log = log_of(tmp_path / "train.jsonl", gains, stream_rms=7.0)
    given = trend([log], stream_rms=FP16_LARGEST / 2).trends[Direction.FORWARD].crossings
    assert next(each.limit for each in given if each.name == "fp16") == pytest.approx(2 * gains[-1])
    assert next(each.expected for each in given if each.name == "fp16") == pytest.approx(70 + math.log(2) / 0.05)


def test_a_checkpoint_that_cannot_be_read_is_skipped_aloud(tmp_path: Path):
    run = run_of_checkpoints(tmp_path)
    (tmp_path / "step_300.safetensors").write_bytes(b"broken")
    result = trend([run])
    assert len(result.points) == 6
    assert result.skipped[0].what.endswith("step_300.safetensors")
    assert judge_trend(result, TrendGate()).verdict is Verdict.PASS
    assert judge_trend(result, TrendGate(strict=True)).verdict is Verdict.UNJUDGED


def test_one_readable_checkpoint_is_no_trend(tmp_path: Path):
    run = run_of_checkpoints(tmp_path, steps=(100, 300))
    (tmp_path / "step_300.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"1 checkpoints that can be measured .*broken|1 checkpoints that can"):
        trend([run])


def test_a_log_without_gain_is_told(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f'{{"step": {step}, "loss": 2.5}}\n' for step in range(1, 9)))
    with pytest.raises(LogError, match=r"no gain among its series \(loss\); expected columns like gain_forward"):
        trend([str(path)])


def test_two_logs_are_no_run(tmp_path: Path):
    paths = [log_of(tmp_path / f"{name}.jsonl", [1.0, 2.0, 3.0]) for name in "ab"]
    with pytest.raises(SettingError, match="name one log"):
        trend(paths)


def judged(tmp_path: Path, gains: list[float], **limits) -> Verdict:
    return judge_trend(trend([log_of(tmp_path / "train.jsonl", gains)]), TrendGate(**limits)).verdict


def test_the_gates_judge_level_rate_and_projection(tmp_path: Path):
    gains = [math.exp(0.004 * 10 * at) for at in range(1, 12)]  # 5.77 doublings per 1000 steps; 1000 at step 1727
    assert judged(tmp_path, gains) is Verdict.PASS
    assert judged(tmp_path, gains, max_gain=1.5) is Verdict.FAIL
    assert judged(tmp_path, gains, max_doubling_rate=5.8) is Verdict.PASS
    assert judged(tmp_path, gains, max_doubling_rate=5.7) is Verdict.FAIL
    assert judged(tmp_path, gains, no_crossing_before=1700) is Verdict.PASS
    assert judged(tmp_path, gains, no_crossing_before=1750) is Verdict.FAIL


def test_gates_fail_closed(tmp_path: Path):
    gains = [1.0, 2.0, float("inf"), 3.0, 4.0]
    assert judged(tmp_path, gains, max_gain=1e9) is Verdict.FAIL
    assert judged(tmp_path, gains, max_gain=None, no_crossing_before=100) is Verdict.FAIL


def test_an_earlier_peak_counts(tmp_path: Path):
    assert judged(tmp_path, [1.0, 2000.0, 1.0, 1.0, 1.0]) is Verdict.FAIL


def test_a_log_with_one_direction_is_judged_by_it(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f'{{"step": {at}, "loss": 2.5, "gain_fwd": {1 + at}}}\n' for at in range(1, 9)))
    found = judge_trend(trend([str(path)]), TrendGate(max_doubling_rate=1e6))
    assert found.verdict is Verdict.PASS
    assert {limit.metric.partition(".")[0] for limit in found.limits} == {"forward"}


def grown(folder: Path, *, first: list[float], last: list[float]) -> str:
    """Two checkpoints whose sites multiply by exp of these numbers."""
    for step, logs in ((100, first), (300, last)):
        maps = {f"layers.{i}.h_res": torch.eye(2, dtype=torch.float64).repeat(3, 1, 1) * math.exp(one)
                for i, one in enumerate(logs)}  # fmt: skip
        save_file(maps, folder / f"step_{step}.safetensors")
    return str(folder)


def test_the_drivers_are_the_sites_that_grew_most_with_their_shares(tmp_path: Path):
    first, last = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.9, 0.3, 0.9, 0.8, 0.4]
    shares = [0.1, 0.7, 0.0, 0.5, 0.3, -0.2]
    result = trend([grown(tmp_path, first=first, last=last)])
    names = ("0.attn", "0.ffn", "1.attn", "1.ffn", "2.attn", "2.ffn")
    expected = [(names[site], pytest.approx(shares[site] / 1.4)) for site in (1, 3, 4, 0)]
    for direction in Direction:
        assert [(one.site, one.share) for one in result.drivers[direction]] == expected


@pytest.mark.parametrize(("growth", "count"), [(0.094, 0), (0.096, 2), (-0.5, 0), (0.0, 0)])
def test_nobody_is_to_blame_for_a_growth_below_a_tenth(tmp_path: Path, growth: float, count: int):
    result = trend([grown(tmp_path, first=[0.1, 0.1], last=[0.1, 0.1 + growth])])
    assert math.log(1.1) == pytest.approx(0.0953, abs=1e-4)
    assert {len(result.drivers[direction]) for direction in Direction} == {count}


def test_other_sites_are_not_compared(tmp_path: Path):
    run = grown(tmp_path, first=[0.1, 0.1], last=[0.1, 0.9])
    one_more = {f"layers.{i}.h_res": torch.eye(2).repeat(3, 1, 1) for i in range(3)}
    save_file(one_more, tmp_path / "step_500.safetensors")
    assert {len(found) for found in trend([run]).drivers.values()} == {0}


def test_two_checkpoints_are_a_trend(tmp_path: Path):
    result = trend([grown(tmp_path, first=[0.0, 0.2], last=[0.0, 0.6])])
    found = result.trends[Direction.FORWARD]
    assert found.growth.rate == pytest.approx(0.4 / 200)
    assert (found.newest, found.peak, found.peak_step) == (pytest.approx(math.exp(0.6)), found.newest, 300)


@pytest.mark.parametrize(
    ("gains", "peak", "step"),
    [([2.0, 9.0, 3.0], 9.0, 20), ([9.0, 9.0, 3.0], 9.0, 10), ([2.0, math.inf, 9.0], math.inf, 20)],
)
def test_the_peak_is_the_first_of_the_largest_and_infinity_wins(tmp_path: Path, gains, peak: float, step: float):
    found = trend([log_of(tmp_path / "train.jsonl", gains)]).trends[Direction.FORWARD]
    assert (found.peak, found.peak_step, found.newest) == (peak, step, gains[-1])


def test_the_levels_and_ranges_that_are_projected(tmp_path: Path):
    found = trend([log_of(tmp_path / "train.jsonl", [1.0, 2.0, 4.0, 8.0])]).trends[Direction.FORWARD]
    assert [(one.name, one.limit) for one in found.crossings] == [
        ("3", 3.0), ("30", 30.0), ("1000", 1000.0), ("fp16", 65504.0), ("fp32", 3.4028234663852886e38),
    ]  # fmt: skip


@pytest.mark.parametrize("rms", [0.0, -1.0, math.nan, math.inf])
def test_a_size_that_is_none_is_refused(tmp_path: Path, rms: float):
    log = log_of(tmp_path / "train.jsonl", [1.0, 2.0, 4.0])
    with pytest.raises(SettingError, match=f"stream_rms {rms}: expected a number above 0"):
        trend([log], stream_rms=rms)


def test_without_a_size_the_range_is_the_limit(tmp_path: Path):
    found = trend([log_of(tmp_path / "train.jsonl", [1.0, 2.0, 4.0])]).trends[Direction.FORWARD].crossings
    assert next(one.limit for one in found if one.name == "fp16") == FP16_LARGEST


def test_the_size_of_the_streams_is_the_newest_unless_one_is_given(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    rows = [{"step": 10 * at, "loss": 3.0, "gain_forward": 1.0, "stream_rms": float(at)} for at in range(1, 6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    newest, given = trend([str(path)]), trend([str(path)], stream_rms=7.5)
    assert (newest.stream_rms, given.stream_rms) == (5.0, 7.5)
    assert (newest.notes, given.notes) == ((), ())


def test_a_size_that_nothing_tells_is_assumed_aloud(tmp_path: Path):
    result = trend([log_of(tmp_path / "train.jsonl", [1.0, 2.0, 4.0])])
    assert result.stream_rms is None
    assert result.notes == (ASSUMED_RMS,)


def test_the_log_of_checkpoints_tells_the_size_and_its_events(tmp_path: Path):
    run = run_of_checkpoints(tmp_path)
    path = tmp_path / "train.jsonl"
    rows = [{"step": 10 * at, "loss": 3.0, "stream_rms": float(at)} for at in range(1, 16)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert trend([run]).log is None
    result = trend([run], log=path)
    assert result.log is not None
    assert (result.log.path, result.stream_rms) == (str(path), 15.0)
    assert (result.path, [point.step for point in result.points]) == (run, list(range(100, 1500, 200)))


class TestLikeWithLike:
    """Gains in a log are of real tokens: they win over checkpoints on made-up inputs, and neither is lost."""

    @pytest.fixture(scope="class", name="run")
    @classmethod
    def toy_run(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        from mhcdiag.toy.settings import ToySettings
        from mhcdiag.toy.training import train

        folder = tmp_path_factory.mktemp("toy") / "run"
        train(ToySettings(topology="hc", depth=2, width=16, steps=12, checkpoints=3, context=16, log_every=3), folder)
        return folder

    def test_the_log_wins_over_random_inputs(self, run: Path):
        result = trend([str(run)], log=run / "train.jsonl")
        logged = trend([str(run / "train.jsonl")])
        aligned = trend([str(run)], inputs="aligned")
        assert (result.source, result.inputs, result.is_of_study) == (Source.LOG, "", True)
        assert result.points == logged.points
        assert result.trends[Direction.FORWARD].growth == logged.trends[Direction.FORWARD].growth
        assert (result.beside.source, result.beside.points) == (Source.CHECKPOINTS, aligned.points)
        assert result.beside.measured.endswith("aligned inputs")
        assert any(
            "those of the checkpoints are on aligned inputs and stand beside it" in each for each in result.notes
        )

    def test_checkpoints_on_real_tokens_keep_the_trend(self, run: Path):
        result = trend([str(run)], log=run / "train.jsonl", inputs="text")
        assert (result.source, result.inputs, result.is_of_study) == (Source.CHECKPOINTS, "text", False)
        assert result.measured == "worst composite, norm, token mean, text inputs"
        assert [point.step for point in result.points] == [4, 8, 12]
        assert result.beside.points == trend([str(run / "train.jsonl")]).points
        found = mhcdiag.gain(run / "step_000012.safetensors", inputs="text")
        assert result.points[-1].gain[Direction.FORWARD] == found.worst[Direction.FORWARD, Definition.NORM].value

    def test_a_text_can_be_named(self, run: Path, tmp_path: Path):
        (tmp_path / "page.txt").write_text("import os\n" * 30)
        named, shipped = (trend([str(run)], inputs="text", text=text) for text in (tmp_path / "page.txt", None))
        assert named.points[-1].gain != shipped.points[-1].gain
        with pytest.raises(SettingError, match="needs inputs 'text'"):
            trend([str(run)], text=tmp_path / "page.txt")

    def test_a_log_without_gains_changes_nothing(self, run: Path, tmp_path: Path):
        (tmp_path / "train.jsonl").write_text("".join(f'{{"step": {at}, "loss": 2.5}}\n' for at in range(1, 9)))
        result = trend([str(run)], log=tmp_path / "train.jsonl")
        assert (result.source, result.beside) == (Source.CHECKPOINTS, None)

    def test_one_row_with_a_gain_is_no_trend_of_its_own(self, run: Path, tmp_path: Path):
        rows = "".join(f'{{"step": {at}, "loss": 2.5}}\n' for at in range(1, 9))
        (tmp_path / "train.jsonl").write_text(rows + '{"step": 9, "loss": 2.5, "gain_forward": 3.0}\n')
        result = trend([str(run)], log=tmp_path / "train.jsonl")
        assert (result.source, result.beside) == (Source.CHECKPOINTS, None)
        assert any(note.startswith("gains of the log are left out: ") for note in result.notes)
        assert any("1 rows with a gain" in note for note in result.notes)

    def test_reports_show_both(self, run: Path):
        from mhcdiag.reports.html.trend_page import trend_page
        from mhcdiag.reports.json_documents import trend_json
        from mhcdiag.reports.trend_console import OTHER_MEASURE, worst_risk

        result = trend([str(run)], log=run / "train.jsonl")
        judged_now = judge_trend(result, TrendGate())
        document = json.loads(trend_json(judged_now))
        assert [each["step"] for each in document["beside"]["points"]] == [4, 8, 12]
        assert (document["source"], document["risk"]) == ("log", [])
        assert "Beside it: worst composite, norm, token mean, aligned inputs" in trend_page(judged_now)
        assert "too few" in worst_risk(result)
        assert worst_risk(trend([str(run)])) == OTHER_MEASURE


def test_the_largest_token_is_no_gain_of_the_mean(tmp_path: Path):
    """What `Monitor` writes: the columns of means are taken, whatever comes first."""
    rows = [
        {
            "step": at,
            "gain_forward_max": 50.0 + at,
            "gain_forward": 2.0 + at,
            "gain_backward_max": 9.0,
            "gain_backward": 1,
        }
        for at in range(1, 5)
    ]
    (tmp_path / "gains.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = trend([str(tmp_path / "gains.jsonl")])
    assert [point.gain[Direction.FORWARD] for point in result.points] == [3.0, 4.0, 5.0, 6.0]
    assert result.points[0].source == "gain_forward, gain_backward"


def test_what_monitor_writes_is_a_trend(tmp_path: Path):
    with mhcdiag.Monitor(every=1, jsonl=tmp_path / "gains.jsonl") as monitor:
        for step in range(1, 7):
            monitor.observe("a", torch.eye(2) * 2.0**step, stack="encoder")
            monitor.observe("b", torch.eye(2) * 1.5, stack="decoder")
            monitor.step()
    result = trend([str(tmp_path / "gains.jsonl")])
    assert result.trends[Direction.FORWARD].growth.doubling_steps() == pytest.approx(1.0)
