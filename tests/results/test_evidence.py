"""What counts as proved, as measured and as sampled, and how that is said."""

import math
from dataclasses import replace

import pytest
from checkrecords import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.results.bands import reading, reading_of
from mhcdiag.results.evidence import (
    assurance,
    doubt_of_bounds,
    doubt_of_inputs,
    evidence_of,
    is_enough,
    is_tie,
    qualification,
    weakest,
)
from mhcdiag.results.gain import NOT_SAID, Definition, Direction, GainResult, NonFinite
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import GainEvidence, Limit, Skipped

CERTIFIED, MEASURED, SAMPLED = GainEvidence.CERTIFIED, GainEvidence.MEASURED, GainEvidence.SAMPLED
HASH = "sha256:" + "0a" * 32
PROVED = {"bound_doubt": "", "assumed": (), "sites_total": 3}
REAL = {"inputs": "text", "tokens": 128, "span_tokens": 128, "tied_to": HASH, "sites_total": 3}
BROKEN = (NonFinite(site="0.ffn", tensors=(), found="1 value is NaN"),)
SKIPPED = (Skipped(what="2.attn", reason="no bias"),)


def record(worst: float = 1.0, bound: object = 1.0, *, by_layout: bool = False, **changes: object) -> GainResult:
    """A checkpoint of three sites whose worst gain and bound are these in both directions."""
    result = checkpoint().gain
    spans = {key: replace(span, value=worst) for key, span in result.worst.items()}
    bounds = {way: replace(one, worst=bound, by_layout=by_layout) for way, one in result.bound.items()}
    return replace(result, worst=spans, bound=bounds, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "ties"),
    [
        (HASH, True),
        ("step 160", True),
        ("step 0", True),
        ("", False),
        ("step", False),
        ("step -1", False),
        ("yes", False),
        ("sha256:", False),
        (HASH[:-1], False),
        (f"{HASH} or so", False),
    ],
)
def test_a_tie_is_a_whole_hash_or_a_step(words: str, ties: bool):
    assert is_tie(words) is ties


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({}, ""),
        ({"inputs": "captured", "tied_to": "step 7"}, ""),
        ({"inputs": "random"}, "random inputs"),
        ({"inputs": "static"}, "static inputs"),
        ({"inputs": "embedding"}, "embedding inputs"),
        ({"inputs": "worst"}, "worst inputs"),
        ({"tokens": 127}, "127 real tokens (fewer than 128)"),
        ({"span_tokens": 1}, "1 real token (fewer than 128)"),
        ({"sites_total": 4}, "3 of 4 sites"),
        ({"skipped": SKIPPED}, "all sites but 2.attn"),
        ({"tied_to": ""}, "mappings that name no checkpoint"),
        ({"tied_to": "my run"}, "mappings that name no checkpoint"),
    ],
)
def test_real_tokens_are_many_of_all_sites_of_a_known_checkpoint(change: dict, doubt: str):
    result = record(**(REAL | change))
    assert doubt_of_inputs(result) == doubt
    assert evidence_of(result, 1000.0, None) is (SAMPLED if doubt else MEASURED)


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({}, ""),
        ({"nonfinite": BROKEN}, "site 0.ffn holds NaN or infinity"),
        ({"skipped": SKIPPED}, "2.attn was skipped"),
        ({"sites_total": 60}, "3 of 60 sites were looked at"),
        ({"bound_doubt": "exp overflows"}, "exp overflows"),
        ({"assumed": ("Sinkhorn iterations: 20 (not stored; --sinkhorn-iters)",)}, ""),
        ({"assumed": ("Sinkhorn eps: 1e-6", "eps of the input norm: 1e-6", "temperature of the logits: 0.05")}, ""),
        ({"assumed": ("orientation: comb is applied transposed",)}, "assumed: orientation: comb is applied transposed"),
        ({"assumed": ("tanh on the input-dependent part",)}, "assumed: tanh on the input-dependent part"),
        ({"assumed": ("something new",)}, "assumed: something new"),
    ],
)
def test_a_bound_holds_where_nothing_that_it_rests_on_is_in_doubt(change: dict, doubt: str):
    for by_layout in (False, True):
        result = record(by_layout=by_layout, **(PROVED | change))
        assert doubt_of_bounds(result) == doubt
        assert evidence_of(result, 1.0, 1.0) is (SAMPLED if doubt else CERTIFIED)


