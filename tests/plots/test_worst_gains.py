"""The worst gain of every checkpoint, by its data."""

import math

import pytest
from plots.gain_results import by_hand, hc, measured

from mhcdiag.plots.style import RED
from mhcdiag.plots.worst_gains import worst_gains_figure, worst_gains_tips
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.results.numbers import Huge, log10_of


@pytest.mark.parametrize("direction", list(Direction))
def test_lines_are_the_logarithms_of_the_worst_gains_in_the_order_given(direction):
    results = [measured(hc(5, spread=0.1 * k), path=f"runs/step_{k}/model.pt") for k in (2, 1, 3, 5, 4)]
    (axes,) = worst_gains_figure(results).axes
    (line,) = [each for each in axes.get_lines() if each.get_label() == direction]
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(line.get_ydata()) == [log10_of(each.worst[direction, Definition.NORM].value) for each in results]
    assert line.get_linestyle() == "-"
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert (names[0], names[-1]) == ("step_2", "step_4")


def test_few_checkpoints_are_not_joined():
    (axes,) = worst_gains_figure([by_hand([1.0], path="a"), by_hand([2.0], path="b")]).axes
    assert {line.get_linestyle() for line in axes.get_lines() if line.get_marker() == "o"} == {"None"}


def test_broken_checkpoints_are_marked():
    results = [by_hand([1.0, 2.0], path="a"), by_hand([1.0, math.nan], path="b"), by_hand([Huge(400.0)], path="c")]
    (axes,) = worst_gains_figure(results).axes
    (marks,) = [each for each in axes.get_lines() if each.get_label() == "broken"]
    assert (list(marks.get_xdata()), marks.get_color()) == ([2], RED)
    assert axes.get_ylim()[1] > 400


def test_tips_name_each_checkpoint_with_its_gains():
    tips = list(worst_gains_tips([by_hand([1.5], path="a"), by_hand([Huge(400.0)], path="b")]))
    assert [tip.text for tip in tips] == [
        "a\nforward 1.500\nbackward 1.500",
        "b\nforward 1.000e400\nbackward 1.000e400",
    ]
