"""Saturated gates, grown factors, idle projections and entries that change their sign."""

from dataclasses import replace
from math import erfc, inf, isnan, nan, sqrt

import numpy as np
import pytest
import torch
from health_checks.subjects import gates as site_gates
from health_checks.subjects import parameters, random_maps, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.site_gates import CHECK as gates
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.interface import GateActivation
from mhcdiag.mappings.parametric import Activation
from mhcdiag.weight_readers.records import GateSpread

SINKHORN = SoftmaxSinkhorn()
STREAMS = 3


def static(sites: int = 1, **changes):
    """Parameters without an input-dependent part."""
    base = np.random.default_rng(0).standard_normal((sites, STREAMS, STREAMS))
    return parameters(base, input_dependent=False, **({"constraint": SINKHORN} | changes))


def identities(sites: int = 1) -> np.ndarray:
    return np.stack([np.eye(STREAMS)] * sites)


class TestLogits:
    """Pre and post logits where a sigmoid follows."""

    def examined(self, pre, post, gate: GateActivation = GateActivation.SIGMOID, **limits: float):
        of = subject(identities(len(pre)), parameters=static(len(pre)), gates=site_gates(pre, post, gate))
        return run(gates, of, **limits)

    @pytest.mark.parametrize(("logit", "share"), [(6.0, 0.0), (6.001, 0.25), (-6.001, 0.25), (-6.0, 0.0)])
    def test_beyond_six_either_way_is_saturated(self, logit: float, share: float):
        assert self.examined([(logit, 0.0)], [(0.0, 0.0)]).overall == {"saturated": share}
        assert self.examined([(0.0, 0.0)], [(0.0, logit)]).overall == {"saturated": share}

    def test_a_share_of_exactly_the_limit_passes(self):
        pre, post = [(7.0, 0.0)], [(0.0, 0.0)]
        found = [bool(self.examined(pre, post, saturated_warn=limit).findings) for limit in (0.249, 0.25, 0.251)]
        assert found == [True, False, False]

    def test_what_is_said(self):
        outcome = self.examined([(7.0, 0.0), (0.0, 0.0)], [(0.0, 0.0), (0.0, -8.0)])
        assert whats(outcome) == ["25% of pre and post logits are beyond +-6"]
        assert said(outcome) == [("warn", "", 0)]

    def spread(self, pre: float, post: float, logits=((0.5, -2.0), (0.0, 7.0))):
        """One site whose logits inputs move by these deviations."""
        of = subject(
            identities(), parameters=static(), gates=site_gates([logits[0]], [logits[1]], GateActivation.SIGMOID)
        )
        wide = (torch.full((2,), pre, dtype=torch.float64), torch.full((2,), post, dtype=torch.float64))
        return run(gates, replace(of, gate_spreads=(GateSpread(pre=wide[0], post=wide[1]),)))

    def test_inputs_that_carry_logits_away_saturate_open_gates(self):
        outcome = self.spread(100.0, 100.0)
        assert outcome.overall["saturated"] == pytest.approx(0.95, abs=0.01)
        assert whats(outcome) == ["95% of pre and post logits are beyond +-6"]

    @pytest.mark.parametrize("deviation", [0.5, 3.0, 20.0])
    def test_the_share_is_that_of_a_gaussian(self, deviation: float):
        drawn = deviation * np.random.default_rng(0).standard_normal(200_000)
        expected = np.mean([(abs(drawn + logit) > 6).mean() for logit in (0.5, -2.0)] + [0.0, 1.0])
        outcome = self.spread(deviation, 0.0)
        assert outcome.per_site["saturated_at_site"][0] == pytest.approx(expected, abs=2e-3)

    def test_nothing_that_moves_them_leaves_the_static_logits(self):
        assert self.spread(0.0, 0.0).overall["saturated"] == 0.25

    @pytest.mark.parametrize("where", ["logits", "spread"])
    def test_what_is_not_a_number_fails(self, where: str):
        of = self.spread(nan, 1.0) if where == "spread" else self.spread(1.0, 1.0, logits=((nan, 0.0), (0.0, 0.0)))
        assert isnan(of.overall["saturated"])
        assert said(of) == [("warn", "", 0)]

    def test_what_moves_them_and_could_not_be_read_is_said(self):
        of = subject(
            identities(), parameters=static(), gates=site_gates([(0.0, 0.0)], [(0.0, 0.0)], GateActivation.SIGMOID)
        )
        assert run(gates, of).skipped == ()
        (skipped,) = run(gates, replace(of, unread_spreads=True)).skipped
        assert skipped.startswith("the input-dependent part of pre and post")
        of = subject(identities(), parameters=static(), gates=site_gates([(0.0, 0.0)], [(0.0, 0.0)]))
        assert run(gates, replace(of, unread_spreads=True)).skipped == (), "no sigmoid, nothing to saturate"

    @pytest.mark.parametrize("gate", [GateActivation.NONE, GateActivation.SOFTMAX])
    def test_other_gates_do_not_saturate(self, gate: GateActivation):
        assert self.examined([(9.0, 9.0)], [(9.0, 9.0)], gate).overall == {}


