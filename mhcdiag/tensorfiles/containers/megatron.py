"""Container: Megatron-LM's legacy folder, `iter_XXXXXXX/mp_rank_TT[_PPP]/model_optim_rng.pt`.

What `--ckpt-format torch` writes (megatron/training/checkpointing.py). Pipeline stages number their layers from 0; a
virtual pipeline keeps several chunks, `model0`, `model1`, ..., in one file, and a signal passes chunk 0 of all stages
before chunk 1 of the first.
"""

import os
import re

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.containers.distcp import DISTCP
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.places import Place, config_beside, look, read_object
from mhcdiag.tensorfiles.ranked_tensors import RankedTensors, Stage, by_rank, follow_pointer, refuse_missing_ranks
from mhcdiag.tensorfiles.torch_tensors import TorchTensors

# Tensor rank, pipeline rank, expert rank: the second and third stand there only where there are several.
_RANK = re.compile(r"mp_rank_(\d+)(?:_(\d+))?(?:_(\d+))?")
_POINTER = "latest_checkpointed_iteration.txt"
# The second where a distributed optimizer keeps its state in a file of its own.
_FILES = ("model_optim_rng.pt", "model_rng.pt")
_CHUNKS = range(64)
"""Numbers of the chunks of a virtual pipeline that are looked for, more than a stage has layers."""


def _recognises(place: Place) -> bool:
    """A folder of rank folders, or one whose pointer names an iteration."""
    if _has_ranks(place):
        return True
    return _POINTER in place.names and any(name.startswith(("iter_", "release")) for name in place.names)


def _has_ranks(place: Place) -> bool:
    return any(_RANK.fullmatch(name) for name in place.names)


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Load names and shapes of all ranks; Megatron saves its arguments with them, which serve as configuration.

    Raises
    ------
    ContainerError
        A rank is missing or broken, or the folder is a distributed checkpoint.
    """
    folder = follow_pointer(place, _POINTER, folder="iter_{:0>7}")
    ranks = by_rank(folder.names, _RANK)
    # The pointer stands above both formats, and does not say which.
    if not ranks and DISTCP.recognises(folder):
        return DISTCP.open_place(folder, key=key)
    if not ranks:
        hint = "pass the path of the iteration's folder"
        raise ContainerError(folder.path, found="no mp_rank_TT folder", expected="a legacy checkpoint", hint=hint)
    if any(expert for *_, expert in ranks):
        raise ContainerError(
            folder.path,
            found="folders of expert-parallel ranks (mp_rank_TT_PPP_EEE)",
            expected="tensor and pipeline ranks",
            hint="save it as a distributed checkpoint (--ckpt-format torch_dist)",
        )
    refuse_missing_ranks(folder, ranks, what="rank (tensor, pipeline, expert)")
    config = config_beside(folder)
    described = read_object(config) if config else None
    stages = 1 + max(pipeline for _, pipeline, _ in ranks)
    names = {rank: _file_in(folder.beside(name)) for rank, name in ranks.items()}
    chunks: list[str | None] = [*_chunks(names[0, 0, 0])] if key is None else []
    order = [(chunk, stage) for chunk in (chunks or [key]) for stage in range(stages)]
    tensor_ranks = sorted({tensor for tensor, _, _ in ranks})
    return RankedTensors(
        place.path,
        [
            Stage(
                ranks=[
                    TorchTensors(place.path, files=[names[tensor, stage, 0]], key=chunk, config=described)
                    for tensor in tensor_ranks
                ]
            )
            for chunk, stage in order
        ],
    )


def _file_in(path: str) -> str:
    found = [name for name in _FILES if name in look(path).names]
    if not found:
        raise ContainerError(path, found="no " + " or ".join(_FILES), hint="copy the missing file")
    return os.path.join(path, found[0])


def _chunks(path: str) -> list[str]:
    """Keys of a virtual pipeline's chunks in one file; none where there is one model."""
    from mhcdiag.tensorfiles.torch_load import load_file

    root = load_file(path).root
    return [f"model{chunk}" for chunk in _CHUNKS if isinstance(root, dict) and f"model{chunk}" in root]


MEGATRON = Container(
    title="Megatron-LM legacy folder",
    looks="`mp_rank_TT[_PPP]/model_optim_rng.pt`, also through `latest_checkpointed_iteration.txt`; stages put "
    "in order",
    is_certain=_has_ranks,
    recognises=_recognises,
    open_place=_open,
)
