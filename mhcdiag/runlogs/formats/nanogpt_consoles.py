"""Consoles of nanoGPT and the trainers that grew out of it, as a table like `framework_consoles`."""

import re

from mhcdiag.runlogs.grammar import Grammar, LineRule, comma_fields, piped_fields, spaced_fields
from mhcdiag.runlogs.records import NUMBER

# karpathy/nanoGPT, with or without a time before it; the second line is an evaluation of both splits:
# 2023-03-22 09:32:41 iter 3000: loss 4.2490, time 35392.33ms, mfu 13.85%
# step 3000: train loss 4.0390, val loss 4.0427
NANOGPT = Grammar(
    name="nanogpt",
    title="nanoGPT",
    rules=(
        LineRule(
            mark=re.compile(r"(?:.*\s)?iter (?P<step>\d+): (?=loss)"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        LineRule(
            mark=re.compile(
                r"(?:.*\s)?step (?P<step>\d+): "
                rf"train loss (?P<eval_train_loss>{NUMBER}), val loss (?P<val_loss>{NUMBER})"
            )
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)

# KellerJordan/modded-nanogpt; the file opens with the whole source code, so that the mark stands at the line's start:
# step:983/20344 train_loss:4.1704 train_time:1661011ms step_avg:1707.10ms
# step:125/6000 val_loss:5.6402 train_time:42345ms step_avg:368.21ms
# `train_loss` is that of the last micro-batch on rank 0, hence its lone outliers (step 946 or 947 in most runs).
MODDED_NANOGPT = Grammar(
    name="modded_nanogpt",
    title="modded-nanogpt",
    rules=(
        LineRule(
            mark=re.compile(r"step:(?P<step>\d+)/(?P<total>\d+)\s+(?=\w)"),
            fields=spaced_fields,
            garbled=re.compile(r"\btrain_loss:"),
        ),
    ),
    preferred={"loss": ("train_loss",), "eval_loss": ("val_loss", "val_bpb")},
)

# karpathy/llm.c: main.log (`tel` is the evaluation, `eval` HellaSwag), and standard output with z-scores in brackets:
# s:995 trl:4.3455 lr:0.000600 norm:0.62
# s:0 tel:11.0092
# step    3/97 | loss 10.713000 (+0.31z)| norm 13.1170 (-0.13z)| lr 2.57e-06 | 237.11 ms | 41.3% bf16 MFU
# The norm has two decimals, which is why the noise of a series is at least half of its step (`detectors.baseline`).
LLMC = Grammar(
    name="llmc",
    title="llm.c",
    rules=(
        LineRule(
            mark=re.compile(r"s:(?P<step>\d+)\s+(?=\w+:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\btrl:"),
        ),
        LineRule(
            mark=re.compile(r"step\s+(?P<step>\d+)/(?P<total>\d+) \| (?=loss )"),
            fields=piped_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        LineRule(mark=re.compile(rf"val loss (?P<tel>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("trl", "loss"), "eval_loss": ("tel",), "grad_norm": ("norm",)},
)

# karpathy/nanochat; fine-tuning counts from 0 again without a total, and evaluations have a capital S:
# step 00001/21400 (0.00%) | loss: 10.809341 | grad norm: 11.0336 | lrm: 1.00 | dt: 13651.72ms | tok/sec: 38,404
# step 00502 (99.54%) | loss: 0.899420 | lrm: 0.00 | dt: 911.00ms
# Step 00000 | Validation bpb: 3.3013
# The loss is a debiased moving average (beta 0.9): one bad batch shows as a bump of some twelve steps.
NANOCHAT = Grammar(
    name="nanochat",
    title="nanochat",
    rules=(
        LineRule(
            mark=re.compile(r"step (?P<step>\d+)(?:/(?P<total>\d+))? \([\d.]+%\) \|"),
            fields=piped_fields,
            garbled=re.compile(r"\| loss:"),
        ),
        LineRule(mark=re.compile(r"Step (?P<step>\d+) \|"), fields=piped_fields),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("Validation bpb", "Validation loss")},
)

# karpathy/build-nanogpt on standard output, and its log.txt (the last three lines):
# step  4551 | loss: 3.395157 | lr 5.2763e-04 | norm: 0.3356 | dt: 406.41ms | tok/sec: 1290035.71
# validation loss: 10.9519
# 4959 train 3.386947
# 0 val 10.9519
# 0 hella 0.2487
BUILD_NANOGPT = Grammar(
    name="build_nanogpt",
    title="build-nanogpt",
    rules=(
        LineRule(
            mark=re.compile(r"step\s+(?P<step>\d+) \| (?=loss:)"),
            fields=piped_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(mark=re.compile(rf"(?P<step>\d+) train (?P<loss>{NUMBER})$")),
        LineRule(mark=re.compile(rf"(?P<step>\d+) val (?P<val_loss>{NUMBER})$")),
        LineRule(mark=re.compile(rf"(?P<step>\d+) hella (?P<hellaswag>{NUMBER})$")),
        LineRule(mark=re.compile(rf"validation loss: (?P<val_loss>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",), "grad_norm": ("norm",)},
)

# BlinkDL/RWKV-LM (train_log.txt): mini-epoch, loss, its exponential, learning rate, time, mini-epoch again:
# 0 6.937116 1029.8177 0.00060000 2023-01-31 10:20:30.123456 0
RWKV = Grammar(
    name="rwkv",
    title="RWKV-LM (train_log.txt)",
    rules=(
        LineRule(
            mark=re.compile(
                rf"(?P<step>\d+) (?P<loss>{NUMBER}) (?P<perplexity>{NUMBER}) (?P<lr>{NUMBER}) "
                r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \d+$"
            )
        ),
    ),
    preferred={"loss": ("loss",)},
)
