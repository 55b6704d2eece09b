"""Sinkhorn convergence by its data."""

import math

import pytest
from plots.gain_results import hc, measured, mhc

from mhcdiag.plots.sinkhorn_residuals import LEAST, sinkhorn_figure, sinkhorn_tips
from mhcdiag.results.gain import Direction


def test_lines_are_the_logarithms_of_both_residuals_over_sites_from_1():
    result = measured(mhc(11), exact_side=Direction.FORWARD)
    (axes,) = sinkhorn_figure(result).axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}
    curves = {"row sums": result.sinkhorn.row_residual, "column sums": result.sinkhorn.column_residual}
    assert set(drawn) == set(curves)
    for name, curve in curves.items():
        assert drawn[name][0] == list(range(1, 12))
        assert drawn[name][1] == pytest.approx([math.log10(max(value, LEAST)) for value in curve])
        assert axes.get_ylim()[0] < min(drawn[name][1])
        assert max(drawn[name][1]) < axes.get_ylim()[1]


def test_an_exact_sum_is_drawn_at_the_bottom_not_left_out():
    maps = mhc(5)
    maps[2] = maps[2].mean() * 0 + 0.25
    (axes,) = sinkhorn_figure(measured(maps, exact_side=Direction.FORWARD)).axes
    assert all(line.get_ydata()[2] == math.log10(LEAST) for line in axes.get_lines())


def test_broken_sites_leave_a_gap():
    maps = mhc(5)
    maps[2, 0, 0, 0] = math.nan
    (axes,) = sinkhorn_figure(measured(maps, exact_side=Direction.FORWARD)).axes
    assert all(math.isnan(line.get_ydata()[2]) for line in axes.get_lines())


def test_tips_hold_both_residuals():
    tips = list(sinkhorn_tips(measured(mhc(5), exact_side=Direction.FORWARD)))
    assert len(tips) == 5
    assert "site 5: 2.attn\nrow sums off by" in tips[4].text


def test_mappings_without_sinkhorn_are_refused():
    with pytest.raises(ValueError, match="layout captured has no Sinkhorn iteration"):
        sinkhorn_figure(measured(hc(3)))
