"""All formats, in the order in which they are tried; the first wins a tie."""

from mhcdiag.runlogs.formats.csv_table import CSV
from mhcdiag.runlogs.formats.frameworks import (
    COMPOSER,
    DEEPSPEED,
    FAIRSEQ,
    HF_STDOUT,
    LITGPT,
    MAXTEXT,
    MEGATRON,
    NEMO,
    OLMO,
    OPEN_INSTRUCT,
    TORCHTITAN,
)
from mhcdiag.runlogs.formats.generic import GENERIC
from mhcdiag.runlogs.formats.golden_values import GOLDEN_VALUES
from mhcdiag.runlogs.formats.json_records import JSON_RECORDS
from mhcdiag.runlogs.formats.jsonl import JSONL
from mhcdiag.runlogs.formats.llamafactory import LLAMAFACTORY
from mhcdiag.runlogs.formats.mlflow import MLFLOW
from mhcdiag.runlogs.formats.mllog import MLLOG
from mhcdiag.runlogs.formats.regex import REGEX
from mhcdiag.runlogs.formats.small_trainers import BUILD_NANOGPT, LLMC, MODDED_NANOGPT, NANOCHAT, NANOGPT, TWO_COLUMNS
from mhcdiag.runlogs.formats.tensorboard import TENSORBOARD
from mhcdiag.runlogs.formats.trainer_state import TRAINER_STATE
from mhcdiag.runlogs.formats.wandb_file import WANDB_FILE
from mhcdiag.runlogs.interface import FileFormat, TextFormat

FILE_FORMATS: tuple[FileFormat, ...] = (
    TENSORBOARD,
    WANDB_FILE,
    MLFLOW,
    TRAINER_STATE,
    GOLDEN_VALUES,
    JSON_RECORDS,
)
TEXT_FORMATS: tuple[TextFormat, ...] = (
    LLAMAFACTORY,
    JSONL,
    CSV,
    MLLOG,
    MEGATRON,
    DEEPSPEED,
    FAIRSEQ,
    NANOGPT,
    MODDED_NANOGPT,
    LLMC,
    NANOCHAT,
    BUILD_NANOGPT,
    TORCHTITAN,
    TWO_COLUMNS,
    HF_STDOUT,
    OPEN_INSTRUCT,
    OLMO,
    COMPOSER,
    NEMO,
    MAXTEXT,
    LITGPT,
    GENERIC,
)
FORMATS: tuple[TextFormat | FileFormat, ...] = (*FILE_FORMATS, *TEXT_FORMATS, REGEX)
