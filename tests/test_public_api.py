"""What `import mhcdiag` offers: functions that are the commands, whatever else was imported before them."""

import importlib
import inspect
import json
import math
import subprocess
import sys
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
from trainlogs import healthy, spiky, write_jsonl

import mhcdiag
from mhcdiag.cli.main import app
from mhcdiag.errors import SettingError
from mhcdiag.usecases.options import GainOptions, LogOptions, WeightsOptions

SAMPLE = str(Path(__file__).parents[1] / "sample_checkpoints" / "mhc.safetensors")
FUNCTIONS = (
    "gain",
    "health",
    "weights",
    "inspect",
    "conformance",
    "capture",
    "spikes",
    "follow",
    "trend",
    "check",
    "cost",
)

IMPORT_ALL = """
import json, pkgutil, sys
from importlib import import_module
import mhcdiag

EXTRAS = {"gguf", "fsspec", "lightning", "numba", "tensorboard", "transformers", "triton", "wandb", "zstandard"}
missing = {}
names = [found.name for found in pkgutil.walk_packages(mhcdiag.__path__, "mhcdiag.")]
names.remove("mhcdiag.__main__")
for name in names:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in EXTRAS:
            raise
        missing[name] = error.name
kinds = {name: type(getattr(mhcdiag, name)).__name__ for name in mhcdiag.__all__}
print(json.dumps([len(names), missing, kinds]))
"""


