"""What a layout makes of a checkpoint: mappings with parameters, captured ones, or streams that are never mixed.

`Reading` is one of three small classes. Each knows which inputs it can be measured on and which is the default, its
mappings for chosen inputs, what bounds them, and what a reader must know of them.
"""

from dataclasses import dataclass

import torch

from mhcdiag.errors import SettingError
from mhcdiag.mappings.interface import MapSource, Stack
from mhcdiag.mappings.parametric import ParametricStack, StaticMaps
from mhcdiag.results.gain import Bound, Direction, NonFinite

STATIC_NOTE = (
    "static inputs set the input-dependent part to zero: no token sees these mappings, and they can understate the "
    "gain many times over (50-fold in a trained toy); captured mappings are the truth"
)
RANDOM_NOTE = "random inputs are standard Gaussian and independent at every site; real tokens may amplify more or less"
# The figures in the next two are those of the held-out runs in docs/inputs.md, which benchmarks/input_study.py makes
# and tests/test_input_study.py compares.
UNCONSTRAINED_RANDOM_NOTE = (
    "random inputs are standard Gaussian and independent at every site, which averages the input-dependent part away: "
    "TODO; --inputs aligned is closer"
)
ALIGNED_NOTE = (
    "aligned inputs give each token one direction at all sites, where the projections look: TODO; real models unknown"
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

        Constrained mappings have sums of at most n whatever the input, and of 1 in one direction; there random inputs
        are within 0.2 of real ones (docs/inputs.md), and static ones are what no token sees.
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
        if tokens < 1 or seed < 0:
            raise SettingError(
                f"{tokens} random tokens, seed {seed}: expected at least one token and a seed of at least 0"
            )
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
        from mhcdiag.mappings.ascent import ascended  # late: only unconstrained mappings need it

        return ascended(self.parameters)

    def notes_on(self, inputs: str) -> tuple[str, ...]:
        """That inputs made from weights are not those of tokens; embeddings are, and need no such note."""
        averaging = UNCONSTRAINED_RANDOM_NOTE if self.parameters.recipe.unconstrained else RANDOM_NOTE
        notes = {"static": STATIC_NOTE, "random": averaging, "aligned": ALIGNED_NOTE}
        return (notes[inputs],) if self.parameters.input_dependent and inputs in notes else ()


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


Reading = ParametricReading | CapturedReading | UnmixedReading
"""What `Layout.read` gives."""
