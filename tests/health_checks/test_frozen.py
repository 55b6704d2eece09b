"""Mixers at the identity, uniform ones, and those that have not moved."""

from dataclasses import replace

import numpy as np
import pytest
from health_checks.subjects import STREAMS, parameters, random_maps, run, said, subject, whats

from mhcdiag.health_checks.families.frozen import CHECK as frozen

IDENTITY, UNIFORM = np.eye(STREAMS), np.full((STREAMS, STREAMS), 1 / STREAMS)
BETWEEN = (IDENTITY + UNIFORM) / 2


def near_identity(distance: float) -> np.ndarray:
    """A matrix with 1 - tr(H)/n equal to a distance."""
    return IDENTITY * (1 - distance) + (1 - IDENTITY) * distance / (STREAMS - 1)


def test_the_numbers_are_those_of_the_definitions():
    maps = random_maps()
    outcome = run(frozen, subject(maps))
    entropy = -(abs(maps) * np.log(abs(maps))).sum(axis=-1).mean(axis=(1, 2)) / np.log(STREAMS)
    assert outcome.per_site["entropy"] == pytest.approx(tuple(entropy))
    traces = np.trace(maps, axis1=-2, axis2=-1).mean(axis=1)
    assert outcome.per_site["from_identity"] == pytest.approx(tuple(1 - traces / STREAMS))
    farthest = abs(maps - 1 / STREAMS).max(axis=(-2, -1)).mean(axis=1)
    assert outcome.per_site["from_uniform"] == pytest.approx(tuple(farthest))
    assert "moved" not in outcome.per_site


def test_entropy_is_that_of_rows_and_not_of_columns():
    """Every target stream copies the first source: rows are certain, columns are spread evenly or empty."""
    copies = np.zeros((STREAMS, STREAMS))
    copies[:, 0] = 1
    assert run(frozen, subject([copies])).per_site["entropy"] == pytest.approx((0.0,), abs=1e-12)


def test_the_identity_has_no_entropy_and_the_uniform_matrix_all():
    outcome = run(frozen, subject([IDENTITY, UNIFORM]))
    assert outcome.per_site["entropy"] == pytest.approx((0.0, 1.0), abs=1e-12)
    assert outcome.per_site["from_identity"] == pytest.approx((0.0, 1 - 1 / STREAMS), abs=1e-12)
    assert outcome.per_site["from_uniform"] == pytest.approx((1 - 1 / STREAMS, 0.0), abs=1e-12)
    assert outcome.overall == {"inert_sites": 1.0, "permuted_sites": 0.0, "uniform_sites": 1.0}


@pytest.mark.parametrize(
    ("matrix", "inert"),
    [
        (near_identity(0.001), True),
        (near_identity(0.0099), False),  # near enough, but of an entropy above 0.02
        (near_identity(0.0102), False),
        (IDENTITY * 1.0099, True),
        (IDENTITY * 1.0101, False),
        (IDENTITY * 0.9901, True),
        (IDENTITY * 0.9899, False),
        (IDENTITY[::-1], False),  # a permutation has no entropy either
    ],
)
def test_inert_is_near_the_identity_and_certain(matrix, inert: bool):
    assert run(frozen, subject([matrix])).overall["inert_sites"] == float(inert)


def test_two_streams_are_judged():
    assert run(frozen, subject([np.eye(2)])).overall["inert_sites"] == 1.0


@pytest.mark.parametrize(("limit", "found"), [("identity", "from_identity"), ("entropy_inert", "entropy")])
def test_exactly_the_limit_is_not_inert(limit: str, found: str):
    of = subject([near_identity(0.001)])
    (value,) = run(frozen, of).per_site[found]
    around = (np.nextafter(value, -1), value, np.nextafter(value, 1))
    inert = [run(frozen, of, **{limit: float(each)}).overall["inert_sites"] for each in around]
    assert inert == [0.0, 0.0, 1.0]


def test_exactly_the_limit_is_not_uniform():
    of = subject([BETWEEN])
    (value,) = run(frozen, of).per_site["entropy"]
    around = (np.nextafter(value, -1), value, np.nextafter(value, 1))
    flat = [run(frozen, of, entropy_uniform=float(each)).overall["uniform_sites"] for each in around]
    assert flat == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("matrices", "found"),
    [
        ([BETWEEN, IDENTITY], [("warn", "site 1", 1)]),  # half of the sites is enough
        ([BETWEEN, IDENTITY, BETWEEN], []),
        ([BETWEEN, IDENTITY, IDENTITY], [("warn", "site 1", 2)]),
        ([BETWEEN, UNIFORM], [("warn", "site 1", 1)]),
        ([BETWEEN, UNIFORM, BETWEEN], []),
        ([IDENTITY, UNIFORM], [("warn", "site 0", 1), ("warn", "site 1", 1)]),
        ([BETWEEN], []),
    ],
)
def test_half_of_the_sites_make_a_finding(matrices, found):
    assert said(run(frozen, subject(matrices))) == found


SWAPPED = IDENTITY[[1, 0, 2]]
CYCLE = IDENTITY[[1, 2, 0]]


def mixed(permutation: np.ndarray, share: float) -> np.ndarray:
    """A permutation of which a share is spread evenly."""
    return (1 - share) * permutation + share * UNIFORM


