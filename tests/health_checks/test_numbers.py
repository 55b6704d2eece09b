"""The numbers that gates can judge are those that the checks give."""

import json

import pytest
from checkrecords import alike, checkpoint
from health_checks.test_health import captured, v4
from health_checks.test_health import save as save_v4
from health_checks.test_plain_models import CONFIG, llama
from stacks import hyper_connections_tensors, write

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.metrics import METRICS, Examined, Question
from mhcdiag.metrics.health import NUMBERS
from mhcdiag.results.documents.health import health_document, health_of


def test_every_metric_is_a_number_of_its_check(tmp_path):
    mixing = save_v4(tmp_path / "v4", v4())
    stated = CONFIG | {"deepnorm": True, "residual_multiplier": 0.5}
    plain = write(tmp_path / "plain", llama(), config=stated)
    examined = (
        mhcdiag.health(mixing, captured=captured(tmp_path), against=mixing),
        mhcdiag.health(plain, against=plain),
        mhcdiag.health(write(tmp_path / "hc", hyper_connections_tensors())),
    )
    found = {
        (check.name, key) for each in examined for check in each.checks for key in (*check.overall, *check.per_site)
    }
    wanted = {(check, key) for check, numbers in NUMBERS.items() for key in (*numbers.factors, *numbers.fractions)}
    assert wanted <= found
    again = [health_of(json.loads(json.dumps(health_document(each), allow_nan=False))) for each in examined]
    assert all(map(alike, again, examined)), "as a baseline gives them back"
    for results in (examined, again):
        records = [Examined(gain=checkpoint().gain, health=each) for each in results]
        for name, metric in METRICS.items():
            if name.startswith("health."):
                assert any(metric.read(record, Question()).value is not None for record in records), name


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_v4(tmp_path / "model", v4(layers=61, diagonal=4.0, spread=0.0), layers=61)
    return tmp_path


@pytest.mark.parametrize(
    ("metric", "limit", "code", "said"),
    [
        ("health.failed", "max = 0", 0, "PASS"),
        ("health.warned", "max = 0", 1, "health.warned 2 > 0"),
        ("health.collapse.half_depth", "min = 0.1", 1, "below its limit"),
        ("health.collapse.half_depth", "min = 0.001", 0, "PASS"),
        ("health.conformance.error", "max = 0.02", 2, "check conformance: not checkable from weights"),
        ("health.collapse.half_depth", "max_ratio = 2", 2, "not in the baseline"),
    ],
)
def test_a_policy_gates_them(project, capsys, metric: str, limit: str, code: int, said: str):
    (project / "mhcdiag.toml").write_text(f'[[gates]]\nmetric = "{metric}"\n{limit}\n', encoding="utf-8")
    assert run(["check", "model"]) == code
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_baseline_holds_them(project, capsys):
    gate = '[[gates]]\nmetric = "health.collapse.half_depth"\nmax_ratio = 1\n'
    (project / "mhcdiag.toml").write_text(gate, encoding="utf-8")
    assert run(["check", "model", "--baseline", "then.json", "--update-baseline"]) == 0
    assert run(["check", "model", "--baseline", "then.json"]) == 0
    assert "1 passed" in capsys.readouterr().out
