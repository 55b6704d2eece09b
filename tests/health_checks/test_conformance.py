"""Captured streams against H x, H^T x, x and other weights of the branch."""

from math import inf, nan, nextafter

import numpy as np
import pytest
import torch
from health_checks.subjects import (
    SITES,
    STREAMS,
    TOKENS,
    activations,
    run,
    said,
    speaks_above,
    stochastic_maps,
    subject,
)

from mhcdiag.health_checks.families.conformance import CHECK as conformance
from mhcdiag.health_checks.families.conformance import CLEARLY_BETTER, ReadingErrors, reading_findings
from mhcdiag.results.gain import Direction
from mhcdiag.weight_readers.records import Prediction

WIDTH = 11
FORWARD, BACKWARD = frozenset({Direction.FORWARD}), frozenset({Direction.BACKWARD})


def site(seed: int = 0, *, applied=lambda h, x: h @ x, post_factor: float = 1.0, off: float = 0.0, **changes):
    """One site of a running model that applies its mapping in some way, off by a share of |x|."""
    generator = np.random.default_rng(seed)
    h = stochastic_maps(1, seed=seed)[0]
    x, branch = generator.standard_normal((TOKENS, STREAMS, WIDTH)), generator.standard_normal((TOKENS, WIDTH))
    post = generator.uniform(0.5, 2, (TOKENS, STREAMS))
    out = applied(h, x) + post_factor * post[..., None] * branch[:, None] + off * np.sqrt((x**2).mean())
    known = {"x_out": out, "branch": branch, "post": post} | changes
    return activations(x, h, **{name: each for name, each in known.items() if each is not None})


def errors_of(captured) -> dict[str, float]:
    """From the definitions, in NumPy."""
    h, x, out = captured.h_res.numpy(), captured.x_in.numpy(), captured.x_out.numpy()
    added = captured.post.numpy()[..., None] * captured.branch.numpy()[:, None]
    right = {
        "as it is": h @ x + added,
        "transposed": h.swapaxes(1, 2) @ x + added,
        "not mixed": x + added,
        "post halved": h @ x + 2 * added,
        "post doubled": h @ x + added / 2,
    }
    size = np.sqrt((x**2).mean())
    return {name: np.sqrt(((out - each) ** 2).mean()) / size for name, each in right.items()}


def model(*sites, **changes):
    return subject(stochastic_maps(len(sites)), activations=sites, **changes)


def whats(outcome) -> list[str]:
    return [finding.what for finding in outcome.findings]


def test_errors_are_shares_of_the_streams():
    sites = [site(i, applied=lambda h, x: h @ x * 1.1) for i in range(SITES)]
    outcome = run(conformance, model(*sites))
    for name in outcome.per_site:
        expected = [errors_of(each)[name] for each in sites]
        assert outcome.per_site[name] == pytest.approx(tuple(expected), rel=1e-9)
        assert outcome.overall[name] == pytest.approx(max(expected), rel=1e-9)
    assert set(outcome.per_site) == {"as it is", "transposed", "not mixed", "post halved", "post doubled"}
    assert set(outcome.overall) == {*outcome.per_site, "scale"}


@pytest.mark.parametrize(
    ("bug", "said_of_it"),
    [
        ({}, None),
        ({"applied": lambda h, x: h.swapaxes(1, 2) @ x}, "H is applied transposed"),
        ({"applied": lambda _, x: x}, "the streams are never mixed: x_out = x_in + post branch"),
        ({"post_factor": 2.0}, "post is half of what is applied"),
        ({"post_factor": 0.5}, "post is twice what is applied"),
        ({"applied": lambda _, x: 2 * x}, "x_out follows neither H x nor H^T x"),
    ],
)
def test_what_an_implementation_does_instead_is_named(bug, said_of_it: str | None):
    outcome = run(conformance, model(*(site(i, **bug) for i in range(SITES))))
    if said_of_it is None:
        assert outcome.findings == ()
        return
    off = outcome.overall["as it is"]
    assert whats(outcome) == [f"{said_of_it} (x_out is off by {off:.2g} of |x|, > 0.02)"]
    assert said(outcome) == [("fail", "site 0", SITES)]


