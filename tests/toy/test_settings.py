"""Settings are refused before any work is done."""

import pytest

from mhcdiag.errors import SettingError
from mhcdiag.toy.settings import ToySettings, differing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30, "heads": 4}, "--heads 4 does not divide --width 30"),
        ({"streams": 0}, "--streams 0: expected at least 1"),
        ({"depth": 0}, "--depth 0"),
        ({"steps": -3}, "--steps -3"),
        ({"sinkhorn_iters": 0}, "--sinkhorn-iters 0"),
        ({"seed": -1}, "--seed -1: expected at least 0"),
        ({"learning_rate": float("nan")}, "--lr nan"),
        ({"clip": -1.0}, "--clip -1.0"),
        ({"stream_dtype": "fp8"}, "--stream-dtype fp8: expected one of fp32, bf16, fp16"),
        ({"topology": "mhc-lite", "streams": 7}, "weighs all n! permutations; at most 5"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str):
    with pytest.raises(SettingError, match=message):
        ToySettings(**changes)


@pytest.mark.parametrize(("steps", "checkpoints"), [(200, 5), (7, 3), (3, 11), (1, 1)])
def test_checkpoints_are_spread_over_the_run_and_end_it(steps: int, checkpoints: int):
    found = ToySettings(steps=steps, checkpoints=checkpoints).checkpoint_steps()
    assert found[-1] == steps
    assert len(found) == min(steps, checkpoints)
    assert list(found) == sorted(set(found))


def test_settings_survive_their_json():
    settings = ToySettings(topology="mhc", streams=3, qk_norm=True)
    assert ToySettings.from_json(settings.as_json()) == settings


def test_differences_are_named():
    assert differing(ToySettings(seed=1, width=64), ToySettings(seed=2, width=64)) == ["seed"]