@pytest.mark.parametrize(
    ("matrix", "permuted"),
    [
        (SWAPPED, True),
        (CYCLE, True),
        (-CYCLE, True),  # a sign turns a stream around and mixes none
        (mixed(CYCLE, 0.002), True),
        (mixed(CYCLE, 0.02), False),
        (IDENTITY, False),  # which counts as inert
        (IDENTITY[[0, 0, 2]], False),  # two targets read one stream, and one is lost
        (IDENTITY * 2, False),
        (CYCLE * 1.02, False),
        (UNIFORM, False),
    ],
)
def test_a_permutation_swaps_streams_and_mixes_none(matrix, permuted: bool):
    assert run(frozen, subject([matrix])).overall["permuted_sites"] == float(permuted)


def test_a_permutation_that_changes_from_token_to_token_counts():
    tokens = np.stack([SWAPPED, CYCLE, CYCLE.T, IDENTITY])
    assert run(frozen, subject([tokens])).overall["permuted_sites"] == 1.0


@pytest.mark.parametrize(
    ("matrices", "what"),
    [
        ([SWAPPED, CYCLE], "H_res is a permutation that swaps streams at 2 of 2 sites (under 0.01)"),
        (
            [IDENTITY, CYCLE, BETWEEN, BETWEEN],
            "H_res is the identity at 1 of 4 and a permutation that swaps streams at 1 of 4 sites (under 0.01)",
        ),
    ],
)
def test_locked_permutations_are_named(matrices, what: str):
    outcome = run(frozen, subject(matrices))
    assert (whats(outcome), said(outcome)) == ([what], [("warn", "site 0", 2)])


def test_permutations_that_have_not_moved_are_stuck():
    base = np.random.default_rng(0).standard_normal((2, STREAMS, STREAMS))
    earlier = subject([CYCLE, CYCLE], parameters=parameters(base))
    outcome = run(frozen, replace(earlier, earlier=earlier))
    assert said(outcome) == [("fail", "site 0", 2)]


def test_no_site_is_no_finding_whatever_the_share():
    assert run(frozen, subject([BETWEEN]), share=0.0).findings == ()


def test_what_is_said_counts_the_sites():
    assert whats(run(frozen, subject([IDENTITY, UNIFORM, UNIFORM, IDENTITY]))) == [
        "H_res is the identity at 2 of 4 sites (under 0.01)",
        "rows are uniform at 2 of 4 sites (entropy > 0.98)",
    ]


class TestMoving:
    """Against an earlier checkpoint."""

    MAPS = (BETWEEN, IDENTITY, IDENTITY)

    def stuck(self, *changes: float, maps=MAPS):
        base = np.random.default_rng(0).standard_normal((3, STREAMS, STREAMS))
        later = base.copy()
        later[:, 1, 2] -= changes
        earlier = subject(maps, parameters=parameters(base))
        return run(frozen, subject(maps, parameters=parameters(later), earlier=earlier))

    def test_the_largest_change_of_a_logit_counts(self):
        assert self.stuck(0.5, 0.25, 2.0).per_site["moved"] == pytest.approx((0.5, 0.25, 2.0))

    @pytest.mark.parametrize(
        ("changes", "severity"),
        [
            ((1.0, 0.0, 0.0), "fail"),  # what moves is not at the identity
            ((1.0, 0.0, 9e-7), "fail"),
            ((1.0, 0.0, 1.1e-6), "warn"),
            ((1.0, 1e-3, 0.0), "warn"),  # all inert sites must be still, not any
            ((0.0, 1.0, 1.0), "warn"),
        ],
    )
    def test_only_inert_sites_that_are_all_still_are_stuck(self, changes, severity: str):
        outcome = self.stuck(*changes)
        assert said(outcome) == [(severity, "site 1", 2)]
        assert outcome.findings[0].what.endswith(" and has not moved since the earlier checkpoint") is (
            severity == "fail"
        )

    def test_a_change_of_exactly_the_limit_is_still(self):
        base = np.zeros((1, STREAMS, STREAMS))
        of = subject([IDENTITY], parameters=parameters(base + 0.5))
        of = replace(of, earlier=subject([IDENTITY], parameters=parameters(base)))
        severities = [said(run(frozen, of, unmoved=limit))[0][0] for limit in (0.499, 0.5, 0.501)]
        assert severities == ["warn", "fail", "fail"]

    @pytest.mark.parametrize(
        ("what", "found"), [("nothing", [("warn", "", 0)]), ("base", []), ("scale", []), ("projection", [])]
    )
    def test_mixers_that_do_not_move_at_all_are_named_wherever_they_stand(self, what: str, found):
        base = np.random.default_rng(0).standard_normal((2, STREAMS, STREAMS))
        factors = [np.random.default_rng(at).standard_normal((7, STREAMS)) for at in range(2)]

        def checkpoint(changed: bool):
            def moved(part: str) -> float:
                return 1e-3 * (changed and what == part)

            known = parameters(
                base + moved("base"), factors=[each + moved("projection") for each in factors],
                scale=[0.5, 0.25 + moved("scale")],
            )  # fmt: skip
            return subject([BETWEEN, BETWEEN], parameters=known)

        outcome = run(frozen, replace(checkpoint(True), earlier=checkpoint(False)))
        assert said(outcome) == found
        assert not found or whats(outcome) == ["no parameter of any mixer has moved since the earlier checkpoint"]

    @pytest.mark.parametrize("known", ["now", "then", "neither"])
    def test_captured_mappings_have_no_logits_that_could_move(self, known: str):
        logits = parameters(np.zeros((1, STREAMS, STREAMS)))
        earlier = subject([IDENTITY], parameters=logits if known == "then" else None)
        of = subject([IDENTITY], parameters=logits if known == "now" else None, earlier=earlier)
        assert said(run(frozen, of)) == [("warn", "site 0", 1)]
        assert "moved" not in run(frozen, of).per_site


def test_one_stream_cannot_be_frozen():
    assert run(frozen, subject()).not_checkable == "there is one stream"
