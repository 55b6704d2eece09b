import io
import itertools
import math
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from plots.gain_results import by_hand, hc, identity, measured, mhc

from mhcdiag.plots.gain_figure import MOST_ROWS, gain_figure
from mhcdiag.plots.style import RED, SAVE_OPTIONS, house_style
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind
from mhcdiag.results.numbers import Huge, log10_of

CURVES = [
    (0, Direction.FORWARD, Kind.SINGLE),
    (0, Direction.BACKWARD, Kind.SINGLE),
    (1, Direction.FORWARD, Kind.PREFIX),
    (1, Direction.BACKWARD, Kind.SUFFIX),
]


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return list(zip(found.get_xdata(), found.get_ydata(), strict=True))


def labels(axes: Axes) -> set[str]:
    return {str(each.get_label()) for each in axes.get_lines()}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def broken_stack(sites: int = 13) -> GainResult:
    maps = hc(sites, streams=3)
    maps[4, 0, 1, 2] = math.nan
    maps[9, 2, 1, 5] = math.inf
    return measured(maps)


@pytest.mark.parametrize(("panel", "direction", "kind"), CURVES)
@pytest.mark.parametrize("definition", list(Definition))
def test_lines_are_the_logarithms_of_the_curves_over_sites_from_1(panel, direction, kind, definition):
    result = measured(hc(13, streams=3))
    axes = gain_figure([result]).axes[panel]
    points = line(axes, f"{direction} {definition}")
    assert [x for x, _ in points] == list(range(1, 14))
    assert [y for _, y in points] == [log10_of(gain) for gain in result.curve(kind, direction, definition)]


def test_norm_is_drawn_only_where_it_can_be_told_from_amax():
    assert not any("norm" in label for axes in gain_figure([measured(mhc(11))]).axes for label in labels(axes))
    assert {"forward norm", "backward norm"} <= labels(gain_figure([measured(hc(11))]).axes[0])


def test_every_curve_lies_within_the_limits():
    result = measured(hc(29, spread=0.4))
    for axes in gain_figure([result]).axes:
        low, high = axes.get_ylim()
        drawn = [y for name in labels(axes) if " " in name and name != "gain 1" for _, y in line(axes, name)]
        assert drawn
        assert low < min(drawn)
        assert max(drawn) < high


def test_title_says_what_the_numbers_are_of():
    figure = gain_figure([measured(hc(7, streams=3, tokens=5), path="runs/step_7.safetensors")])
    assert "step_7.safetensors" in words(figure)
    assert "layout captured; 7 sites, 3 streams; captured inputs, 5 tokens" in words(figure)


def test_ticks_count_sites_from_1_and_name_them():
    axes = gain_figure([measured(hc(60))]).axes[0]
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert (shown[0], shown[-1]) == ("1\n0.attn", "60\n29.ffn")
    assert list(axes.get_xticks()) == [1, 20, 40, 60]


@pytest.mark.parametrize(("largest", "drawn"), [(999.0, False), (1001.0, True)])
def test_line_at_1000_only_where_it_is_in_range(largest, drawn):
    result = by_hand([1.0, 900.0, largest] if drawn else [1.0, 30.0, 400.0])
    figure = gain_figure([result])
    assert ("exploded" in labels(figure.axes[1])) is drawn
    assert ("gain 1000" in legend(figure)) is drawn
    assert all(y == 0 for _, y in line(figure.axes[1], "gain 1"))


def test_identity_is_flat_at_1_within_a_sane_range():
    figure = gain_figure([identity(17)])
    for axes in figure.axes:
        assert {y for _, y in line(axes, "forward amax")} == {0.0}
        assert [10**end for end in axes.get_ylim()] == pytest.approx([0.9, 1.1])
    assert "gain 1 by construction" in words(figure)


def test_rounding_errors_do_not_fill_a_panel():
    axes = gain_figure([by_hand([1.0, 1.0008, 0.9993])]).axes[1]
    assert [10**end for end in axes.get_ylim()] == pytest.approx([0.9, 1.1])


