"""Findings above limits, and which checks are made by which thresholds."""

from collections.abc import Mapping
from math import inf, isnan, log, nan

import numpy as np
import pytest
from health_checks.subjects import subject

from mhcdiag import health_checks
from mhcdiag.errors import SettingError
from mhcdiag.health_checks import CHECKS, examine
from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, above, largest, model_above, smallest
from mhcdiag.results.health import Basis, Finding, Severity

LIMITS = {Severity.NOTE: 1.0, Severity.WARN: 2.0, Severity.FAIL: 3.0}


def found(*values: float, limits=LIMITS) -> list[tuple[str, str, int, str]]:
    names = [f"site {i}" for i in range(len(values))]
    findings = above(names, values, limits, what="{value} over {limit}", advice="none")
    return [(str(each.severity), each.site, each.sites, each.what) for each in findings]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0, 1.0), []),
        ((0.0, 1.25, 1.5, 1.0), [("note", "site 2", 2, "1.5 over 1")]),
        ((1.5, 2.0), [("note", "site 1", 2, "2 over 1")]),
        ((2.5, 1.5), [("warn", "site 0", 1, "2.5 over 2")]),
        ((3.0, 2.5), [("warn", "site 0", 2, "3 over 2")]),
        ((2.0, 4.0, 5.0), [("fail", "site 2", 2, "5 over 3")]),
        ((inf, 4.0), [("fail", "site 0", 2, "inf over 3")]),
        ((-5.0, -inf), []),
        ((), []),
    ],
)
def test_the_highest_limit_that_any_value_exceeds_makes_the_finding(values, expected):
    assert found(*values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0, nan), ("fail", "site 1", 1, "nan over 3")),
        ((nan, 5.0), ("fail", "site 0", 2, "nan over 3")),
        ((5.0, nan), ("fail", "site 1", 2, "nan over 3")),
    ],
)
def test_nan_exceeds_every_limit_and_is_the_worst(values, expected):
    assert found(*values) == [expected]


def test_limits_count_by_their_size_and_not_by_their_order():
    assert found(2.5, limits={Severity.WARN: 2.0, Severity.NOTE: 1.0})[0][0] == "warn"


@pytest.mark.parametrize("numbers", [(nan, 1.0, 2.0), (1.0, nan, 2.0), (1.0, 2.0, nan), (inf, nan)])
def test_extremes_keep_nan_wherever_it_stands(numbers):
    assert isnan(largest(numbers))
    assert isnan(smallest(numbers))


def test_extremes_are_the_largest_and_the_smallest():
    assert (largest([1.0, 3.0, -4.0]), smallest(iter([1.0, -4.0, 3.0]))) == (3.0, -4.0)


def test_one_number_of_the_whole_model_has_no_site():
    assert model_above(2.5, LIMITS, what="{value} > {limit}", advice="rest") == [
        Finding(severity=Severity.WARN, what="2.5 > 2", site="", sites=0, advice="rest")
    ]
    assert model_above(1.0, LIMITS, what="", advice="") == []


