"""What a layout makes of a checkpoint: mappings with parameters, captured ones, fixed factors, or nothing to compose.

`Reading` is one of a few small classes. Each knows which inputs it can be measured on and which is the default, its
mappings for chosen inputs, what bounds them, and what a reader must know of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.mappings.diagonal import SiteFactors, diagonal_gains, worst_channel
from mhcdiag.mappings.interface import MapSource, Stack
from mhcdiag.mappings.parametric import ParametricStack, StaticMaps
from mhcdiag.results.gain import Bound, Direction, NonFinite

STATIC_NOTE = (
    "static inputs set the input-dependent part to zero: no token sees these mappings, and they can understate the "
    "gain many times over (50-fold in a trained toy); captured mappings are the truth"
)
FIXED_FACTORS = "the factors on the stream depend on no input: the largest |product| over channels"
RANDOM_NOTE = "random inputs are standard Gaussian and independent at every site; real tokens may amplify more or less"
# The figures in the next two are those of the held-out runs in docs/inputs.md: benchmarks/input_study.py measures them,
# and tests/test_input_study.py holds them to its CSV.
UNCONSTRAINED_RANDOM_NOTE = (
    "random inputs are standard Gaussian and independent at every site, which averages the input-dependent part away: "
    "they found 33 of 63 exploded held-out toy checkpoints, and --inputs aligned all of them"
)
ALIGNED_NOTE = (
    "aligned inputs give each token one direction at all sites, as trained toys do: within 4x of real tokens on 129 of "
    "132 held-out toy checkpoints below 1e5; real models unknown"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """What all readings have."""

    assumed: tuple[str, ...] = ()
    """What the checkpoint did not say."""
    notes: tuple[str, ...] = ()
    """What a reader must know of this layout."""
    nonfinite: tuple[NonFinite, ...] = ()
    """Sites whose parameters hold NaN or infinity."""
    first_tokens: tuple[int, ...] = ()
    """The tokens that begin a sequence; empty where tokens are drawn, or nothing says so."""
    composes: bool = True
    """Whether the streams persist from site to site; where not, products of mappings are formal numbers."""
    tied_to: str = ""
    """Which checkpoint captured mappings are of, as far as they say; see `GainResult.tied_to`."""
    blocks: tuple[str, ...] = ()
    """Module paths of the blocks of a model with one residual stream; empty for others."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Where the input-dependent part can come from, the default first."""
        return ("static",)

    def choose_inputs(self, wanted: str | None) -> str | None:
        """The inputs that a wish comes to, the default for None; None where it cannot be granted."""
        if wanted is None:
            return self.inputs[0]
        return wanted if wanted in self.inputs else None

    def exact_directions(self) -> frozenset[Direction]:
        """The directions in which the layout says that all sums of H are 1."""
        return frozenset()

    def bound_doubt(self) -> str:
        """Why some input might exceed the bounds, were all parameters finite; empty where none can."""
        return ""

    def notes_on(self, inputs: str) -> tuple[str, ...]:
        """What a reader must know of mappings on these inputs."""
        del inputs
        return ()

    def reported_as(self, layout: str) -> str:
        """The name of the layout as results show it."""
        return layout


