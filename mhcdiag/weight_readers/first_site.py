"""The first attention site from the embedding alone: exact, for layouts whose streams begin as copies of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.interface import Layout, Overrides, Projecting, Recognition
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.mappings.inputs import project
from mhcdiag.mappings.interface import Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, finish
from mhcdiag.namedtensors import NamedTensors


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMaps:
    """H_res of the first site for token ids 0 .. tokens-1.

    With x = [e; ...; e] the projection of n*C inputs folds into one of C: z = (sum_k W_k)^T e / rms(e).
    """

    parameters: ParametricStack
    """Of the first site alone."""
    folded: Float[Tensor, "width logit"]
    """Sum over streams of the projection's rows, norm weight folded in."""
    rows: Callable[[int, int], Tensor]
    """Embeddings [token, width] of a range of token ids."""
    tokens: int

    @property
    def stack(self) -> Stack:
        """The one site."""
        return self.parameters.stack

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings of token ids start..stop-1."""
        recipe = self.parameters.recipe
        assert recipe.activation is Activation.NONE
        projected = project(self.rows(start, stop).float(), self.folded.float(), recipe.norm).T
        rows, columns = self.parameters.base.shape[-2:]
        logits = projected.reshape(rows, columns, -1).to(device) * self.parameters.scale[0].to(device)
        logits = logits + self.parameters.base[0].unsqueeze(-1).to(device)
        return finish(logits[None, None], self.parameters, slice(0, 1), matrices=self.tokens)


def fold_streams(projection: Float[Tensor, "input logit"], streams: int) -> Float[Tensor, "width logit"]:
    """The projection as inputs see it that are the same in all streams."""
    return projection.view(streams, -1, projection.shape[1]).sum(dim=0)


# DeepSeek, transformers, Megatron, GGUF, nanoGPT.
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed|embed_tokens|word_embeddings|token_embd|wte)\.weight$")
NOTE = (
    "embedding inputs: the first attention site alone, whose streams are all the token's embedding; exact for token "
    "ids 0 to {last}, each counted once, however often it occurs in text"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstSite:
    """What was read of the first site."""

    reading: ParametricReading
    """Its parameters."""
    maps: EmbeddingMaps
    """Its mappings."""


def read_first_site(
    checkpoint: NamedTensors, layout: Layout, recognition: Recognition, overrides: Overrides, *, tokens: int
) -> FirstSite:
    """The parameters of the first site, and its mappings for the first token ids.

    Raises
    ------
    SettingError
        This layout's streams are not known to begin as copies of the embedding.
    LayoutError
        The checkpoint has no embedding of the right width.
    """
    if not (isinstance(layout, Projecting) and layout.starts_equal):
        raise SettingError(f"inputs 'embedding' do not exist for layout {layout.name}")
    site = recognition.sites[0]
    if site.depth != 0:
        raise SettingError("inputs 'embedding' are those of the first site; --sites leaves it out")
    reading = layout.read(checkpoint, replace(recognition, sites=(site,)), overrides, dynamic=False)
    assert isinstance(reading, ParametricReading)
    streams = reading.parameters.stack.streams
    folded = fold_streams(layout.projection_of(checkpoint, site, streams), streams)
    name = _embedding(checkpoint, width=folded.shape[0])
    count = min(tokens, checkpoint.tensors[name].shape[0])
    maps = EmbeddingMaps(
        parameters=reading.parameters,
        folded=folded,
        rows=lambda start, stop: checkpoint.read(name, rows=slice(start, stop)),
        tokens=count,
    )
    noted = replace(reading, notes=(*reading.notes, NOTE.format(last=count - 1)))
    return FirstSite(reading=noted, maps=maps)


def _embedding(checkpoint: NamedTensors, *, width: int) -> str:
    named = [name for name in checkpoint.tensors if _EMBEDDING.search(name) and "mtp." not in name]
    fitting = [name for name in named if checkpoint.tensors[name].shape[1:] == (width,)]
    if len(fitting) != 1:
        shapes = ", ".join(f"{name} {list(checkpoint.tensors[name].shape)}" for name in named) or "none"
        raise LayoutError(
            checkpoint.path,
            found=f"embeddings: {shapes}",
            expected=f"one of shape [vocabulary, {width}]",
            hint="use --inputs random or static",
        )
    return fitting[0]