@pytest.mark.parametrize(
    "what", ["depth order: natural order of module paths", "the last layer found is the last layer"]
)
def test_what_the_layout_guarantees_holds_in_any_order_of_any_sites(what: str):
    assert doubt_of_bounds(record(by_layout=True, **(PROVED | {"assumed": (what,)}))) == ""
    assert doubt_of_bounds(record(by_layout=False, **(PROVED | {"assumed": (what,)}))) == f"assumed: {what}"


def test_a_record_from_before_proves_nothing():
    assert doubt_of_bounds(record()) == NOT_SAID or doubt_of_bounds(record()).startswith("assumed")
    assert evidence_of(record(assumed=()), 1000.0, 1.0) is SAMPLED


numbers = st.one_of(st.none(), st.floats(0, 1e6), st.just(math.nan), st.just(math.inf), st.just(Huge(400.0)))
facts = st.fixed_dictionaries(
    {
        "inputs": st.sampled_from(["static", "random", "aligned", "worst", "embedding", "captured", "text"]),
        "tokens": st.sampled_from([1, 127, 128, 4096]),
        "span_tokens": st.sampled_from([1, 128, 1024]),
        "tied_to": st.sampled_from(["", "step 5", HASH, "x"]),
        "sites_total": st.sampled_from([0, 3, 4]),
        "assumed": st.sampled_from([(), ("Sinkhorn iterations: 20",), ("orientation: a",), ("depth order: b",)]),
        "skipped": st.sampled_from([(), SKIPPED]),
        "nonfinite": st.sampled_from([(), BROKEN]),
        "bound_doubt": st.sampled_from(["", "exp overflows", NOT_SAID]),
    }
)


@given(facts=facts, by_layout=st.booleans(), limit=st.one_of(st.none(), st.floats(0, 1e6)), bound=numbers)
def test_certified_means_that_the_bound_is_within_the_limit_and_beyond_doubt(facts, by_layout, limit, bound):
    result = record(bound=bound, by_layout=by_layout, **facts)
    found = evidence_of(result, limit, bound)
    if found is CERTIFIED:
        assert bound is not None
        assert not isinstance(bound, Huge)
        assert bound <= limit
        assert not facts["nonfinite"]
        assert not facts["skipped"]
        assert not facts["bound_doubt"]
        assert facts["sites_total"] <= 3
        assert "orientation" not in str(facts["assumed"])
    if found is MEASURED:
        assert facts["inputs"] in ("captured", "text")
        assert min(facts["tokens"], facts["span_tokens"]) >= 128
        assert facts["tied_to"] in ("step 5", HASH)
        assert facts["sites_total"] <= 3
        assert not facts["skipped"]


@pytest.mark.parametrize("require", [None, *GainEvidence])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("evidence", [None, *GainEvidence])
def test_more_evidence_than_is_wanted_is_enough(require, strict: bool, evidence):
    least = {None: 0, SAMPLED: 0, MEASURED: 1, CERTIFIED: 2}[require]
    least = max(least, 1) if strict else least
    has = {None: 2, SAMPLED: 0, MEASURED: 1, CERTIFIED: 2}[evidence]
    assert is_enough(evidence, require=require, strict=strict) is (has >= least)


def test_the_weakest_counts():
    assert weakest([CERTIFIED, None, SAMPLED, MEASURED]) is SAMPLED
    assert weakest([MEASURED, CERTIFIED]) is MEASURED
    assert weakest([None]) is None


def judged(result: GainResult, limit: float, *bounds: object) -> list[Limit]:
    return [
        Limit(
            metric="worst.forward.norm", value=1.0, limit=limit, passed=True, bound=bound,  # type: ignore[arg-type]
            evidence=evidence_of(result, limit, bound),  # type: ignore[arg-type]
        )
        for bound in bounds
    ]  # fmt: skip


COMMAND = "measure real tokens with `mhcdiag gain checkpoints/step_100 --inputs text`"


