"""Consoles of training frameworks, as a table: one entry per framework, its lines as patterns (see `grammar`).

An entry is a constant with a comment above it: whose writer it is, which version, a line of a real log. Adding one is
an entry here and its name in `TEXT_FORMATS`. `garbled` of a rule is the loss's key, so that a line whose number is
damaged counts as unreadable and does not vanish.
"""

import re

from mhcdiag.runlogs.grammar import (
    BlockGrammar,
    Grammar,
    LineRule,
    comma_fields,
    json_fields,
    piped_fields,
    quoted_fields,
    spaced_fields,
)
from mhcdiag.runlogs.records import NUMBER

_STAMP = r"\s*(?:\[\d{4}-\d\d-\d\d[^\]]*\]\s*)?(?:samples/sec:\s*[\d.]+\s*\|\s*)?"
_LM_LOSS = re.compile(r"\blm[ _]loss\b(?! value)")

# NVIDIA/Megatron-LM, training.py (d98e8a64), and its descendants; newer ones put a time in brackets first. One line:
#  iteration     3384/    8000 | consumed samples:       216576 | learning rate: 6.678E-06 | lm loss: 7.072597E-01 |
#      loss scale: 1.0 | grad norm: 0.741 | number of skipped iterations:   0 | number of nan iterations:   0 |
# GPT-NeoX puts `samples/sec: 51.234 |` first, writes `lm_loss`, and breaks the record over lines, hence the third rule.
# A NaN loss leaves the field out (`if avg >= 0.0` is false for NaN), and "number of nan iterations" stays 0.
MEGATRON = Grammar(
    name="megatron",
    title="Megatron-LM, Megatron-DeepSpeed, GPT-NeoX",
    rules=(
        LineRule(
            mark=re.compile(_STAMP + r"iteration\s+(?P<step>\d+)\s*/\s*(?P<total>\d+)\s*\|"),
            fields=piped_fields,
            garbled=_LM_LOSS,
        ),
        LineRule(
            mark=re.compile(r"[\s|]*(?:-+\s*)?valid\w+ (?:loss|results) at (?:iteration|step) (?P<step>\d+)[^|]*\|"),
            fields=piped_fields,
            prefix="validation ",
        ),
        LineRule(
            mark=re.compile(r"\s*(?=(?:learning rate|lm[ _]loss|number of \w+ iterations)\s*:)"),
            fields=piped_fields,
            garbled=_LM_LOSS,
            same_step=True,
        ),
    ),
    preferred={
        "loss": ("lm loss", "lm_loss", "loss"),
        "eval_loss": ("validation lm loss value", "validation lm_loss value"),
        "grad_norm": ("grad norm", "grad_norm"),
        "skipped": ("number of skipped iterations",),
    },
    nan_family="megatron",
)

# PPO and SFT of DeepSpeed-Chat (DeepSpeedExamples, 83757d9c), the pipeline engine, the engine's own logger:
# epoch: 0|step: 89|ppo_ep: 1|act_loss: 0.302978515625|cri_loss: 0.1676025390625|unsuper_loss: 0.0
# Epoch: 0, Step: 5, Rank: 0, loss = 2.713
# steps: 2 loss: 12.8004 iter time (s): 145.206 samples/sec: 7.052
# [2023-04-18 02:03:40,386] [INFO] [logging.py:96:log_dist] [Rank 0] step=1330, skipped=24, lr=[8.91e-06, ...]
# bigscience logs hold Megatron's line and the pipeline engine's for every step: the format that reads more wins.
DEEPSPEED = Grammar(
    name="deepspeed",
    title="DeepSpeed engine, DeepSpeed-Chat",
    rules=(
        LineRule(
            mark=re.compile(r"epoch:\s*(?P<epoch>\d+)\s*\|\s*step:\s*(?P<step>\d+)\s*\|"),
            fields=piped_fields,
            garbled=re.compile(r"\bact_loss:"),
        ),
        LineRule(
            mark=re.compile(r"Epoch: (?P<epoch>\d+), Step: (?P<step>\d+), Rank: \d+, (?=loss)"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss\s*="),
        ),
        LineRule(
            mark=re.compile(r"steps?:\s*(?P<step>\d+)\s+(?=loss:\s.*iter time)"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(
            needle=", skipped=",
            mark=re.compile(r".*\bstep=(?P<step>\d+), skipped=(?P<skipped>\d+), lr=\[(?P<lr>[^,\]]+)"),
        ),
        LineRule(mark=re.compile(rf"average reward score: (?P<reward>{NUMBER})"), same_step=True),
        LineRule(mark=re.compile(rf"ppl: (?P<ppl>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("loss", "act_loss")},
)

_FAIRSEQ_LOSS = re.compile(r"\bloss\b")

# fairseq and metaseq: JSON behind a tag, whose numbers are strings, and the form with pipes of older versions:
# 2021-03-08 12:34:45 | INFO | train_inner | {"epoch": 1, "loss": "25.22", "num_updates": "3", "gnorm": "131.281"}
# | epoch 001:    200 / 1374 loss=14.351, ppl=20899.56, num_updates=190, lr=4.84525e-06, gnorm=3.901
# | epoch 001 | valid on 'valid' subset | loss 12.113 | ppl 4411.3 | num_updates 1371
# The summary of an epoch gets a prefix, lest one mean over the epoch stands among the losses of its steps.
FAIRSEQ = Grammar(
    name="fairseq",
    title="fairseq, metaseq",
    rules=(
        LineRule(mark=re.compile(r"[^{]*\|\s*train_inner\s*\|\s*(?=\{)"), fields=json_fields, garbled=_FAIRSEQ_LOSS),
        LineRule(mark=re.compile(r"[^{]*\|\s*(?:train|valid\w*)\s*\|\s*(?=\{)"), fields=json_fields),
        LineRule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+):\s+\d+\s*/\s*\d+\s*"),
            fields=comma_fields,
            garbled=_FAIRSEQ_LOSS,
        ),
        LineRule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+) \| valid on '[^']*' subset \|"),
            fields=piped_fields,
            prefix="valid_",
        ),
        LineRule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+) \|\s*(?=(?:train_)?loss )"),
            fields=piped_fields,
            prefix="train_",
        ),
    ),
    preferred={
        "loss": ("loss",),
        "eval_loss": ("valid_loss",),
        "grad_norm": ("gnorm",),
        "learning_rate": ("lr",),
    },
    step_fields=("num_updates", "valid_num_updates", "train_num_updates"),
)

