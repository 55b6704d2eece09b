"""Subjects of our own making, so that each check sees exactly the numbers that a test is about."""

from collections.abc import Mapping, Sequence
from math import inf, nextafter

import numpy as np
import torch

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject
from mhcdiag.mappings.inputs import InputNorm, LogitFactor
from mhcdiag.mappings.interface import GateActivation, Orientation, SiteGates, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.weight_readers.query_key import QueryKey
from mhcdiag.weight_readers.records import DeepNormScales, NormWeight, PlainWeights, SiteActivations, Writer

SITES, STREAMS, TOKENS = 5, 3, 7
"""Primes that differ, so that no axis passes for another."""


def random_maps(sites: int = SITES, streams: int = STREAMS, tokens: int = TOKENS, *, seed: int = 0) -> np.ndarray:
    """H [site, token, n, n] that do not commute, entries of both signs."""
    return np.eye(streams) + 0.5 * np.random.default_rng(seed).standard_normal((sites, tokens, streams, streams))


def stochastic_maps(sites: int = SITES, streams: int = STREAMS, tokens: int = TOKENS, *, seed: int = 0) -> np.ndarray:
    """The same with positive entries and rows that sum to 1; columns do not."""
    drawn = np.random.default_rng(seed).uniform(0.05, 1, (sites, tokens, streams, streams))
    return drawn / drawn.sum(axis=-1, keepdims=True)


def as_tensor(maps) -> torch.Tensor:
    """[site, token, n, n] as the package holds them; [site, n, n] is one token."""
    maps = torch.as_tensor(np.asarray(maps, dtype=np.float64))
    return (maps.unsqueeze(1) if maps.dim() == 3 else maps).permute(0, 2, 3, 1).contiguous()


def subject(maps=None, **changes) -> Subject:
    """A subject of these mappings of which nothing else is known; sites are called "site 0" and so on."""
    held = as_tensor(np.ones((SITES, 1, 1)) if maps is None else maps)
    known = {"parameters": None, "temperature": 1.0, "gates": None, "activations": (), "exact": frozenset()}
    known |= {"sites": tuple(f"site {i}" for i in range(len(held))), "maps": held, "earlier": None}
    return Subject(**(known | changes))


def run(check: HealthCheck, of: Subject, **limits: float) -> Outcome:
    """The outcome by the default thresholds, some of them changed."""
    return check.run(of, dict(check.thresholds) | limits)


def said(outcome: Outcome) -> list[tuple[str, str, int]]:
    """Severity, site and number of sites of each finding."""
    return [(str(finding.severity), finding.site, finding.sites) for finding in outcome.findings]


def whats(outcome: Outcome) -> list[str]:
    """The words of each finding."""
    return [finding.what for finding in outcome.findings]


def speaks_above(check: HealthCheck, of: Subject, limit: str, value: float, **others: float) -> list[bool]:
    """Whether anything is found with the limit just below a measured value, exactly at it and just above it."""
    around = (nextafter(value, -inf), value, nextafter(value, inf))
    return [bool(run(check, of, **{limit: each}, **others).findings) for each in around]


def gates(pre: Sequence[Sequence[float]], post: Sequence[Sequence[float]], gate: GateActivation = GateActivation.NONE):
    """Read and write weights by site."""
    return tuple(
        SiteGates(pre=torch.tensor(r, dtype=torch.float64), post=torch.tensor(w, dtype=torch.float64), gate=gate)
        for r, w in zip(pre, post, strict=True)
    )


def parameters(base, *, activation=Activation.NONE, constraint=None, factors=None, scale=None, **changes):
    """Parameters with these logits [site, row, column]; `factors` are projections [input, logit], one a site."""
    base = torch.as_tensor(np.asarray(base, dtype=np.float64))
    names = tuple(f"site {i}" for i in range(len(base)))
    recipe = Recipe(
        norm=InputNorm(per_stream=True, eps=0.0),
        activation=activation,
        constraint=constraint,
        orientation=Orientation.TARGET_ROWS,
    )
    held = None
    if factors is not None:
        held = tuple(LogitFactor(triangle=torch.tensor(each).double(), inputs=len(each)) for each in factors)
    return ParametricStack(
        stack=Stack(sites=names, tensors=names, streams=base.shape[-1]),
        depths=tuple(range(len(base))),
        recipe=recipe,
        base=base,
        scale=torch.tensor([0.0] * len(base) if scale is None else scale, dtype=torch.float64),
        factors=held,
        **changes,
    )


def activations(x, h_res=None, **captured) -> SiteActivations:
    """One site; x is [token, stream, width], H the identity where it is not said."""
    tensors = {name: torch.as_tensor(np.asarray(each)) for name, each in captured.items()}
    x = torch.as_tensor(np.asarray(x))
    eye = torch.eye(x.shape[1], dtype=torch.float64).expand(len(x), -1, -1)
    return SiteActivations(h_res=eye if h_res is None else torch.as_tensor(np.asarray(h_res)), x_in=x, **tensors)


def plain(
    *,
    attention: Sequence[QueryKey] = (),
    norms: Mapping[str, Sequence[float]] | None = None,
    writers: Sequence[Writer] = (),
    deepnorm: DeepNormScales | None = None,
    config_scales: Mapping[str, float] | None = None,
    unread: str = "",
    doubts: Sequence[str] = (),
    unread_norms: Sequence[str] = (),
    unread_writers: Sequence[str] = (),
) -> PlainWeights:
    """What a plain model tells."""
    weights = [NormWeight(name=name, weight=torch.tensor(each).double()) for name, each in (norms or {}).items()]
    return PlainWeights(
        attention=lambda: iter(attention),
        unread_attention=unread,
        attention_doubts=lambda: tuple(doubts),
        unread_norms=lambda: tuple(unread_norms),
        unread_writers=lambda: tuple(unread_writers),
        norms=lambda: iter(weights),
        writers=lambda: iter(writers),
        deepnorm=lambda: deepnorm,
        config_scales=dict(config_scales or {}),
    )
