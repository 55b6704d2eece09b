"""The Markdown report, read back by a Markdown parser."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from reports.check_reports import EVERY, failing, healthy, many, nasty, nothing_checked, unjudged, unreadable

from mhcdiag.reports.check_formats.markdown import check_markdown, escaped
from mhcdiag.reports.check_words import shortened
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckReport

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def blocks(text: str) -> list[Token]:
    return PARSER.parse(text)


def cells(text: str, tag: str = "td") -> list[str]:
    """The texts of all table cells as a reader sees them."""
    tokens = blocks(text)
    return [
        "".join(part.content for part in inline.children or [])
        for opening, inline in pairwise(tokens)
        if opening.type == f"{tag}_open"
    ]


@given(st.text(min_size=1))
def test_a_cell_shows_its_text_and_nothing_of_it_is_markup(text: str) -> None:
    shown = cells(f"| a | b |\n| --- | --- |\n| {escaped(text)} | end |\n")
    assert shown == [printable(text).strip(), "end"]
    parts = blocks(f"- {escaped('x' + text)}")[2].children or []
    assert {part.type for part in parts} <= {"text", "text_special"}


@pytest.mark.parametrize("made", EVERY)
def test_every_report_has_its_parts_in_order(made: Callable[[], CheckReport]) -> None:
    text = check_markdown(made())
    assert text.startswith(f"# mhcdiag check: {made().verdict.upper()}\n")
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert [one for one in headings if one != "Allowed events"] == ["Gates", "Inputs", "Provenance"]
    assert text.index(f"exit code {made().exit_code}") < text.index("## Gates")


@pytest.mark.parametrize("made", [*EVERY, many])
def test_the_same_report_gives_the_same_bytes(made: Callable[[], CheckReport]) -> None:
    assert check_markdown(made()) == check_markdown(made())


@pytest.mark.parametrize("made", EVERY)
def test_no_name_breaks_a_table_or_brings_html(made: Callable[[], CheckReport]) -> None:
    text = check_markdown(made())
    kinds = {token.type for token in blocks(text)}
    parts = {part.type for token in blocks(text) for part in token.children or []}
    assert not kinds & {"html_block", "fence", "code_block"}
    assert not parts & {"html_inline", "link_open", "code_inline", "image", "em_open"}
    rows = [token for token in blocks(text) if token.type == "tr_open"]
    report = made()
    tables = [len(part) for part in (report.outcomes, report.inputs, report.allowed) if part]
    assert len(rows) == sum(tables) + len(tables)
    assert text.isascii() or text.encode("utf-8")


def test_failed_gates_come_first_with_value_limit_place_and_reason() -> None:
    shown = cells(check_markdown(failing()))
    assert [shown[row * 8] for row in range(6)] == ["FAIL", "FAIL", "UNJUDGED", "warning", "pass", "pass"]
    assert shown[:8] == [
        "FAIL", "no-nan", "spikes.count.nan of loss", "3 > 0", "", "logs/run.jsonl:1007 (step 12,040)",
        "the loss is NaN", "",
    ]  # fmt: skip
    assert "3.162e4880 > 1000" in shown


def test_what_decided_stands_above_the_gates() -> None:
    lines = check_markdown(failing()).splitlines()
    assert lines[2].startswith("**Decided by** no-nan: spikes.count.nan of loss 3 &gt; 0")
    assert check_markdown(healthy()).splitlines()[2] == "**No gate that counts failed.**"
    assert "missing, limit" in check_markdown(unjudged()).splitlines()[2]


def test_unreadable_inputs_and_allowed_events_are_shown() -> None:
    assert "could not be read: 4 bytes, shorter than a header" in cells(check_markdown(unreadable()))
    assert cells(check_markdown(failing()))[-6:] == [
        "logs/run.jsonl", "401", "12,000", "loss", "spike", "the data of this week are noisy",
    ]  # fmt: skip


def test_nothing_checked_says_so() -> None:
    text = check_markdown(nothing_checked())
    assert "**Decided by** nothing was checked" in text
    assert "No gate was checked." in text
    assert cells(text) == []


def test_provenance() -> None:
    text = check_markdown(failing())
    assert text.endswith(
        "- mhcdiag: 0.1.0\n- policy: mhcdiag.toml\n- baseline: baseline.json\n- strict: no\n"
        "- created: 2026-01-02T03:04:05+00:00\n"
    )
    assert "0a" * 32 in cells(text)
    assert "- checkpoints/step_100: assumed: rms_norm_eps is 1e-6" in text


def test_very_long_names_lose_their_middle() -> None:
    assert max(map(len, check_markdown(nasty()).splitlines())) < 6000
    assert shortened("y" * 100_003, 1000) in check_markdown(nasty())