@dataclass(frozen=True, kw_only=True, slots=True)
class ParametricReading(_Reading):
    """Mappings computed from parameters, with or without input-dependent part."""

    parameters: ParametricStack

    @property
    def stack(self) -> Stack:
        """The sites."""
        return self.parameters.stack

    @property
    def inputs(self) -> tuple[str, ...]:
        """Where nothing limits the mappings, inputs as real tokens are; random ones where sums are limited anyway.

        Constrained mappings have sums of at most n whatever the input, and random inputs are close to real ones there
        (docs/inputs.md); static ones are what no token sees.
        """
        if not self.parameters.input_dependent:
            return ("static",)
        return ("aligned", "random", "static") if self.parameters.recipe.unconstrained else ("random", "static")

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """The mappings on chosen inputs.

        Parameters
        ----------
        inputs
            One of `inputs`.
        tokens, seed
            Of random inputs: how many, and what the draw depends on.

        Raises
        ------
        SettingError
            There is no such number of tokens, or no such seed.
        """
        if inputs == "static":
            return self.parameters.static()
        refuse_no_tokens(tokens, seed)
        if inputs == "aligned":
            from mhcdiag.mappings.aligned import AlignedMaps  # late: only unconstrained mappings need it

            return AlignedMaps(parameters=self.parameters, tokens=tokens, seed=seed)
        return self.parameters.random(tokens=tokens, seed=seed)

    def exact_directions(self) -> frozenset[Direction]:
        """Those that the constraint makes exact."""
        return self.parameters.recipe.exact_directions()

    def bounds(self) -> dict[Direction, Bound]:
        """What no input can exceed."""
        from mhcdiag.mappings.bounds import parametric_bounds  # late: bounds compute products, which records need not

        return parametric_bounds(self.parameters)

    def bound_doubt(self) -> str:
        """That the projection was not read, or that float32 overflows."""
        from mhcdiag.mappings.bounds import overflow_doubt

        return overflow_doubt(self.parameters)

    def worst_inputs(self) -> StaticMaps | None:
        """Mappings of inputs that amplify as much as can be found; None where nothing is searched, or was not read."""
        if not self.parameters.recipe.unconstrained or self.parameters.factors is None:
            return None
        from mhcdiag.mappings.aligned import AlignedMaps  # late: only unconstrained mappings need these
        from mhcdiag.mappings.ascent import DRAWN_STARTS, ascended

        return ascended(self.parameters, AlignedMaps(parameters=self.parameters, tokens=DRAWN_STARTS, seed=0))

    def notes_on(self, inputs: str) -> tuple[str, ...]:
        """That inputs made from weights are not those of tokens; embeddings are, and need no such note."""
        averaging = UNCONSTRAINED_RANDOM_NOTE if self.parameters.recipe.unconstrained else RANDOM_NOTE
        notes = {"static": STATIC_NOTE, "random": averaging, "aligned": ALIGNED_NOTE}
        return (notes[inputs],) if self.parameters.input_dependent and inputs in notes else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledReading(_Reading):
    """Mappings of an implementation of its own form, on static and on random inputs."""

    static: MapSource
    """With the input-dependent part at zero."""
    draw: Callable[..., MapSource]
    """Of random inputs, for `tokens` and `seed`."""
    limits: Callable[[], dict[Direction, Bound]]
    """What no input can exceed."""

    @property
    def stack(self) -> Stack:
        """The sites."""
        return self.static.stack

    @property
    def inputs(self) -> tuple[str, ...]:
        """Random ones first: static ones are what no token sees."""
        return ("random", "static")

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """The mappings on chosen inputs; as `ParametricReading.maps`."""
        if inputs == "static":
            return self.static
        refuse_no_tokens(tokens, seed)
        return self.draw(tokens=tokens, seed=seed)

    def bounds(self) -> dict[Direction, Bound]:
        """What no input can exceed."""
        return self.limits()

    def notes_on(self, inputs: str) -> tuple[str, ...]:
        """That neither inputs are those of tokens."""
        return ({"static": STATIC_NOTE, "random": RANDOM_NOTE}[inputs],)


