"""The records of `mhcdiag inspect` and `mhcdiag layouts`: what a checkpoint holds, and all that can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.presented import Brief


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What one layout said of the checkpoint."""

    layout: str
    """Its name."""
    reason: str
    """Why it does not fit, where it looked like it and something is missing or wrong; empty where it fits."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class InspectedTensor(Brief):
    """One tensor that has to do with mixing."""

    name: str
    """Full name."""
    dtype: str
    """Element type."""
    shape: tuple[int, ...]
    """Number of elements per axis."""
    use: str
    """Site and role, e.g. "0.attn base"; "excluded" for heads and MTP layers; "not used" where no layout claims it."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Inspection(Brief):
    """One checkpoint, looked at and not measured."""

    path: str
    """As the user named it."""
    container: str
    """Container format."""
    bytes_total: int
    """Size of all files in bytes."""
    bytes_read: int
    """Bytes read to find this out."""
    tensors: int
    """Number of tensors."""
    parameters: int
    """Number of elements in all of them."""
    dtypes: Mapping[str, int]
    """Number of tensors by element type, most frequent first."""
    config_keys: tuple[str, ...]
    """Keys of the configuration that speak of mixing, and `model_type`, with their values."""
    has_config: bool
    """Whether there is a configuration."""
    layout: str
    """The layout that fits; empty where none does or several do."""
    mixing: str
    """What that layout does to the residual streams; empty where no layout fits."""
    model: str
    """Model family or variant as far as the checkpoint tells."""
    sites: tuple[str, ...]
    """Names of the sites in depth order."""
    assumed: tuple[str, ...]
    """What had to be taken for granted to recognise and order the sites."""
    mixers: tuple[InspectedTensor, ...]
    """All tensors whose names speak of mixing, and those that the layout uses."""
    trials: tuple[Trial, ...]
    """The layouts that fit, and those that looked like it."""
    reason: str
    """Why nothing was recognised; empty where something was."""


class Evidence(StrEnum):
    """How sure it is that a layout is read as its implementation means it."""

    PACKAGE = "package"
    """Tested against the implementing package itself."""
    SOURCE = "source"
    """Tested against float64 formulas written from the implementation's published source."""
    SECONDHAND = "secondhand"
    """The same, but from what others wrote of the implementation."""
    OWN = "own"
    """Our own format, or nothing to read wrongly."""


EVIDENCE_WORDS = {
    Evidence.PACKAGE: "tested against the implementing package",
    Evidence.SOURCE: "tested against formulas from the implementation's source",
    Evidence.SECONDHAND: "tested against formulas from descriptions by others",
    Evidence.OWN: "our own, or nothing to read wrongly",
}
"""What each kind of evidence means, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownLayout:
    """One layout of `mhcdiag layouts`."""

    name: str
    """As in reports and for `--layout`."""
    tensors: str
    """The tensor names by which it is recognised; code between backticks."""
    mixing: str
    """How H_res comes about."""
    source: str
    """Where slices, order and orientation were read."""
    evidence: Evidence
    """How sure that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownContainer:
    """One container of `mhcdiag layouts`."""

    title: str
    """What it is."""
    looks: str
    """By what it is recognised; code between backticks."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Catalogue(Brief):
    """All that can be read."""

    layouts: tuple[KnownLayout, ...]
    """In the order in which they are tried."""
    containers: tuple[KnownContainer, ...]
    """In the order in which they are tried."""
