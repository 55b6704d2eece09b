"""What mhcdiag can read: records of layouts and containers, for people."""

from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.presented import Brief


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
