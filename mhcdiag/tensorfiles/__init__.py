"""From the path or address of a checkpoint to its named tensors: headers at once, values on demand."""

from mhcdiag.tensorfiles.containers import CONTAINERS
from mhcdiag.tensorfiles.names import natural_order
from mhcdiag.tensorfiles.places import is_remote
from mhcdiag.tensorfiles.recognition import Located, checkpoints_in, is_checkpoint, locate, open_checkpoint
from mhcdiag.tensorfiles.stores import STORES

__all__ = [
    "CONTAINERS",
    "STORES",
    "Located",
    "checkpoints_in",
    "is_checkpoint",
    "is_remote",
    "locate",
    "natural_order",
    "open_checkpoint",
]
