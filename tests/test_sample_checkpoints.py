"""The sample checkpoints gain what expected.json says; what is drawn from a seed is what the seed gives."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import mhcdiag

SAMPLES = Path(__file__).parents[1] / "sample_checkpoints"
EXPECTED = json.loads((SAMPLES / "expected.json").read_text())
DRAWN = "deepseek_v4/model.safetensors"
TRAINED = ("hc.safetensors", "mhc.safetensors", "residual.safetensors", "identity-hc.safetensors")
CAPTURED = tuple(EXPECTED["captured"])
STEPS = (50, 100, 150, 200, 250, 300)
RUNS = tuple(f"runs/{run}/step_{step:06d}.safetensors" for run in ("hc", "mhc") for step in STEPS)
FILES = (*TRAINED, *CAPTURED, DRAWN)
NAMES = tuple(EXPECTED["samples"])
INPUTS = ("static", "random")
SIZE_LIMIT = 5_000_000
CHECKPOINT_LIMIT = 800_000


@cache
def measured(name: str, inputs: str) -> mhcdiag.GainResult:
    return mhcdiag.gain(SAMPLES / name, inputs=inputs)


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, made again in another directory."""
    directory = tmp_path_factory.mktemp("samples")
    subprocess.run(
        [sys.executable, SAMPLES / "make.py", "--drawn", "--out", directory], check=True, capture_output=True
    )
    return directory


