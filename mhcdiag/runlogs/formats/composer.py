"""Composer and llm-foundry on the console: a heading with the batch, then `Train name: value` lines."""

import re

from mhcdiag.runlogs.blocks import BlockGrammar

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
