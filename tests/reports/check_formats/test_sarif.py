"""The SARIF report: what the standard requires of every object that is written, and what code scanning shows of it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports.check_reports import (
    EVERY,
    NASTY,
    failing,
    healthy,
    many,
    nan_outcome,
    nasty,
    nothing_checked,
    outcome,
    read_input,
    report,
    unreadable,
    warning,
)

from mhcdiag.reports.check_formats.sarif import MOST_RESULTS, check_sarif, uri
from mhcdiag.results.check import CheckReport, GateSeverity, ValuePlace
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import Verdict

URI = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=@/:-]|%[0-9A-F]{2})+")
LEVELS = {"error", "warning", "note", "none"}


def run(made: CheckReport) -> dict[str, Any]:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not strict JSON")

    document = json.loads(check_sarif(made), parse_constant=refuse)
    assert list(document) == ["$schema", "version", "runs"]
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    assert document["version"] == "2.1.0"
    (only,) = document["runs"]
    return only


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(part)


@pytest.mark.parametrize("made", [*EVERY, many])
def test_every_object_has_what_the_standard_requires(made: Callable[[], CheckReport]) -> None:
    whole = run(made())
    driver = whole["tool"]["driver"]
    assert driver["name"] == "mhcdiag"
    assert driver["version"] == made().version
    assert whole["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in LEVELS
        tags = rule["properties"]["tags"]
        assert len(tags) == len(set(tags))
    for result in whole["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in LEVELS
        assert "kind" not in result  # any kind but `fail` would demand the level `none`
        assert len(result["locations"]) == 1
        assert all(isinstance(one, str) for one in result["partialFingerprints"].values())
    (invocation,) = whole["invocations"]
    assert isinstance(invocation["executionSuccessful"], bool)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", invocation["endTimeUtc"])
    assert all(one["level"] in LEVELS for one in invocation["toolExecutionNotifications"])


@pytest.mark.parametrize("made", [*EVERY, many])
def test_messages_and_addresses_are_well_formed(made: Callable[[], CheckReport]) -> None:
    for one in objects(run(made())):
        if "message" in one:
            assert 0 < len(one["message"]["text"]) <= 1100
            assert "](" not in one["message"]["text"]
            assert not re.search(r"(?<!{)(?:{{)*{(?!{)|\d}(?!})", one["message"]["text"])
            assert one["message"]["text"].isprintable()
        if "uri" in one:
            assert URI.fullmatch(one["uri"])
        if "region" in one:
            assert one["region"]["startLine"] > 0
    artifacts = [json.dumps(one) for one in run(made())["artifacts"]]
    assert len(artifacts) == len(set(artifacts))
    assert check_sarif(made()) == check_sarif(made())


@pytest.mark.parametrize("made", EVERY)
def test_what_did_not_pass_is_never_without_a_word(made: Callable[[], CheckReport]) -> None:
    whole = run(made())
    levels = {one["level"] for one in whole["results"]}
    levels |= {one["level"] for one in whole["invocations"][0]["toolExecutionNotifications"]}
    assert ("error" in levels) == (made().verdict is not Verdict.PASS)


def test_results_come_worst_first_and_passes_are_left_out() -> None:
    results = run(failing())["results"]
    assert [(one["properties"]["gate"], one["level"]) for one in results] == [
        ("no-nan", "error"),
        ("exploded", "error"),
        ("ratio", "error"),
        ("spread", "warning"),
    ]
    assert run(healthy())["results"] == []
    assert [one["level"] for one in run(warning())["results"]] == ["warning"]
    strict = report(nan_outcome(severity=GateSeverity.WARNING), strict=True)
    assert [one["level"] for one in run(strict)["results"]] == ["error"]


def test_a_result_names_gate_number_line_and_file() -> None:
    first = run(failing())["results"][0]
    assert first["ruleId"] == "spikes.count.nan"
    assert first["message"]["text"] == (
        "FAIL: no-nan: spikes.count.nan of loss 3 > 0, logs/run.jsonl:1007 (step 12,040): the loss is NaN"
    )
    assert first["locations"][0] == {
        "physicalLocation": {
            "artifactLocation": {"uri": "logs/run.jsonl", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 1007},
        },
        "message": {"text": "step 12,040"},
    }


@pytest.mark.parametrize("place", [None, ValuePlace(text=""), ValuePlace(text="", line=0)])
def test_without_a_line_there_is_no_region(place: ValuePlace | None) -> None:
    (location,) = run(report(nan_outcome(place=place)))["results"][0]["locations"]
    assert location == {"physicalLocation": {"artifactLocation": {"uri": "logs/run.jsonl", "uriBaseId": "%SRCROOT%"}}}


def test_rules_stand_for_metrics_in_a_stable_order() -> None:
    ids = [rule["id"] for rule in run(failing())["tool"]["driver"]["rules"]]
    assert ids == ["gain.worst.backward.norm", "spikes.count.nan"]


def fingerprint(**changes: object) -> str:
    return run(report(nan_outcome(**changes)))["results"][0]["partialFingerprints"]["mhcdiagGate/v1"]


def test_a_fingerprint_outlives_value_line_and_words() -> None:
    moved = fingerprint(value=Huge(400.0), limit=2.0, finding="else", place=ValuePlace(text="step 3", line=3))
    assert fingerprint() == moved == "1cc418fbbeea5cd39bd11f1283064419"
    others = [fingerprint(**{name: "other"}) for name in ("gate", "metric", "series", "path")]
    assert len({fingerprint(), *others}) == 5


def test_the_invocation_tells_how_the_command_ended() -> None:
    (invocation,) = run(failing())["invocations"]
    assert invocation["exitCode"] == 1
    assert invocation["executionSuccessful"]
    assert invocation["exitCodeDescription"] == "FAIL: 2 failed, 1 unjudged, 1 warned, 2 passed; exit code 1"
    assert run(report(nan_outcome(), exit_code=0))["invocations"][0]["exitCode"] == 0


def test_an_unreadable_input_is_a_notification() -> None:
    (invocation,) = run(unreadable())["invocations"]
    assert not invocation["executionSuccessful"]
    assert invocation["exitCode"] == 2
    assert invocation["toolExecutionNotifications"] == [
        {
            "level": "error",
            "message": {"text": "could not be read: 4 bytes, shorter than a header"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "checkpoints/broken", "uriBaseId": "%SRCROOT%"},
                    }
                }
            ],
        }
    ]


def test_where_no_gate_decided_a_notification_says_why() -> None:
    (invocation,) = run(nothing_checked())["invocations"]
    assert [one["message"]["text"] for one in invocation["toolExecutionNotifications"]] == ["nothing was checked"]
    assert not invocation["executionSuccessful"]


def test_at_most_5000_results_and_a_note_on_the_rest() -> None:
    whole = run(many(MOST_RESULTS + 3))
    assert len(whole["results"]) == MOST_RESULTS
    (note,) = whole["invocations"][0]["toolExecutionNotifications"]
    assert note["level"] == "warning"
    assert note["message"]["text"] == "3 more gates do not pass: only the first 5,000 are listed"
    assert whole["invocations"][0]["executionSuccessful"]
    exact = run(many(MOST_RESULTS))
    assert len(exact["results"]) == MOST_RESULTS
    assert exact["invocations"][0]["toolExecutionNotifications"] == []


def test_artifacts_carry_hashes_where_they_are_known() -> None:
    checkpoint, log, _ = run(failing())["artifacts"]
    assert "hashes" not in checkpoint
    assert log["hashes"] == {"sha-256": "0a" * 32}
    twice = report(outcome(), inputs=(read_input(), read_input()))
    assert len(run(twice)["artifacts"]) == 1


def test_nasty_names_stay_text() -> None:
    results = run(nasty())["results"]
    (location,) = results[0]["locations"]
    address = location["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote_to_bytes(address).decode("utf-8") == NASTY
    assert results[0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 7}


@given(st.text(alphabet=st.characters(exclude_categories=[]), min_size=1))
@example("-")
@example("..")
@example("C:\\logs\\a.jsonl")
@example("http://host/a b?c=d%20e#f")
def test_any_path_gives_a_valid_address(path: str) -> None:
    assert re.fullmatch(f"{URI.pattern}|{URI.pattern}[?].*", uri(path))


@given(st.text(alphabet=st.characters(exclude_characters="/:.", exclude_categories=["Cs"]), min_size=1))
def test_a_relative_path_comes_back(path: str) -> None:
    assert unquote_to_bytes(uri(f"a/{path}")) == f"a/{path}".encode()
    assert unquote_to_bytes(uri(f"/{path}")) == f"file:///{path}".encode()


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("./logs/a b.jsonl", "logs/a%20b.jsonl"),
        ("../x#y?z", "../x%23y%3Fz"),
        ("a:b/c", "a%3Ab/c"),
        ("-", "-"),
        (".", "."),
        ("./", "."),
        ("C:\\runs\\x y", "file:///C:/runs/x%20y"),
        ("https://host/x y?revision=main", "https://host/x%20y?revision=main"),
    ],
)
def test_addresses(path: str, address: str) -> None:
    assert uri(path) == address
