"""The whole HTML report: pictures in their places, sizes, and what a browser makes of it."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from browser import Page, chromium, open_browser
from plots.gain_results import by_hand, hc, identity, measured
from reports.html_reports import (
    check_of,
    checked,
    gain_outcomes,
    log_outcomes,
    sample_log,
    samples_report,
    unreadable,
)
from trainlogs import healthy, write_jsonl

from mhcdiag.reports.html.check_page import check_page
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.spikes import spikes

WIDTHS = (360, 1600)
MISSING = "no Chromium was found: install the package chromium to run this test"

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
BOXES = """[...document.querySelectorAll('figure svg, figure img')].map(each => {
  const box = each.getBoundingClientRect(); return [box.width, box.height, box.left, box.right] })"""
TIPS = "document.querySelectorAll('svg rect > title').length"
UNREADABLE_TEXT = """[...document.querySelectorAll('main *, header *')].filter(each => {
  if (!each.childNodes.length || ![...each.childNodes].some(n => n.nodeType === 3 && n.data.trim())) return false;
  if (each.closest('svg')) return false;
  const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  let ground = each; while (ground && /rgba?\\(0, 0, 0, 0\\)/.test(getComputedStyle(ground).backgroundColor))
    ground = ground.parentElement;
  const a = light(getComputedStyle(each).color), b = light(getComputedStyle(ground || document.body).backgroundColor);
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5 }).map(each => each.outerHTML.slice(0, 80))"""


@cache
def samples_text() -> str:
    return check_page(samples_report())


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    binary = chromium()
    if binary is None:
        if os.environ.get("MHCDIAG_TEST_BROWSER"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with open_browser(binary) as tab:
        yield tab


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "samples.html"
    path.write_text(samples_text(), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
def test_it_loads_without_a_complaint_and_asks_for_nothing_else(page: Page, samples: Path, width: int):
    page.open(samples, width=width)
    assert page.complaints() == []
    asked = [url for url in page.requested() if not url.startswith("data:")]
    assert asked == [samples.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_are_visible_and_nothing_runs_over_the_edge(page: Page, samples: Path, width: int):
    page.open(samples, width=width)
    assert page.run(OVERFLOW) <= 0
    page.run(UNFOLD)
    assert page.run(OVERFLOW) <= 0
    boxes = page.run(BOXES)
    assert len(boxes) > 20
    for wide, high, left, right in boxes:
        assert min(wide, high) > 100
        assert 0 <= left < right <= width


def test_what_is_pointed_at_has_a_tooltip(page: Page, samples: Path):
    page.open(samples, width=1600)
    assert page.run(TIPS) > 500
    found = page.run("""(() => { const tip = document.querySelector('figure.gain svg .tips rect');
      tip.scrollIntoView({block: 'center'}); const box = tip.getBoundingClientRect();
      const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return hit.querySelector('title')?.textContent })()""")
    assert found.startswith("site 1: ")
    assert "forward: amax" in found


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(page: Page, samples: Path, dark: bool):
    page.open(samples, width=1600, dark=dark)
    page.run(UNFOLD)
    assert page.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(19, 22, 26)" if dark else "rgb(245, 246, 248)"
    )
    assert page.run(UNREADABLE_TEXT) == []


def test_it_is_readable_without_javascript(page: Page, samples: Path):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(samples, width=1600)
        assert page.complaints() == []
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.run("document.querySelector('h1').textContent") == "Fail"
    assert page.run("document.querySelector('details.input').open")


def test_hostile_names_stay_text(page: Page, tmp_path: Path):
    path = tmp_path / "page.html"
    mark = "<img src=x onerror=alert(1)>\x1b]0;"
    log = replace(sample_log("spiky.jsonl"), path=mark)
    path.write_text(check_page(check_of([unreadable(mark, mark), checked(log)], log_outcomes(log))), encoding="utf-8")
    page.open(path, width=360)
    assert page.complaints() == []
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run(OVERFLOW) <= 0


def kinds(text: str) -> set[str]:
    return set(re.findall(r'<figure class="(\w+)"', text))


def test_every_kind_of_picture_is_drawn():
    assert kinds(samples_text()) == {
        "gain", "gain_linear", "forward", "backward", "mapping", "sinkhorn", "series", "comparison",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (identity(7), {"gain", "gain_linear"}),
        (measured(hc(1)), {"gain", "gain_linear", "forward", "backward", "mapping"}),
        (replace(by_hand([float("nan"), float("inf"), 2.0]), mean_mappings=()), {"gain", "gain_linear"}),
    ],
    ids=["identity", "one site", "broken"],
)
def test_odd_checkpoints_are_drawn(result, expected):
    assert kinds(check_page(check_of([checked(result)], gain_outcomes(result)))) == expected


def test_identifiers_are_unique_and_references_resolve():
    text = samples_text()
    identifiers = re.findall(r'\sid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    assert referred <= set(identifiers)


def test_equal_reports_give_equal_bytes():
    assert check_page(samples_report()) == samples_text()


def test_of_many_inputs_few_are_drawn(tmp_path: Path):
    log = spikes(str(write_jsonl(tmp_path / "a.jsonl", healthy(60))))
    inputs = [checked(replace(log, path=f"{k:02}.jsonl"), Verdict.PASS) for k in range(23)]
    text = check_page(check_of(inputs, [one for each in inputs for one in log_outcomes(each.result)]))
    assert text.count('<figure class="series"') == 6
    assert text.count('<figure class="comparison"') == 1


def test_the_largest_case_stays_below_a_megabyte():
    result = measured(hc(122, tokens=2))
    log = sample_log("spiky.jsonl")
    curve = log.series["loss"].curve
    bins = 4096
    long = replace(
        curve, run=(0,) * bins, step=tuple(map(float, range(bins))), low=(2.0,) * bins,
        high=tuple(2 + (k * 7919 % 101) / 50 for k in range(bins)),
    )  # fmt: skip
    series = {name: replace(one, curve=long) for name, one in log.series.items()}
    inputs = [checked(result), checked(replace(log, series=series))]
    text = check_page(check_of(inputs, [*gain_outcomes(result), *log_outcomes(log)]))
    assert 100_000 < len(text.encode()) < 1_000_000
