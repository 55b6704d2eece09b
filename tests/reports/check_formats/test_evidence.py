"""What a checkpoint passed on stands in every format of `check`, and a sample is nowhere a plain pass."""

import json
from xml.etree import ElementTree as Tree

import pytest
from reports.check_reports import nan_outcome, outcome, read_input, report

from mhcdiag.reports.check_console import check_report, decision
from mhcdiag.reports.check_formats import REPORT_FORMATS
from mhcdiag.reports.check_formats.csv_table import check_csv
from mhcdiag.reports.check_formats.github import check_github, github_outputs
from mhcdiag.reports.check_formats.junit import check_junit
from mhcdiag.reports.check_formats.markdown import check_markdown
from mhcdiag.reports.check_formats.sarif import check_sarif
from mhcdiag.results.check import CheckReport, GateSeverity
from mhcdiag.results.documents.check import check_document, check_of
from mhcdiag.results.verdict import GainEvidence, Relation, Verdict

COMMAND = "measure real tokens with `mhcdiag gain checkpoints/step_100 --inputs text`"
WORDS = f"on random inputs only: bound 8.0e6 > 1000; {COMMAND}"


def sampled(**changes: object) -> CheckReport:
    """A pass on random inputs, and the warning beside it."""
    passed = outcome(evidence=GainEvidence.SAMPLED, bound=8.0e6)
    warning = outcome(
        gate="evidence", metric="gain.evidence", verdict=Verdict.UNJUDGED, severity=GateSeverity.WARNING, value=None,
        relation=Relation.AT_LEAST, limit=None, finding=WORDS, reason="", place=None, evidence=GainEvidence.SAMPLED,
    )  # fmt: skip
    return report(passed, warning, **({"inputs": (read_input(),)} | changes))


def proved() -> CheckReport:
    return report(outcome(evidence=GainEvidence.CERTIFIED, bound=4.0), nan_outcome(verdict=Verdict.PASS, value=0.0))


def said(text: str) -> str:
    """Without the marks of the format."""
    for mark, plain in (("\\", ""), ("&gt;", ">"), ("&#39;", "'"), ("`", ""), ("{{", "{"), ("%25", "%")):
        text = text.replace(mark, plain)
    return " ".join(text.split())


@pytest.mark.parametrize("form", [one for one in REPORT_FORMATS if one.name != "html"], ids=lambda one: one.name)
def test_a_sample_is_a_warning_in_every_format(form):
    text = said(form.render(sampled()))
    assert "on random inputs only: bound 8.0e6 > 1000" in text
    assert "mhcdiag gain checkpoints/step_100 --inputs text" in text
    assert sampled().exit_code == 0
    assert "on random inputs only" not in said(form.render(proved()))


def test_the_terminal_ends_with_the_command_and_a_qualified_verdict():
    lines = [line.plain for line in decision(sampled())]
    assert lines == [
        f"checkpoints/step_100: {WORDS}",
        "PASS on sampled inputs only: 1 warned, 1 passed; exit code 0",
    ]
    assert [line.plain for line in decision(proved())] == ["PASS: 2 passed; exit code 0"]
    assert check_report(sampled()) is not None


def test_of_many_samples_the_tail_names_a_few():
    warning = sampled().outcomes[1]
    lines = [line.plain for line in decision(report(*sampled().outcomes[:1], *[warning] * 5))]
    assert lines[3] == "and 2 more on sampled inputs only"
    assert len(lines) == 5


def test_strict_lets_it_decide():
    strict = sampled(strict=True)
    assert strict.verdict is Verdict.UNJUDGED
    lines = [line.plain for line in decision(strict)]
    assert lines[0].startswith("decided by evidence: checkpoints/step_100: on random inputs only: bound 8.0e6 > 1000")
    assert lines[1].startswith("UNJUDGED: 1 unjudged, 1 passed; exit code 2")


def test_json_holds_evidence_and_bound_both_ways():
    document = json.loads(json.dumps(check_document(sampled())))
    assert document["evidence"] == "sampled"
    assert [(one["evidence"], one["bound"]) for one in document["outcomes"]] == [("sampled", 8.0e6), ("sampled", None)]
    assert check_of(document).outcomes == sampled().outcomes
    for one in document["outcomes"]:
        del one["evidence"], one["bound"]
    assert {one.evidence for one in check_of(document).outcomes} == {None}  # of a report from before


def test_csv_markdown_and_github_hold_them_in_places_of_their_own():
    header, first, second = check_csv(sampled()).splitlines()
    assert header.endswith(",evidence,bound")
    assert first.endswith(",sampled,8000000")
    assert second.endswith(",sampled,")
    markdown = check_markdown(sampled())
    assert markdown.startswith(
        "# mhcdiag check: PASS on sampled inputs only\n\n**No gate that counts failed, on sampled"
    )
    assert "| 2 <= 1000 | sampled, bound 8.0e6 |" in markdown.replace("&lt;", "<")
    assert "evidence=sampled\n" in github_outputs(sampled())
    assert "evidence=certified\n" in github_outputs(proved())
    assert check_github(sampled()).startswith("::warning file=checkpoints/step_100,title=warning%3A evidence::")
    assert "PASS on sampled inputs only" in check_github(sampled())


def test_junit_skips_it_and_says_it_beside_each_gate():
    root = Tree.fromstring(check_junit(sampled()))
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "1")
    passed, skipped = root.iter("testcase")
    assert passed.findtext("system-out", "").startswith(
        "pass: gain.worst.backward.norm 2 <= 1000 (sampled, bound 8.0e6)"
    )
    assert WORDS in (skipped.find("skipped").get("message"))  # type: ignore[union-attr]


def test_sarif_warns_with_a_rule_that_explains_itself():
    run = json.loads(check_sarif(sampled()))["runs"][0]
    (result,) = run["results"]
    assert (result["level"], result["ruleId"]) == ("warning", "gain.evidence")
    assert (result["properties"]["evidence"], run["properties"]["evidence"]) == ("sampled", "sampled")
    assert "certified: the bound" in run["tool"]["driver"]["rules"][1]["fullDescription"]["text"]