def test_default_thresholds_change_verdicts_so_they_change_on_purpose():
    assert {check.name: check.thresholds for check in CHECKS} == {
        "conformance": {"error": 0.02, "scale": 0.005, "exact": 1e-3, "differs": 1e-4, "unexplained": 0.05},
        "sinkhorn": {
            "residual_warn": 1e-3, "residual_fail": 0.05, "log_sum_note": 0.1, "log_sum_fail": log(2),
            "range_note": 10, "range_warn": 20, "range_fail": 87, "tolerance": 1e-3,
        },
        "frozen": {
            "identity": 0.01, "entropy_inert": 0.02, "entropy_uniform": 0.98, "unmoved": 1e-6, "share": 0.5,
        },
        "collapse": {"half_depth_warn": 0.1, "survives": 0.01},
        "streams": {"dead": 0.01, "effective": 1.5, "dominant": 0.7, "copies": 0.99, "apart": 0.9},
        "gates": {
            "logit": 6, "saturated_warn": 0.05, "tanh": 2, "tanh_warn": 0.25, "alpha_note": 2, "dynamic_note": 0.05,
            "flipped_note": 0.25,
        },
        "gauge": {"first_share_note": 0.5},
        "activations": {"headroom_fail_bits": 3, "growth_warn": 1.1, "largest": 65504},
        "scales": {"silent": 1e-3, "share": 0.5, "large": 10, "log_product": log(10)},
        "deepnorm": {"alpha": 0.05, "gain_factor": 2},
        "attention": {"bound_note": 1e4, "bound_warn": 1e6, "growth_warn": 4, "rank_note": 1.5},
        "norms": {"extreme_note": 50, "extreme_warn": 500, "dead": 1e-3, "dead_warn": 0.1, "negative_note": 0.25},
        "writers": {"spectral_note": 10, "spectral_warn": 100, "silent": 0.01},
    }  # fmt: skip


def stub(name: str, *, error: Exception | None = None) -> HealthCheck:
    """A check that gives back by which thresholds it was run."""

    def look(of: Subject, limits: Mapping[str, float]) -> Outcome:
        if error is not None:
            raise error
        return Outcome(overall=dict(limits), per_site={"p": (1.0,)})

    return HealthCheck(
        name=name, formula="f", source="s", basis=Basis.BOUND, thresholds={"low": 1.0, "high": 2.0}, run=look
    )


@pytest.fixture
def stubs(monkeypatch):
    def install(*each: HealthCheck) -> None:
        monkeypatch.setattr(health_checks, "CHECKS", each)

    return install


class TestExamine:
    """Which checks are made, and by which thresholds."""

    @pytest.mark.parametrize(("only", "made"), [((), ["a", "b", "c"]), (["c"], ["c"]), (["c", "a"], ["a", "c"])])
    def test_those_asked_for_are_made_in_the_order_of_reports(self, stubs, only, made):
        stubs(stub("a"), stub("b"), stub("c"))
        assert [result.name for result in examine(subject(), only=only)] == made

    def test_thresholds_change_where_they_are_set_and_nowhere_else(self, stubs):
        stubs(stub("a"), stub("b"))
        a, b = examine(subject(), thresholds={"b.low": 7.0})
        assert (dict(a.overall), dict(a.thresholds)) == ({"low": 1.0, "high": 2.0},) * 2
        assert (dict(b.overall), dict(b.thresholds)) == ({"low": 7.0, "high": 2.0},) * 2
        assert (b.formula, b.source, b.basis, b.per_site) == ("f", "s", "bound", {"p": (1.0,)})

    def test_unknown_names_are_refused(self, stubs):
        stubs(stub("b"), stub("a"))
        with pytest.raises(SettingError, match=r"^there is no check 'x'; known: b, a$"):
            examine(subject(), only=["a", "x"])
        with pytest.raises(
            SettingError, match=r"^there is no threshold 'a\.x'; known: a\.high, a\.low, b\.high, b\.low$"
        ):
            examine(subject(), thresholds={"a.low": 1.0, "a.x": 1.0})

    def test_a_factorisation_that_refuses_broken_maps_stops_no_other_check(self, stubs):
        stubs(stub("a", error=RuntimeError("did not converge")), stub("b"))
        maps = np.ones((2, 2, 2))
        with pytest.raises(RuntimeError, match="did not converge"):
            examine(subject(maps))
        maps[1, 0, 1] = nan
        a, b = examine(subject(maps))
        assert (a.not_checkable, b.not_checkable) == ("a mapping holds NaN or infinity", "")

    def test_errors_of_another_kind_are_not_hidden(self, stubs):
        stubs(stub("a", error=ValueError("wrong")))
        with pytest.raises(ValueError, match="wrong"):
            examine(subject(np.full((1, 2, 2), nan)))