class TestTanh:
    """The inputs of tanh, and offsets under it."""

    LENGTHS = ((1.0, 2.0, 0.0), (3.0, 0.5, 4.0))

    def examined(self, activation=Activation.TANH, **changes):
        factors = [np.diag(each) for each in self.LENGTHS]
        known = parameters(identities(2), activation=activation, factors=factors, constraint=SINKHORN, **changes)
        return run(gates, subject(identities(2), parameters=known), dynamic_note=-1.0)

    def expected(self, offsets=((0.0,) * 3,) * 2) -> tuple[float, ...]:
        """P(|N(o, s^2)| > 2) over columns."""
        shares = []
        for lengths, shifted in zip(self.LENGTHS, offsets, strict=True):
            beyond = [
                erfc((2 - o) / (sqrt(2) * max(s, 1e-12))) + erfc((2 + o) / (sqrt(2) * max(s, 1e-12)))
                for s, o in zip(lengths, shifted, strict=True)
            ]
            shares.append(sum(beyond) / 2 / len(beyond))
        return tuple(shares)

    def test_the_share_is_that_of_a_gaussian(self):
        outcome = self.examined()
        assert outcome.per_site["tanh_saturated"] == pytest.approx(self.expected(), rel=1e-9)
        assert self.expected()[0] == pytest.approx((0.0455 + 0.3173) / 3, abs=1e-4)
        assert said(outcome) == [("warn", "site 1", 1)]

    def test_offsets_shift_it_either_way(self):
        offsets = ((1.0, -0.5, 3.0), (0.25, 1.5, 0.0))
        found = self.examined(offset=np_tensor(offsets)).per_site["tanh_saturated"]
        assert found == pytest.approx(self.expected(offsets), rel=1e-9)

    def test_without_tanh_nothing_saturates(self):
        assert "tanh_saturated" not in self.examined(Activation.NONE).per_site
        known = parameters(identities(), activation=Activation.TANH, constraint=SINKHORN)
        assert "tanh_saturated" not in run(gates, subject(identities(), parameters=known)).per_site

    def test_a_share_of_exactly_the_limit_passes(self):
        factors = [np.diag(self.LENGTHS[1])]
        known = parameters(identities(), activation=Activation.TANH, factors=factors, constraint=SINKHORN)
        of = subject(identities(), parameters=known)
        (share,) = run(gates, of).per_site["tanh_saturated"]
        assert speaks_above(gates, of, "tanh_warn", share, dynamic_note=-1.0) == [True, False, False]


def np_tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scales", "found"),
    [((2.0, -2.0), []), ((0.0, -2.01), [("note", "site 1", 1)]), ((2.5, 3.0), [("note", "site 1", 2)])],
)
def test_factors_count_by_their_size(scales, found):
    known = parameters(identities(2), constraint=SINKHORN, scale=scales)
    outcome = run(gates, subject(identities(2), parameters=known))
    assert outcome.per_site["alpha"] == tuple(map(abs, scales))
    assert said(outcome) == found


