"""Container: DeepSpeed's folder of `mp_rank_XX_model_states.pt`, or the folder above it with its file `latest`.

`save_checkpoint` of the engine (deepspeed/runtime/engine.py) writes a folder for each tag, `global_step100`, and the
tag into `latest` above it. accelerate puts both into its own folder: `step_100/latest`, `step_100/pytorch_model/`.
"""

import re

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.places import Place, config_beside, read_object
from mhcdiag.tensorfiles.ranked_tensors import RankedTensors, Stage, by_rank, follow_pointer, refuse_missing_ranks
from mhcdiag.tensorfiles.torch_tensors import TorchTensors

_RANK = re.compile(r"mp_rank_(\d+)_model_states\.pt")
# ZeRO-3 cuts every tensor into flat slices, one a data-parallel rank.
_PARTITION = re.compile(r"zero_pp_rank_(\d+)_mp_rank_(\d+)_model_states\.pt")
# PipelineModule.ckpt_layer_path (deepspeed/runtime/pipe/module.py): a file for each layer, named by its position.
_PIPELINE = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt")
_POINTER = "latest"


def _recognises(place: Place) -> bool:
    """A folder of model states, or one whose `latest` names such a folder and that holds no weights itself."""
    if _has_ranks(place):
        return True
    # `latest` alone is a frequent name: beside weights it belongs to something else.
    has_weights = any(name.endswith((".safetensors", ".bin", ".index.json")) for name in place.names)
    return _POINTER in place.names and not has_weights


def _has_ranks(place: Place) -> bool:
    return any(pattern.fullmatch(name) for name in place.names for pattern in (_RANK, _PARTITION, _PIPELINE))


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Load names and shapes of all ranks, and the `config.json` beside them.

    Raises
    ------
    ContainerError
        A rank is missing or broken, or the weights are partitioned (ZeRO-3) or split into pipeline layers.
    """
    folder = follow_pointer(place, _POINTER)
    ranks = by_rank(folder.names, _RANK)
    for pattern, what in ((_PARTITION, "ZeRO-3 partitions"), (_PIPELINE, "DeepSpeed's pipeline layers")):
        parts = by_rank(folder.names, pattern)
        if parts and (pattern is _PIPELINE or not ranks):
            raise ContainerError(
                place.path,
                found=f"{what} ({len(parts)} files like {next(iter(parts.values()))})",
                expected="mp_rank_XX_model_states.pt with whole tensors",
                hint="run the zero_to_fp32.py that DeepSpeed put beside them",
            )
    if not ranks:
        raise ContainerError(folder.path, found="no model states", expected="mp_rank_XX_model_states.pt")
    refuse_missing_ranks(folder, ranks, what="tensor-parallel rank")
    config = config_beside(place) or config_beside(folder)
    files = [
        TorchTensors(
            place.path,
            files=[folder.beside(ranks[rank])],
            key=key,
            config=read_object(config) if config else None,
            others=[config] if config and not any(rank) else [],
        )
        for rank in sorted(ranks)
    ]
    return RankedTensors(place.path, [Stage(ranks=files)])


DEEPSPEED = Container(
    title="DeepSpeed folder",
    looks="`mp_rank_XX_model_states.pt`, also through `latest`; ZeRO-3 partitions are refused with what to do",
    is_certain=_has_ranks,
    recognises=_recognises,
    open_place=_open,
)