@pytest.mark.parametrize(("off", "failed"), [(0.0199, False), (0.0201, True)])
def test_two_percent_are_allowed(off: float, failed: bool):
    outcome = run(conformance, model(site(0), site(1, off=off), site(2)))
    assert outcome.overall["as it is"] == pytest.approx(off)
    assert said(outcome) == ([("fail", "site 1", 1)] if failed else [])


def test_an_error_of_exactly_the_limit_passes():
    of = model(site(off=0.1))
    error = run(conformance, of).overall["as it is"]
    assert speaks_above(conformance, of, "error", error) == [True, False, False]


def test_a_meaning_must_fit_within_the_limit():
    """Nearer to H^T x than to anything else, but not near enough."""
    outcome = run(conformance, model(site(applied=lambda h, x: h.swapaxes(1, 2) @ x, off=0.021)))
    assert whats(outcome)[0].startswith("x_out follows neither")
    outcome = run(conformance, model(site(applied=lambda h, x: h.swapaxes(1, 2) @ x, off=0.019)))
    assert whats(outcome)[0].startswith("H is applied transposed")


def test_sites_without_x_out_are_left_out():
    wrong = {"applied": lambda _, x: x}
    outcome = run(conformance, model(site(0, x_out=None), site(1, **wrong), site(2, **wrong)))
    assert said(outcome) == [("fail", "site 1", 2)]
    assert outcome.per_site == {}
    assert run(conformance, model(site(x_out=None))).not_checkable.startswith("not checkable from weights")
    assert run(conformance, model()).not_checkable.startswith("not checkable from weights")


