"""All log formats, in the order in which they are tried; the first wins a tie (`interface` says what an entry is)."""

from mhcdiag.runlogs.formats.any_text import GENERIC, REGEX
from mhcdiag.runlogs.formats.boxes import ALLENNLP, BOXES, COQUI, RAY_RESULT, RSL_RL
from mhcdiag.runlogs.formats.csv_table import CSV
from mhcdiag.runlogs.formats.experiment_trackers import MLFLOW, WANDB_FILE
from mhcdiag.runlogs.formats.framework_consoles import (
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
    TWO_COLUMNS,
)
from mhcdiag.runlogs.formats.json_documents import GOLDEN_VALUES, JSON_RECORDS, TRAINER_STATE
from mhcdiag.runlogs.formats.json_lines import JSONL, LLAMAFACTORY
from mhcdiag.runlogs.formats.mllog import MLLOG
from mhcdiag.runlogs.formats.nanogpt_consoles import BUILD_NANOGPT, LLMC, MODDED_NANOGPT, NANOCHAT, NANOGPT
from mhcdiag.runlogs.formats.printed_dicts import PRINTED_DICT
from mhcdiag.runlogs.formats.tensorboard import TENSORBOARD
from mhcdiag.runlogs.formats.text_tables import BARS, COLUMNS
from mhcdiag.runlogs.formats.toolkit_consoles import (
    DARKNET,
    DEEPSPEECH,
    FLAIR,
    KALDI,
    MINDSPORE,
    OPENMMLAB,
    TACOTRON2,
)
from mhcdiag.runlogs.formats.translation_consoles import JOEYNMT, MARIAN, NMT_TUTORIAL, OPENNMT, SOCKEYE, TRAX
from mhcdiag.runlogs.interface import FileFormat, TextFormat

FILE_FORMATS: tuple[FileFormat, ...] = (
    TENSORBOARD,
    WANDB_FILE,
    MLFLOW,
    TRAINER_STATE,
    GOLDEN_VALUES,
    JSON_RECORDS,  # any document fits, so that it stands behind those that have a shape
)
TEXT_FORMATS: tuple[TextFormat, ...] = (
    LLAMAFACTORY,  # reads as much as JSONL of its own files, and knows their step
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
    OPENNMT,
    MARIAN,
    MINDSPORE,
    DARKNET,
    SOCKEYE,
    KALDI,
    DEEPSPEECH,
    NMT_TUTORIAL,
    FLAIR,
    JOEYNMT,
    OPENMMLAB,
    TRAX,
    TACOTRON2,
    BOXES,
    RSL_RL,
    COQUI,
    ALLENNLP,
    RAY_RESULT,
    PRINTED_DICT,
    COLUMNS,
    BARS,
    GENERIC,  # the last one is the fallback
)
FORMATS: tuple[TextFormat | FileFormat, ...] = (*FILE_FORMATS, *TEXT_FORMATS, REGEX)