@pytest.fixture(scope="module")
def recompute() -> ModuleType:
    """The independent computation beside the samples."""
    spec = importlib.util.spec_from_file_location("recompute", SAMPLES / "recompute.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["recompute"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def test_the_drawn_file_is_what_the_seed_gives(remade: Path):
    committed, again = load_file(SAMPLES / DRAWN), load_file(remade / DRAWN)
    assert list(committed) == list(again)
    for name, values in committed.items():
        np.testing.assert_allclose(values, again[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_the_configuration_is_what_the_script_writes(remade: Path):
    config = Path("deepseek_v4", "config.json")
    assert json.loads((SAMPLES / config).read_text()) == json.loads((remade / config).read_text())


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", NAMES)
def test_gains_are_the_expected_ones(name: str, inputs: str):
    expected = EXPECTED["samples"][name]
    result = measured(name, inputs)
    assert (result.layout, result.streams, len(result.sites)) == tuple(
        expected[k] for k in ("layout", "streams", "sites")
    )
    assert result.tokens == expected[inputs].get("tokens", 1)
    tolerance = EXPECTED["tolerance"][inputs]
    compared = 0
    for kind, of_kind in expected[inputs]["gain"].items():
        for direction, of_direction in of_kind.items():
            for definition, curves in of_direction.items():
                got = np.array(result.gain[kind, direction, definition, "mean"])
                allowed = tolerance * np.array(of_direction["norm"]["mean"])
                assert (abs(got - curves["mean"]) <= allowed).all(), (kind, direction, definition)
                compared += len(got)
    assert compared == 3 * 2 * 2 * 60


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", NAMES)
def test_worst_spans_are_the_expected_ones(name: str, inputs: str):
    expected: dict[str, Any] = EXPECTED["samples"][name][inputs]["worst"]
    result = measured(name, inputs)
    for (direction, definition), span in result.worst.items():
        wanted = expected[direction][definition]
        allowed = EXPECTED["tolerance"][inputs] * expected[direction]["norm"]["value"]
        assert abs(span.value - wanted["value"]) <= allowed, (direction, definition)
        if wanted["value"] > 1.1:  # where every span has gain 1, rounding decides which one is named
            assert (span.from_site, span.to_site) == (wanted["from_site"], wanted["to_site"])


@pytest.mark.parametrize("name", NAMES)
def test_static_gains_agree_with_an_independent_computation(recompute: ModuleType, name: str):
    independent = recompute.gains(recompute.mappings(SAMPLES / name, tokens=0, seed=0))
    result = measured(name, "static")
    for key, table in independent.spans.items():
        upper = np.triu_indices(len(table))
        norms = independent.spans[key[0], "norm"][upper]
        assert (abs(np.array(result.spans[key])[upper] - table[upper]) <= 1e-5 * norms).all(), key


def test_one_sample_explodes_and_the_others_stay_bounded():
    worst = {name: EXPECTED["samples"][name]["random"]["worst"] for name in NAMES}
    assert min(worst["hc.safetensors"][direction]["norm"]["value"] for direction in ("forward", "backward")) > 1000
    for name in ("mhc.safetensors", "deepseek_v4"):
        values = [worst[name][direction]["norm"]["value"] for direction in ("forward", "backward")]
        assert min(values) == pytest.approx(1, abs=1e-4), "the side that is normalised last is exact"
        assert 1.001 < max(values) < 4, "20 iterations do not converge on the other one"


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_gains_are_the_expected_ones(recompute: ModuleType, name: str):
    expected = EXPECTED["captured"][name]
    result = mhcdiag.gain(SAMPLES / name)
    assert result.tokens == expected["tokens"]
    independent = recompute.gains(recompute.captured(SAMPLES / name))
    for (direction, definition), span in result.worst.items():
        assert span.value == pytest.approx(expected["worst"][direction][definition]["value"], rel=1e-5)
        assert span.value == pytest.approx(np.nanmax(independent.spans[direction, definition]), rel=1e-5)


def test_random_inputs_understate_what_the_trained_model_did():
    captured = EXPECTED["captured"]["captured/hc.safetensors"]["worst"]["forward"]["norm"]["value"]
    assert captured > 100 * EXPECTED["samples"]["hc.safetensors"]["random"]["worst"]["forward"]["norm"]["value"]


def test_aligned_inputs_come_near_to_what_the_trained_model_did():
    """Deep in an explosion, at 2.4e8, where random inputs say 8,240; the default is `aligned`, and no longer random."""
    captured = EXPECTED["captured"]["captured/hc.safetensors"]["worst"]
    result = mhcdiag.gain(SAMPLES / "hc.safetensors")
    assert result.inputs == "aligned"
    for direction in ("forward", "backward"):
        real = captured[direction]["norm"]["value"]
        found = result.worst[direction, "norm"].value
        assert real / 4 < found < 4 * real
        assert found < result.bound[direction].reached < result.bound[direction].worst


@pytest.mark.parametrize("name", ["residual.safetensors", "identity-hc.safetensors"])
def test_the_controls_mix_nothing(name: str):
    result = mhcdiag.gain(SAMPLES / name)
    assert result.layout == {"residual.safetensors": "plain"}.get(name, "identity")
    assert result.worst["backward", "norm"].value == 1


@pytest.mark.parametrize("file", RUNS)
def test_checkpoints_of_the_runs_can_be_read(file: str):
    result = mhcdiag.gain(SAMPLES / file, inputs="static")
    assert (result.layout, len(result.sites), result.streams) == ("toy", 60, 4)


def test_the_gain_of_hc_grows_over_its_checkpoints_and_that_of_mhc_does_not():
    from mhcdiag.usecases.trend import trend

    hc, mhc = (trend([str(SAMPLES / "runs" / run)]) for run in ("hc", "mhc"))
    assert [point.step for point in hc.points] == list(STEPS)
    assert hc.trends["forward"].peak > 1000
    assert mhc.trends["forward"].peak == pytest.approx(1, abs=1e-4)
    assert mhc.trends["backward"].peak < 2


@pytest.mark.parametrize("name", NAMES)
def test_the_command_gives_the_expected_verdict_and_exit_code(name: str):
    command = [sys.executable, "-m", "mhcdiag", "gain", str(SAMPLES / name), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = EXPECTED["samples"][name]
    assert done.returncode == expected["exit_code"], done.stderr
    assert json.loads(done.stdout)["verdict"] == expected["verdict"]


def test_head_and_mtp_tensors_are_excluded():
    result = measured("deepseek_v4", "static")
    assert list(result.excluded) == EXPECTED["samples"]["deepseek_v4"]["excluded"]
    assert {name for name in load_file(SAMPLES / DRAWN) if not name.startswith("layers.")} == set(result.excluded)
    assert result.assumed == ()
    assert result.skipped == ()


def test_the_folder_stays_small():
    assert sum(file.stat().st_size for file in SAMPLES.rglob("*") if file.is_file()) < SIZE_LIMIT


def test_each_trained_checkpoint_stays_small():
    for file in (*TRAINED, *CAPTURED, *RUNS):
        assert (SAMPLES / file).stat().st_size < CHECKPOINT_LIMIT, file


@pytest.mark.parametrize("file", FILES)
def test_the_readme_lists_size_and_checksum_of_each_file(file: str):
    content = (SAMPLES / file).read_bytes()
    row = next(line for line in (SAMPLES / "README.md").read_text().splitlines() if line.startswith(f"| `{file}`"))
    assert row.split(" | ")[2] == f"{len(content):,}"
    assert hashlib.sha256(content).hexdigest() in row