@pytest.mark.parametrize("missing", ["branch", "post"])
def test_a_branch_that_was_not_captured_writes_nothing(missing: str):
    silent = site(post_factor=0.0, **{missing: None})
    assert run(conformance, model(silent)).overall["as it is"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("position", range(3))
def test_one_broken_number_is_a_failure_wherever_it_stands(position: int, value: float):
    sites = [site(i) for i in range(3)]
    sites[position].x_out[2, 1, 4] = value
    assert said(run(conformance, model(*sites))) == [("fail", f"site {position}", 1)]


class TestExactSide:
    """Which sums of the captured H are 1."""

    @pytest.mark.parametrize(
        ("exact", "transposed", "words"),
        [
            (FORWARD, False, None),
            (BACKWARD, True, None),
            (FORWARD, True, "the captured H has exact backward sums, the layout says forward ones (off by "),
            (BACKWARD, False, "the captured H has exact forward sums, the layout says backward ones (off by "),
            (frozenset(), True, None),
            (FORWARD | BACKWARD, True, None),
        ],
    )
    def test_the_wrong_side_is_named(self, exact, transposed: bool, words: str | None):
        sites = []
        for seed in range(2):
            captured = site(seed)
            h = captured.h_res.mT if transposed else captured.h_res
            sites.append(activations(captured.x_in, h, x_out=h @ captured.x_in))
        outcome = run(conformance, model(*sites, exact=exact))
        assert said(outcome) == ([] if words is None else [("fail", "", 2)])
        if words is not None:
            sums = np.concatenate([each.h_res.numpy().sum(axis=-1 if exact is FORWARD else -2) for each in sites])
            assert whats(outcome) == [f"{words}{abs(sums - 1).max():.2g})"]

    @pytest.mark.parametrize(
        ("row", "column", "found"), [(0.0011, 0.0, True), (0.0009, 0.0, False), (0.1, 0.0011, False)]
    )
    def test_one_side_must_be_exact_and_the_other_not(self, row: float, column: float, found: bool):
        h = np.array([[0.5 + row, 0.5], [0.5 - row + column, 0.5]])[None]
        x = np.ones((1, 2, WIDTH))
        outcome = run(conformance, model(activations(x, h, x_out=h @ x), exact=FORWARD))
        assert bool(outcome.findings) is found

    def test_exactly_the_tolerance_is_exact(self):
        h = np.array([[0.75, 0.25], [0.5, 0.5]])[None]  # columns are off by 0.25, rows by nothing
        x = np.ones((1, 2, WIDTH))
        of = model(activations(x, h, x_out=h @ x), exact=BACKWARD)
        found = [bool(run(conformance, of, exact=limit).findings) for limit in (-1e-9, 0.0, 0.249, 0.25)]
        assert found == [False, True, True, False]


class TestReadings:
    """What the weights say of captured sites, by the layout and by other readings."""

    def model(self, own: float, others: dict[str, float], *, off: float = 0.0):
        """Readings whose H is off by these factors; x_out follows the captured H but for `off`."""
        sites = [site(i, off=off, branch=None, post_factor=0.0) for i in range(2)]
        readings = {
            name: Prediction(h_res=tuple(each.h_res * (1 + factor) for each in sites), post=(None, None))
            for name, factor in {"the layout": own, **others}.items()
        }
        return model(*sites, predict=lambda: readings)

    def errors(self, factor: float) -> float:
        return max(
            factor * np.sqrt(((each.h_res @ each.x_in).numpy() ** 2).mean() / (each.x_in.numpy() ** 2).mean())
            for each in (site(0), site(1))
        )

    def test_errors_are_those_of_the_streams(self):
        overall = run(conformance, self.model(0.5, {"a": 0.25, "b": 0.125})).overall
        assert overall["from weights"] == pytest.approx(self.errors(0.5))
        assert overall["other reading"] == pytest.approx(self.errors(0.125))
        assert run(conformance, self.model(0.5, {})).overall["other reading"] == inf

    @pytest.mark.parametrize(
        ("own", "other", "words"),
        [
            (0.5, 0.0, "fail the running model follows a ("),
            (0.02, 0.0, "warn the running model follows a ("),
            (0.0001, 0.0, None),  # too small a difference
            (0.5, 0.049, "fail the running model follows a ("),
            (0.5, 0.051, "warn the captured H is not what these weights give by this layout"),
            (0.05, 0.05, None),
            (0.15, 0.15, "warn the captured H is not what these weights give by this layout"),
        ],
    )
    def test_another_reading_is_named_where_it_is_ten_times_better(self, own: float, other: float, words: str | None):
        outcome = run(conformance, self.model(own, {"a": other, "b": other * 2 + 0.3}))
        found = [f"{finding.severity} {finding.what}" for finding in outcome.findings]
        assert len(found) == (words is not None)
        assert all(each.startswith(words) for each in found)
        assert [(finding.site, finding.sites) for finding in outcome.findings] == [("site 0", 2)] * len(found)

    @pytest.mark.parametrize(("limit", "other"), [("differs", 0.0), ("unexplained", 0.5)])
    def test_exactly_the_limits_pass(self, limit: str, other: float):
        of = self.model(0.5, {"a": other})
        own = run(conformance, of).overall["from weights"]
        assert speaks_above(conformance, of, limit, own) == [True, False, False]

    def test_exactly_the_limit_of_a_failure_is_a_warning(self):
        of = self.model(0.5, {"a": 0.0})
        own = run(conformance, of).overall["from weights"]
        found = [run(conformance, of, error=limit).findings[0].severity for limit in (nextafter(own, 0), own)]
        assert found == ["fail", "warn"]

    def test_streams_that_do_not_follow_h_are_not_blamed_on_the_weights(self):
        outcome = run(conformance, self.model(0.5, {"a": 0.5}, off=0.1))
        assert [what.split(" (")[0] for what in whats(outcome)] == ["x_out follows neither H x nor H^T x"]

    def test_what_the_weights_explain_is_said_once(self):
        """x_out follows neither H nor H^T, but another reading of the weights."""
        captured = site(branch=None, post_factor=0.0, applied=lambda h, x: 3 * h @ x)
        readings = {
            "the layout": Prediction(h_res=(captured.h_res,), post=(None,)),
            "thrice": Prediction(h_res=(captured.h_res * 3,), post=(None,)),
        }
        outcome = run(conformance, model(captured, predict=lambda: readings))
        assert [what.split(" (")[0] for what in whats(outcome)] == ["the running model follows thrice"]

    def test_post_counts_where_it_was_captured(self):
        captured = site()
        right, wrong = captured.post, captured.post * 1.5
        readings = {
            name: Prediction(h_res=(captured.h_res,), post=(post,))
            for name, post in (("the layout", wrong), ("right", right), ("silent", None))
        }
        overall = run(conformance, model(captured, predict=lambda: readings)).overall
        assert overall["from weights"] == pytest.approx(0.5)
        assert overall["other reading"] == pytest.approx(0.0, abs=1e-12)

    def test_without_x_out_the_captured_mapping_stands_for_it(self):
        first, second = site(0, branch=None, post_factor=0.0), site(1, x_out=None, branch=None)
        maps = tuple(torch.as_tensor(each.h_res) for each in (first, second))
        readings = {"the layout": Prediction(h_res=(maps[0], maps[1] * 1.5), post=(None, None))}
        overall = run(conformance, model(first, second, predict=lambda: readings)).overall
        size = np.sqrt(((maps[1] @ second.x_in).numpy() ** 2).mean() / (second.x_in.numpy() ** 2).mean())
        assert overall["from weights"] == pytest.approx(0.5 * size)

    @pytest.mark.parametrize("predict", [None, dict])
    def test_layouts_without_a_prediction_say_nothing_of_it(self, predict):
        assert "from weights" not in run(conformance, model(site(), predict=predict)).overall


@pytest.mark.parametrize(("best", "named"), [(0.0625, False), (0.05, True), (0.03, True)])
def test_another_reading_is_named_from_exactly_ten_times_better_on(best: float, named: bool):
    errors = ReadingErrors(own=0.5, best=best, best_name="another")
    found = reading_findings(errors, subject().sites, conformance.thresholds, conforms=False, among=subject().sites)
    assert [finding.what for finding in found] == (
        [f"the running model follows another ({best:.2g}) rather than the layout (off by 0.5 of |x|)"] if named else []
    )
    assert CLEARLY_BETTER * 0.05 == 0.5


def mixed_model(applied, *, kinds=("attn", "ffn"), blocks: int = 3, alike: float = 0.0):
    """Sites of two kinds, the second of which apply H in some way; streams differ by a share of their size."""
    sites, names = [], []
    for block in range(blocks):
        for kind in kinds:
            seed = len(sites)
            captured = site(seed, applied=applied if kind == kinds[1] else (lambda h, x: h @ x))
            if alike:
                common = captured.x_in.mean(dim=1, keepdim=True)
                x = common + alike * (captured.x_in - common)
                way = applied if kind == kinds[1] else (lambda h, x: h @ x)
                captured = activations(x, captured.h_res, x_out=way(captured.h_res, x))
            sites.append(captured)
            names.append(f"{block}.{kind}")
    return model(*sites, sites=tuple(names))


def test_the_half_that_is_transposed_is_named():
    outcome = run(conformance, mixed_model(lambda h, x: h.swapaxes(1, 2) @ x))
    assert said(outcome) == [("fail", "0.ffn", 3)]
    assert whats(outcome)[0].startswith("H is applied transposed at all 3 ffn sites of 6 (0.ffn, 1.ffn, 2.ffn) (x_out")


def test_a_part_of_a_kind_is_named_by_its_sites():
    outcome = run(conformance, model(site(0), site(1, applied=lambda _, x: x), site(2), site(3)))
    assert whats(outcome)[0].startswith(
        "the streams are never mixed: x_out = x_in + post branch at 1 of 4 sites (site 1)"
    )


def test_several_defects_are_told_apart():
    wrong = site(1, applied=lambda h, x: h.swapaxes(1, 2) @ x), site(2, applied=lambda _, x: x), site(3, off=0.5)
    outcome = run(conformance, model(site(0), *wrong))
    assert said(outcome) == [("fail", f"site {i}", 1) for i in (1, 2, 3)]
    assert [what.split(" (")[0].split(" at ")[0] for what in whats(outcome)] == [
        "H is applied transposed",
        "the streams are never mixed: x_out = x_in + post branch",
        "x_out follows neither H x nor H^T x",
    ]


def test_streams_that_are_nearly_alike_hide_nothing():
    """There H^T x is within `error` of H x, where rows and columns sum to 1; it fits a thousand times better."""
    h = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]])
    x = np.ones((TOKENS, 3, WIDTH)) + 0.01 * np.random.default_rng(0).standard_normal((TOKENS, 3, WIDTH))
    maps = np.repeat(h[None], TOKENS, axis=0)
    outcome = run(conformance, model(activations(x, maps, x_out=maps.swapaxes(1, 2) @ x)))
    assert outcome.overall["as it is"] < 0.02
    assert whats(outcome)[0].startswith("H is applied transposed (x_out is off by 0.00")
    assert ">" not in whats(outcome)[0]
    # Rounding of half precision is no such evidence.
    rounded = torch.as_tensor(maps @ x).bfloat16().double()
    assert run(conformance, model(activations(x, maps, x_out=rounded))).findings == ()