def test_huge_gains_have_a_place():
    gains = [10.0 ** (40 * i) if i < 8 else Huge(40.0 * i) for i in range(1, 123)]
    axes = gain_figure([by_hand(gains)]).axes[1]
    assert line(axes, "forward amax")[-1] == (122, 4880.0)
    assert axes.get_ylim()[1] > 4880
    shown = {text.get_text() for text in axes.get_yticklabels()}
    assert {"$10^{0}$", "$10^{4000}$"} <= shown
    assert "1.000e4880" in words(axes.figure)


@pytest.mark.parametrize("panel", [0, 1])
def test_nan_and_infinity_become_named_red_triangles(panel):
    axes = gain_figure([broken_stack()]).axes[panel]
    (triangles,) = [each for each in axes.get_lines() if each.get_label() == "broken"]
    assert list(triangles.get_xdata()) == [5, 10]
    assert triangles.get_color() == RED
    assert triangles.get_marker() == "^"
    assert "2.attn NaN, 4.ffn inf" in [text.get_text() for text in axes.texts]


def test_curves_stay_below_the_marks_of_broken_sites():
    axes = gain_figure([broken_stack()]).axes[0]
    low, high = axes.get_ylim()
    highest = max(y for _, y in line(axes, "forward norm") if not math.isnan(y))
    assert (highest - low) / (high - low) < 0.8


def test_many_broken_sites_are_counted_not_listed():
    result = by_hand([1.0] * 9, single=[1.0, *[math.nan] * 8])
    assert "0.ffn NaN, 1.attn NaN, 1.ffn NaN, 5 more" in words(gain_figure([result]))


def test_broken_everywhere_still_draws():
    figure = gain_figure([by_hand([math.nan] * 3, single=[math.inf] * 3)], heatmap=True)
    assert "not finite" in words(figure)
    assert "NaN or infinity" in legend(figure)


def test_gain_0_is_marked_at_the_bottom():
    axes = gain_figure([by_hand([2.0, 0.0, 0.0])]).axes[1]
    marks = [list(each.get_xdata()) for each in axes.get_lines() if each.get_label() == "zero"]
    assert marks == [[2, 3], [1, 2]]


def test_one_site_shows_as_a_dot():
    figure = gain_figure([measured(hc(1))], heatmap=True)
    (dot,) = [each for each in figure.axes[0].get_lines() if each.get_label() == "forward amax"]
    assert dot.get_marker() == "o"
    assert dot.get_markevery() == [0]
    assert figure.axes[0].get_xlim() == (0.5, 1.5)


def test_up_to_four_results_share_their_axes_row_by_row():
    results = [measured(hc(13), path="hc"), measured(mhc(11), path="mhc")]
    axes = gain_figure(results).axes
    assert len(axes) == 4
    assert axes[0].get_ylim() == axes[2].get_ylim()
    assert axes[1].get_ylim() == axes[3].get_ylim()
    assert len(line(axes[2], "forward amax")) == 11


def test_more_results_are_drawn_over_each_other():
    results = [measured(hc(7, spread=0.1 * k), path=f"runs/step_{k}/model.pt") for k in range(1, MOST_ROWS + 2)]
    figure = gain_figure(results)
    assert len(figure.axes) == 2
    for k, result in enumerate(results, 1):
        curve = result.curve("suffix", "backward", "amax")
        assert [y for _, y in line(figure.axes[1], f"step_{k}: backward")] == pytest.approx(list(map(log10_of, curve)))
        assert f"step_{k}" in legend(figure)
    colours = {each.get_color() for each in figure.axes[0].get_lines() if str(each.get_label()).endswith("forward")}
    assert len(colours) == len(results)


def test_results_of_unequal_depth_are_drawn_over_each_other_without_names():
    results = [measured(hc(sites), path=f"{sites}") for sites in (3, 5, 7, 11, 13)]
    axes = gain_figure(results).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()][-1] == "13"


