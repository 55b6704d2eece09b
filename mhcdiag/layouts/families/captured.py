"""Captured mappings: the H_res that a running model used, token by token. Our own interchange format.

A safetensors file with `layers.{i}.h_res`, i counting sites from 0, of shape [token, n, n] (or [n, n] where it is the
same for every token), in the convention x_new = H x: row = target stream. String metadata, all optional: `sites`, a
JSON list of site names (without it, sites 0 and 1 are attention and FFN of block 0, and so on), and `first_tokens`, a
JSON list of the positions that begin a sequence; `tied_to`, the checkpoint that ran: "sha256:..." (see
`mhcdiag.tensorfiles.fingerprint`) or "step 160", or `step` alone; and `left_out`, a JSON list of sites of the model
that are not in the file. Per site there may be, for the first tokens, `x_in` and `x_out` [token, n, C], `branch`
[token, C] and `post` [token, n]; the gain does not need them.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts.checks import refuse_overrides, require_layers, require_shape
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import CapturedReading, Reading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import CAPTURED_MAP, NamedTensors, tie_of
from mhcdiag.results.inspection import Evidence
from mhcdiag.results.verdict import Skipped

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedMaps:
    """Mappings on disk, read a chunk of tokens at a time."""

    checkpoint: NamedTensors
    stack: Stack
    tokens: int

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """H_res of tokens start..stop-1; float64 stays float64, everything else becomes float32."""
        maps = torch.stack([self._site(name, start, stop) for name in self.stack.tensors])
        maps = maps.float() if device == "mps" else maps  # MPS knows no float64
        return maps.to(device).permute(0, 2, 3, 1)

    def _site(self, name: str, start: int, stop: int) -> Float[Tensor, "token stream stream"]:
        if len(self.checkpoint.tensors[name].shape) == 2:
            maps = self.checkpoint.read(name).unsqueeze(0).expand(stop - start, -1, -1)
        else:
            maps = self.checkpoint.read(name, rows=slice(start, stop))
        return maps if maps.dtype == torch.float64 else maps.float()


@dataclass(frozen=True, slots=True)
class CapturedFormat:
    """The interchange format."""

    name: ClassVar[str] = "captured"
    source: ClassVar[str] = "mhcdiag README, section 'Captured mappings'"
    tensors: ClassVar[str] = "`layers.{i}.h_res`"
    mixing: ClassVar[str] = "whatever the model did"
    evidence: ClassVar[Evidence] = Evidence.OWN
    words: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        found = {int(match[1]): name for name in mixers.tensors if (match := CAPTURED_MAP.match(name))}
        if not found:
            return None
        require_layers(checkpoint, sorted(found), count=None, what="h_res")
        names = _site_names(checkpoint, len(found))
        return Recognition(
            model="",
            sites=tuple(Site(name=names[i], tensors={"h_res": found[i]}, depth=i) for i in range(len(found))),
            skipped=_left_out(checkpoint),
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; checks shapes, and reads nothing before the first chunk is asked for."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        names = tuple(site.tensors["h_res"] for site in recognition.sites)
        shapes = [checkpoint.tensors[name].shape for name in names]
        streams = shapes[0][-1] if shapes[0] else 0
        tokens = max((shape[0] for shape in shapes if len(shape) == 3), default=1)
        for name, shape in zip(names, shapes, strict=True):
            leading = (tokens,) if len(shape) == 3 else ()
            require_shape(checkpoint, name, (*leading, streams, streams), meaning="tokens, n, n; equal at all sites")
            if checkpoint.tensors[name].dtype not in FLOATS:
                raise LayoutError(
                    checkpoint.path,
                    found=f"tensor {name} has element type {checkpoint.tensors[name].dtype}",
                    expected=f"one of {', '.join(FLOATS)}",
                )
        if not tokens or not streams:
            raise LayoutError(checkpoint.path, found=f"tensor {names[0]} is empty", expected="at least one token")
        stack = Stack(sites=tuple(site.name for site in recognition.sites), tensors=names, streams=streams)
        return CapturedReading(
            source=CapturedMaps(checkpoint=checkpoint, stack=stack, tokens=tokens),
            first_tokens=_first_tokens(checkpoint, tokens),
            tied_to=tie_of(checkpoint.metadata),
        )


def _site_names(checkpoint: NamedTensors, count: int) -> list[str]:
    names = _json_list(checkpoint, "sites")
    if names is None:
        return [f"{i // 2}.{('attn', 'ffn')[i % 2]}" for i in range(count)]
    if len(names) != count or len(set(map(str, names))) != count or not all(isinstance(name, str) for name in names):
        raise LayoutError(
            checkpoint.path,
            found=f"metadata key 'sites' lists {len(names)} entries",
            expected=f"a JSON list of {count} different names, one for each h_res",
        )
    return [str(name) for name in names]


def _left_out(checkpoint: NamedTensors) -> tuple[Skipped, ...]:
    """Sites of the model that are not in the file."""
    names = _json_list(checkpoint, "left_out") or []
    return tuple(Skipped(what=str(name), reason="it is not among the captured mappings") for name in names)


def _first_tokens(checkpoint: NamedTensors, tokens: int) -> tuple[int, ...]:
    positions = _json_list(checkpoint, "first_tokens") or []
    if not all(isinstance(p, int) and not isinstance(p, bool) and 0 <= p < tokens for p in positions):
        raise LayoutError(
            checkpoint.path,
            found="metadata key 'first_tokens' holds something else than token positions",
            expected=f"a JSON list of whole numbers from 0 to {tokens - 1}",
        )
    return tuple(sorted({int(str(p)) for p in positions}))


def _json_list(checkpoint: NamedTensors, key: str) -> list[object] | None:
    text = checkpoint.metadata.get(key)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LayoutError(checkpoint.path, found=f"metadata key '{key}' is not JSON", expected="a JSON list") from error
    if not isinstance(value, list):
        raise LayoutError(checkpoint.path, found=f"metadata key '{key}' is no list", expected="a JSON list")
    return value


CAPTURED = CapturedFormat()
