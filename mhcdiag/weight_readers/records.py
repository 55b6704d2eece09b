"""What is read of weights and captured activations, as health checks see it.

The records stand apart from their readers, which import layouts and files: a check needs the numbers alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mhcdiag.weight_readers.query_key import QueryKey


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


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSpread:
    """How far inputs of RMS 1 move the logits of one site's H_pre and H_post: standard deviations."""

    pre: Float[Tensor, " stream"]
    post: Float[Tensor, " stream"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coarse:
    """Mixing tensors of one checkpoint that are stored in 16 bits."""

    names: tuple[str, ...]
    """Full names."""
    dtypes: tuple[str, ...]
    """Their element types."""
    unusual: bool
    """Whether any of them is one that the family keeps in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What weights say of the captured sites under one reading of them."""

    h_res: tuple[Float[Tensor, "token stream stream"], ...]
    """Per site."""
    post: tuple[Float[Tensor, "token stream"] | None, ...]
    """Per site, where the layout says which logits those are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NormWeight:
    """The weight of one norm, as it is applied."""

    name: str
    """Full tensor name."""
    weight: Float[Tensor, " channel"]
    bias: Float[Tensor, " channel"] | None = None
    """What it adds; None where it adds nothing."""
    inner: bool = False
    """Whether it normalises queries or keys rather than the stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """A projection whose output is added to the residual stream."""

    name: str
    """Full tensor name."""
    kind: str
    """"attention" or "feed-forward"."""
    rms: float
    """RMS of its output per unit RMS of an isotropic input: Frobenius norm / sqrt(number of outputs)."""
    spectral: float
    """Largest singular value, by subspace iteration: never above the true one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepNormScales:
    """What the configuration and the weights say of DeepNorm (arXiv 2203.00555)."""

    layers: int
    """Number N of blocks."""
    alpha: float | None
    """Factor on the residual stream in the configuration; None where it only says that there is DeepNorm."""
    gain: float | None
    """Standard deviation of the writers over that of queries and keys, each times sqrt(fan in + fan out), as a
    geometric mean; None where one of them is not found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainWeights:
    """Readers of one plain model."""

    attention: Callable[[], Iterator[QueryKey]]
    """Query and key projections, block by block."""
    unread_attention: str
    """Why there are none; empty where there are."""
    attention_doubts: Callable[[], tuple[str, ...]]
    """What of it was left out or taken for granted."""
    norms: Callable[[], Iterator[NormWeight]]
    """All norms, in depth order."""
    unread_norms: Callable[[], tuple[str, ...]]
    """Norm weights that could not be read, and why."""
    writers: Callable[[], Iterator[Writer]]
    """All writers outside experts, in depth order."""
    unread_writers: Callable[[], tuple[str, ...]]
    """Blocks that have none that could be read, and why."""
    deepnorm: Callable[[], DeepNormScales | None]
    """None where the configuration does not say DeepNorm."""
    config_scales: dict[str, float]
    """Factors on every branch that the configuration states, by key."""