def refuse_no_tokens(tokens: int, seed: int) -> None:
    """Refuse numbers of random tokens and seeds that nothing can be drawn for."""
    if tokens < 1 or seed < 0:
        raise SettingError(f"{tokens} random tokens, seed {seed}: expected at least one token and a seed of at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedReading(_Reading):
    """Mappings that a running model used, token by token."""

    source: MapSource

    @property
    def stack(self) -> Stack:
        """The sites."""
        return self.source.stack

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the model saw, and nothing else."""
        return ("captured",)

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """All captured mappings, however many tokens are asked for."""
        del inputs, tokens, seed
        return self.source

    def bounds(self) -> dict[Direction, Bound]:
        """None: other inputs may amplify more."""
        from mhcdiag.mappings.bounds import CAPTURED, no_bound

        return dict.fromkeys(Direction, no_bound(CAPTURED))


@dataclass(frozen=True, kw_only=True, slots=True)
class UnmixedReading(_Reading):
    """Sites whose streams are not mixed: H_res = I by construction."""

    stack: Stack
    is_plain: bool = False
    """Whether this is an ordinary residual model, whose sites are its blocks, not one whose streams are kept apart."""

    def choose_inputs(self, wanted: str | None) -> str | None:
        """Static, and drawn ones too: no input changes an identity."""
        return self.inputs[0] if wanted in (None, "aligned", "random", *self.inputs) else None

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """Identities, of one pseudo-token."""
        del inputs, tokens, seed
        eye = torch.eye(self.stack.streams, dtype=torch.float64)
        return StaticMaps(stack=self.stack, maps=eye.expand(len(self.stack.sites), -1, -1).unsqueeze(-1).contiguous())

    def bounds(self) -> dict[Direction, Bound]:
        """1, exactly."""
        from mhcdiag.mappings.bounds import IDENTITY, constant_bound

        return dict.fromkeys(Direction, constant_bound(1.0, len(self.stack.sites), IDENTITY, by_layout=True))

    def reported_as(self, layout: str) -> str:
        """`identity` for models with several streams, whichever family they are of."""
        return layout if self.is_plain else "identity"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagonalReading(_Reading):
    """One residual stream that is multiplied at its sites by fixed factors, for each channel or for all alike."""

    stack: Stack
    factors: SiteFactors

    def choose_inputs(self, wanted: str | None) -> str | None:
        """Static, and random ones too: no input changes a factor."""
        return self.inputs[0] if wanted in (None, "random", *self.inputs) else None

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """The factors of the channel that grows most, as mappings [1, 1] of one pseudo-token."""
        del inputs, tokens, seed
        return StaticMaps(stack=self.stack, maps=worst_channel(self.factors)[:, :, None, None].contiguous())

    def bounds(self) -> dict[Direction, Bound]:
        """The gains themselves: nothing depends on the input."""
        gains = diagonal_gains(self.factors)
        worst = max(number for a, row in enumerate(gains.spans) for number in row[a:])
        bound = Bound(single=gains.single, prefix=gains.prefix, suffix=gains.suffix, worst=worst, why=FIXED_FACTORS)
        return dict.fromkeys(Direction, bound)


@dataclass(frozen=True, kw_only=True, slots=True)
class UncomposedReading(_Reading):
    """A model with no fixed composite mapping: norms on the stream itself, or sites that read more than one layer."""

    path: str
    """The checkpoint, for messages."""
    stack: Stack
    why: str
    """What the model does instead, and what is true of it."""
    composes: bool = False

    def maps(self, inputs: str, *, tokens: int, seed: int) -> MapSource:
        """None.

        Raises
        ------
        LayoutError
            Always, with the reason.
        """
        del inputs, tokens, seed
        raise LayoutError(self.path, found=self.why, hint="no gain was measured; mhcdiag health examines the weights")

    def bounds(self) -> dict[Direction, Bound]:
        """None."""
        from mhcdiag.mappings.bounds import no_bound

        return dict.fromkeys(Direction, no_bound(self.why))


Reading = ParametricReading | SampledReading | CapturedReading | UnmixedReading | DiagonalReading | UncomposedReading
"""What `Layout.read` gives."""


def static_gains(reading: Reading) -> tuple[float, float]:
    """Forward and backward gain (induced norms) of the composite of all mappings on the first inputs of a reading."""
    maps = reading.maps(reading.inputs[-1], tokens=1, seed=0).chunk(0, 1).double()[..., 0]
    composite = torch.eye(maps.shape[-1], dtype=maps.dtype)
    for of_site in maps:
        composite = of_site @ composite
    return float(composite.abs().sum(dim=1).max()), float(composite.abs().sum(dim=0).max())
