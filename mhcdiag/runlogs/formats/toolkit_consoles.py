"""Consoles of toolkits for vision, speech and tagging, as a table like `framework_consoles`."""

import re
from collections.abc import Iterator

from mhcdiag.runlogs.grammar import Grammar, LineRule, comma_fields, dashed_fields, spaced_fields, unwrapped
from mhcdiag.runlogs.records import NUMBER, parse_number

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

# NVIDIA/tacotron2 and its many descendants (train.py); the first number is the iteration, which reads like the loss:
# Train loss 100 0.523417 Grad Norm 1.234567 2.34s/it
# Validation loss 500:  0.612345
TACOTRON2 = Grammar(
    name="tacotron",
    title="Tacotron 2",
    rules=(
        LineRule(
            mark=re.compile(rf"Train loss (?P<step>\d+) (?P<loss>{NUMBER}) Grad Norm (?P<grad_norm>{NUMBER}) \S+s/it")
        ),
        LineRule(mark=re.compile(r"Train loss \d+ \S+ Grad Norm \S+ \S+s/it"), garbled=re.compile("Train loss")),
        LineRule(mark=re.compile(rf"Validation loss (?P<step>\d+):\s+(?P<validation_loss>{NUMBER})")),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("validation_loss",), "grad_norm": ("grad_norm",)},
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
