"""The page of a check whose checkpoint was merely sampled: nowhere a plain pass, nowhere calm."""

from dataclasses import replace

from reports.check_formats.test_evidence import WORDS, proved, sampled

from mhcdiag.reports.html.check_page import page_with
from mhcdiag.reports.html.parts import Pictures
from mhcdiag.results.check import CheckReport


def page(report: CheckReport) -> str:
    return page_with(report, Pictures(overview=(), of_inputs=()))


def test_the_headline_the_input_and_the_tables_say_so():
    text = page(sampled())
    assert '<header class="warning">' in text
    assert "<h1>Pass on sampled inputs only</h1>" in text
    assert "pass on sampled inputs only</span>" in text
    assert "sampled, bound 8.0e6" in text
    assert WORDS.partition(";")[0].replace(">", "&gt;") in text
    assert ">unknown: random inputs reach 2.000, and real tokens may amplify many times more" in text
    for word in ("calm:", "normal:", "(calm)", "(normal)"):
        assert word not in text


def test_a_proof_is_a_plain_pass():
    text = page(proved())
    assert '<header class="pass">' in text
    assert "<h1>Pass</h1>" in text
    assert "certified, bound 4" in text
    strict = page(replace(sampled(), strict=True))
    assert "UNJUDGED" in strict
