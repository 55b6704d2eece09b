"""Consoles of toolkits for translation, as a table like `framework_consoles`."""

import re
from collections.abc import Iterator

from mhcdiag.runlogs.grammar import Grammar, LineRule, comma_fields, semicolon_fields, spaced_fields
from mhcdiag.runlogs.records import NUMBER, parse_number


def _without_perplexity(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a line that has the cross entropy: its exponential must not stand for it where it is lost."""
    fields = semicolon_fields(text) if ";" in text else spaced_fields(text)
    return ((name, value) for name, value in fields if name != "ppl")


# OpenNMT/OpenNMT-py (onmt/utils/statistics.py, `output`), newer and older than 1.0, OpenNMT/OpenNMT-tf (runner.py), and
# the OpenNMT of Torch 7:
# [2018-11-26 14:47:26,759 INFO] Step 50/50000; acc:  51.25; ppl:  8.43; xent: 2.13; lr: 0.00066; 1320/1445 tok/s
# Epoch  2,    50/ 5000; acc:   2.54; ppl: 3000.10; 1320 src tok/s; 1445 tgt tok/s;     10 s elapsed
# INFO:tensorflow:Step = 100 ; steps/s = 1.52, source words/s = 12345 ; Learning rate = 0.000012 ; Loss = 8.123456
# [09/01/17 10:00:00 INFO] Epoch 1 ; Iteration 50/7480 ; Optim SGD LR 1.000000 ; Training Perplexity 92.24 ; ...
# Versions before `xent` print the perplexity alone, its exponential: that is what is judged there.
OPENNMT = Grammar(
    name="opennmt",
    title="OpenNMT-py, OpenNMT-tf",
    rules=(
        LineRule(
            needle="Step ",
            mark=re.compile(r".*?\bStep (?P<step>\d+)/\s*(?P<total>\d+); (?=.*\bxent:)"),
            fields=_without_perplexity,
            garbled=re.compile(r"\bxent:"),
        ),
        LineRule(
            needle="Step ",
            mark=re.compile(r".*?\bStep (?P<step>\d+)/\s*(?P<total>\d+); (?=acc:|ppl:)"),
            fields=semicolon_fields,
            garbled=re.compile(r"\bppl:"),
        ),
        LineRule(
            needle="Epoch ",
            mark=re.compile(r".*?\bEpoch +(?P<epoch>\d+), +(?P<step>\d+)/ *\d+; (?=acc:|ppl:)"),
            fields=semicolon_fields,
            garbled=re.compile(r"\bppl:"),
        ),
        LineRule(
            needle="Training Perplexity",
            mark=re.compile(r".*?\bEpoch (?P<epoch>\d+) ; Iteration (?P<step>\d+)/\d+ ; "),
            fields=semicolon_fields,
            garbled=re.compile(r"\bTraining Perplexity\b"),
        ),
        LineRule(
            needle="Step = ",
            mark=re.compile(r".*?\bStep = (?P<step>\d+) ; (?=.*\bLoss =)"),
            fields=semicolon_fields,
            garbled=re.compile(r"\bLoss ="),
        ),
        LineRule(
            needle="Evaluation result",
            mark=re.compile(r".*?\bEvaluation result for step (?P<step>\d+): "),
            fields=semicolon_fields,
            prefix="eval_",
        ),
        LineRule(
            needle="Validation perplexity",
            mark=re.compile(rf".*?\bValidation perplexity: (?P<validation_perplexity>{NUMBER})\s*$"),
            same_step=True,
        ),
    ),
    preferred={
        "loss": ("xent", "Loss", "ppl", "Training Perplexity"),
        "eval_loss": ("eval_loss", "validation_perplexity"),
    },
)

_COLON_FIELD = re.compile(rf"([A-Za-z][\w.-]*) ({NUMBER})")
_COLON_PAIR = re.compile(rf"([A-Za-z][\w-]*) : ({NUMBER})")


def _colon_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `Sen. 5,630 : Cost 6.98 * 1,234 @ 23 after 456 : Time 6.91s : gNorm 1.2`."""
    for piece in text.split(" : "):
        match = _COLON_FIELD.match(piece.strip())
        number = parse_number(match[2]) if match is not None else None
        if match is not None and number is not None:
            yield match[1], number


def _colon_pair(text: str) -> Iterator[tuple[str, float]]:
    """Yield the one field of `cross-entropy : 45.2 : new best`."""
    match = _COLON_PAIR.match(text)
    number = parse_number(match[2]) if match is not None else None
    if match is not None and number is not None:
        yield match[1], number


_MARIAN = r"(?:\[[^\]]*\]\s*)*"
# marian-nmt/marian (src/training/scheduler.h), with and without labels behind the cost; `Up.` counts updates:
# [2017-10-18 18:14:31] Ep. 7 : Up. 306350 : Sen. 5,630,845 : Cost 2.13 : Time 6.91s : 13596.73 words/s : gNorm 1.2345
# [2020-10-18 18:14:31] Ep. 1 : Up. 1000 : Sen. 123,456 : Cost 8.12345678 * 1,234,567 @ 2,345 after 12,345,678 : ...
# [2020-10-18 18:14:31] [valid] Ep. 1 : Up. 5000 : cross-entropy : 45.2 : new best
MARIAN = Grammar(
    name="marian",
    title="Marian",
    rules=(
        LineRule(
            mark=re.compile(
                _MARIAN + r"\[valid\] (?:\[[^\]]*\]\s*)*(?:Ep\. (?P<epoch>[\d.]+) : )?Up\. (?P<step>[\d,]+) : "
            ),
            fields=_colon_pair,
            prefix="valid_",
        ),
        LineRule(
            mark=re.compile(_MARIAN + r"(?:Ep\. (?P<epoch>[\d.]+) : )?Up\. (?P<step>[\d,]+) : (?=.*\bCost\b)"),
            fields=_colon_fields,
            garbled=re.compile(r"\bCost\b"),
        ),
    ),
    preferred={
        "loss": ("Cost",),
        "eval_loss": ("valid_cross-entropy", "valid_ce-mean-words", "valid_ce-mean", "valid_perplexity"),
        "grad_norm": ("gNorm",),
        "learning_rate": ("L.r.",),
    },
)

_CROSS_ENTROPIES = (
    "ce", "cross-entropy", "CrossEntropyLoss", "ppl", "perplexity",
    "Train-cross-entropy", "cross-entropy-train", "Train-perplexity", "perplexity-train",
)  # fmt: skip
_EVALUATIONS = (
    "Validation-cross-entropy", "cross-entropy-val", "ce-val", "Validation-perplexity", "perplexity-val",
)  # fmt: skip
# awslabs/sockeye 1 and 3 (training.py, its metrics file), and the Speedometer of apache/mxnet:
# [INFO:sockeye.training] Epoch[0] Batch [50]	Speed: 1000.00 samples/sec 20000.00 tokens/sec	perplexity=3000.120000
# [2022-01-01:10:00:00:INFO:sockeye.training_pt:_step] E=0 B=50	s/sec=500.0	tok/sec=10000.0	ppl=120.1 ce=4.79
# [INFO:sockeye.training] Checkpoint [1]	Updates=4000 Epoch=1 Samples=320000 Time-cost=100.1
# [INFO:sockeye.training] Checkpoint [1]	Train-perplexity=34.2
# 1	epoch=0	learning-rate=0.0002	perplexity-train=34.2	perplexity-val=30.2	updates=4000
# Where no cross entropy is printed the perplexity, its exponential, is judged.
SOCKEYE = Grammar(
    name="sockeye",
    title="Sockeye, MXNet",
    rules=(
        LineRule(
            needle="Batch [",
            mark=re.compile(r".*?\bEpoch\[(?P<epoch>\d+)\] Batch \[(?:\d+-)?(?P<step>\d+)\]\s+(?=Speed:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\b(?:perplexity|cross-entropy)="),
        ),
        LineRule(
            needle="E=",
            mark=re.compile(r".*?\bE=(?P<epoch>\d+) B=(?P<step>\d+)\s+(?=s/sec=.*\bce=)"),
            fields=_without_perplexity,
            garbled=re.compile(r"\bce="),
        ),
        LineRule(
            needle="E=",
            mark=re.compile(r".*?\bE=(?P<epoch>\d+) B=(?P<step>\d+)\s+(?=s/sec=)"),
            fields=spaced_fields,
            garbled=re.compile(r"\b(?:ppl|perplexity)="),
        ),
        LineRule(needle="Checkpoint [", mark=re.compile(r".*?\bCheckpoint \[\d+\]\s+Updates=(?P<step>\d+)\b")),
        LineRule(
            needle="Checkpoint [",
            mark=re.compile(r".*?\bCheckpoint \[\d+\]\s+(?=(?:Train|Validation)-[\w-]+=)"),
            fields=spaced_fields,
            same_step=True,
        ),
        LineRule(mark=re.compile(r"\d+\t(?=[\w-]+=\S+\t)"), fields=spaced_fields),
    ),
    preferred={"loss": _CROSS_ENTROPIES, "eval_loss": _EVALUATIONS},
    step_fields=("updates",),
)

# tensorflow/nmt (nmt/train.py), whose only curve is the perplexity:
#   step 100 lr 1 step-time 0.50s wps 10.00K ppl 3000.12 gN 5.12 bleu 0.00
NMT_TUTORIAL = Grammar(
    name="nmt_tutorial",
    title="tensorflow/nmt",
    rules=(
        LineRule(
            mark=re.compile(
                rf"\s*(?:global )?step (?P<step>\d+) lr (?P<lr>{NUMBER}) step-time \S+ wps \S+ "
                rf"ppl (?P<ppl>{NUMBER})(?: gN (?P<gN>{NUMBER}))?"
            )
        ),
    ),
    preferred={"loss": ("ppl",), "grad_norm": ("gN",)},
)

# joeynmt/joeynmt (training.py); the sum over an epoch is no point of the curve:
# 2021-05-01 10:00:00,123 - INFO - joeynmt.training - Epoch   1, Step:      100, Batch Loss:     5.432100, Lr: 0.000300
JOEYNMT = Grammar(
    name="joeynmt",
    title="Joey NMT",
    rules=(
        LineRule(
            needle="Batch Loss:",
            mark=re.compile(r".*?\bEpoch\s+(?P<epoch>\d+),? Step:\s+(?P<step>\d+),? (?=Batch Loss:)"),
            fields=comma_fields,
            garbled=re.compile(r"\bBatch Loss:"),
        ),
    ),
    preferred={"loss": ("Batch Loss",)},
    asides=re.compile(r".*?\bEpoch\s+\d+: total training loss"),
)


def _barred_pair(text: str) -> Iterator[tuple[str, float]]:
    """Yield the one field of `CrossEntropyLoss |  2.34567890`."""
    name, bar, value = text.partition("|")
    number = parse_number(value.strip()) if bar else None
    if number is not None:
        yield name.strip(), number


# google/trax (supervised/training.py), one line a metric:
# Step    100: train CrossEntropyLoss |  2.34567890
# Step    100: eval  CrossEntropyLoss |  2.45678901
TRAX = Grammar(
    name="trax",
    title="Trax",
    rules=(
        LineRule(
            mark=re.compile(r"\s*Step\s+(?P<step>\d+): train\s+(?=[^|]*Loss\s*\|)"),
            fields=_barred_pair,
            garbled=re.compile(rf"Loss\s*\|\s*(?!{NUMBER})"),
        ),
        LineRule(mark=re.compile(r"\s*Step\s+(?P<step>\d+): eval\s+(?=[^|]*\|)"), fields=_barred_pair, prefix="eval_"),
    ),
    preferred={"loss": ("CrossEntropyLoss",), "eval_loss": ("eval_CrossEntropyLoss",)},
)
