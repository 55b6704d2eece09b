"""Findings above limits, and which checks are made by which thresholds."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf, isnan, log, nan

import numpy as np
import pytest
from health_checks.subjects import subject

from mhcdiag import health_checks
from mhcdiag.errors import SettingError
from mhcdiag.health_checks import CHECKS, examine
from mhcdiag.health_checks.interface import (
    HealthCheck,
    Outcome,
    Subject,
    above,
    largest,
    model_above,
    model_finding,
    over,
    role_of,
    smallest,
)
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


def test_a_ratio_to_zero_is_told_in_words():
    assert [over(3.0, 2.0), over(3.0, 0.0), over(0.0, 0.0)] == [1.5, inf, 1.0]
    assert isnan(over(nan, 0.0))
    assert isnan(over(1.0, nan))
    limits = {Severity.WARN: 2.0}
    (finding,) = above(["a", "b"], [inf, 3.0], limits, what="{value} > {limit}", none="no median", advice="x")
    assert (finding.what, finding.site, finding.sites) == ("no median", "a", 2)
    assert above(["b"], [3.0], limits, what="{value} > {limit}", none="no median", advice="x")[0].what == "3 > 2"
    assert above(["b"], [nan], limits, what="{value} > {limit}", none="no median", advice="x")[0].what == "nan > 2"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.11.q_norm.weight", "model.layers.N.q_norm.weight"),
        ("0.ln1.weight", "N.ln1.weight"),
        ("h.1.norms.3.weight", "h.N.norms.N.weight"),
        ("norm.weight", "norm.weight"),
    ],
)
def test_a_role_has_no_number_of_a_layer(name: str, role: str):
    assert role_of(name) == role


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
        "gain": {"note": 3, "warn": 30, "fail": 1000},
        "sinkhorn": {
            "residual_note": 1e-3, "residual_warn": 0.05, "residual_fail": 1,
            "log_sum_note": log(3), "log_sum_warn": log(30), "log_sum_fail": log(1000),
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
        "precision": {"change": 1e-6},
        "gauge": {"first_share_note": 0.5},
        "activations": {"headroom_fail_bits": 3, "growth_warn": 1.1, "largest": 65504},
        "scales": {"silent": 1e-3, "share": 0.5, "large": 10, "log_product": log(10)},
        "deepnorm": {"alpha": 0.05, "gain_factor": 2},
        "attention": {"bound_note": 1e4, "bound_warn": 1e6, "growth_warn": 4, "rank_note": 1.5},
        "norms": {
            "extreme_note": 50, "extreme_warn": 500, "dead": 1e-3, "dead_warn": 0.1, "negative_note": 0.25,
            "level_note": 100, "level_warn": 1000, "small_warn": 1e-4,
        },
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
        assert [(f.severity, f.site, f.sites, f.what) for f in a.findings] == [
            ("fail", "site 1", 1, "a mapping holds NaN or infinity")
        ]
        assert (b.not_checkable, b.findings) == ("", ())

    @pytest.mark.parametrize(
        ("overall", "per_site", "found"),
        [
            ({"p": nan}, {}, ("", 0, "p: NaN, since what was read holds NaN or infinity")),
            ({}, {"one_p": (1.0, nan, nan)}, ("site 1", 2, "one p: NaN, since what was read holds NaN or infinity")),
            ({"p": nan}, {"p": (nan, 1.0), "q": (1.0, nan)}, ("site 0", 2, "p, q: NaN, since what was read holds NaN")),
        ],
    )
    def test_a_number_that_is_nan_fails_whatever_the_check_says(self, stubs, overall, per_site, found):
        """NaN is above no limit: a check that only compares would pass it."""
        outcome = Outcome(overall=overall, per_site=per_site)
        stubs(replace(stub("a"), run=lambda *_: outcome))
        (result,) = examine(subject(np.ones((3, 1, 1))))
        (finding,) = result.findings
        assert (str(finding.severity), finding.site, finding.sites) == ("fail", *found[:2])
        assert finding.what.startswith(found[2])

    def test_a_check_that_has_failed_says_no_more_of_its_nan(self, stubs):
        outcome = replace(Outcome(overall={"p": nan}, per_site={}), findings=(model_finding(Severity.FAIL, "x", "y"),))
        stubs(replace(stub("a"), run=lambda *_: outcome))
        (result,) = examine(subject())
        assert [finding.what for finding in result.findings] == ["x"]

    def test_what_was_skipped_is_handed_on(self, stubs):
        stubs(replace(stub("a"), run=lambda *_: Outcome(overall={}, per_site={}, skipped=("this: why",))))
        assert examine(subject())[0].skipped == ("this: why",)

    def test_errors_of_another_kind_are_not_hidden(self, stubs):
        stubs(stub("a", error=ValueError("wrong")))
        with pytest.raises(ValueError, match="wrong"):
            examine(subject(np.full((1, 2, 2), nan)))
