"""The HTML report by its structure, without a browser."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from reports.html_reports import (
    check_of,
    checked,
    gain_outcomes,
    log_outcomes,
    outcome,
    sample_gain,
    sample_log,
    samples_report,
    unreadable,
)

from mhcdiag.reports.html.check_page import page_with
from mhcdiag.reports.html.parts import Picture, Pictures, Slot
from mhcdiag.reports.text import in_bytes
from mhcdiag.results.check import AllowedEvent, Family, GateSeverity
from mhcdiag.results.gain import Reduction
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import Relation, Skipped, Verdict

VOID = {"meta", "link", "img", "br", "path", "rect", "use", "td"}
"""Elements without an end tag; HTML lets `</td>` out, and so do our tables."""
MARK = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """Elements, text and nesting of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def found(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def outline(report, pictures=None) -> Outline:
    return Outline(page_with(report, pictures or Pictures()))


def broken_gain(**changed):
    return replace(sample_gain("deepseek_v4"), **changed)


def test_the_verdict_comes_first_then_what_decided_it_then_the_inputs():
    words = outline(samples_report()).words
    places = [words.index(part) for part in ("Fail", "What decided it", "> 1000", "What did not pass", "Details")]
    assert places == sorted(places)
    assert "Of 10 gate outcomes on 2 checkpoints and 2 logs: 4 failed, 1 warning (failed), 5 passed." in words


def test_headings_go_down_one_level_at_a_time():
    levels = [int(tag[1]) for tag, _ in outline(samples_report()).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_landmarks_language_title_and_labels():
    page = outline(samples_report())
    assert page.found("html")[0]["lang"] == "en"
    assert [len(page.found(tag)) for tag in ("header", "main", "footer", "title")] == [1, 1, 1, 1]
    identifiers = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))
    targets = {str(attributes["href"]).removeprefix("#") for attributes in page.found("a")}
    labels = {str(section["aria-labelledby"]) for section in page.found("section")}
    assert targets | labels <= set(identifiers)
    assert len(page.found("caption")) == len(page.found("table"))
    assert all(heading.get("scope") for heading in page.found("th"))


