"""What a layout is: how one implementation names, slices and uses its mixing parameters inside a checkpoint.

Adding a layout is one file in `families/` and one entry in `LAYOUTS` (`families/__init__.py`). The file says everything
about the family: how its sites are found, which words give its tensors away, where H_pre, H_post and H_res stand, and
where the parameters of a single module would stand. The rules for an entry:

* `recognise` looks at names, shapes and configuration alone, and says None unless it is sure: two layouts that both fit
  are refused, and so is a mixer that none fits. What is this layout but incomplete is an error, never a shorter result.
* `read` reports what the checkpoint does not say in `assumed`, and refuses options that mean nothing here.
* Orientation was read in an implementation, which `source` names, and `evidence` says how sure that is.

Beside it: its formulas in float64 NumPy as a case of `tests/layouts/formulas.py`, and a run of
`python tests/document_blocks.py`, which writes the tables in docs/ anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from mhcdiag.layouts.readings import Reading
from mhcdiag.mappings.interface import GateActivation, Orientation, SiteGates
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence
from mhcdiag.results.verdict import Skipped


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
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
class MixerNames:
    """What looks like a mixer of residual streams, in any layout's words."""

    tensors: tuple[str, ...]
    """Tensor names in file order: a few hundred where the checkpoint has 70,000."""
    config_keys: tuple[str, ...]
    """Configuration keys that are not switched off, nested ones dotted."""
    assume_plain: bool = False
    """Whether the user says that what is not explained leaves the residual stream alone."""


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
    """Model family or variant, as far as the checkpoint says."""
    sites: tuple[Site, ...]
    """In depth order."""
    excluded: tuple[str, ...] = ()
    """Tensors left out by design: output heads, MTP layers."""
    skipped: tuple[Skipped, ...] = ()
    """What should have been analysed and could not be."""
    assumed: tuple[str, ...] = ()
    """What had to be taken for granted to recognise and order the sites."""


@runtime_checkable
class StoredGates(Protocol):
    """Where one family keeps the input-independent parts of H_pre and H_post; see `stored_parts.py`."""

    def names(self, checkpoint: NamedTensors, site: Site, streams: int) -> tuple[str, ...]:
        """The tensors of a site that hold them; empty where it has none of this kind."""

    def cut(self, values: Sequence[Tensor], streams: int, *, gate: GateActivation) -> SiteGates | None:
        """The gates from the values of these tensors; None where they do not have the expected shape.

        Parameters
        ----------
        gate
            What follows the logits, where the family does not say otherwise.
        """


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
        """The tensor names by which it is recognised, for people."""

    @property
    def mixing(self) -> str:
        """How H_res comes about, for people."""

    @property
    def evidence(self) -> Evidence:
        """How sure that is."""

    @property
    def words(self) -> tuple[str, ...]:
        """Whole words of its tensor names that no ordinary model has, beside those of all hyper-connections."""

    @property
    def gates(self) -> tuple[StoredGates, ...]:
        """Where H_pre and H_post stand: the first kind that a site has counts; empty where they are not read."""

    @property
    def module_paths(self) -> tuple[str, ...]:
        """What stands before the parameters of a single module, so that they look like the sites of one block."""

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """The sites, from names, shapes and configuration; None where this is another layout.

        Parameters
        ----------
        mixers
            What of the checkpoint looks like mixing, in any layout's words.

        Raises
        ------
        mhcdiag.errors.LayoutError
            It is this layout, but a layer or tensor is missing or has the wrong shape.
        """

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """Load what the mappings of the recognised sites need.

        Parameters
        ----------
        dynamic
            Whether the input-dependent part will be used; without it the projections are not read.

        Raises
        ------
        mhcdiag.errors.LayoutError
            A tensor has the wrong shape or element type, or the configuration is wrong.
        mhcdiag.errors.SettingError
            An override means nothing for this layout.
        """


@runtime_checkable
class Projecting(Protocol):
    """A layout whose residual logits are one projection of the flattened, normalised streams."""

    @property
    def starts_equal(self) -> bool:
        """Whether the streams are known to begin as copies of the token's embedding."""

    @property
    def predicts(self) -> bool:
        """Whether the projection says what H_res is for given streams, not only how it is distributed."""

    def projection_of(self, checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
        """The residual projection [n*C, logit] of one site, norm weight folded in."""
