"""Workflow commands, job summary and step outputs, read back as the runner of GitHub Actions does."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.check_reports import (
    EVERY,
    NASTY,
    allowed_event,
    broken_input,
    failing,
    healthy,
    many,
    nan_outcome,
    nasty,
    nothing_checked,
    outcome,
    report,
    unreadable,
    warning,
)

from mhcdiag.reports.check_formats.github import (
    Annotation,
    Command,
    _command,
    check_github,
    github_outputs,
    github_summary,
)
from mhcdiag.reports.check_formats.markdown import check_markdown
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckReport, GateSeverity
from mhcdiag.results.verdict import Verdict

MEBIBYTE = 1_048_576
Read = tuple[str, dict[str, str], str]


def annotations(made: CheckReport) -> list[Read]:
    """Kind, properties and message of every line, which must all be commands."""
    lines = check_github(made).split("\n")
    assert lines.pop() == ""
    read = []
    for line in lines:
        found = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
        assert found, line
        properties = dict(part.split("=", 1) for part in found[2].split(","))
        read.append((found[1], {name: unescaped(value) for name, value in properties.items()}, unescaped(found[3])))
    return read


def unescaped(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def outputs(made: CheckReport) -> dict[str, str]:
    """The outputs as the runner reads them."""
    lines = iter(github_outputs(made).split("\n")[:-1])
    read = {}
    for line in lines:
        name, mark, rest = re.fullmatch("(?s)([a-z-]+)(=|<<)(.*)", line).groups()  # type: ignore[union-attr]
        if mark == "<<":
            value = []
            while (part := next(lines)) != rest:
                value.append(part)
            rest = "\n".join(value)
        read[name] = rest
    return read


@pytest.mark.parametrize("made", [*EVERY, many])
def test_at_most_ten_of_a_kind(made: Callable[[], CheckReport]) -> None:
    kinds = Counter(kind for kind, _, _ in annotations(made()))
    assert max(kinds.values()) <= 10
    assert check_github(made()) == check_github(made())


@pytest.mark.parametrize("made", [*EVERY, many])
def test_there_is_an_error_exactly_if_the_check_did_not_pass(made: Callable[[], CheckReport]) -> None:
    kinds = {kind for kind, _, _ in annotations(made())}
    assert ("error" in kinds) == (made().verdict is not Verdict.PASS)


def test_an_annotation_stands_at_its_line() -> None:
    first, *_ = annotations(failing())
    assert first == (
        "error",
        {"file": "logs/run.jsonl", "line": "1007", "title": "FAIL: no-nan"},
        "spikes.count.nan of loss 3 > 0, logs/run.jsonl:1007 (step 12,040): the loss is NaN",
    )


def test_kinds_follow_what_an_outcome_means() -> None:
    titles = [(kind, properties["title"]) for kind, properties, _ in annotations(failing())]
    assert titles == [
        ("error", "FAIL: no-nan"),
        ("error", "FAIL: exploded"),
        ("error", "UNJUDGED: ratio"),
        ("warning", "warning: spread"),
        ("notice", "mhcdiag check"),
        ("notice", "mhcdiag: allowed event"),
    ]
    strict = report(nan_outcome(severity=GateSeverity.WARNING), strict=True)
    assert annotations(strict)[0][0] == "error"
    assert [kind for kind, _, _ in annotations(warning())] == ["warning", "notice"]


def test_the_reason_of_a_gate_is_a_second_line() -> None:
    line = check_github(report(outcome(verdict=Verdict.FAIL, value=2000.0))).splitlines()[0]
    assert line == (
        "::error file=checkpoints/step_100,title=FAIL%3A max-gain::gain.worst.backward.norm 2000 > 1000, "
        "checkpoints/step_100 (0.attn to 1.attn)%0Awhy this gate: the paper calls 1000 exploded"
    )


def test_the_verdict_is_a_notice() -> None:
    assert annotations(healthy()) == [
        ("notice", {"title": "mhcdiag check"}, "PASS: 2 passed; exit code 0\nno gate that counts failed")
    ]


def test_unreadable_inputs_come_first() -> None:
    made = report(nan_outcome(), inputs=(broken_input(),))
    assert annotations(made)[0] == (
        "error",
        {"file": "checkpoints/broken", "title": "mhcdiag: unreadable input"},
        "could not be read: 4 bytes, shorter than a header",
    )


def test_nothing_checked_is_an_error() -> None:
    assert annotations(nothing_checked())[0] == ("error", {"title": "mhcdiag check"}, "nothing was checked")


@pytest.mark.parametrize("count", [10, 11, 5003])
def test_the_tenth_says_how_many_are_left_out(count: int) -> None:
    errors = [message for kind, _, message in annotations(many(count)) if kind == "error"]
    assert len(errors) == 10
    rest = "" if count == 10 else f"and {count - 9:,} more: the job summary and the report files list all"
    assert (errors[-1] == rest) == (count > 10)
    assert errors[0].startswith("spikes.count.nan of loss 3 > 0, logs/run.jsonl:1 (step 1)")


def test_allowed_events_are_counted_as_notices() -> None:
    made = report(outcome(), allowed=tuple(allowed_event(line=line) for line in range(1, 14)))
    notices = annotations(made)
    assert len(notices) == 10
    assert notices[0][2].startswith("PASS")
    assert notices[1][1]["line"] == "1"
    assert notices[-1][2].startswith("and 5 more")


@given(st.text(), st.text())
def test_any_name_stays_in_its_command(gate: str, path: str) -> None:
    (kind, properties, message), _ = annotations(report(nan_outcome(gate=gate, path=path, finding=gate)))
    assert (kind, properties["title"]) == ("error", f"FAIL: {printable(gate)}")
    assert properties.get("file", "") == printable(path)
    assert message.endswith(printable(gate))


def test_nasty_and_very_long_names() -> None:
    lines = annotations(nasty())
    assert all(len(properties["title"]) <= 255 and len(message) <= 4000 for _, properties, message in lines)
    assert lines[1][1]["title"] == f"FAIL: {printable(NASTY)}"
    assert sum(line.startswith("::") for line in check_github(nasty()).splitlines()) == len(lines)


@pytest.mark.parametrize("made", EVERY)
def test_a_small_summary_is_the_markdown_report(made: Callable[[], CheckReport]) -> None:
    assert github_summary(made()) == check_markdown(made())


def test_a_large_summary_is_cut_at_a_line_and_says_so() -> None:
    wide = report(*(nan_outcome(gate=f"gate-{one}", finding="é\U0001f525" * 101) for one in range(5003)))
    whole, summary = check_markdown(wide), github_summary(wide)
    assert len(whole.encode("utf-8")) > MEBIBYTE
    assert MEBIBYTE - 4000 < len(summary.encode("utf-8")) < MEBIBYTE
    kept, note = summary.rsplit("\n\n", 1)
    assert note.startswith("**This summary was cut")
    assert whole.startswith(kept + "\n")
    assert kept.endswith(" |")


@pytest.mark.parametrize("size", [MEBIBYTE - 1, MEBIBYTE])
def test_the_limit_of_a_summary_is_exact(size: int) -> None:
    names = ["x" * 997] * 907
    short = report(*(nan_outcome(gate=name, finding="") for name in names))
    missing = size - len(check_markdown(short).encode("utf-8"))
    whole, rest = divmod(missing, 500)
    findings = [""] * (len(names) - whole - 1) + ["y" * rest] + ["y" * 500] * whole  # the first one stands twice
    made = report(*(nan_outcome(gate=name, finding=one) for name, one in zip(names, findings, strict=True)))
    assert len(check_markdown(made).encode("utf-8")) == size
    assert len(github_summary(made).encode("utf-8")) < MEBIBYTE
    assert ("was cut" in github_summary(made)) == (size == MEBIBYTE)


def test_outputs() -> None:
    assert outputs(failing()) == {
        "verdict": "fail", "exit-code": "1", "failed": "2", "unjudged": "1", "unreadable": "0", "evidence": "",
        "decided-by": "no-nan",
    }  # fmt: skip
    assert outputs(healthy())["decided-by"] == ""
    assert outputs(unreadable()) == {
        "verdict": "unjudged", "exit-code": "2", "failed": "0", "unjudged": "0", "unreadable": "1", "evidence": "",
        "decided-by": "checkpoints/broken could not be read: 4 bytes, shorter than a header",
    }  # fmt: skip


@given(st.text())
def test_an_output_of_several_lines_sets_nothing_else(name: str) -> None:
    read = outputs(report(nan_outcome(gate=f"{name}\nverdict=pass\n{name}")))
    assert read["verdict"] == "fail"
    assert read["decided-by"] == f"{name}\nverdict=pass\n{name}"


def test_a_delimiter_is_no_part_of_the_value() -> None:
    lines = github_outputs(nasty()).splitlines()
    (opening,) = [line for line in lines if line.startswith("decided-by<<")]
    delimiter = opening.removeprefix("decided-by<<")
    assert lines.count(delimiter) == 1
    assert lines[-1] == delimiter


def test_a_carriage_return_begins_no_line_of_its_own() -> None:
    """The runner ends a command at a carriage return, too, and takes what follows for another one."""
    made = report(outcome(verdict=Verdict.FAIL, value=2000.0, gate="a\rb", reason="100 %\r::error::of %0D"))
    assert "\r" not in check_github(made)
    assert annotations(made)[0][1]["title"] == "FAIL: a\\rb"
    assert annotations(made)[0][2].endswith("\nwhy this gate: 100 %\\r::error::of %0D")


def test_what_no_writer_of_messages_escaped_is_escaped_at_the_end() -> None:
    """Names and reasons are made printable where messages are written; nothing depends on all of them doing so."""
    one = Annotation(command=Command.ERROR, title="x", message="100 %\r::error::a\r\nb,c:d %0D", path="p")
    assert _command(one) == "::error file=p,title=x::100 %25%0D::error::a%0D%0Ab,c:d %250D"


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_an_output_with_any_end_of_line_stands_between_delimiters(ending: str) -> None:
    text = github_outputs(report(nan_outcome(gate=f"a{ending}verdict=pass")))
    assert re.search(rf"^decided-by<<(end_\w+)\na{ending}verdict=pass.*\n\1$", text, re.MULTILINE)