@pytest.mark.parametrize(
    ("factor", "found"), [(1.01, True), (0.99, True), (1.0051, True), (1.0049, False), (1.0, False)]
)
def test_a_scale_that_the_tolerance_would_hide_is_found(factor: float, found: bool):
    sites = [site(0), site(1, applied=lambda h, x: factor * (h @ x)), site(2)]
    outcome = run(conformance, model(*sites))
    assert outcome.overall["scale"] == pytest.approx(abs(factor - 1), abs=1e-9)
    assert said(outcome) == ([("fail", "site 1", 1)] if found else [])
    if found:
        assert whats(outcome) == [
            f"x_out is H x times {factor:.4g} at 1 of 3 sites (site 1) (1 +- 0.005); "
            "the tolerance `error` (0.02) alone would hide it"
        ]


def test_rounding_makes_no_scale():
    captured = site(0)
    x, after = (each.bfloat16().double().numpy() for each in (captured.x_in, captured.x_out))
    rounded = activations(
        x, captured.h_res, x_out=after, branch=captured.branch,
        post=captured.post,
    )  # fmt: skip
    outcome = run(conformance, model(rounded))
    assert outcome.findings == ()
    assert outcome.overall["scale"] < 1e-3


def test_readings_are_told_apart_by_site():
    """Two sites follow one other reading, the third the layout."""
    sites = [site(i, branch=None, post_factor=0.0) for i in range(3)]
    own = tuple(each.h_res * factor for each, factor in zip(sites, (1.5, 1.5, 1.0), strict=True))
    other = tuple(each.h_res * factor for each, factor in zip(sites, (1.0, 1.0, 1.7), strict=True))
    readings = {
        "the layout": Prediction(h_res=own, post=(None,) * 3),
        "twice": Prediction(h_res=other, post=(None,) * 3),
    }
    outcome = run(conformance, model(*sites, predict=lambda: readings))
    assert said(outcome) == [("fail", "site 0", 2)]
    assert "follows twice" in whats(outcome)[0]
    assert "at 2 of 3 sites (site 0, site 1)" in whats(outcome)[0]
