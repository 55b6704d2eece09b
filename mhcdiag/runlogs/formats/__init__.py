"""All formats, in the order in which they are tried; the first wins a tie."""

from mhcdiag.runlogs.formats.build_nanogpt import BUILD_NANOGPT
from mhcdiag.runlogs.formats.composer import COMPOSER
from mhcdiag.runlogs.formats.csv_table import CSV
from mhcdiag.runlogs.formats.deepspeed import DEEPSPEED
from mhcdiag.runlogs.formats.fairseq import FAIRSEQ
from mhcdiag.runlogs.formats.generic import GENERIC
from mhcdiag.runlogs.formats.golden_values import GOLDEN_VALUES
from mhcdiag.runlogs.formats.hf_stdout import HF_STDOUT
from mhcdiag.runlogs.formats.json_records import JSON_RECORDS
from mhcdiag.runlogs.formats.jsonl import JSONL
from mhcdiag.runlogs.formats.litgpt import LITGPT
from mhcdiag.runlogs.formats.llamafactory import LLAMAFACTORY
from mhcdiag.runlogs.formats.llmc import LLMC
from mhcdiag.runlogs.formats.maxtext import MAXTEXT
from mhcdiag.runlogs.formats.megatron import MEGATRON
from mhcdiag.runlogs.formats.mlflow import MLFLOW
from mhcdiag.runlogs.formats.mllog import MLLOG
from mhcdiag.runlogs.formats.modded_nanogpt import MODDED_NANOGPT
from mhcdiag.runlogs.formats.nanochat import NANOCHAT
from mhcdiag.runlogs.formats.nanogpt import NANOGPT
from mhcdiag.runlogs.formats.nemo import NEMO
from mhcdiag.runlogs.formats.olmo import OLMO
from mhcdiag.runlogs.formats.open_instruct import OPEN_INSTRUCT
from mhcdiag.runlogs.formats.regex import REGEX
from mhcdiag.runlogs.formats.tensorboard import TENSORBOARD
from mhcdiag.runlogs.formats.torchtitan import TORCHTITAN
from mhcdiag.runlogs.formats.trainer_state import TRAINER_STATE
from mhcdiag.runlogs.formats.two_columns import TWO_COLUMNS
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