def test_nothing_is_loaded_and_nothing_is_run():
    page = outline(samples_report())
    assert not page.found("script")
    policy = next(meta["content"] for meta in page.found("meta") if meta.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    addresses = [
        value for _, attributes in page.elements for key, value in attributes.items() if key in ("src", "href")
    ]
    assert all(str(value).startswith(("#", "data:")) for value in addresses)
    assert not re.search(r"@import|url\((?!#)", page_with(samples_report(), Pictures()))


@pytest.mark.parametrize("text", [MARK, 'a" onload="x', "red\x1b[31m\x00\u202e"])
def test_text_from_files_is_escaped(text: str):
    log = replace(sample_log("spiky.jsonl"), path=f"logs/{text}.jsonl", notes=(text,), format=text)
    inputs = [
        checked(broken_gain(path=f"{text}/model", skipped=(Skipped(what=text, reason=text),), assumed=(text,))),
        checked(log),
        unreadable(text, text),
    ]
    gates = [outcome(log.path, 2.0, gate=text, finding=text, reason=text), *gain_outcomes(inputs[0].result)]
    page = page_with(check_of(inputs, gates), Pictures())
    assert text not in page
    assert not any(ord(character) < 32 and character != "\n" for character in page)
    parsed = Outline(page)
    assert not parsed.found("script")
    assert not any("onload" in attributes for _, attributes in parsed.elements)
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    assert parsed.words.count(shown) > 6


def test_an_unreadable_input_stands_at_the_top_and_in_its_own_part():
    error = "runs/a.safetensors: header is cut off; expected a whole file; copy it again"
    report = check_of([unreadable("runs/a.safetensors", error)])
    page = outline(report)
    assert "Could not judge" in page.words
    assert page.words.index(error) < page.words.index("Details") < page.words.rindex(error)
    tones = [attributes.get("class") for attributes in page.found("li")]
    assert tones.count("callout unjudged") == 2


def test_nothing_checked_is_not_a_pass():
    words = outline(check_of([])).words
    assert "Could not judge" in words
    assert "Nothing was checked: no gate ran on no inputs." in words
    assert "this is not a pass" in words
    assert "nothing was given to check" in words


def test_an_input_without_a_gate_says_so():
    report = check_of([checked(sample_log("spiky.jsonl"))], [outcome("another.log", 1.0)])
    assert "no gate of the policy ran on this input" in outline(report).words


@pytest.mark.parametrize("field", ["skipped", "assumed", "notes", "excluded"])
def test_what_limits_the_numbers_is_shown(field: str):
    value = (Skipped(what="layers.3", reason="no config"),) if field == "skipped" else ("layers.3: no config",)
    result = broken_gain(**{field: value})
    assert "layers.3: no config" in outline(check_of([checked(result)], gain_outcomes(result))).words


def test_a_pass_shows_the_gate_that_came_closest_to_its_limit():
    log = sample_log("spiky.jsonl")
    report = check_of(
        [checked(log)],
        [outcome(log.path, 1.0, gate="far"), outcome(log.path, 1.5, 2.0, gate="near")],
    )
    words = outline(report).words
    assert "Closest to its limit pass near 1.500 ≤ 2" in words


@pytest.mark.parametrize(
    ("value", "limit", "relation", "verdict", "shown"),
    [
        (1000.00001, 1000.0, Relation.AT_MOST, Verdict.FAIL, "1000.00001 > 1000"),
        (0.5, 0.9, Relation.AT_LEAST, Verdict.FAIL, "0.5000 < 0.9"),
        (Huge(400.0), 1000.0, Relation.AT_MOST, Verdict.FAIL, "1.000e400 > 1000"),
        (float("nan"), 1000.0, Relation.AT_MOST, Verdict.FAIL, "nan, not ≤ 1000"),
        (None, 1000.0, Relation.AT_MOST, Verdict.UNJUDGED, "missing, limit ≤ 1000"),
        (3.0, None, Relation.AT_MOST, Verdict.UNJUDGED, "3, no limit: the baseline's number is missing"),
    ],
)
def test_value_and_limit_are_never_rounded_into_each_other(value, limit, relation, verdict, shown):
    log = sample_log("spiky.jsonl")
    report = check_of([checked(log)], [outcome(log.path, value, limit, relation=relation, verdict=verdict)])
    assert shown in outline(report).words


def test_counts_have_no_decimals():
    words = outline(samples_report()).words
    assert re.search(r"FAIL no-nan \S+ 1 ≤ 0 ", words)


def test_failures_stand_before_warnings():
    log = sample_log("spiky.jsonl")
    gates = [
        outcome(log.path, 9.0, 1.0, gate="mild", severity=GateSeverity.WARNING),
        outcome(log.path, 9.0, 1.0, gate="hard"),
    ]
    part = outline(check_of([checked(log)], gates)).words.partition("What did not pass")[2]
    assert part.index("hard") < part.index("mild")


def test_every_gain_of_a_checkpoint_is_there_with_its_definition():
    result = sample_gain("hc.safetensors")
    page = page_with(check_of([checked(result)], gain_outcomes(result)), Pictures())
    parsed = Outline(page)
    rows = len(parsed.found("tr"))
    assert rows > 4 * len(result.sites)
    for reduction in {key[3] for key in result.gain}:
        assert f">{str(reduction).replace('_', ' ')}</th>" in page
        assert Reduction(reduction)
    for meaning in ("Over tokens, of the gain of each token", "Gain of the token mean of the composite"):
        assert meaning in parsed.words


def test_every_event_of_a_log_is_there_with_its_definition():
    log = sample_log("diverged.log")
    words = outline(check_of([checked(log, Verdict.FAIL)], log_outcomes(log))).words
    for series in log.series.values():
        for event in series.events:
            assert f"{event.line:,}" in words
            assert str(event.kind) in words
    assert "Values that are not finite." in words


def test_allowed_events_are_listed_with_their_reason():
    log = sample_log("spiky.jsonl")
    event = log.series["loss"].events[0]
    allowed = AllowedEvent(
        path=log.path, series="loss", kind="spike", step=event.start, line=event.line, reason="known data change"
    )
    words = outline(check_of([checked(log)], log_outcomes(log), allowed=[allowed])).words
    assert "known data change" in words
    assert "spike (allowed)" in words


def test_provenance_names_files_hashes_bytes_and_versions():
    words = outline(samples_report()).words
    for part in (
        "ab" * 32,
        "mhcdiag 0.0.0",
        "2026-02-03T04:05:06Z",
        in_bytes(sample_gain("hc.safetensors").bytes_read),
        in_bytes(sample_gain("hc.safetensors").bytes_total),
        "1,500 lines",
        "mhcdiag.toml",
    ):
        assert part in words


def many(count: int):
    inputs, gates = [], []
    for k in range(count):
        result = replace(sample_log("diverged.log" if k == 7 else "spiky.jsonl"), path=f"logs/rank_{k:02}.jsonl")
        found = log_outcomes(result)
        inputs.append(checked(result, Verdict.FAIL if k == 7 else Verdict.PASS))
        gates += found
    return check_of(inputs, gates)


def test_many_inputs_are_listed_first_and_only_the_deciding_one_is_unfolded():
    page = outline(many(23))
    parts = [one for one in page.found("details") if str(one.get("class", "")).endswith("input")]
    assert len(parts) == 23
    assert [i for i, one in enumerate(parts) if "open" in one] == [7]
    assert page.words.index("Inputs") < page.words.index("Details")


def test_few_inputs_are_all_unfolded():
    parts = [one for one in outline(many(3)).found("details") if str(one.get("class", "")).endswith("input")]
    assert all("open" in one for one in parts)


def test_names_leave_out_what_all_paths_share_and_keep_the_path_once():
    words = outline(many(3)).words
    assert "rank_01.jsonl" in words
    assert "path logs/rank_01.jsonl" in words


@pytest.mark.parametrize("forgiven", [False, True])
def test_the_exit_code_is_told(forgiven: bool):
    report = replace(samples_report(), exit_code=0) if forgiven else samples_report()
    shown = "exit code 0 because of --exit-zero" if forgiven else "exit code 1"
    assert shown in outline(report).words


def test_pictures_stand_in_their_place_with_alternative_text():
    drawing = Picture(slot=Slot.SERIES, title="loss", alt='the "loss"', caption="as read", svg="<svg><g></g></svg>")
    pixels = Picture(slot=Slot.COMPARISON, title="all", alt="all of them", caption="", png=b"\x89PNG")
    page = outline(many(2), Pictures(of_inputs=((drawing,), ()), overview=(pixels,)))
    (box,) = [attributes for attributes in page.found("div") if attributes.get("role") == "img"]
    assert box["aria-label"] == 'the "loss"'
    (image,) = page.found("img")
    assert (image["alt"], image["src"]) == ("all of them", "data:image/png;base64,iVBORw==")
    assert "as read" in page.words


def test_equal_reports_give_equal_text():
    assert page_with(samples_report(), Pictures()) == page_with(samples_report(), Pictures())


def test_family_words_appear_only_where_there_is_one():
    words = outline(check_of([unreadable("a.log", "gone", Family.LOG)])).words
    assert "Any excursion of the gradient norm." in words
    assert "Amax gain magnitude" not in words


def test_templates_are_shipped():
    import mhcdiag.reports.html as package

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"mhcdiag.reports.html" = ["templates/*"]' in text
    names = {path.name for path in (Path(package.__path__[0]) / "templates").iterdir()}
    assert {"check.html", "trend.html", "document.html", "input.html", "parts.html", "style.css"} <= names


def test_a_page_lists_what_is_wrong_with_weights_and_what_was_not_looked_at() -> None:
    from checkrecords import weights, weights_finding

    result = sample_gain("mhc.safetensors")
    findings = tuple(weights_finding(tensor=f"a{number}{MARK}", what=f"a{number}: NaN") for number in range(250))
    scan = weights(findings=findings, allowed=(weights_finding(what="b: all zero"),), unread=("1 file: 'x'",))
    text = Outline(page_of(replace(checked(result), weights=scan))).text
    said = " ".join(" ".join(text).split())
    assert "all of 100 values in 1 tensor (400 B) looked at: 250 fail" in said
    assert said.count("it spreads") == 200
    assert "50 more; `mhcdiag weights --verbose` lists all" in said
    assert "b: all zero" in said
    assert "1 file: 'x'" in said
    assert MARK in said  # as text, which the parser gives back


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "all of 100 values in 1 tensor (400 B) looked at: nothing found"),
        ({"elements_scanned": 12}, "12 % of 100 values"),
        ({"unscanned": "a remote checkpoint", "elements_scanned": 0}, "not scanned: a remote checkpoint"),
        ({"skipped": (Skipped(what="d", reason="unknown type"),)}, "d: unknown type"),
    ],
)
def test_a_page_says_how_many_weights_were_looked_at(changes, said: str) -> None:
    from checkrecords import weights

    text = Outline(page_of(replace(checked(sample_gain("mhc.safetensors")), weights=weights(**changes)))).text
    assert said in " ".join(" ".join(text).split())


def page_of(one) -> str:
    return page_with(check_of([one]), Pictures())
