"""Residual factors and captured activations, where there are any."""

import re
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.layouts.block_sites import natural_key
from mhcdiag.layouts.checks import read_float, require_shape
from mhcdiag.layouts.interface import Recognition
from mhcdiag.namedtensors import NamedTensors, prefetch


class Gate(StrEnum):
    """How logits become read and write weights."""

    SIGMOID = "sigmoid"
    """Each on its own, as in mHC."""
    SOFTMAX = "softmax"
    """Together, so that they add up to 1."""
    NONE = "none"
    """Not at all, as in hyper-connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteGates:
    """The input-independent part of one site's read and write weights."""

    pre: Float[Tensor, " stream"]
    """Logits of H_pre; with `Gate.NONE` H_pre itself."""
    post: Float[Tensor, " stream"]
    """The same of H_post."""
    gate: Gate = Gate.SIGMOID
    """How they become weights."""

    def reads(self) -> Float[Tensor, " stream"]:
        """|H_pre| in float64."""
        return self._weights(self.pre)

    def writes(self) -> Float[Tensor, " stream"]:
        """|H_post| in float64, up to a factor that all streams share."""
        return self._weights(self.post)

    def _weights(self, logits: Tensor) -> Float[Tensor, " stream"]:
        if self.gate is Gate.SIGMOID:
            return torch.sigmoid(logits.double())
        return logits.double().softmax(dim=0) if self.gate is Gate.SOFTMAX else logits.double().abs()


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteActivations:
    """What a running model did at one site, for its first tokens."""

    h_res: Float[Tensor, "token stream stream"]
    """H_res as captured, x_new = H x."""
    x_in: Float[Tensor, "token stream width"]
    """Streams before the site."""
    x_out: Float[Tensor, "token stream width"] | None = None
    """Streams after it."""
    branch: Float[Tensor, "token width"] | None = None
    """What the branch returned."""
    post: Float[Tensor, "token stream"] | None = None
    """Weights with which it was written back."""


_BRANCH_SCALE = re.compile(
    r"(?:^|\.)(?:ls\d?(?:\.gamma|\.weight)?|layer_scale\w*(?:\.\w+)?|gamma_\d|res_?weight|re_?zero\w*)$", re.IGNORECASE
)
_RESIDUAL_SCALE = re.compile(r"(?:^|\.)(?:resid_lambdas?|residual_lambdas?|residual_multiplier)$", re.IGNORECASE)
_MOST_ELEMENTS = 1_000_000


def read_branch_scales(checkpoint: NamedTensors) -> dict[str, Tensor]:
    """LayerScale and ReZero factors by full name; none in most models."""
    return _read_matching(checkpoint, _BRANCH_SCALE)


def read_residual_scales(checkpoint: NamedTensors) -> dict[str, Tensor]:
    """Factors on the residual stream itself, by full name."""
    return _read_matching(checkpoint, _RESIDUAL_SCALE)


def _read_matching(checkpoint: NamedTensors, pattern: re.Pattern[str]) -> dict[str, Tensor]:
    names = [
        name
        for name, info in checkpoint.tensors.items()
        if pattern.search(name) and len(info.shape) <= 1 and prod(info.shape) <= _MOST_ELEMENTS
    ]
    prefetch(checkpoint, names)
    return {name: read_float(checkpoint, name) for name in sorted(names, key=natural_key)}


def read_activations(checkpoint: NamedTensors, recognition: Recognition) -> tuple[SiteActivations, ...]:
    """What was captured beside the mappings, as many tokens as `x_in` has; empty where no site has `x_in`.

    Raises
    ------
    mhcdiag.errors.LayoutError
        Some sites have it and others do not, or shapes do not fit.
    """
    if not any(_beside(site.tensors["h_res"], "x_in") in checkpoint.tensors for site in recognition.sites):
        return ()
    return tuple(_site(checkpoint, site.tensors["h_res"]) for site in recognition.sites)


def _beside(h_res: str, name: str) -> str:
    return h_res.removesuffix("h_res") + name


def _site(checkpoint: NamedTensors, h_res: str) -> SiteActivations:
    x_in = read_float(checkpoint, _beside(h_res, "x_in"))
    tokens, streams, width = x_in.shape if x_in.ndim == 3 else (-1, -1, -1)
    shapes = {"x_in": (tokens, streams, width), "x_out": (tokens, streams, width), "branch": (tokens, width),
              "post": (tokens, streams)}  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        full = _beside(h_res, name)
        if full in checkpoint.tensors:
            require_shape(checkpoint, full, shape, meaning="tokens, streams and width as x_in has them")
            found[name] = read_float(checkpoint, full)
    whole = len(checkpoint.tensors[h_res].shape) == 2
    maps = read_float(checkpoint, h_res)
    maps = maps.expand(tokens, -1, -1) if whole else maps[:tokens]
    return SiteActivations(h_res=maps, **found)
