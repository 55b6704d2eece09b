"""Residual factors and captured activations, where there are any."""

import re
from math import prod

from torch import Tensor

from mhcdiag.layouts.checks import read_float, require_shape
from mhcdiag.layouts.interface import Recognition
from mhcdiag.namedtensors import NamedTensors, natural_key, prefetch
from mhcdiag.weight_readers.records import SiteActivations

# timm and DINOv2 say ls1.gamma, ConvNeXt layer_scale_parameter, BEiT gamma_1, ReZero resweight.
_BRANCH_SCALE = re.compile(
    r"(?:^|\.)(?:ls\d?(?:\.gamma|\.weight)?|layer_scale\w*(?:\.\w+)?|gamma_\d|res_?weight|re_?zero\w*)$", re.IGNORECASE
)
_MOST_ELEMENTS = 1_000_000
"""A factor has at most one entry a channel: what is longer only happens to have such a name."""


def read_branch_scales(checkpoint: NamedTensors) -> dict[str, Tensor]:
    """LayerScale and ReZero factors by full name; none in most models."""
    names = [
        name
        for name, info in checkpoint.tensors.items()
        if _BRANCH_SCALE.search(name) and len(info.shape) <= 1 and prod(info.shape) <= _MOST_ELEMENTS
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
