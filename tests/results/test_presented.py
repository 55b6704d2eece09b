"""Records show themselves in a few lines, in notebooks as the terminal's report, and as the command's figure."""

import html
import math
import pkgutil
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest
from matplotlib.figure import Figure

import mhcdiag
import mhcdiag.results
from mhcdiag.cli.main import run
from mhcdiag.results.check import CheckReport
from mhcdiag.results.documents.check import check_of
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.numbers import Huge
from mhcdiag.results.presented import Brief, Presented
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.toy import ToyRun
from mhcdiag.results.trend import TrendResult
from mhcdiag.usecases.check import CheckpointReader, find_inputs, make_plan, run_check
from mhcdiag.usecases.cost import Sizes, cost_of
from mhcdiag.usecases.options import CheckOptions
from mhcdiag.usecases.spikes import LogOptions, spikes
from mhcdiag.usecases.trend import trend

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
MODULES = [
    import_module(f"mhcdiag.results.{module.name}")
    for module in pkgutil.iter_modules(mhcdiag.results.__path__)
    if not module.ispkg
]
RECORDS = [
    one
    for module in MODULES
    for one in vars(module).values()
    if isinstance(one, type) and is_dataclass(one) and one.__module__ == module.__name__
]


def grows(hint: Any) -> bool:
    """Whether a field may hold any number of things."""
    return any(
        one in (tuple, dict, Mapping) for one in (get_origin(hint), *map(get_origin, getattr(hint, "__args__", ())))
    )


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: one.__name__)
def test_every_record_that_may_grow_is_brief(record: type) -> None:
    names = {name: value for module in MODULES for name, value in vars(module).items()}
    hints = get_type_hints(record, localns={"pandas": Any, **names})
    if any(grows(hints[field.name]) for field in fields(record)):
        assert record.__repr__ is Brief.__repr__, f"{record.__module__}: {record.__name__} needs Brief and repr=False"


@pytest.fixture(scope="module")
def made() -> dict[type, Any]:
    """One record of each kind that a user gets."""
    path = str(SAMPLES / "hc.safetensors")
    logs = LogOptions()
    options = CheckOptions(paths=(path, str(SAMPLES / "logs" / "diverged.log"), "none.jsonl"))
    reader = CheckpointReader(measure=lambda one: mhcdiag.gain(one, tokens=3), examine=mhcdiag.health)
    report = run_check(make_plan(options, find_inputs(options), logs=logs, checkpoints=reader))
    found = (
        mhcdiag.gain(path, tokens=3),
        mhcdiag.gain(SAMPLES / "mhc.safetensors", tokens=3),
        mhcdiag.health(path),
        mhcdiag.inspect(path),
        spikes(str(SAMPLES / "logs" / "diverged.log")),
        trend([SAMPLES / "runs" / "hc"], inputs="static"),
        report,
    )
    return {type(one): one for one in found}


def within(record: object) -> list[object]:
    """The record with all records in it."""
    inner: list[object] = []
    if is_dataclass(record):
        inner = [getattr(record, field.name) for field in fields(record)]
    elif isinstance(record, Mapping):
        inner = list(record.values())
    elif isinstance(record, tuple):
        inner = list(record[:3])
    return [record, *(one for each in inner for one in within(each))]


def test_every_record_is_shown_in_at_most_twenty_lines(made: dict[type, Any]) -> None:
    shown = {type(one): repr(one) for each in made.values() for one in within(each) if isinstance(one, Brief)}
    assert {GainResult, HealthResult, LogResult, TrendResult, CheckReport} < set(shown)
    for kind, text in shown.items():
        assert len(text.splitlines()) <= 20, kind
        assert max(map(len, text.splitlines())) <= 200, kind
        assert text.startswith(f"<{kind.__name__}")
        assert text.endswith(">")
        for field in fields(kind):
            assert f"{field.name}=" in text, kind


def test_the_headline_says_what_a_reader_wants_first(made: dict[type, Any]) -> None:
    first = {kind.__name__: repr(one).splitlines()[0] for kind, one in made.items()}
    assert re.fullmatch(r"<GainResult: worst gain forward [\d.]+, backward [\d.]+", first["GainResult"])
    assert first["HealthResult"] == "<HealthResult: 15 checks: 2 fail"
    assert first["LogResult"] == "<LogResult: 1,500 lines: 2 nan, 1 divergence, 1 gradspike"
    assert re.match(
        r"<TrendResult: \d+ points, largest gain forward [\de.]+ at step \d+, backward", first["TrendResult"]
    )
    assert re.match(r"<CheckReport: fail, exit code 1; gates: \d+ pass, \d+ fail", first["CheckReport"])
    assert first["Inspection"] == "<Inspection"


