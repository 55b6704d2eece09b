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
from mhcdiag.health_checks import CHECKS
from mhcdiag.metrics import METRICS, Examined, Question
from mhcdiag.metrics.health import NUMBERS
from mhcdiag.results.documents.health import health_document, health_of

NOT_JUDGED = {
    # One per stream, so that their number is that of a model; sinks of the same fact as `second_singular`.
    "collapse": {"lyapunov_1", "lyapunov_2", "lyapunov_3", "lyapunov_4"},
    # Which defect fits best: `as it is` is the error that a gate can judge.
    "conformance": {"transposed", "not mixed", "post halved", "post doubled", "other reading"},
    # What the depth of the model says.
    "deepnorm": {"alpha_expected", "beta_expected"},
    # Parts of the gain, for which there are metrics of `gain`.
    "gauge": {"log_gain", "log_gain_first"},
    # Curves to look at, whose ends are other numbers.
    "activations": {"rms", "rms_first_token"},
    "frozen": {"from_uniform"},
    "gates": {"negative_entries"},
    "scales": {"branch_scales", "log_residual_product"},
    "streams": {"largest_pre", "largest_post", "cosine", "smallest_cosine"},
    "writers": {"attention_rms", "attention_spectral", "feed_forward_rms", "feed_forward_spectral", "broken"},
    # A finding of severity fail, which `health.failed` counts.
    "norms": {"broken"},
}
"""Numbers of a check that no metric names, by the name of the check."""


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    """Three models that together give every number: with Sinkhorn, plain, and with tanh, its scales in 16 bits."""
    folder = tmp_path_factory.mktemp("models")
    mixing = save_v4(folder / "v4", v4())
    hc = hyper_connections_tensors()
    stated = CONFIG | {"deepnorm": True, "residual_multiplier": 0.5}
    plain = write(folder / "plain", llama(), config=stated)
    return (
        mhcdiag.health(mixing, captured=captured(folder), against=mixing),
        mhcdiag.health(plain, against=plain),
        mhcdiag.health(write(folder / "hc", {n: t.half() if "scale" in n else t for n, t in hc.items()})),
    )


def test_every_number_of_a_check_is_a_metric_or_left_out_on_purpose(examined):
    """Both ways: a metric of a number that is not there would never judge, a number without one cannot be judged."""
    for check in CHECKS:
        of_check = [each for result in examined for each in result.checks if each.name == check.name]
        given = {key for each in of_check for key in (*each.overall, *each.per_site)}
        numbers = NUMBERS[check.name]
        judged = {*numbers.factors, *numbers.fractions}
        left_out = NOT_JUDGED.get(check.name, set())
        assert given == judged | left_out, f"{check.name} against its NUMBERS (mhcdiag/metrics/health.py)"
        assert not judged & left_out


def test_every_metric_is_read_from_a_report(examined):
    again = [health_of(json.loads(json.dumps(health_document(each), allow_nan=False))) for each in examined]
    assert all(map(alike, again, examined)), "as a baseline gives them back"
    for results in (examined, again):
        records = [Examined(gain=checkpoint().gain, health=each) for each in results]
        for name, metric in METRICS.items():
            if name.startswith("health."):
                assert any(metric.read(record, Question()).value is not None for record in records), name


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Streams that collapse over ten sites: a warning; too few iterations for columns that sum to 1: a note."""
    monkeypatch.chdir(tmp_path)
    save_v4(tmp_path / "model", v4(layers=5, diagonal=1.5, spread=0.3), layers=5, iterations=3)
    return tmp_path


@pytest.mark.parametrize(
    ("metric", "limit", "code", "said"),
    [
        ("health.failed", "max = 0", 0, "PASS"),
        ("health.warned", "max = 0", 1, "health.warned 1 > 0"),
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
