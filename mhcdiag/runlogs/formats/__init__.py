"""All formats, in the order in which they are tried; the first wins a tie."""

from mhcdiag.runlogs.formats.generic import GENERIC
from mhcdiag.runlogs.formats.golden_values import GOLDEN_VALUES
from mhcdiag.runlogs.formats.jsonl import JSONL
from mhcdiag.runlogs.formats.megatron import MEGATRON
from mhcdiag.runlogs.formats.nanochat import NANOCHAT
from mhcdiag.runlogs.formats.regex import REGEX
from mhcdiag.runlogs.formats.trainer_state import TRAINER_STATE
from mhcdiag.runlogs.interface import FileFormat, LogFormat, TextFormat

FILE_FORMATS: tuple[FileFormat, ...] = (TRAINER_STATE, GOLDEN_VALUES)
TEXT_FORMATS: tuple[TextFormat, ...] = (JSONL, MEGATRON, NANOCHAT, GENERIC)
FORMATS: tuple[LogFormat, ...] = (*FILE_FORMATS, *TEXT_FORMATS, REGEX)