def test_broken_checkpoints_among_many_are_named():
    results = [*(measured(hc(7), path=f"step_{k}") for k in range(5)), by_hand([1.0, math.nan], path="step_9")]
    assert "step_9: 0.ffn NaN" in words(gain_figure(results))


def test_heat_map_of_many_is_that_of_the_worst():
    results = [measured(hc(7, spread=0.1 * k), path=f"step_{k}") for k in (1, 2, 5, 3, 4)]
    figure = gain_figure(results, heatmap=True)
    assert len(figure.axes) == 5
    worst = figure.axes[2].get_images()[0].get_array()[0, -1]
    assert worst == pytest.approx(log10_of(results[2].spans[Direction.FORWARD, Definition.NORM][0][-1]))
    assert "step_5" in [text.get_text() for text in figure.texts]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one result"):
        gain_figure([])


def deep_names() -> list[GainResult]:
    sites = 172
    long = "/".join(["a_long_folder"] * 20) + "/$model$_中文.safetensors"
    result = measured(hc(sites, tokens=2))
    return [replace(result, path=f"{k}/{long}") for k in range(2)]


def many() -> list[GainResult]:
    result = measured(hc(61, tokens=2))
    return [replace(result, path=f"{k}" * 70) for k in range(23)]


FIGURES = {
    "hc and mhc": lambda: gain_figure([measured(hc()), measured(mhc(), path="b")], heatmap=True),
    "broken": lambda: gain_figure([broken_stack(), by_hand([math.nan, 1.0])], heatmap=True),
    "huge": lambda: gain_figure([by_hand([Huge(4880.0), 1.0]), by_hand([Huge(312.5)] * 2)], heatmap=True),
    "one site": lambda: gain_figure([measured(hc(1))], heatmap=True),
    "identity": lambda: gain_figure([identity(86)], heatmap=True),
    "long names": lambda: gain_figure(deep_names(), heatmap=True),
    "many": lambda: gain_figure(many(), heatmap=True),
    "every mark": lambda: gain_figure([by_hand([1.0, 2e3, 0.0, math.nan], single=[1.0, 3.0, 0.0, math.nan])]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_or_leaves_the_figure(name):
    figure = FIGURES[name]()
    with house_style():
        figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown if not outside_its_axis(text)]
    assert len(boxes) > 20
    for word, box in boxes:
        assert box.x0 >= 0, word
        assert box.y0 >= 0, word
        assert box.x1 <= figure.bbox.x1, word
        assert box.y1 <= figure.bbox.y1, word
    overlaps = [(a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if one.overlaps(two)]
    assert not overlaps


def outside_its_axis(text: Text) -> bool:
    """Whether a tick label belongs to a tick beyond the limits, which is never drawn."""
    axes = text.axes
    if axes is None or text not in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        return False
    low, high = sorted(axes.get_xlim() if text in axes.get_xticklabels() else axes.get_ylim())
    at = text.get_position()[0 if text in axes.get_xticklabels() else 1]
    return not low <= at <= high


def saved(result: GainResult, suffix: str) -> bytes:
    buffer = io.BytesIO()
    with house_style():
        gain_figure([result], heatmap=True).savefig(buffer, format=suffix.removeprefix("."), **SAVE_OPTIONS[suffix])
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", SAVE_OPTIONS)
def test_equal_results_give_equal_bytes_whatever_the_reader_has_set(suffix):
    result = measured(hc(7))
    first = saved(result, suffix)
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "other", "pdf.fonttype": 3}):
        assert saved(result, suffix) == first


def test_settings_of_the_caller_stand_afterwards():
    with matplotlib.rc_context({"font.size": 20}):
        before = dict(matplotlib.rcParams)
        gain_figure([measured(hc(3))], heatmap=True)
        assert dict(matplotlib.rcParams) == before


def test_figure_is_1600_pixels_wide():
    assert gain_figure([measured(hc(3))]).bbox.width == 1600
