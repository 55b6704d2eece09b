"""The JSON contract and the terminal report."""

import json
import math

import pytest
import torch
from rich.console import Console
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.policies.verdicts import judge_gain
from mhcdiag.reports.console import BLOCKS, log_range, sparkline
from mhcdiag.reports.gain_console import gain_report, verdict_line
from mhcdiag.reports.json_documents import gain_json
from mhcdiag.reports.text import in_bytes
from mhcdiag.results.judged import JudgedGain, Unreadable
from mhcdiag.results.numbers import Huge, number


@pytest.fixture
def judged(tmp_path) -> JudgedGain:
    return judge_gain(mhcdiag.gain(write(tmp_path / "run", deepseek_v4_tensors(), config=CONFIG), tokens=31))


def rendered(*judged: JudgedGain | Unreadable, width: int = 100, details: bool = False) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(gain_report(judged, width=width, details=details))
        for each in judged:
            console.print(verdict_line(each), soft_wrap=True)
    return capture.get()


def strict_json(text: str) -> dict:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_contract(judged: JudgedGain):
    document = strict_json(gain_json([judged]))
    assert {"format_version": 1, "command": "gain", "verdict": "pass"}.items() <= document.items()
    (result,) = document["results"]
    assert {
        "path", "verdict", "layout", "streams", "sites", "tensors", "inputs", "tokens", "span_tokens", "dtype",
        "device", "kernel", "bytes_read", "bytes_total", "assumed", "skipped", "excluded", "limits", "gain",
        "worst", "bound", "evidence", "rests_on", "sites_total", "tied_to", "bound_doubt",
    } <= result.keys()  # fmt: skip
    assert result["sites"] == ["0.attn", "0.ffn", "1.attn", "1.ffn", "2.attn", "2.ffn"]
    assert len(result["tensors"]) == 6
    assert result["limits"][0].keys() == {"metric", "value", "limit", "passed", "evidence", "bound"}
    for kind in ("single", "prefix", "suffix"):
        for direction in ("forward", "backward"):
            for definition in ("amax", "norm"):
                reductions = result["gain"][kind][direction][definition]
                assert list(reductions) == ["mean", "p50", "p99", "max", "of_mean"]
                assert all(len(curve) == 6 for curve in reductions.values())
    assert result["worst"]["forward"]["amax"].keys() == {"value", "from_site", "to_site"}
    keys = {"single", "prefix", "suffix", "worst", "reached", "why", "by_layout"}
    assert result["bound"]["backward"].keys() == keys


def test_the_same_input_gives_the_same_bytes(judged: JudgedGain):
    again = judge_gain(mhcdiag.gain(judged.path, tokens=31))
    assert gain_json([judged]) == gain_json([again])


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (1.5, 1.5),
        (Huge(412.3), {"log10": 412.3}),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (None, None),
    ],
)
def test_numbers_that_json_does_not_know(value: object, as_json: object):
    assert number(value) == as_json


def test_broken_and_huge_mappings_stay_strict_json(tmp_path):
    maps = torch.eye(2, dtype=torch.float64).repeat(122, 3, 1, 1) * 1e40
    huge = judge_gain(mhcdiag.gain(write(tmp_path / "huge", captured_tensors(maps))))
    maps[7, 1, 0, 1] = math.nan
    broken = judge_gain(mhcdiag.gain(write(tmp_path / "broken", captured_tensors(maps))))
    first, second = strict_json(gain_json([huge, broken]))["results"]
    assert first["worst"]["forward"]["norm"]["value"] == {"log10": pytest.approx(4880)}
    assert first["gain"]["prefix"]["forward"]["norm"]["mean"][-1] == {"log10": pytest.approx(4880)}
    assert second["verdict"] == "fail"
    assert second["nonfinite"][0]["tensors"] == ["layers.7.h_res"]
    assert second["gain"]["single"]["forward"]["norm"]["mean"][7] == "nan"


def test_an_unreadable_input_stands_among_the_others(judged: JudgedGain):
    document = strict_json(gain_json([judged, Unreadable(path="x", reason="x: broken")]))
    assert document["verdict"] == "unjudged"
    assert document["results"][1] == {"path": "x", "verdict": "unjudged", "error": "x: broken"}


def test_one_checkpoint_is_shown_in_full(judged: JudgedGain):
    shown = rendered(judged)
    assert "deepseek-v4 (deepseek_v4), 6 sites, 2 streams" in shown
    assert "random: 31 tokens" in shown
    assert "worst composite" in shown
    assert "bound: a property of stochastic matrices" in shown
    assert shown.rstrip().splitlines()[-1].startswith("PASS")
    assert "worst.backward.norm" in shown.rstrip().splitlines()[-1]


def test_several_checkpoints_stand_side_by_side(judged: JudgedGain, tmp_path):
    other = judge_gain(mhcdiag.gain(write(tmp_path / "maps", captured_tensors(torch.rand(2, 3, 2, 2)))))
    shown = rendered(judged, other)
    heading = next(line for line in shown.splitlines() if "run" in line)
    assert "maps" in heading
    assert shown.count("PASS") == 2


def test_a_broken_site_is_named_with_its_tensor(tmp_path):
    tensors = deepseek_v4_tensors()
    tensors["layers.1.hc_ffn_base"][3] = math.nan
    judged = judge_gain(mhcdiag.gain(write(tmp_path, tensors, config=CONFIG)))
    last = rendered(judged, width=200).rstrip().splitlines()[-1]
    assert last.startswith("FAIL")
    assert "site 1.ffn: 1 of 8 values of layers.1.hc_ffn_base are NaN or infinite" in last


def test_brackets_in_names_are_no_markup(tmp_path):
    maps = captured_tensors(torch.rand(2, 3, 2, 2) + 1)
    names = '["[red]a", "[/b]"]'
    judged = judge_gain(mhcdiag.gain(write(tmp_path / "[bold]x", maps, metadata={"sites": names})))
    shown = rendered(judged, width=200)
    assert "[bold]x" in shown
    assert "[red]a to [/b]" in shown


def test_lines_fit_the_terminal(judged: JudgedGain):
    lines = rendered(judged, width=80).splitlines()[:-1]  # the verdict line is never wrapped
    assert max(map(len, lines)) <= 80


def test_sparklines_keep_peaks_and_mark_broken_sites():
    values = [1.0] * 50 + [1000.0] + [1.0] * 49
    low, high = log_range([values])
    line = sparkline(values, width=10, low=low, high=high)
    assert len(line) == 10
    assert line.count(BLOCKS[-1]) == 1
    assert sparkline([1.0, math.nan], width=9, low=low, high=high) == "▁!"
    assert sparkline([0.0, 10.0], width=9, low=0.0, high=1.0) == "▁█"


def test_sizes():
    assert [in_bytes(n) for n in (0, 999, 1000, 135_266_304, 160_000_000_000)] == [
        "0 B", "999 B", "1.0 kB", "135.3 MB", "160.0 GB"
    ]  # fmt: skip
