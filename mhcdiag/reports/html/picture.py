"""Pictures as the page takes them: drawn elsewhere, so that nothing here needs matplotlib."""

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where on the page a picture stands."""

    GAIN = "gain"
    """Gain over depth, logarithmic."""
    GAIN_LINEAR = "gain_linear"
    """The same on a linear scale."""
    FORWARD_SPANS = "forward"
    """Heat map of all stretches of sites, signals."""
    BACKWARD_SPANS = "backward"
    """Heat map of all stretches of sites, gradients."""
    MAPPING = "mapping"
    """One token-mean mapping."""
    SINKHORN = "sinkhorn"
    """Residuals of the Sinkhorn iteration."""
    SERIES = "series"
    """One series of a log."""
    TREND = "trend"
    """Gain, gradient norm and loss over the steps of a run."""
    COMPARISON = "comparison"
    """Several inputs in one picture; belongs to the overview."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture with what is said about it."""

    place: Place
    """Where it stands."""
    title: str
    """Heading above it."""
    alt: str
    """What it shows, for those who do not see it."""
    caption: str
    """What a reader must know to read it; may be empty."""
    svg: str = ""
    """An `<svg>` element that is safe to stand in a page; empty for a picture of pixels."""
    png: bytes = b""
    """The file; empty for a drawing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """All pictures of a page."""

    of_inputs: tuple[tuple[Picture, ...], ...] = ()
    """Per input of the check, in its order; empty where none were drawn."""
    overview: tuple[Picture, ...] = ()
    """Those over several inputs."""
