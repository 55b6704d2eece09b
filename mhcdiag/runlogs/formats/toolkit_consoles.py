"""Consoles of toolkits for translation, speech and vision, as a table like `framework_consoles`."""

import re
from collections.abc import Iterator

from mhcdiag.runlogs.grammar import (
    Grammar,
    LineRule,
    comma_fields,
    dashed_fields,
    semicolon_fields,
    spaced_fields,
    unwrapped,
)
from mhcdiag.runlogs.records import NUMBER, parse_number


def _without_perplexity(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a line that has the cross entropy: its exponential must not stand for it where it is lost."""
    fields = semicolon_fields(text) if ";" in text else spaced_fields(text)
    return ((name, value) for name, value in fields if name != "ppl")


# OpenNMT/OpenNMT-py (onmt/utils/statistics.py, `output`), newer and older than 1.0, and OpenNMT/OpenNMT-tf (runner.py):
# [2018-11-26 14:47:26,759 INFO] Step 50/50000; acc:  51.25; ppl:  8.43; xent: 2.13; lr: 0.00066; 1320/1445 tok/s
# Epoch  2,    50/ 5000; acc:   2.54; ppl: 3000.10; 1320 src tok/s; 1445 tgt tok/s;     10 s elapsed
# INFO:tensorflow:Step = 100 ; steps/s = 1.52, source words/s = 12345 ; Learning rate = 0.000012 ; Loss = 8.123456
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
    preferred={"loss": ("xent", "Loss", "ppl"), "eval_loss": ("eval_loss", "validation_perplexity")},
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

# mindspore-ai/mindspore (LossMonitor of train/callback), and MindFormers (callback.py), whose values stand in brackets:
# epoch: 1 step: 1875, loss is 0.09230
# { Epoch:[  1/  2], step:[    2/ 5630], loss:[2.046/2.046], time:507.684 ms, lr:0.0, loss_scale: 65536.0}
# { Epoch:[  1/  2], step:[    2/ 5630], loss: 2.046, per_step_time: 507ms, lr: 0.0, global_norm: [1.2345]
# The count begins again with every epoch, and the total is that of an epoch.
MINDSPORE = Grammar(
    name="mindspore",
    title="MindSpore, MindFormers",
    rules=(
        LineRule(
            needle="loss is",
            mark=re.compile(
                r".*?\bepoch:\s*\[?\s*(?P<epoch>\d+)(?:\s*/\s*\d+)?\]?,?\s*"
                r"step:\s*\[?\s*(?P<step>\d+)(?:\s*/\s*\d+)?\]?,\s*(?=loss is\b)",
                re.IGNORECASE,
            ),
            fields=lambda text: spaced_fields(unwrapped(text.replace("loss is", "loss:", 1))),
            garbled=re.compile(r"\bloss is\b"),
        ),
        LineRule(
            needle="step:",
            mark=re.compile(
                r".*?\bEpoch:\s*\[\s*(?P<epoch>\d+)\s*/\s*\d+\],\s*step:\s*\[\s*(?P<step>\d+)\s*/\s*\d+\],\s*"
            ),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
    ),
    preferred={"loss": ("loss",), "grad_norm": ("global_norm", "grad_norm")},
)

# pjreddie/darknet and AlexeyAB/darknet (detector.c, classifier.c): the loss of the batch, then a moving average.
#  71: 723.648560, 723.648560 avg loss, 0.000000 rate, 3.123456 seconds, 4544 images, 12.3 hours left
# 71: 806.4, 806.4 avg, 0.000 rate, 3.9 seconds, 4544 images
# C prints a NaN as "-nan". Lines of the YOLO layers between have losses of their own, of parts of the batch.
DARKNET = Grammar(
    name="darknet",
    title="Darknet",
    rules=(
        LineRule(
            mark=re.compile(
                rf"\s*(?P<step>\d+)(?:, (?P<epoch>[\d.]+))?: (?P<loss>{NUMBER}), (?P<avg_loss>{NUMBER}) avg(?: loss)?, "
                rf"(?P<rate>{NUMBER}) rate, (?P<seconds>{NUMBER}) seconds, (?P<images>\d+) images"
            ),
        ),
        LineRule(
            mark=re.compile(r"\s*(?:\d+(?:, [\d.]+)?: )?\S+, \S+ avg(?: loss)?, .* images"), garbled=re.compile(r"avg")
        ),
    ),
    preferred={"loss": ("loss",), "learning_rate": ("rate",)},
    asides=re.compile(r"\s*(?:v\d \(|Region \d|\(next mAP|Loaded: |\s*total_bbox =|\s*Tensor Cores)"),
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


def _kaldi_objective(text: str) -> Iterator[tuple[str, float]]:
    """Yield the objective as a loss: it is a log-likelihood, which rises while the network learns."""
    number = parse_number(text.split(" ", 1)[0])
    if number is not None:
        yield "negative objective", -number


# kaldi-asr/kaldi (nnet3/nnet-training.cc); the loss is the negative of the objective that is maximised:
# LOG (nnet3-train[5.5]:PrintStatsForThisPhase():nnet-training.cc:319) Average objective function for 'output' for
#     minibatches 100-199 is -2.31 over 6400 frames.
KALDI = Grammar(
    name="kaldi",
    title="Kaldi nnet3",
    rules=(
        LineRule(
            needle="objective function",
            mark=re.compile(
                r".*?\bAverage objective function for 'output' for minibatches \d+-(?P<step>\d+) is (?=\S+ over)"
            ),
            fields=_kaldi_objective,
            garbled=re.compile(r"\bobjective function\b"),
        ),
        LineRule(
            needle="objective function",
            mark=re.compile(
                r".*?\bAverage objective function for '(?!output')[^']*' for minibatches \d+-(?P<step>\d+) is "
                rf"(?P<other_objective>{NUMBER})"
            ),
        ),
    ),
    preferred={"loss": ("negative objective",)},
)

# mozilla/DeepSpeech (training/deepspeech_training/train.py), whose bars count on within an epoch:
# Epoch 0 |   Training | Elapsed Time: 0:00:10 | Steps: 25 | Loss: 123.456000
# I Training of Epoch 0 - loss: 123.456000
DEEPSPEECH = Grammar(
    name="deepspeech",
    title="Mozilla DeepSpeech",
    rules=(
        LineRule(
            mark=re.compile(r"Epoch (?P<epoch>\d+) \|\s+Training \|[^|]*\| Steps: (?P<step>\d+) \| "),
            fields=spaced_fields,
            garbled=re.compile(r"\bLoss:"),
        ),
        LineRule(
            mark=re.compile(r"(?:Epoch \d+ \|\s+Validation|Test epoch) \|[^|]*\| Steps: \d+ \| "),
            fields=spaced_fields,
            prefix="validation_",
            same_step=True,
        ),
        LineRule(
            mark=re.compile(rf"I (?:Training of|Finished training) [Ee]poch (?P<step>\d+) - loss: (?P<loss>{NUMBER})")
        ),
        LineRule(
            mark=re.compile(
                r"I (?:Validation of|Finished validating) [Ee]poch (?P<step>\d+)(?: on \S+)? - "
                rf"loss: (?P<validation_loss>{NUMBER})"
            )
        ),
    ),
    preferred={"loss": ("Loss", "loss"), "eval_loss": ("validation_Loss", "validation_loss")},
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

# flairNLP/flair (trainers/trainer.py); the mean of an epoch and the evaluations are no points of the curve:
# 2021-05-01 10:00:00,123 epoch 1 - iter 10/100 - loss 1.23456789 - time (sec): 2.1 - samples/sec: 50.12 - lr: 0.1
# 2021-05-01 10:00:00,123 EPOCH 1 done: loss 1.1023 - lr 0.1000000
# 2021-05-01 10:00:00,123 DEV : loss 0.91 - score 0.5
FLAIR = Grammar(
    name="flair",
    title="Flair",
    rules=(
        LineRule(
            needle=" - iter ",
            mark=re.compile(r".*?\bepoch (?P<epoch>\d+) - iter (?P<step>\d+)/\d+ - "),
            fields=dashed_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        LineRule(
            needle="EPOCH ",
            mark=re.compile(rf".*?\bEPOCH (?:\d+) done: loss:? (?P<epoch_mean_loss>{NUMBER})"),
            same_step=True,
        ),
        LineRule(
            needle=" : loss ", mark=re.compile(rf".*?\b(?:DEV|TEST) : loss (?P<dev_loss>{NUMBER})"), same_step=True
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("dev_loss",)},
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

# open-mmlab: mmcv (TextLoggerHook) and mmengine (LogProcessor); by epochs, whose iterations begin again, or by
# iterations:
# 2022-01-01 10:00:00,123 - mmdet - INFO - Epoch [1][50/7330]	lr: 1.978e-03, loss: 1.2345, grad_norm: 5.61
# 2022-01-01 10:00:00,123 - mmseg - INFO - Iter [50/80000]	lr: 9.994e-03, eta: 10:10:10, decode.loss_ce: 2.1, loss: 2.9
# 2022/09/21 10:00:00 - mmengine - INFO - Epoch(train)   [1][  50/7330]  lr: 1.9820e-03  eta: 10:00:00  loss: 1.2345
# 09/21 10:00:00 - mmengine - INFO - Iter(train) [   50/80000]  base_lr: 9.9e-03  lr: 9.9e-03  loss: 2.1
OPENMMLAB = Grammar(
    name="openmmlab",
    title="MMDetection and other OpenMMLab consoles",
    rules=(
        LineRule(
            needle="Epoch [",
            mark=re.compile(r".*?\bEpoch \[(?P<epoch>\d+)\]\[(?P<step>\d+)/\d+\]\s+"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(
            needle="Iter [",
            mark=re.compile(r".*?\bIter \[(?P<step>\d+)/(?P<total>\d+)\]\s+"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(
            needle="Epoch(train)",
            mark=re.compile(r".*?\bEpoch\(train\)\s*\[\s*(?P<epoch>\d+)\]\[\s*(?P<step>\d+)/\s*\d+\]\s+"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(
            needle="Iter(train)",
            mark=re.compile(r".*?\bIter\(train\)\s*\[\s*(?P<step>\d+)/\s*(?P<total>\d+)\]\s+"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
    ),
    preferred={"loss": ("loss",), "grad_norm": ("grad_norm",)},
)
