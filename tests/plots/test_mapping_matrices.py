"""Small heat maps of mappings: entries, sums and which sites are shown."""

import math

import numpy as np
import pytest
from plots.gain_results import by_hand, hc, measured

from mhcdiag.plots.mapping_matrices import entry_text, matrix_figure, matrix_tips, worst_sites
from mhcdiag.plots.style import DIRECTION_COLOURS, RED
from mhcdiag.results.gain import Definition, Direction, Kind

MATRIX = ((0.25, -0.5, 1.0), (0.0, 2.0, 0.125), (1.0, 0.5, -3.0))


def letters(figure, index=0):
    return [text for text in figure.axes[index].texts if text.get_text()]


def sums(figure, direction):
    return [text for text in letters(figure) if text.get_label() == f"{direction} sum"]


def test_cells_are_the_entries_row_by_row_from_the_top():
    axes = matrix_figure(MATRIX, name="1.ffn").axes[0]
    np.testing.assert_array_equal(axes.collections[0].get_array().reshape(3, 3), MATRIX)
    low, high = axes.get_ylim()
    assert low > high
    written = {text.get_position(): text.get_text() for text in letters(axes.figure)}
    assert axes.get_label() == "1.ffn"
    assert written[1.5, 0.5] == "-0.50"
    assert written[0.5, 1.5] == "0.00"


def test_sums_stand_beside_rows_and_below_columns_and_the_largest_is_coloured():
    figure = matrix_figure(MATRIX, name="1.ffn")
    rows, columns = sums(figure, Direction.FORWARD), sums(figure, Direction.BACKWARD)
    assert [text.get_text() for text in rows] == ["0.75", "2.12", "-1.50"]
    assert [text.get_text() for text in columns] == ["1.25", "2.00", "-1.88"]
    assert [text.get_color() for text in rows] == ["black", DIRECTION_COLOURS[Direction.FORWARD], "black"]
    assert [text.get_color() for text in columns] == ["black", DIRECTION_COLOURS[Direction.BACKWARD], "black"]


def test_colours_are_symmetric_around_0():
    shade = matrix_figure(MATRIX, name="x").axes[0].collections[0].norm
    assert (shade.vmin, shade.vmax) == (-3.0, 3.0)


def test_nan_is_red_and_its_sums_are_nan():
    figure = matrix_figure(((1.0, math.nan), (0.0, 1.0)), name="x")
    assert figure.axes[0].collections[1].get_cmap()(0.5) == pytest.approx((192 / 255, 0, 0, 1))
    assert RED == "#C00000"
    assert [text.get_text() for text in sums(figure, Direction.FORWARD)] == ["NaN", "1.00"]
    assert [text.get_text() for text in sums(figure, Direction.BACKWARD)] == ["1.00", "NaN"]


def test_the_worst_sites_are_those_with_the_largest_gain_alone():
    result = measured(hc(11, streams=3))
    worst = worst_sites(result, most=2)
    assert len(worst) == 2
    singles = [result.gain[Kind.SINGLE, d, Definition.NORM, "mean"] for d in Direction]
    assert max(max(curve) for curve in singles) == max(curve[worst[0]] for curve in singles)
    others = set(range(11)) - set(worst)
    assert max(max(c[site] for site in others) for c in singles) <= max(curve[worst[1]] for curve in singles)


def test_a_broken_site_is_the_worst():
    result = by_hand([1.0] * 5, single=[9.0, 1.0, math.nan, 2.0, 1.0])
    assert worst_sites(result, most=3) == (2, 0, 3)


def test_many_streams_are_drawn_without_letters():
    matrix = tuple(tuple(float(i == j) for j in range(17)) for i in range(17))
    assert not letters(matrix_figure(matrix, name="x"))


def test_tips_name_source_and_target():
    tips = list(matrix_tips(MATRIX))
    assert len(tips) == 9
    assert tips[1].text == "from stream 2 to stream 1: -0.5"
    assert (tips[1].left, tips[1].right, tips[1].low, tips[1].high) == (1, 2, 0, 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.125, "0.12"), (-0.001, "0.00"), (-509.4, "-509"), (3.1e9, "3.1e9"), (-3.1e9, "-3.1e9"), (math.inf, "+inf")],
)
def test_entries_are_short(value: float, shown: str):
    assert entry_text(value) == shown