@pytest.mark.parametrize(
    ("facts", "limit", "bounds", "words"),
    [
        (PROVED | {"inputs": "random"}, 1000.0, (5.3e4, 12.0), f"on random inputs only: bound 5.3e4 > 1000; {COMMAND}"),
        (PROVED, 1000.0, (Huge(4880.0),), f"on static inputs only: bound 1.0e4880 > 1000; {COMMAND}"),
        (PROVED, 1000.0, (1000.0001,), f"on static inputs only: bound 1000.0001 > 1000; {COMMAND}"),
        (PROVED | {"by_layout": True}, 3.0, (1.0, 4.0), f"on sampled inputs; the layout guarantees only 4; {COMMAND}"),
        (PROVED, 1000.0, (None, 1e9), f"on static inputs only: no bound (stochastic); {COMMAND}"),
        (
            PROVED | {"assumed": ("orientation: transposed",)}, 1000.0, (4.0,),
            f"on static inputs only: bound 4 <= 1000 is no proof (assumed: orientation: transposed); {COMMAND}",
        ),
        (
            REAL | {"inputs": "captured", "tokens": 32}, 1000.0, (None,),
            "on 32 real tokens (fewer than 128) only: no bound (stochastic); capture 128 tokens or more, and all "
            "sites, with `mhcdiag capture MODEL_DIR --text FILE --out checkpoints/step_100`",
        ),
        (PROVED, 1000.0, (4.0, 1.0), ""),
        (REAL, 1000.0, (None,), ""),
    ],
)  # fmt: skip
def test_a_sample_says_what_was_sampled_what_is_known_and_what_to_type(facts, limit, bounds, words):
    result = record(**facts)
    assert qualification(result, judged(result, limit, *bounds)) == words


def test_paths_in_commands_are_quoted():
    result = record(path="a b/c", **PROVED)
    assert qualification(result, judged(result, 1.0, 2.0)).endswith("`mhcdiag gain 'a b/c' --inputs text`")


def test_what_is_proved_or_measured_says_so():
    proved = record(**PROVED)
    assert assurance(proved, judged(proved, 1000.0, 1.0, 4.0)) == "certified: bound 4 <= 1000"
    measured = record(**(REAL | {"tied_to": "step 160"}))
    assert assurance(measured, judged(measured, 1000.0, None, 4.0)) == "measured: 128 real tokens of step 160"
    assert assurance(proved, judged(proved, 3.0, 1.0, 4.0)) == ""


@pytest.mark.parametrize(
    ("facts", "worst", "bound", "word", "severity"),
    [
        (REAL, 1.05, None, "calm", None),
        (REAL, 20.0, None, "watch", "note"),
        (PROVED, 1.05, 1.0999, "calm", None),
        (PROVED, 1.05, 4.0, "at most watch", None),
        (PROVED, 2.0, 900.0, "at most warn", None),
        (PROVED, 5.0, 900.0, "watch to warn", "note"),
        (PROVED, 1.05, 5.3e4, "unknown", "warn"),
        (PROVED, 2.9, None, "unknown", "warn"),
        (PROVED | {"bound_doubt": "x"}, 1.05, 1.0, "unknown", "warn"),
        (PROVED, 5.0, 5.3e4, "at least watch", "warn"),
        (PROVED, 738.0, 8e6, "at least warn", "warn"),
        (PROVED, 8240.0, 1e9, "exploded", "fail"),
        (PROVED, math.nan, 4.0, "broken", "fail"),
        (REAL, 1e5, None, "exploded", "fail"),
    ],
)
def test_no_sample_reads_calm_unless_its_bound_does(facts, worst: float, bound, word: str, severity):
    result = record(worst, bound, **facts)
    found = reading_of(result, Direction.FORWARD)
    assert (found.word, found.severity) == (word, severity)
    assert reading(result).word == word
    if word in ("unknown", "at least watch", "at least warn"):
        assert found.advice == COMMAND
        assert "nothing to do" not in found.advice


def test_the_reading_of_both_directions_is_that_of_the_worse():
    result = record(1.05, 1.05, by_layout=True, **PROVED)
    backward = (Direction.BACKWARD, Definition.NORM)
    bounds = {**result.bound, Direction.BACKWARD: replace(result.bound[Direction.BACKWARD], worst=4.0)}
    assert reading(replace(result, bound=bounds)).word == "at most watch"
    worse = {**result.worst, backward: replace(result.worst[backward], value=31.0)}
    assert reading(replace(result, worst=worse, bound=bounds)).word == "warn"