@pytest.fixture(scope="module")
def after_all_imports() -> tuple[int, dict[str, str], dict[str, str]]:
    """Modules imported, those whose extra is missing, and what each public name is afterwards."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def test_no_submodule_shadows_a_public_name(after_all_imports) -> None:
    count, missing, kinds = after_all_imports
    assert count > 250
    assert len(missing) < 10, missing
    assert {name for name, kind in kinds.items() if kind == "function"} >= set(FUNCTIONS)
    others = {name for name, kind in kinds.items() if kind not in ("function", "type", "ABCMeta")}
    assert others == {"__version__"}


def test_dir_offers_what_is_public_and_was_not_used_yet() -> None:
    code = "import mhcdiag, sys; print(*dir(mhcdiag)); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(mhcdiag.__all__)
    assert set(FUNCTIONS) < set(mhcdiag.__all__)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'mhcdiag' has no attribute 'nonsense'"):
        mhcdiag.nonsense  # noqa: B018


# The command line and the functions take the same options

PRINTED = {
    "gain": {"scan", "max_gain", "gate_on", "require", "strict", "as_json", "plot", "heatmap", "verbose", "quiet"},
    "health": {"scan", "fail_on", "strict", "as_json", "verbose", "quiet"},
    "weights": {"fail_on", "strict", "as_json", "as_csv", "verbose", "quiet"},
    "inspect": {"as_json", "verbose"},
    "capture": set(),
    "spikes": {
        "list_series", "fail_on", "max_spikes", "max_spike_score", "follow", "on_fail", "idle_timeout", "as_json",
        "as_csv", "plot", "log_scale", "context", "against", "advice", "quiet",
    },
    "trend": {"max_gain", "max_doubling_rate", "no_crossing_before", "strict", "as_json", "plot", "html", "quiet"},
    "check": {
        "init", "update_baseline", "exit_zero", "form", "as_json", "outputs", "verbose", "quiet",
    },
    "cost": {"as_json"},
}  # fmt: skip
"""Options of the command alone: gates, and what is printed or written."""

ONLY_IN_PYTHON = {
    ("gain", "ranks"),  # `mhcdiag gain` joins the ranks itself
    ("trend", "ranks"),
    ("check", "policy"),  # `--config` of the command, which also looks for a file that is not named
    ("capture", "tokenizer"),  # of a model that is loaded already
    ("capture", "run"),
}
RENAMED = {
    ("health", "thresholds"): "threshold",
    ("trend", "gain_keys"): "gain_key",
}  # one per option, all of them in the function
OTHER_DEFAULTS = {("capture", "device"): (None, "cpu")}  # a loaded model stays where it is


def options_of(command: str) -> dict[str, Any]:
    """Options of a command with their defaults."""
    root = typer.main.get_command(app)
    found = root.get_command(None, command)
    return {
        one.name: None if one.required else one.default
        for one in found.params
        if one.name not in ("help", "_isolated", "_config") and one.param_type_name == "option"
    }


def keywords_of(name: str) -> dict[str, Any]:
    """Parameters of a function with their defaults, but for the first: what it reads."""
    found = list(inspect.signature(getattr(mhcdiag, name)).parameters.values())[1:]
    return {one.name: None if one.default is one.empty else one.default for one in found}


def plain(value: Any) -> Any:
    """A default as both sides write it."""
    if isinstance(value, StrEnum):
        return str(value)
    return None if value in ((), []) else value


@pytest.mark.parametrize("name", PRINTED)
def test_a_function_takes_the_options_of_its_command(name: str) -> None:
    options, keywords = options_of(name), keywords_of(name)
    taken = {RENAMED.get((name, one), one): one for one in keywords if (name, one) not in ONLY_IN_PYTHON}
    assert set(taken) == set(options) - PRINTED[name]
    for option, keyword in taken.items():
        defaults = plain(keywords[keyword]), plain(options[option])
        expected = OTHER_DEFAULTS.get((name, keyword))
        assert defaults == expected if expected else defaults[0] == defaults[1], keyword


@pytest.mark.parametrize(("record", "name"), [(GainOptions, "gain"), (LogOptions, "spikes")])
def test_a_record_of_options_is_the_keywords_of_its_function(record: type, name: str) -> None:
    mine = {field.name: field.default for field in fields(record)}
    assert mine == {key: value for key, value in keywords_of(name).items() if key != "ranks"}


def test_a_record_of_options_holds_what_is_common_to_all_scans_of_weights() -> None:
    mine = {field.name: field.default for field in fields(WeightsOptions)}
    assert mine == {key: value for key, value in keywords_of("weights").items() if key != "key"}


def test_following_takes_what_reading_takes() -> None:
    follow, spikes = keywords_of("follow"), keywords_of("spikes")
    assert {name: follow[name] for name in spikes} == spikes
    assert set(follow) - set(spikes) == {"idle_timeout", "stopped"}
    assert "idle_timeout" in options_of("spikes")


def test_the_default_rule_has_one_name() -> None:
    from mhcdiag.detectors import OURS

    assert LogOptions().rule == OURS


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gain", {"orientation": "rows"}, "orientation 'rows': expected one of target-rows, source-rows"),
        ("gain", {"dtype": "float16"}, "dtype 'float16': expected one of float32, float64"),
        ("gain", {"device": "abacus"}, "device 'abacus' is not there"),
        ("gain", {"inputs": "nothing"}, "inputs 'nothing' do not exist"),
        ("gain", {"sinkhorn_iters": 0}, "sinkhorn_iters 0: expected at least 1"),
        ("gain", {"sinkhorn_eps": -1.0}, r"sinkhorn_eps -1\.0: expected at least 0"),
        ("gain", {"sites": (5, 2)}, "sites 5:2 are not within"),
        ("health", {"orientation": "rows"}, "orientation 'rows'"),
        ("health", {"seed": -1}, "seed -1: expected at least 0"),
        ("health", {"tokens": 0}, "0 tokens: expected 1 to"),
        ("health", {"only": ["nothing"]}, "there is no check 'nothing'"),
        ("weights", {"sample": 0.0}, r"sample 0\.0: expected a share above 0 and at most 1"),
        ("weights", {"sample": 1.5}, r"sample 1\.5"),
        ("inspect", {"layout": "nothing"}, "there is no layout 'nothing'"),
        ("capture", {"text": "t", "out": "o", "tokens": 0}, "0 tokens in sequences of 1024"),
        ("spikes", {"z": -1.0}, r"z -1\.0: expected at least 0"),
        ("spikes", {"min_rise": -0.5}, r"min_rise -0\.5: expected at least 0"),
        ("spikes", {"window": 15}, "window 15: expected at least 16"),
        ("spikes", {"warmup": 7}, "warmup 7: expected at least 8"),
        ("spikes", {"rule": "nothing"}, "there is no rule 'nothing'"),
        ("spikes", {"steps": (5, 2)}, r"steps \(5, 2\): the first step lies behind the last"),
        ("spikes", {"log_format": "nothing"}, "nothing"),
        ("follow", {"idle_timeout": -1.0}, r"idle_timeout -1\.0: expected at least 0"),
        ("follow", {"window": 15}, "window 15: expected at least 16"),
        ("trend", {"stream_rms": 0.0}, r"stream_rms 0\.0: expected a number above 0"),
        ("trend", {"inputs": "nothing"}, "inputs 'nothing'"),
        ("check", {"jobs": 0}, "jobs 0: expected at least 1"),
        ("cost", {"preset": "1t"}, "--preset 1t"),
        ("cost", {"dtype": "int3"}, "--dtype int3"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_a_setting_error(name: str, options: dict[str, Any], message: str) -> None:
    path = None if name == "cost" else SAMPLE
    with pytest.raises(SettingError, match=message):
        getattr(mhcdiag, name)(path, **options)


# What the functions return


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "train.jsonl", spiky(), aux=healthy())


def test_spikes_finds_the_events_of_one_log(log: Path) -> None:
    found = mhcdiag.spikes(log, series=["aux"])
    assert isinstance(found, mhcdiag.LogResult)
    assert (found.path, list(found.series)) == (str(log), ["loss", "aux"])
    assert [(event.kind, event.start) for event in found.series["loss"].events] == [("spike", 501.0)]
    assert mhcdiag.spikes(log, steps=(600, math.inf)).series["loss"].events == ()
    assert mhcdiag.spikes(log, z=1e9).series["loss"].events == ()


def test_following_gives_the_changes_and_then_the_result_of_the_whole(log: Path) -> None:
    following = mhcdiag.follow(log, idle_timeout=0.0, rule="mhcdiag")
    assert isinstance(following, mhcdiag.Following)
    assert following.result.series["loss"].points == 0
    changes = list(following)
    assert [(one.series, one.event.kind, one.event.start, one.opened) for one in changes] == [
        ("loss", "spike", 501.0, True), ("loss", "spike", 501.0, False)
    ]  # fmt: skip
    assert all(isinstance(one, mhcdiag.Change) for one in changes)
    assert repr(following.result) == repr(mhcdiag.spikes(log))


def test_the_last_line_counts_without_its_end(log: Path) -> None:
    with log.open("a") as file:
        file.write('{"step": 801, "loss": NaN, "aux": 2.0}')
    following = mhcdiag.follow(log, idle_timeout=0.0)
    assert [(one.event.kind, one.event.start) for one in following][2:] == [("nan", 801.0)]
    assert following.result.series["loss"].events[-1].kind == "nan"


def test_following_ends_when_it_is_told_to(log: Path) -> None:
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    assert len(list(mhcdiag.follow(log, stopped=stopped))) == 2
    assert len(asked) == 4


def test_trend_takes_a_log_a_folder_or_checkpoints(tmp_path: Path) -> None:
    runs = Path(SAMPLE).parent / "runs" / "hc"
    steps = sorted(runs.glob("step_*.safetensors"))
    whole = mhcdiag.trend(runs)
    assert isinstance(whole, mhcdiag.TrendResult)
    assert mhcdiag.trend(steps).points == whole.points
    assert len(whole.points) == len(steps)
    rows = [{"step": step, "loss": 1.0, "gain_forward": 2.0**step} for step in (1, 2, 3)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [point.gain["forward"] for point in mhcdiag.trend(tmp_path / "train.jsonl").points] == [2.0, 4.0, 8.0]
    with pytest.raises(SettingError, match="name one log, or its checkpoints"):
        mhcdiag.trend([])


def test_check_judges_checkpoints_and_logs_alike(log: Path) -> None:
    report = mhcdiag.check([SAMPLE, log])
    assert isinstance(report, mhcdiag.CheckReport)
    assert [(one.family, one.verdict) for one in report.inputs] == [("checkpoint", "pass"), ("log", "pass")]
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert mhcdiag.check(log, strict=True).strict


def test_cost_is_that_of_a_preset_a_configuration_or_the_options(tmp_path: Path) -> None:
    assert (mhcdiag.cost().model, mhcdiag.cost().width) == ("27b", 2560)
    assert mhcdiag.cost(preset="v4-pro", streams=8).model == "v4-pro, changed by options"
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hidden_size": 14, "num_hidden_layers": 3, "hc_mult": 2}))
    found = mhcdiag.cost(path, dtype="fp32")
    assert isinstance(found, mhcdiag.CostResult)
    assert (found.model, found.width, found.streams, found.sites, found.pipeline_bytes) == (str(path), 14, 2, 6, 112)


# Where the functions were before


@pytest.mark.parametrize(
    ("module", "name", "public"),
    [
        ("api", "gain", "gain"),
        ("diagnosis", "health", "health"),
        ("inspecting", "inspect", "inspect"),
        ("inspecting", "catalogue", "usecases.inspect.catalogue"),
        ("module_conformance", "conformance", "conformance"),
    ],
)
def test_old_places_of_functions_still_work_and_warn(module: str, name: str, public: str) -> None:
    old = importlib.import_module(f"mhcdiag.{module}")
    with pytest.warns(DeprecationWarning, match=f"mhcdiag.{module}.{name} has moved .* use mhcdiag.{public}$") as seen:
        found = getattr(old, name)
    assert seen[0].filename == __file__
    home = importlib.import_module(f"mhcdiag.usecases.{'inspect' if module == 'inspecting' else name}")
    assert found is getattr(home, name)
    with pytest.raises(AttributeError, match=f"module 'mhcdiag.{module}' has no attribute 'nonsense'"):
        old.nonsense  # noqa: B018


def test_an_old_place_loads_nothing_before_its_function_is_used() -> None:
    code = "import mhcdiag.api, mhcdiag.diagnosis, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