# pytorch/torchtitan; the prefix of torchrun and the colours are taken off before (`lines.clean_line`):
# [rank0]:[titan] 2025-10-30 14:32:58,990 - root - INFO - step:  2  loss:  6.1098  grad_norm:  4.6416  tps: 177,138
TORCHTITAN = Grammar(
    name="torchtitan",
    title="torchtitan",
    rules=(
        LineRule(
            needle="validate step:",
            mark=re.compile(r".*?\bvalidate step:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            prefix="validation_",
        ),
        LineRule(
            needle="step:",
            mark=re.compile(r".*?\bstep:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("validation_loss",), "grad_norm": ("grad_norm",)},
)

# tests/assets/losses/*.txt of pytorch/torchtitan (b5bcd76c): step and loss, and nothing else on the line.
# 2 7.75183629989624
# The loss needs its decimal point: two whole numbers side by side may be anything.
TWO_COLUMNS = Grammar(
    name="two_columns",
    title="two columns, step and loss (torchtitan's golden losses)",
    rules=(
        LineRule(
            mark=re.compile(
                r"(?P<step>\d+)[ \t]+"
                r"(?P<loss>[-+]?\d+\.\d+(?:[eE][-+]?\d+)?|(?i:nan|[-+]?inf(?:inity)?))[ \t]*$"
            )
        ),
    ),
    preferred={"loss": ("loss",)},
)

# The Hugging Face Trainer prints a Python dictionary without a step; newer versions quote the numbers:
# {'loss': 0.2051, 'grad_norm': nan, 'learning_rate': 9.774074342405685e-06, 'epoch': 0.53}
# It is no JSON, and `nan` is no Python literal either: names and values are searched for. A NaN loss is printed as 0.0.
HF_STDOUT = Grammar(
    name="hf_stdout",
    title="Hugging Face Trainer on standard output",
    rules=(
        LineRule(
            mark=re.compile(r"[^{]*(?=\{'[a-z_/]+':\s)"),
            fields=quoted_fields,
            garbled=re.compile(r"'loss':"),
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("eval_loss",)},
    nan_family="huggingface",
    step_fields=("step", "global_step"),
)

# allenai/open-instruct (accelerate), on the line of the progress bar, whose total is the planned number of steps:
#   2%|x  | 197/9500 [41:41<31:27:10, 12.17s/it]08/02/2024 22:39:11 - INFO -   Step: 197, LR: 1.38e-05, Loss: 577.77
OPEN_INSTRUCT = Grammar(
    name="open_instruct",
    title="open-instruct (with tqdm)",
    rules=(
        LineRule(
            mark=re.compile(
                r"(?:[^|]*\|[^|]*\|\s*\d+/(?P<total>\d+)\s*\[[^\]]*\])?"
                r".*?\bStep: (?P<step>\d+), (?=LR:|Loss:)"
            ),
            fields=comma_fields,
            garbled=re.compile(r"\bLoss:"),
        ),
    ),
    preferred={"loss": ("Loss",), "learning_rate": ("LR",)},
)

# allenai/OLMo and OLMo-core: a heading with the step, then one indented line per series:
# [2024-04-17 09:42:26] INFO     [olmo.train:816, rank=0] [step=1/739328]
#     train/CrossEntropyLoss=11.25
#     System/Peak GPU Memory (MB)=42,133
# OLMo-core adds `,epoch=1/1,eta=1:13` to the heading and writes `train/CE loss` and `optim/total grad norm`.
OLMO = BlockGrammar(
    name="olmo",
    title="OLMo, OLMo-core",
    head=re.compile(r".*\[step=(?P<step>\d+(?:,\d{3})*)(?:/(?P<total>\d+(?:,\d{3})*))?[^\]]*\]\s*$"),
    series=re.compile(r"\s+(?P<name>[A-Za-z][^=]*)=(?P<value>[-+.\d\w,%]+)\s*$"),
    garbled=re.compile(r"\s+train/(?:CrossEntropyLoss|CE loss)="),
    preferred={
        "loss": ("train/CrossEntropyLoss", "train/CE loss"),
        "grad_norm": ("optim/total_grad_norm", "optim/total grad norm"),
    },
)

# mosaicml/composer and llm-foundry (ConsoleLogger): the same shape with other words:
# [batch=10/20]:
#     Train loss/train/total: 0.0053
#     Train metrics/train/LanguageCrossEntropy: 10.8053
COMPOSER = BlockGrammar(
    name="composer",
    title="Composer, llm-foundry",
    head=re.compile(r"\s*(?:\[\w+=[^\]]*\])*\[batch=(?P<step>\d+)(?:/(?P<total>\d+))?\]:\s*$"),
    series=re.compile(r"\s*(?:Train|Eval) (?P<name>\S[^:]*):\s*(?P<value>[-+.\d\w,%]+)\s*$"),
    garbled=re.compile(r"\s*Train (?:metrics/train/LanguageCrossEntropy|loss/train/total):"),
    preferred={
        # The total is summed over microbatches in some versions: the cross entropy is the one people compare.
        "loss": ("metrics/train/LanguageCrossEntropy", "loss/train/total"),
        "eval_loss": ("metrics/eval/LanguageCrossEntropy",),
        "grad_norm": ("l2_norm/grad/global",),
    },
)

# NVIDIA NeMo 2; `iteration` counts within an epoch, so that `global_step` is asked first:
# Training epoch 0, iteration 1/19 | lr: 2.999e-07 | global_step: 1 | reduced_train_loss: 11.03 | consumed_samples: 1024
NEMO = Grammar(
    name="nemo",
    title="NeMo 2",
    rules=(
        LineRule(
            needle="Training epoch ",
            mark=re.compile(r".*?\bTraining epoch (?P<epoch>\d+), iteration (?P<iteration>\d+)/\d+ \|"),
            fields=piped_fields,
            garbled=re.compile(r"\breduced_train_loss:"),
        ),
        LineRule(
            needle="Validation epoch ",
            mark=re.compile(r".*?\bValidation epoch \d+, iteration \d+/\d+ \|"),
            fields=piped_fields,
        ),
    ),
    preferred={"loss": ("reduced_train_loss", "loss"), "eval_loss": ("val_loss",)},
    step_fields=("global_step", "iteration"),
)

# MaxText:
# completed step: 1, seconds: 12.444, TFLOP/s/device: 182.028, Tokens/s/device: 3949.842, loss: 10.410
MAXTEXT = Grammar(
    name="maxtext",
    title="MaxText",
    rules=(
        LineRule(
            needle="completed step: ",
            mark=re.compile(r".*?\bcompleted step: (?P<step>\d+), "),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        LineRule(
            needle="eval metrics after step: ",
            mark=re.compile(r".*?\beval metrics after step: (?P<step>\d+), "),
            fields=comma_fields,
            prefix="eval_",
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("eval_loss",)},
)

# LitGPT; `iter` counts micro-batches and `step` optimizer steps. Losses come per micro-batch: `iter` is the step.
# Epoch 1 | iter 2 step 1 | loss train: 1.660, val: n/a | iter time: 548.72 ms (step)
# iter 2: val loss 1.7013, val time: 3117.11 ms
LITGPT = Grammar(
    name="litgpt",
    title="LitGPT",
    rules=(
        LineRule(
            mark=re.compile(
                r"Epoch (?P<epoch>\d+) \| iter (?P<step>\d+) step (?P<optimizer_step>\d+) \|"
                rf" loss train: (?P<loss>{NUMBER})?[^,|]*(?:, val: (?P<val_loss>{NUMBER}|n/a))?"
            ),
            fields=piped_fields,
            garbled=re.compile(r"\bloss train:"),
        ),
        LineRule(mark=re.compile(rf"iter (?P<step>\d+): val loss (?P<val_loss>{NUMBER})")),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)
