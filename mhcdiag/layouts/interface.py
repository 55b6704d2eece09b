"""What a layout is: how one implementation names, slices and uses its mixing parameters inside a checkpoint.

Adding a layout is one file here and one entry in `LAYOUTS` (`layouts/__init__.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mhcdiag.mappings.interface import MapSource, Orientation, Stack
from mhcdiag.mappings.parametric import ParametricStack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence
from mhcdiag.results.gain import NonFinite
from mhcdiag.results.verdict import Skipped


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the user says about a checkpoint, over what it says itself; None leaves it to the checkpoint."""

    orientation: Orientation | None = None
    """What the rows of the stored matrix stand for."""
    sinkhorn_iters: int | None = None
    """Sinkhorn-Knopp iterations t_max."""
    sinkhorn_eps: float | None = None
    """The iteration's eps."""
    tanh: bool | None = None
    """Whether unconstrained hyper-connections squash the input-dependent part by tanh."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The tensors of one site."""

    name: str
    """Short name, e.g. "0.attn"; the module path where that says neither layer nor kind."""
    tensors: Mapping[str, str]
    """Full tensor name by role, e.g. {"base": "layers.0.hc_attn_base"}."""
    depth: int
    """Position in the whole model, from 0; stays the same when only a part of the sites is analysed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognition:
    """What a layout found by names and shapes alone."""

    model: str
    """Model family or variant as far as the checkpoint tells."""
    sites: tuple[Site, ...]
    """In depth order."""
    excluded: tuple[str, ...] = ()
    """Tensors left out by design: output heads, MTP layers."""
    skipped: tuple[Skipped, ...] = ()
    """What should have been analysed and could not be."""
    assumed: tuple[str, ...] = ()
    """What had to be taken for granted to recognise and order the sites."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a layout made of a checkpoint: exactly one of `parameters`, `captured` and `identity_stack` is set."""

    parameters: ParametricStack | None = None
    """Mappings computed from parameters, with or without input-dependent part."""
    captured: MapSource | None = None
    """Mappings that a running model used, token by token."""
    identity_stack: Stack | None = None
    """Sites whose streams are not mixed: H_res = I by construction."""
    first_tokens: tuple[int, ...] = ()
    """Captured mappings: the tokens that begin a sequence."""
    assumed: tuple[str, ...] = ()
    """What the checkpoint did not say."""
    notes: tuple[str, ...] = ()
    """What a reader must know of this layout."""
    nonfinite: tuple[NonFinite, ...] = field(default=())
    """Sites whose parameters hold NaN or infinity."""
    composes: bool = True
    """Whether the streams persist from site to site; where not, products of mappings are formal numbers."""


@runtime_checkable
class Layout(Protocol):
    """One implementation family."""

    @property
    def name(self) -> str:
        """As in reports and for `--layout`."""

    @property
    def source(self) -> str:
        """Where slices, order and orientation were read."""

    @property
    def tensors(self) -> str:
        """The tensor names it is told by, for people."""

    @property
    def mixing(self) -> str:
        """How H_res comes about, for people."""

    @property
    def evidence(self) -> Evidence:
        """How sure that is."""

    def recognise(self, checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
        """The sites, from names, shapes and configuration; None where this is another layout.

        Parameters
        ----------
        mixers
            The tensor names that smell of mixing, in file order: a few hundred where the checkpoint has 70,000.

        Raises
        ------
        mhcdiag.errors.LayoutError
            It is this layout, but a layer or tensor is missing or has the wrong shape.
        """

    def read(self, checkpoint: NamedTensors, recognition: Recognition, settings: Settings, *, dynamic: bool) -> Reading:
        """Load what the mappings of the recognised sites need.

        Parameters
        ----------
        dynamic
            Whether the input-dependent part will be used; without it the projections are not read.
        """
