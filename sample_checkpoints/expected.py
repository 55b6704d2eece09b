"""What mhcdiag says of the sample checkpoints, held against the independent computation in recompute.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import recompute

import mhcdiag

VERDICTS = {"hc.safetensors": ("fail", 1), "mhc.safetensors": ("pass", 0), "deepseek_v4": ("pass", 0)}
"""Verdict and exit code of each sample under the default gate."""
CAPTURED = ("captured/hc.safetensors", "captured/mhc.safetensors")
"""Mappings that the same trained models used on held-out text."""
TOKENS, SEED = 1024, 0
"""mhcdiag's defaults for random inputs."""
TOLERANCE = {"static": 1e-5, "random": 1e-3}
"""Relative to the `norm`: the mappings are float32, and NumPy may change what its generators draw."""
SIGMAS = 6
"""How many standard errors the means of two independent samples may differ; there are 22,000 of them."""


def expected_gains(directory: Path) -> dict[str, Any]:
    """The content of expected.json; AssertionError where the two computations disagree."""
    return {
        "about": "made by: python sample_checkpoints/make.py --expected",
        "tolerance": TOLERANCE,
        "samples": {name: _sample(directory / name, *verdict) for name, verdict in VERDICTS.items()},
        "captured": {name: _captured(directory / name) for name in CAPTURED},
    }


def _captured(mappings: Path) -> dict[str, Any]:
    result = mhcdiag.gain(mappings)
    _refuse_disagreement(result, recompute.gains(recompute.captured(mappings)), TOLERANCE["static"])
    return {"tokens": result.tokens, "worst": _worst(result.worst)}


def _sample(checkpoint: Path, verdict: str, exit_code: int) -> dict[str, Any]:
    static = mhcdiag.gain(checkpoint, inputs="static")
    random = mhcdiag.gain(checkpoint, inputs="random", tokens=TOKENS, seed=SEED)
    _refuse_disagreement(static, recompute.gains(recompute.mappings(checkpoint, tokens=0, seed=0)), TOLERANCE["static"])
    _refuse_disagreement(random, recompute.gains(recompute.mappings(checkpoint, tokens=TOKENS, seed=99)), 1e-5)
    return {
        "layout": static.layout,
        "streams": static.streams,
        "sites": len(static.sites),
        "verdict": verdict,
        "exit_code": exit_code,
        "excluded": list(static.excluded),
        "static": _numbers(static),
        "random": {"tokens": TOKENS, "seed": SEED, **_numbers(random)},
    }


def _refuse_disagreement(result: mhcdiag.GainResult, independent: recompute.Gains, tolerance: float) -> None:
    """Compare all spans; beside the tolerance two samples of tokens may differ by their sampling error."""
    for key, table in independent.spans.items():
        norms, errors = independent.spans[key[0], "norm"], independent.errors[key]
        for first, row in enumerate(result.spans[key]):
            for last in range(first, len(row)):
                allowed = tolerance * norms[first, last] + SIGMAS * 2**0.5 * errors[first, last]
                difference = abs(float(row[last]) - table[first, last])
                assert difference <= allowed, f"{result.path}, {result.inputs}, {key}: {first}..{last} by {difference}"


def _numbers(result: mhcdiag.GainResult) -> dict[str, Any]:
    """Worst spans and all token means, nested as in the output of `mhcdiag gain --json`."""
    gain: dict[str, Any] = {}
    for (kind, direction, definition, reduction), curve in result.gain.items():
        if reduction == "mean":
            of_definition = gain.setdefault(str(kind), {}).setdefault(str(direction), {})
            of_definition[str(definition)] = {"mean": [_rounded(number) for number in curve]}
    return {"worst": _worst(result.worst), "gain": gain}


def _worst(worst: Mapping[Any, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (direction, definition), span in worst.items():
        nested.setdefault(str(direction), {})[str(definition)] = {
            "value": _rounded(span.value),
            "from_site": span.from_site,
            "to_site": span.to_site,
        }
    return nested


def _rounded(number: Any) -> float:
    """Seven digits: what float32 mappings are good for, and what does not change from machine to machine."""
    return float(f"{float(number):.7g}")
