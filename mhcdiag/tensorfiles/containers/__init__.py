"""The container formats: one a file, its directory form beside it."""

from mhcdiag.tensorfiles.containers.captured_directory import CAPTURED_DIRECTORY
from mhcdiag.tensorfiles.containers.deepspeed import DEEPSPEED
from mhcdiag.tensorfiles.containers.distcp import DISTCP
from mhcdiag.tensorfiles.containers.gguf import GGUF
from mhcdiag.tensorfiles.containers.megatron import MEGATRON
from mhcdiag.tensorfiles.containers.npz import NPZ
from mhcdiag.tensorfiles.containers.remote import REMOTE
from mhcdiag.tensorfiles.containers.safetensors_files import SAFETENSORS_DIRECTORY, SAFETENSORS_FILE
from mhcdiag.tensorfiles.containers.torch_files import TORCH_DIRECTORY, TORCH_FILE
from mhcdiag.tensorfiles.interface import Container

CONTAINERS: tuple[Container, ...] = (
    REMOTE,
    SAFETENSORS_FILE,
    DEEPSPEED,
    MEGATRON,
    DISTCP,
    CAPTURED_DIRECTORY,
    SAFETENSORS_DIRECTORY,
    GGUF,
    NPZ,
    TORCH_FILE,
    TORCH_DIRECTORY,
)
"""All container formats; the first that recognises a place opens it.

The order matters: a folder of a trainer (DeepSpeed, Megatron) also holds files that look like loose torch files, and
captured mappings are safetensors files that are no shards of one model.
"""
