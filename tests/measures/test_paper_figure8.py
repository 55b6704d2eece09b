"""The matrices that the paper publishes (arXiv 2512.24880v2, Figure 8), against the sums printed beside them.

`paper_fig8.json` holds the matrices as read off the figure, to two decimals (one for the large HC composites). Row
sums are the paper's forward gains, column sums its backward gains.
"""

import json
from pathlib import Path

import pytest
import torch
from stacks import captured_tensors, write

import mhcdiag

FIGURE = json.loads((Path(__file__).parent / "paper_fig8.json").read_text())

# Largest absolute row sum and column sum that the figure prints, and how far four rounded entries can be off.
PUBLISHED = [
    ("mHC", "H1", None, 1.04, 0.025),
    ("mHC", "H30", None, 1.04, 0.025),
    ("mHC", "P1-30", None, 1.11, 0.025),
    ("mHC", "P31-60", None, 1.50, 0.025),
    ("mHC", "P1-60", None, 1.11, 0.025),
    ("HC", "H1", 18.73, 6.81, 0.025),
    ("HC", "P31-60", 264.6, 489.0, 0.25),
    ("HC", "P1-60", 509.1, 259.2, 0.25),
]


def measure(tmp_path: Path, *matrices: list[list[float]]) -> mhcdiag.GainResult:
    """The matrices as captured mappings of consecutive sites."""
    return mhcdiag.gain(write(tmp_path, captured_tensors(torch.tensor(matrices, dtype=torch.float64))))


@pytest.mark.parametrize(("model", "name", "forward", "backward", "rounding"), PUBLISHED)
def test_published_sums(tmp_path, model: str, name: str, forward: float | None, backward: float, rounding: float):
    result = measure(tmp_path, FIGURE[model][name])
    expected = 1.0 if forward is None else forward  # rows of mHC are normalised last
    assert result.curve("single", "forward", "amax") == pytest.approx((expected,), abs=rounding)
    assert result.curve("single", "backward", "amax") == pytest.approx((backward,), abs=rounding)


def test_signed_sums_understate_hyper_connections_by_half(tmp_path):
    result = measure(tmp_path, FIGURE["HC"]["P31-60"])
    assert result.worst["forward", "amax"].value == pytest.approx(264.6, abs=0.25)
    assert result.worst["forward", "norm"].value == pytest.approx(568, abs=1)


@pytest.mark.parametrize(("model", "relative"), [("HC", 0.03), ("mHC", 0.05)])
def test_the_halves_multiply_to_the_whole_the_later_one_on_the_left(tmp_path, model: str, relative: float):
    halves = measure(tmp_path / "halves", FIGURE[model]["P1-30"], FIGURE[model]["P31-60"])
    whole = measure(tmp_path / "whole", FIGURE[model]["P1-60"])
    for direction in ("forward", "backward"):
        composed = halves.curve("prefix", direction, "amax")[-1]
        assert composed == pytest.approx(whole.curve("single", direction, "amax")[0], rel=relative)


def test_the_wrong_order_of_the_halves_would_show(tmp_path):
    swapped = measure(tmp_path / "swapped", FIGURE["HC"]["P31-60"], FIGURE["HC"]["P1-30"])
    whole = measure(tmp_path / "whole", FIGURE["HC"]["P1-60"])
    composed = swapped.curve("prefix", "forward", "amax")[-1]
    assert composed != pytest.approx(whole.curve("single", "forward", "amax")[0], rel=0.3)
