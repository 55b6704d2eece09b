"""SVG for a page: identifiers, colours, letters and tooltips."""

import re
from xml.etree import ElementTree

import pytest
from plots.gain_results import hc, measured

from mhcdiag.plots.depth_profile import depth_figure, depth_tips
from mhcdiag.plots.gain_panel import GainPanel
from mhcdiag.plots.inline_svg import Tip, inline_svg
from mhcdiag.plots.mapping_matrices import matrix_figure, matrix_tips

RESULT = measured(hc(13, streams=3))


def svg(prefix: str = "f1", **arguments) -> str:
    return inline_svg(depth_figure(RESULT, GainPanel.SINGLE), prefix=prefix, **arguments)


def test_it_is_one_element_whose_references_all_resolve():
    text = svg(tips=list(depth_tips(RESULT, GainPanel.SINGLE)))
    root = ElementTree.fromstring(text.replace("xlink:href", "href"))
    assert root.tag == "svg"
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    referred = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert {a or b for a, b in referred} == set(identifiers)
    assert len(identifiers) == len(set(identifiers)) > 0


def test_two_figures_share_no_identifier():
    one, other = (set(re.findall(r' id="([^"]+)"', svg(prefix))) for prefix in ("f1", "f2"))
    assert one
    assert one.isdisjoint(other)


def test_colours_of_the_palette_are_those_of_the_page_with_the_printed_ones_as_fallback():
    text = svg()
    assert "var(--blue, #0072b2)" in text
    assert "var(--vermilion, #d55e00)" in text
    assert not re.search(r"(?<!, )#0072b2", text)


def test_letters_stay_text_and_there_is_no_ground():
    text = svg()
    assert "gain (token mean)" in text
    assert "DOCTYPE" not in text
    assert "fill: #ffffff" not in text


def test_every_site_has_a_tooltip_over_its_place():
    root = ElementTree.fromstring(svg(tips=list(depth_tips(RESULT, GainPanel.SINGLE))).replace("xlink:href", "href"))
    boxes = [each for each in root.iter("rect") if each.find("title") is not None]
    assert len(boxes) == 13
    lefts = [float(box.get("x")) for box in boxes]
    assert lefts == sorted(lefts)
    width = float(root.get("viewBox").split()[2])
    assert all(0 < left < width for left in lefts)


def test_tooltips_of_cells_lie_from_top_to_bottom():
    matrix = ((1.0, 2.0), (3.0, 4.0))
    text = inline_svg(matrix_figure(matrix, name="x"), prefix="f", tips=list(matrix_tips(matrix)))
    found = re.findall(r'y="([\d.]+)"[^>]*><title>([^<]+)', text)
    assert len(found) == 4
    assert float(found[0][0]) < float(found[2][0])


@pytest.mark.parametrize("text", ["</title><script>alert(1)</script>", "a & b"])
def test_text_of_tooltips_cannot_leave_them(text):
    root = ElementTree.fromstring(svg(tips=[Tip(left=1, right=2, text=text)]).replace("xlink:href", "href"))
    assert [each.text for each in root.iter("title")] == [text]
    assert not list(root.iter("script"))


def test_a_rectangle_without_width_can_still_be_hit():
    root = ElementTree.fromstring(svg(tips=[Tip(left=5, right=5, text="x")]).replace("xlink:href", "href"))
    (box,) = [each for each in root.iter("rect") if each.find("title") is not None]
    assert float(box.get("width")) >= 2


def test_equal_figures_give_equal_text():
    assert svg() == svg()
