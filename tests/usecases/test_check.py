"""`mhcdiag.check` says what `mhcdiag check` says."""

from pathlib import Path

import pytest

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.errors import InputError, SettingError
from mhcdiag.reports.check_formats.json_document import check_json

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
POLICY = """
[inputs]
logs = ["logs/*.jsonl"]

[gain]
inputs = "static"

[spikes]
z = 4.0

[[gates]]
metric = "gain.worst.forward.norm"
max = 2

[[gates]]
metric = "spikes.count.spike"
max = 0
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "spiky.jsonl").symlink_to(SAMPLES / "logs" / "spiky.jsonl")
    (tmp_path / "hc.safetensors").symlink_to(SAMPLES / "hc.safetensors")
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")


def printed(capsys, *arguments: str) -> str:
    run(["check", "--format", "json", *arguments])
    return capsys.readouterr().out


def test_without_a_policy_the_built_in_gates_judge(capsys) -> None:
    report = mhcdiag.check(["hc.safetensors", "logs"])
    assert check_json(report) == printed(capsys, "--isolated", "hc.safetensors", "logs")
    assert (str(report.verdict), report.exit_code, report.policy) == ("fail", 1, "built-in policy")


def test_a_policy_says_what_is_read_and_how(capsys) -> None:
    report = mhcdiag.check(policy="policy.toml")
    assert check_json(report) == printed(capsys, "--config", "policy.toml")
    assert [one.path for one in report.inputs] == ["logs/spiky.jsonl"]
    of_checkpoint = mhcdiag.check("hc.safetensors", policy=Path("policy.toml"))
    assert check_json(of_checkpoint) == printed(capsys, "--config", "policy.toml", "hc.safetensors")
    assert of_checkpoint.inputs[0].result.inputs == "static"


def test_a_baseline_is_compared_with(capsys) -> None:
    (Path("earlier.json")).write_text(check_json(mhcdiag.check("logs", policy="policy.toml")), encoding="utf-8")
    report = mhcdiag.check("logs", policy="policy.toml", baseline="earlier.json", strict=True, jobs=1)
    arguments = ("--config", "policy.toml", "--baseline", "earlier.json", "--strict", "-j", "1", "logs")
    assert check_json(report) == printed(capsys, *arguments)
    assert (report.baseline, report.strict) == ("earlier.json", True)


def test_a_policy_file_that_was_not_named_is_not_looked_for() -> None:
    Path("policy.toml").rename("mhcdiag.toml")
    assert mhcdiag.check("logs").policy == "built-in policy"


def test_what_cannot_be_read_is_an_entry_and_nothing_to_check_is_an_error() -> None:
    report = mhcdiag.check(["missing.jsonl", "logs"])
    assert (str(report.verdict), [bool(one.error) for one in report.inputs]) == ("unjudged", [True, False])
    with pytest.raises(SettingError, match="nothing to check: no PATH was given"):
        mhcdiag.check()
    with pytest.raises(InputError, match=r"none\.toml"):
        mhcdiag.check("logs", policy="none.toml")