@dataclass(frozen=True, kw_only=True, repr=False)
class Sample(Brief):
    """A record of our own."""

    value: Any


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.23456789, "1.23457"), (math.nan, "nan"), (Huge(4880.5), "3.162e4880"), (None, "None"), (7, "7"), ((), "()"),
        ((1,), "(1,)"), ((1.5, 2.0), "(1.5, 2)"), (("a",) * 5, "<5: 'a' ... 'a'>"), (((1, 2),) * 5, "<5>"), ({}, "{}"),
        ({"a": 1.0}, "{a: 1}"), ({("a", "b"): 1}, "{a.b: 1}"), ({str(i): i for i in range(5)}, "<5: 0 ... 4>"),
        ("x" * 61, "'" + "x" * 57 + "...'"), ("x" * 60, "'" + "x" * 60 + "'"), (("x" * 59,), "<1>"),
        (Sample(value=1), "<Sample>"),
    ],
)  # fmt: skip
def test_a_field_is_shown_whole_or_by_size_and_ends(value: object, shown: str) -> None:
    assert repr(Sample(value=value)) == f"<Sample\n  value={shown}>"


def test_no_record_is_longer_than_twenty_lines() -> None:
    many = {f"field_{i}": ("y" * 50) for i in range(60)}
    made_up = dataclass(frozen=True, repr=False)(type("Many", (Brief,), {"__annotations__": dict.fromkeys(many, str)}))
    lines = repr(made_up(**many)).splitlines()
    assert len(lines) == 19
    assert lines[-1] == "  ...>"


def test_plain_text_of_the_html_is_the_terminals(made: dict[type, Any], capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    cases: dict[type, list[str]] = {
        HealthResult: ["health", str(SAMPLES / "hc.safetensors")],
        LogResult: ["spikes", str(SAMPLES / "logs" / "diverged.log")],
        TrendResult: ["trend", str(SAMPLES / "runs" / "hc"), "--inputs", "static"],
        GainResult: ["gain", str(SAMPLES / "mhc.safetensors"), "--tokens", "3"],
    }
    for kind, command in cases.items():
        run(command)
        printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        text = html.unescape(re.sub(r"<[^>]*>", "", made[kind]._repr_html_()))
        shown = [line.rstrip() for line in text.splitlines() if line.strip()]
        assert len(shown) > 5
        # The terminal adds the verdict, which the record does not hold.
        assert shown == [line for line in printed if line][: len(shown)], kind


def test_a_check_shows_its_gates_and_what_decided(made: dict[type, Any]) -> None:
    text = html.unescape(re.sub(r"<[^>]*>", "", made[CheckReport]._repr_html_()))
    assert "backward gain" in text
    assert "decided by forward gain" in text
    assert "exit code 1" in text


def test_the_html_loads_nothing_and_says_what_files_say_as_text(made: dict[type, Any]) -> None:
    for record in made.values():
        if isinstance(record, Presented):
            page = record._repr_html_()
            assert page.startswith("<pre style=")
            assert re.search(r"<script|<link|<img|src=|href=|url\(", page) is None
    report = made[CheckReport]
    again = check_of({**_document(report), "policy": "<script>alert(1)</script>"})
    assert "<script" not in again._repr_html_()


def _document(report: CheckReport) -> dict[str, Any]:
    from mhcdiag.results.documents.check import check_document

    return check_document(report)


def test_what_can_be_drawn_is(made: dict[type, Any]) -> None:
    assert isinstance(made[LogResult].plot(log_scale=True), Figure)
    assert isinstance(made[TrendResult].plot(), Figure)
    plain, more = made[GainResult].plot(), made[GainResult].plot(heatmap=True)
    assert more.get_size_inches()[1] > plain.get_size_inches()[1]
    assert not hasattr(made[HealthResult], "plot")


def test_a_record_that_nothing_presents_says_so() -> None:
    from mhcdiag.reports.notebook import figure_of, html_of

    record = ToyRun(path="", topology="hc", seed=0, rows=(), nan_step=None, seconds=0.0)
    with pytest.raises(TypeError, match="no report of a ToyRun"):
        html_of(record)
    with pytest.raises(TypeError, match="no figure of a ToyRun"):
        figure_of(record)


def test_costs_are_brief() -> None:
    shown = repr(cost_of(Sizes(width=7168, streams=4, blocks=61, dtype="bf16"), model="a preset"))
    assert shown.startswith("<CostResult\n  model='a preset', width=7168")
    assert len(shown.splitlines()) <= 20


def test_records_load_neither_rich_nor_matplotlib() -> None:
    names = ", ".join(module.__name__ for module in MODULES)
    code = (
        f"import sys, {names}; print(sorted({{'rich', 'matplotlib', 'numpy', 'pandas', 'torch'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
