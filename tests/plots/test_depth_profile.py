"""Single panels of the gain figure, on both scales."""

import math

import pytest
from plots.gain_results import by_hand, hc, identity, measured

from mhcdiag.plots.depth_profile import Scale, depth_figure, depth_tips
from mhcdiag.plots.gain_panel import GainPanel
from mhcdiag.plots.span_heatmap import span_figure
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.results.numbers import Huge, log10_of


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


@pytest.mark.parametrize("panel", list(GainPanel))
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("definition", list(Definition))
def test_lines_are_the_gains_or_their_logarithms(panel, direction, definition):
    result = measured(hc(13, streams=3, spread=0.3))
    curve = result.curve(panel.kind(direction), direction, definition)
    (linear,) = depth_figure(result, panel, scale=Scale.LINEAR).axes
    assert lines(linear)[f"{direction} {definition}"] == list(curve)
    assert linear.get_ylim()[0] == 0
    assert linear.get_ylim()[1] > max(curve)
    (log,) = depth_figure(result, panel).axes
    assert lines(log)[f"{direction} {definition}"] == [log10_of(gain) for gain in curve]


def test_what_a_linear_axis_cannot_hold_is_left_out():
    result = by_hand([1.0, 7.0, Huge(400.0), math.inf, math.nan])
    (axes,) = depth_figure(result, GainPanel.COMPOSITE, scale=Scale.LINEAR).axes
    assert lines(axes)["forward amax"] == pytest.approx([1.0, 7.0, math.nan, math.nan, math.nan], nan_ok=True)
    assert 7 < axes.get_ylim()[1] < 15
    assert "broken" in lines(axes)


@pytest.mark.parametrize("scale", list(Scale))
@pytest.mark.parametrize("sites", [1, 2, 173])
def test_any_depth_is_drawn(scale, sites):
    (axes,) = depth_figure(identity(sites), GainPanel.SINGLE, scale=scale).axes
    assert axes.get_xlim()[0] < 1 <= sites < axes.get_xlim()[1]


def test_tips_tell_both_directions_and_definitions_of_every_site():
    tips = list(depth_tips(by_hand([1.5, 2.0, Huge(400.0)]), GainPanel.COMPOSITE))
    assert [(tip.left, tip.right) for tip in tips] == [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5)]
    assert tips[2].text == "site 3: 1.attn\nforward: amax 1.000e400, norm 1.000e400\nbackward: amax 1.500, norm 1.500"


def test_heat_map_of_one_direction_marks_the_worst_stretch():
    result = measured(hc(13))
    axes, bar = span_figure(result, Direction.BACKWARD).axes
    assert axes.get_images()[0].get_array()[0, -1] == pytest.approx(log10_of(result.spans["backward", "norm"][0][-1]))
    worst = result.worst[Direction.BACKWARD, Definition.NORM]
    (mark,) = [line for line in axes.get_lines() if line.get_label() == "worst"]
    expected = (result.sites.index(worst.to_site) + 1, result.sites.index(worst.from_site) + 1)
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == expected
    assert bar.get_ylabel().startswith("gain")