def test_static_mixers_have_no_factor():
    assert run(gates, subject(identities(), parameters=static())).per_site == {}


class TestDynamicShare:
    """The input-dependent part against the static one."""

    BASE = np.random.default_rng(4).standard_normal((2, STREAMS, STREAMS))
    FACTORS = np.random.default_rng(5).standard_normal((2, 7, STREAMS))

    def examined(self, *scales: float, base=BASE, **limits: float):
        known = parameters(base, constraint=SINKHORN, factors=list(self.FACTORS), scale=scales)
        return run(gates, subject(identities(2), parameters=known), **limits)

    def test_it_is_a_ratio_of_deviations(self):
        moving = np.sqrt((self.FACTORS**2).sum(axis=1).mean(axis=1)) * np.array([0.5, 0.25])
        expected = moving / self.BASE.std(axis=(1, 2))
        assert self.examined(-0.5, 0.25).per_site["dynamic_share"] == pytest.approx(tuple(expected))

    def test_all_sites_must_be_idle(self):
        shares = self.examined(1.0, 1.0).per_site["dynamic_share"]
        idle, busy = [0.049 / share for share in shares], [0.051 / share for share in shares]
        outcome = self.examined(*idle)
        assert whats(outcome) == ["the input-dependent part is less than 0.05 of the static one"]
        assert said(outcome) == [("note", "", 0)]
        assert said(self.examined(idle[0], busy[1])) == said(self.examined(busy[0], idle[1])) == []

    def test_a_share_of_exactly_the_limit_passes(self):
        largest = max(self.examined(0.001, 0.002).per_site["dynamic_share"])
        around = (np.nextafter(largest, 0), largest, np.nextafter(largest, 1))
        assert [bool(self.examined(0.001, 0.002, dynamic_note=each).findings) for each in around] == [
            False, False, True,
        ]  # fmt: skip

    def test_equal_logits_divide_nothing_by_zero(self):
        found = self.examined(1.0, 1.0, base=np.ones((2, STREAMS, STREAMS))).per_site["dynamic_share"]
        assert found[0] == pytest.approx(np.sqrt((self.FACTORS[0] ** 2).sum(axis=0).mean()) / 1e-12)


class TestSigns:
    """Unconstrained mappings."""

    def test_entries_and_row_sums_below_zero_are_counted(self):
        maps = random_maps() - 0.4
        of = subject(maps, parameters=parameters(np.zeros((len(maps), 3, 3))))
        outcome = run(gates, of)
        assert outcome.per_site["negative_entries"] == pytest.approx(tuple((maps < 0).mean(axis=(1, 2, 3))))
        sums = (maps.sum(axis=-1) < 0).mean(axis=(1, 2))
        assert outcome.per_site["negative_row_sums"] == pytest.approx(tuple(sums))
        assert said(outcome) == [("note", f"site {sums.argmax()}", int((sums > 0.25).sum()))]

    def test_exactly_the_limit_passes_and_zero_is_not_negative(self):
        maps = np.diag([-1.0, 1.0, 0.0, 1.0])[None]
        of = subject(maps, parameters=parameters(np.zeros((1, 4, 4))))
        assert run(gates, of).per_site["negative_row_sums"] == (0.25,)
        assert run(gates, of).per_site["negative_entries"] == (1 / 16,)
        assert speaks_above(gates, of, "flipped_note", 0.25) == [True, False, False]

    def test_constrained_mappings_have_no_signs(self):
        of = subject(-identities(), parameters=static())
        assert "negative_entries" not in run(gates, of).per_site
        assert run(gates, of, flipped_note=-inf).findings == ()


def test_captured_mappings_have_no_such_parameters():
    why = "captured mappings and plain models have no such parameters"
    assert run(gates, subject(identities())).not_checkable == why
