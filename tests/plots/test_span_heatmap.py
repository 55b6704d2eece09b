import math

import pytest
from matplotlib.axes import Axes
from plots.gain_results import hc, identity, measured

from mhcdiag.plots.gain_figure import gain_figure
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.numbers import log10_of

MAPS = {Direction.FORWARD: 2, Direction.BACKWARD: 3}
"""Position of each heat map among the axes of the figure; the colour bar follows."""


def uneven(sites: int = 11) -> GainResult:
    """A stack that grows in its middle and shrinks at both ends, so that the worst span has two inner ends."""
    maps = hc(sites, streams=3, spread=0.02)
    maps[3:7] *= 1.7
    maps[:3] *= 0.6
    maps[7:] *= 0.6
    return measured(maps)


def heat_map(result: GainResult, direction: Direction) -> Axes:
    return gain_figure([result], heatmap=True).axes[MAPS[direction]]


@pytest.mark.parametrize("direction", list(Direction))
def test_cells_are_the_logarithms_of_the_norm_of_every_span(direction):
    result = uneven()
    image = heat_map(result, direction).get_images()[0].get_array()
    spans = result.spans[direction, Definition.NORM]
    for a in range(11):
        for b in range(11):
            if b < a:
                assert image.mask[a, b]
            else:
                assert image[a, b] == pytest.approx(log10_of(spans[a][b]))


@pytest.mark.parametrize("direction", list(Direction))
def test_worst_span_is_marked_at_its_largest_cell(direction):
    axes = heat_map(uneven(), direction)
    (mark,) = [each for each in axes.get_lines() if each.get_label() == "worst"]
    image = axes.get_images()[0].get_array()
    to_site, from_site = mark.get_xdata()[0], mark.get_ydata()[0]
    assert (from_site, to_site) == (4, 7)
    assert image[from_site - 1, to_site - 1] == image.max()
    assert "1.ffn to 3.attn" in axes.get_title(loc="left")


def test_from_site_runs_down_and_to_site_runs_right():
    axes = heat_map(uneven(), Direction.FORWARD)
    assert axes.get_xlim() == (0.5, 11.5)
    assert axes.get_ylim() == (11.5, 0.5)
    assert next(text.get_text() for text in axes.get_yticklabels()) == "0.attn"
    assert [text.get_text() for text in axes.get_xticklabels()][-1] == "5.attn"


def test_both_directions_share_one_scale_and_its_bar():
    figure = gain_figure([uneven()], heatmap=True)
    forward, backward, bar = figure.axes[2:]
    scales = [each.get_images()[0].get_clim() for each in (forward, backward)]
    assert scales[0] == scales[1] == bar.get_ylim()
    largest = max(each.get_images()[0].get_array().max() for each in (forward, backward))
    assert scales[0][1] == largest
    assert "gain" in bar.get_ylabel()


def test_spans_with_nan_or_infinity_are_told_from_spans_that_do_not_exist():
    maps = hc(7, streams=3)
    maps[4, 0, 1, 2] = math.nan
    finite, broken = (image.get_array() for image in heat_map(measured(maps), Direction.FORWARD).get_images())
    cells = {(a, b) for a in range(7) for b in range(7) if not broken.mask[a, b]}
    assert cells == {(a, b) for a in range(5) for b in range(4, 7)}
    assert finite.mask[2, 5]
    assert finite.mask[5, 2]
    assert broken.mask[5, 2]


def test_streams_that_are_not_mixed_are_the_calm_end_of_a_sane_scale():
    image = heat_map(identity(5), Direction.BACKWARD).get_images()[0]
    low, high = image.get_clim()
    assert image.get_array().max() == low == 0.0
    assert 10**high == pytest.approx(1.1)
